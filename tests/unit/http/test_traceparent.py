"""Reading `traceparent`."""

from __future__ import annotations

import pytest

from proxy.http.request_id import new_request_id
from proxy.http.traceparent import is_traceparent, new_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-more", True),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE[1:]}-{SPAN}-01", False),
        (f" 00-{TRACE}-{SPAN}-01", False),
        ("", False),
        ("00", False),
    ],
)
def test_only_what_is_well_formed_is_passed_on(text: str, fine: bool) -> None:
    assert is_traceparent(text.encode()) is fine


def test_a_new_one_is_well_formed_and_not_recorded() -> None:
    made = new_traceparent(TRACE.encode())
    assert is_traceparent(made)
    assert made == f"00-{TRACE}-{TRACE[16:]}-00".encode()


def test_a_request_id_of_ours_can_be_a_trace() -> None:
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_traceparent(new_traceparent(each)) for each in ids)
