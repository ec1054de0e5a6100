# ruff: noqa: E501 - data in lines
"""Routing, the rules and the hygiene of fields, without any I/O.

Input: a request's head, lines ended by LF: the first is method and target, each other one a field. The path has one
form, that is found, judged and read by a server as the raw one is; none of the fields that go upstream is the
gateway's own, and each stays one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy.http.header_plan import HeaderEdits, RequestPlan, request_head
from proxy.http.headers import FORWARDED_PREFIX, GATEWAY_REQUEST
from proxy.http.request import RequestFields
from proxy.http.target import PathError, is_normal, normalise_path
from proxy.policy.acl import AccessPolicy, Action, Rule, Subject
from proxy.policy.glob import path_glob
from proxy.routing import Entry, Found, Missing, RouteTable, parse_pattern
from tests.attack import smuggling, test_header_hygiene, test_injection, test_paths
from tests.attack.recorder import parse
from tests.property.test_routing import Line, naive

MAX_SIZE = 2048
WORDS = (
    "GET /", "HEAD /", "POST /", "DELETE /", "%2e", "%2f", "%5c", "..", "/./", "//", "%25", "%c3%a9", "?", "#", ";", "/noetl/secret", "/noetl/things", "/a/b", "/a/", "\nconnection: ", "\ncookie: session_token=x; a=b",
    "\nx-user-id: 1", "\nX_User_Id: 1", "\nx-forwarded-for: 1", "\nproxy-x: 1", "\nauthorization: Bearer x", "\nhost: h", "\nexpect: 100-continue", "\ntransfer-encoding: chunked", "\norigin: x", "\r", "\x00",
)  # fmt: skip
_AMBIGUOUS = re.compile(r"//|\\\\|[^!-~]|%2[fF]|%5[cC]|%0|%1|%7[fF]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_METHODS = ("GET", "HEAD", "POST", "DELETE")
LINES: list[Line] = [
    ((), ("GET", "POST"), "/noetl/{rest:**}"), ((), ("GET",), "/a/b"), ((), ("POST",), "/a/{x}"), ((), ("GET",), "/a/{x}/c"), ((), ("DELETE",), "/a/{x}/{rest:**}"),
    (("x.test",), ("GET",), "/a/b"), (("*.x.test",), ("GET",), "/{x}"), ((), ("GET",), "/"), ((), ("GET",), "/a/"),
]  # fmt: skip
TABLE = RouteTable(Entry(hosts, methods, parse_pattern(text), n) for n, (hosts, methods, text) in enumerate(LINES))
GLOBS = {"/noetl/**": r"/noetl(/.*)?", "/noetl/secret": r"/noetl/secret", "/noetl/secret/**": r"/noetl/secret(/.*)?", "/a/*": r"/a/[^/]*", "/a/*/c": r"/a/[^/]*/c"}  # fmt: skip
WHO = Subject("anna@x.test", "anna", frozenset({"staff"}), {})
PLAN = RequestPlan(HeaderEdits(), "session_token")


def _rule(effect: str, *globs: str, methods: tuple[str, ...] = ()) -> Rule:
    globs_ = tuple(path_glob(text) for text in globs)
    everything = frozenset(Action)
    return Rule("f:1", effect, everything, frozenset({"staff"}), (), (), (), globs_, frozenset(methods))  # type: ignore[arg-type]


RULES = (
    _rule("allow", "/noetl/**"),
    _rule("deny", "/noetl/secret", "/noetl/secret/**"),
    _rule("allow", "/a/*", methods=("GET", "HEAD")),
    _rule("deny", "/a/*/c"),
)
POLICY = AccessPolicy((), RULES)
PERMITS = POLICY.permits(WHO)


def run(data: bytes) -> None:
    """Raise AssertionError where something is not as it must be."""
    first, *lines = data.decode("latin-1").split("\n")
    method, _, target = first.partition(" ")
    path = check_path(target.partition("?")[0])
    if path is not None:
        for asked in {method if method in _METHODS else "GET", "HEAD"}:
            check_route(asked, path, "y.x.test" if lines and lines[0].startswith("host: y") else "")
            check_rules(asked, path)
    check_fields([(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)])


def check_path(raw: str) -> str | None:
    """The one form of a path; None for one that is refused."""
    try:
        path = normalise_path(raw)
    except PathError:
        assert not is_normal(raw), raw
        return None
    assert normalise_path(path) == path, (raw, path)
    assert path.startswith("/"), path
    assert not _AMBIGUOUS.search(path), path
    assert not {".", ".."} & set(path.split("/")), path
    assert not is_normal(raw) or raw == path, (raw, path)
    assert test_paths.read_by_a_server(path) == test_paths.read_by_a_server(raw), (raw, path)
    return path


def check_route(method: str, path: str, host: str) -> None:
    """The table finds what a search through all lines finds."""
    found, expected = TABLE.find(host, method, path), naive(LINES, host, method, path)
    if isinstance(found, Found):
        assert (found.route, dict(found.params)) == expected, path
    elif found.because == "no-method":
        assert list(found.allow) == expected, path
    else:
        assert found == Missing("no-path")
        assert expected is None, path


def check_rules(method: str, path: str) -> None:
    """The decision is what reading each rule with a regular expression gives."""
    effects = {
        rule.effect
        for rule in RULES
        if (not rule.methods or method in rule.methods)
        and any(re.fullmatch(GLOBS[glob.text], path) for glob in rule.paths)
    }
    expected = effects == {"allow"}
    for action in Action:
        assert POLICY.on_path(WHO, action, method, path).allowed is expected, (method, path, effects)
        assert PERMITS.allows(action, method, path) is expected, (method, path, effects)


def check_fields(fields: list[tuple[str, str]]) -> None:
    """What goes upstream: nothing of the gateway's own, one line each, the rest in its order."""
    if not all(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value) for name, value in fields):
        return  # the parser refuses them
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    lines = RequestFields(raw, "session_token").forwarded(PLAN)
    assert PLAN.lines(raw) == lines
    pairs = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
    for name, _, value in pairs:
        lowered = name.lower().replace(b"_", b"-")
        assert lowered not in GATEWAY_REQUEST, name
        assert not lowered.startswith((FORWARDED_PREFIX, b"proxy-")), name
        assert lowered not in (b"authorization", b"x-session-token", b"connection", b"transfer-encoding"), name
        if lowered == b"cookie":
            assert b"session_token" not in [pair.partition(b"=")[0].strip() for pair in value.split(b";")], value
    others = [(name, value) for name, _, value in pairs if name.lower() != b"cookie"]
    remaining = iter(raw)
    assert all(field in remaining for field in others), f"not in their order: {others} of {raw}"
    check_head(lines)


