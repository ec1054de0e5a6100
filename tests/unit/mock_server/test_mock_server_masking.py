"""Masks: equal for equal credentials, of a key that is random or follows from a seed."""

from __future__ import annotations

import hashlib
import json
import time
from urllib.parse import quote, urlencode

import pytest

from mock_server.masking import IN_RESPONSES, Masks

PASSWORD = "password"


def test_equal_credentials_have_equal_masks_and_different_ones_do_not() -> None:
    masks = Masks.of_seed(None)
    assert masks.mask(PASSWORD) == masks.mask(PASSWORD.encode()) != masks.mask("another")


def test_mask_of_a_weak_password_is_no_digest_that_others_can_compute() -> None:
    mask = Masks.of_seed(None).mask(PASSWORD)
    assert mask != Masks.of_seed(None).mask(PASSWORD)
    plain = (hashlib.sha256(PASSWORD.encode()), hashlib.blake2b(PASSWORD.encode(), digest_size=6))
    assert all(digest.hexdigest()[:12] not in mask for digest in plain)


def test_masks_of_one_seed_are_equal_in_all_runs() -> None:
    assert Masks.of_seed("a").mask(PASSWORD) == Masks.of_seed("a").mask(PASSWORD) != Masks.of_seed("b").mask(PASSWORD)


def test_masks_without_a_key_are_all_the_same() -> None:
    body = json.dumps({"password": PASSWORD, "other": "x"}).encode()
    assert json.loads(Masks(None).body(body, "application/json")) == {"password": "<masked>", "other": "x"}


@pytest.mark.parametrize(
    "name",
    ["device_code", "user_code", "client_assertion", "assertion", "id_token_hint", "refresh_token", "otp", "mfa_token",
     "oob_code", "binding_code", "recovery_code", "login_ticket", "logout_token", "subject_token", "actor_token",
     "code_verifier", "client_secret", "auth_req_id"],
)  # fmt: skip
def test_credential_of_oauth_is_masked_in_queries_forms_and_json(name: str) -> None:
    masks, form = Masks(None), urlencode({name: "a-credential", "scope": "openid"})
    assert masks.query(form) == f"{name}=<masked>&scope=openid"
    assert masks.body(form.encode(), "application/x-www-form-urlencoded") == f"{name}=<masked>&scope=openid"
    assert json.loads(masks.body(json.dumps({name: "a-credential"}).encode(), "application/json")) == {name: "<masked>"}


@pytest.mark.parametrize(
    "name", ["state", "scope", "token_type", "token_type_hint", "subject_token_type", "client_assertion_type", "nonce"]
)
def test_parameter_that_is_no_credential_stays(name: str) -> None:
    assert Masks(None).query(f"{name}=a-value") == f"{name}=a-value"


def test_dpop_proof_is_masked_in_headers() -> None:
    assert Masks(None).headers([(b"DPoP", b"a.b.c")]) == [("dpop", "<masked>")]


@pytest.mark.parametrize(
    "url",
    ["https://a.example/cb?token=S3CRET99&x=1", "/cb?token=S3CRET99", "https://a.example/#access_token=S3CRET99",
     "https://user:S3CRET99@a.example/",
     "https://a.example/?next=" + quote("https://b.example/?code=S3CRET99", safe="")],
)  # fmt: skip
def test_credential_in_a_url_is_masked_wherever_the_url_stands(url: str) -> None:
    masks = Masks(None)
    texts = [
        masks.query(urlencode({"url": url, "a": "b"})),
        masks.query(urlencode({"url": "https://c.example/?" + urlencode({"to": url})})),
        masks.body(json.dumps({"list": [url]}).encode(), "application/json", IN_RESPONSES),
        str(masks.headers([(b"referer", url.encode())])),
    ]
    for text in texts:
        assert "S3CRET99" not in text
        assert "<masked>" in text


def test_codes_of_a_device_are_masked_in_responses_also_in_the_complete_url() -> None:
    answer = {"device_code": "d" * 20, "user_code": "ABCD-EFGH", "interval": 5}
    answer["verification_uri_complete"] = "http://localhost/activate?user_code=ABCD-EFGH"
    text = Masks(None).body(json.dumps(answer).encode(), "application/json", IN_RESPONSES)
    assert "ABCD-EFGH" not in text
    assert "d" * 20 not in text
    assert json.loads(text)["interval"] == 5


def test_text_without_credentials_keeps_its_bytes() -> None:
    for text in ("a=%2f&b=%FF", "url=https://a.example/?x=1&y", "=&=", ""):
        assert Masks(None).query(text) == text


def test_code_in_the_form_of_a_page_is_masked() -> None:
    page = '<form><input type="hidden" name="code" value="S3CRET99"><input name="state" value="s"></form>'
    text = Masks(None).body(page.encode(), "text/html", IN_RESPONSES)
    assert text == page.replace("S3CRET99", "<masked>")


@pytest.mark.parametrize("before", ["", "x ", "a=", "a%3D", '"', "/"])
def test_token_in_a_text_is_masked(before: str) -> None:
    assert Masks(None).body(f"{before}eyJhbGciOiJub25lIn0.e30.abc\n".encode(), "text/plain") == f"{before}<masked>\n"


@pytest.mark.parametrize("text", ["eyJ" * 100_000, 'name="a" ' * 20_000, "a=%2F%3F" * 20_000, "/?" * 50_000])
def test_large_text_is_masked_in_little_time(text: str) -> None:
    started = time.process_time()
    Masks(None).body(text.encode(), "text/plain")
    Masks(None).query(text)
    assert time.process_time() - started < 2
