"""The rules for header edits, as tables and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.header_edits import Direction, EditProblem, Part, edit_problems, name_problem, value_problem

REQUEST, RESPONSE = Direction.REQUEST, Direction.RESPONSE
NAMES = st.text("abcXYZ019-_!", min_size=1).map(lambda text: f"a{text}")
VISIBLE = [chr(code) for code in range(256) if chr(code).isprintable() and chr(code) != " "]
VALUES = st.text([*VISIBLE, " ", "\t"]).map(lambda text: text.strip(" \t"))


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "cookie",
        "origin",
        "user-agent",
        "accept-encoding",
        "X-Gateway",
        "x-api-key",
        "accept",
        "a!#$%&'",
    ],
)
def test_request_header_that_is_the_clients_may_be_edited(name: str) -> None:
    assert name_problem(name, REQUEST) is None


@pytest.mark.parametrize("name", ["server", "Cache-Control", "date", "set-cookie", "location", "etag", "host", "vary"])
def test_response_header_that_is_the_upstreams_may_be_edited(name: str) -> None:
    assert name_problem(name, RESPONSE) is None


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(
    "name",
    [
        "x-user-id", "x-user-email", "x-user-roles", "X-User-Anything", "x_user_id", "x-request-id", "X-Request-ID",
        "x-forwarded-for", "x-forwarded-proto", "x-forwarded-anything", "forwarded", "via", "traceparent",
        "x-session-token",
    ],
)  # fmt: skip
def test_header_of_the_gateway_may_not_be_edited(name: str, direction: Direction) -> None:
    assert name_problem(name, direction) == "is set by the gateway: an edit can't set or remove it"


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("content-length", "frames the message"),
        ("Transfer-Encoding", "frames the message"),
        ("transfer_encoding", "frames the message"),
        ("trailer", "frames the message"),
        ("expect", "frames the message"),
        ("connection", "is a hop-by-hop header"),
        ("keep-alive", "is a hop-by-hop header"),
        ("TE", "is a hop-by-hop header"),
        ("upgrade", "is a hop-by-hop header"),
        ("proxy-authorization", "is a hop-by-hop header"),
        ("proxy-connection", "is a hop-by-hop header"),
    ],
)
def test_framing_and_hop_by_hop_headers_may_not_be_edited(name: str, start: str, direction: Direction) -> None:
    assert (name_problem(name, direction) or "").startswith(start)


def test_host_may_not_be_edited_in_requests() -> None:
    assert name_problem("Host", REQUEST) is not None


def test_cors_headers_may_not_be_edited_in_responses() -> None:
    text = "is set by the gateway: use the route's cors block"
    assert name_problem("Access-Control-Allow-Origin", RESPONSE) == text


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\nb", "ä", "a(b)", "a\0", "x-ä", '"a"', "a\n"])
def test_name_that_is_not_a_token_is_a_problem(name: str) -> None:
    assert name_problem(name, REQUEST) == "is not a header name: use letters, digits and hyphens"


@pytest.mark.parametrize("value", ["", "a", "a b\tc", "é", "Basic dXNlcjpwYXNz", "no-store", "~!\u00ff"])
def test_line_of_visible_latin_1_is_a_value(value: str) -> None:
    assert value_problem(value) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\r\nx: y", "has a line break at character 2: a header value is one line of text"),
        ("\n", "has a line break at character 1: a header value is one line of text"),
        ("a\rb", "has a line break at character 2: a header value is one line of text"),
        ("ab\0", "has a NUL character at character 3: a header value is one line of text"),
        ("a\x7f", "has an invisible character at character 2: a header value is visible text"),
        ("a\x1bb", "has an invisible character at character 2: a header value is visible text"),
        ("a\x85b", "has an invisible character at character 2: a header value is visible text"),
        ("a\xa0b", "has an invisible character at character 2: a header value is visible text"),
        ("a€", "has a character outside Latin-1 at character 2: a header value is Latin-1 text"),
        ("\u2028", "has a character outside Latin-1 at character 1: a header value is Latin-1 text"),
        ("\ud800", "has a character outside Latin-1 at character 1: a header value is Latin-1 text"),
        (" a", "starts or ends with a space or tab: remove it"),
        ("a\t", "starts or ends with a space or tab: remove it"),
        (" ", "starts or ends with a space or tab: remove it"),
    ],
)
def test_other_text_is_not_a_value(value: str, text: str) -> None:
    assert value_problem(value) == text


@given(VALUES)
def test_every_accepted_value_is_one_field_line_on_the_wire(value: str) -> None:
    assert value_problem(value) is None
    wire = f"x-a: {value}\r\n".encode("latin-1")
    assert wire.splitlines() == [wire.removesuffix(b"\r\n")] or b"\x85" in wire
    assert wire.count(b"\n") == wire.count(b"\r") == 1


@given(st.text(min_size=1))
def test_an_accepted_value_never_holds_a_control_character(value: str) -> None:
    if value_problem(value) is None:
        assert all(character == "\t" or 0x20 <= ord(character) <= 0xFF for character in value)
        assert value.strip() == value


@given(st.text(min_size=8), st.text(min_size=8))
def test_no_problem_contains_the_value(value: str, name: str) -> None:
    secret = f"{value}hunter2"
    for problem in edit_problems(REQUEST, {name: secret}, []):
        assert secret not in problem.text
        assert "hunter2" not in problem.text


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_problems_of_names_do_not_depend_on_the_spelling(edit: dict[str, str]) -> None:
    for name in edit:
        assert name_problem(name, REQUEST) == name_problem(name.upper(), REQUEST) == name_problem(name.lower(), REQUEST)


def test_same_name_in_different_case_is_a_problem() -> None:
    problems = list(edit_problems(REQUEST, {"X-Foo": "1", "x-foo": "2"}, []))
    assert problems == [EditProblem(Part.SET, "x-foo", False, 'is the same header as "X-Foo"; keep one of them')]


def test_same_name_in_set_and_remove_is_a_problem() -> None:
    problems = list(edit_problems(RESPONSE, {"Server": "1"}, ["etag", "server"]))
    assert problems == [EditProblem(Part.REMOVE, 1, False, '"server" is in set too; keep it in one of the two lists')]


def test_name_and_value_that_are_both_wrong_are_two_problems() -> None:
    problems = list(edit_problems(REQUEST, {"via": "a\n"}, ["x y"]))
    assert [(one.part, one.entry, one.is_value) for one in problems] == [
        (Part.SET, "via", False),
        (Part.SET, "via", True),
        (Part.REMOVE, 0, False),
    ]