def check_head(lines: bytes) -> None:
    """A head made of them has these fields and no other."""
    head = request_head(b"GET /api/x", b"h", b"", lines, b"", b"", b"")
    count = lines.count(b"\r\n")
    assert head.count(b"\r\n") == count + 3, head
    assert head.count(b"\n") == head.count(b"\r") == count + 3, head
    found = parse(head)
    assert found is not None
    assert len(found[0].fields) == count + 1, head


def seeds() -> Iterator[bytes]:
    """Paths, look-alikes, hostile values and smuggled fields of the attack tests."""
    for path in (*test_paths.REFUSED, *test_paths.SENT):
        yield f"GET {path}".encode("latin-1")
    for name in (*test_header_hygiene.OURS, *test_header_hygiene.NEVER, *test_header_hygiene.HOP_BY_HOP):
        for spelling in test_header_hygiene.look_alikes(name):
            yield f"POST /noetl/things\nhost: y.x.test\n{spelling}: forged\nConnection: {name}, close".encode()
    for value in test_injection.HOSTILE.values():
        if value.isascii() and len(value) < MAX_SIZE - 50:
            yield f"GET /a/b\nx-a: {value}\ncookie: session_token={value}; b={value}".encode()
    for payload in smuggling.payloads():
        if len(payload.data) < 800:
            yield payload.data.replace(b"\r\n", b"\n")
