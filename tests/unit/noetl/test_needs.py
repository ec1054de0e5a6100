"""Names of playbooks and ids, as clients give them."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import BadRequest
from proxy.noetl.needs import is_id, playbook_name


@pytest.mark.parametrize("name", ["a", "a/b", "a b/c.d", "a..b", "é/漢", "a" * 512, "a/b@1", "%2e%2e/a"])
def test_the_path_of_a_playbook_is_taken_as_it_is(name: str) -> None:
    assert playbook_name(name, "name") == name


@pytest.mark.parametrize(
    "name",
    [
        "", None, 5, ["a"], "//a", "/", "a/", "a//b", "../a", "a/../b", "a/..", "./a", "a/.", "a\\b", "a\x00", "a\n",
        " a", "a ", "a\ud800", "a" * 513,
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_no_path_of_a_playbook(name: object) -> None:
    with pytest.raises(BadRequest, match=r"^name is "):
        playbook_name(name, "name")


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (5, True), ("5", True), ("0" * 20, True), ("0" * 21, False), (True, False), (1.0, False), ("", False),
        ("5 ", False), ("٢", False),
    ],
)  # fmt: skip
def test_id_is_a_number_or_its_digits(value: Any, fits: bool) -> None:
    assert is_id(value) is fits
