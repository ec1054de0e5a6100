"""Masks: equal for equal credentials, of a key that is random or follows from a seed."""

from __future__ import annotations

import hashlib
import json

from mock_server.masking import Masks

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
