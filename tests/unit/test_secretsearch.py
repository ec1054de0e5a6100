"""The search for secrets finds them, whatever form they come out in."""

from __future__ import annotations

import base64
import json
import secrets
from urllib.parse import quote, urlencode

import pytest

from tests.secretsearch import Search

ODD = 'Pa$$"w\\ör/d +?='
SECRETS = ("0f" * 8 + "c3" * 8, "Zk3-_x9QmA7t_-Lw5eR2", ODD, "abcdefgh")


def searched(secret: str, data: str | bytes) -> list[str]:
    """What is found where only this came out, among much else."""
    search = Search()
    for number in range(50):
        search.used(secrets.token_hex(16), f"another {number}")
    search.used(secret, "the secret")
    search.came_out("the log", b"x" * 500 + (data.encode() if isinstance(data, str) else data) + b"y" * 500)
    return search.found()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("padding", ["", "a", "ab", "user:", "Bearer "])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_is_found_in_base64_wherever_it_begins(secret: str, padding: str, encode: object) -> None:
    assert callable(encode)
    for after in ("", "z", "zz"):
        (line,) = searched(secret, encode((padding + secret + after).encode()))
        assert line.startswith("the secret, Base64")


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_as_it_is_and_as_urls_json_and_hexadecimal_have_it(secret: str) -> None:
    texts = (secret, quote(secret, safe=""), urlencode({"a": secret}), json.dumps({"a": secret}), secret.encode().hex())
    for text in (*texts, repr(secret.encode()), json.dumps({"a": secret}, ensure_ascii=False)):
        assert searched(secret, text) != [], text


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_did_not_come_out_is_not_found(secret: str) -> None:
    assert searched(secret, secret[:-1] + "\x00") == []


def test_found_secret_is_reported_with_name_and_place_but_not_shown() -> None:
    assert searched("hunter2-hunter2", "password=hunter2-hunter2&") == ["the secret, plain: in the log"]


def test_a_secret_among_many_is_found_in_a_small_text() -> None:
    search = Search()
    for number in range(5000):
        search.used(f"{number:08d}-secret", f"number {number}")
    search.came_out("an answer", "so 00004711-secret it is")
    assert search.found() == ["number 4711, plain: in an answer"]


def test_what_is_too_short_to_be_looked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="the pin is too short"):
        Search().used("1234567", "the pin")
