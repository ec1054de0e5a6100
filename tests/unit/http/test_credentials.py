# ruff: noqa: E501 - data in lines
"""Which session token a request carries."""

from __future__ import annotations

import pytest

from proxy.http.credentials import cookie_values, key_of, read_credentials, sets_cookie

A, B, C = "a" * 32, "b" * 32, "c" * 32


def keys(*tokens: str) -> tuple[bytes | None, ...]:
    return tuple(key_of(token) for token in tokens)


@pytest.mark.parametrize(
    ("authorization", "header", "cookies", "expected"),
    [
        ([f"Bearer {A}"], [], [], [A]), ([f"bearer  {A} "], [], [], [A]), ([], [A], [], [A]), ([], [], [f"sid={A}"], [A]),
        ([f"Bearer {A}"], [B], [f"sid={C}"], [A]), ([], [B], [f"sid={C}"], [B]), (["", f"Bearer {A}"], [], [], [A]), (["Bearer ", f"Bearer {A}"], [], [], [A]),
        (["Bearer zz"], [B], [], [B]), (["Basic YTpi", f"Bearer {A}"], [], [], [A]), ([], ["", A], [], [A]), ([], ["zz"], [f"sid={C}"], [C]),
        ([], [], [f"sid={A}; sid={B}"], [A, B]), ([], [], [f"sid={A}", f"x=1; sid={B}"], [A, B]), ([], [], [f"sid=zz; sid={B}"], [B]), ([], [], [f'sid="{A}"'], [A]),
        ([], [], [f"other={A}"], []), ([f"Basic {A}"], [], [], []), ([A], [], [], []), ([f"Bearer {A.upper()}"], [], [], []), ([], [], [f"sid={A}; sid={A}"], [A]),
    ],
)  # fmt: skip
def test_first_well_formed_token_counts_and_each_cookie_is_tried(
    authorization: list[str], header: list[str], cookies: list[str], expected: list[str]
) -> None:
    assert read_credentials(authorization, header, cookies, "sid").keys == keys(*expected)


def test_cookies_do_not_count_where_they_are_not_enabled() -> None:
    found = read_credentials([], [], [f"sid={A}"], None)
    assert (found.keys, found.has_cookie, found.presented) == ((), False, False)


def test_cookie_keys_are_there_also_if_another_carrier_counts() -> None:
    found = read_credentials([f"Bearer {A}"], [], [f"sid={B}"], "sid")
    assert (found.keys, found.cookie_keys, found.has_cookie, found.by_cookie) == (keys(A), keys(B), True, False)


def test_request_signed_in_by_cookie_says_so() -> None:
    assert read_credentials([], [], [f"sid={A}"], "sid").by_cookie


def test_number_of_cookies_that_are_tried_is_bounded() -> None:
    cookies = "; ".join(f"sid={number:032x}" for number in range(100))
    assert len(read_credentials([], [], [cookies], "sid").keys) == 20


@pytest.mark.parametrize(
    ("value", "presented"),
    [(f"Bearer {A}", True), ("Bearer zz", True), ("Bearer ", False), ("Basic x", False), ("", False)],
)
def test_carrier_is_presented_if_it_holds_anything(value: str, presented: bool) -> None:
    assert read_credentials([value], [], [], "sid").presented is presented


@pytest.mark.parametrize("token", ["", "a" * 31, "a" * 33, "g" * 32, "A" * 32, "a" * 32 + "\n", "é" * 32])
def test_malformed_token_has_no_key(token: str) -> None:
    assert key_of(token) is None


def test_cookie_values_keep_their_order_over_fields() -> None:
    assert cookie_values(["a=1; b=2; a = 3 ", "a=4;a"], "a") == ["1", "3", "4", ""]


@pytest.mark.parametrize(
    ("value", "sets"), [(b"sid=1; path=/", True), (b" sid =1", True), (b"sid", True), (b"sid2=1", False), (b"a=sid", False), (b"Sid=1", False), (b"=sid=1", True), (b" = sid=1", True), (b"==sid", True), (b"=a=sid", False)]
)  # fmt: skip
def test_set_cookie_of_a_name_is_recognised(value: bytes, sets: bool) -> None:
    assert sets_cookie(value, b"sid") is sets
