"""What is forwarded: nothing of one connection, no credentials, no forged identity; the rest byte for byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.http.test_header_plan import request_headers, response_headers

ONE_CONNECTION = ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
PROXY = ("proxy-connection", "proxy-authorization", "proxy-authenticate", "proxy-authentication-info", "proxy-other")
CARRIERS = ("authorization", "x-session-token")
IDENTITY = (
    "x-user-id", "x-user-email", "x-user-roles", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
    "forwarded", "via", "traceparent",
)  # fmt: skip
HARMLESS = (
    "accept",
    "content-type",
    "user-agent",
    "x-custom",
    "custom_field",
    "te-x",
    "x-users",
    "proxied",
)
NAMED = ("x-custom", "custom_field", "accept", "cookie2")
VALUES = st.one_of(st.just(""), st.text(alphabet='aZ09 ,;="é\t', max_size=8))


def spelled(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """The names in any case, with underscores for some of their hyphens."""
    return st.sampled_from(names).flatmap(
        lambda name: st.tuples(
            *(st.sampled_from([c, c.upper(), "_"] if c == "-" else [c, c.upper()]) for c in name)
        ).map("".join)
    )


def fields(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(names, VALUES), max_size=8)


REFUSED = spelled(ONE_CONNECTION + PROXY + CARRIERS + IDENTITY)
KEPT = st.sampled_from(HARMLESS).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()]))


@given(st.lists(st.tuples(st.booleans(), REFUSED, KEPT, VALUES), max_size=12))
def test_a_request_keeps_all_but_what_is_refused_in_order_and_byte_for_byte(
    parts: list[tuple[bool, str, str, str]],
) -> None:
    headers = [(bad if refused else good, "none" if refused else value) for refused, bad, good, value in parts]
    assert request_headers(headers) == [(good, value) for refused, _, good, value in parts if not refused]


@given(st.lists(st.sampled_from(NAMED), min_size=1), st.sampled_from([",", ", ", " ,, "]), fields(KEPT))
def test_what_connection_names_does_not_travel(names: list[str], comma: str, headers: list[tuple[str, str]]) -> None:
    connection = ("Connection", comma.join(names).upper())
    expected = [(name, value) for name, value in headers if name.lower() not in names]
    assert request_headers([connection, *headers]) == expected
    assert request_headers([*headers, connection]) == expected
    assert response_headers([*headers, connection]) == [(name.lower(), value) for name, value in expected]


@given(fields(st.one_of(REFUSED, KEPT)), st.sampled_from(["x-custom", "accept", "close"]))
def test_filtering_twice_takes_nothing_more(headers: list[tuple[str, str]], named: str) -> None:
    once = request_headers([*headers, ("connection", named)], "session_token")
    assert request_headers(once, "session_token") == once


PAIRS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["a", "session_token2", "Session_Token"]),
    st.sampled_from(["=", ""]),
    VALUES.map(lambda v: v.replace(";", "")),
)


@given(st.lists(PAIRS, max_size=4), st.sampled_from([";", "; ", " ; "]))
def test_cookies_without_the_session_travel_byte_for_byte(pairs: list[str], separator: str) -> None:
    value = separator.join(pairs) or "a=b"
    assert request_headers([("Cookie", value)], "session_token") == [("Cookie", value)]


@given(
    st.lists(PAIRS, max_size=3),
    st.lists(PAIRS, max_size=3),
    st.sampled_from([";", "; ", " ;\t"]),
    st.sampled_from(["=", " = ", ""]),
)
def test_the_session_cookie_never_travels_and_the_others_do(
    before: list[str], after: list[str], separator: str, equals: str
) -> None:
    value = separator.join(
        [*before, f"session_token{equals}secret", *after] if equals else [*before, "session_token", *after]
    )
    others = [text for text in (pair.strip() for pair in before + after) if text]
    sent = request_headers([("cookie", value)], "session_token")
    assert sent == ([("cookie", "; ".join(others))] if others else [])


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from(ONE_CONNECTION + PROXY).flatmap(lambda n: st.sampled_from([n, n.title()])),
            KEPT,
            VALUES,
        )
    )
)
def test_an_answer_keeps_all_but_the_fields_of_the_connection(parts: list[tuple[bool, str, str, str]]) -> None:
    headers = [(bad if refused else good, "none" if refused else value) for refused, bad, good, value in parts]
    assert response_headers(headers) == [(good.lower(), value) for refused, _, good, value in parts if not refused]
