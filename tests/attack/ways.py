# ruff: noqa: E501 - data in lines
"""Every way to name a playbook, or an execution, in a request; written for hypothesis and for tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

NAMES = (
    "open/a", "secret/b", "open/secret/c", "open/../secret/b", "open/./a", "open/a/", "secret/b/", "Open/A", "SECRET/b", "open//a",
    "open/a\x00", "secret/b\x00", "open/a ", " secret/b", "/open/a", "open/%2e%2e/secret/b", "open\\..\\secret\\b", "open/a\ud800",
    "secret/b#", "open/a?x", "open/a/../../secret/b", "open/a@1", "open/a:1", "", "open", "secret", "\u202eopen/a", "open/a\n",
)  # fmt: skip
"""Names of playbooks, and what might be taken for one."""
IDS = (101, 102, 103, "101", "102", "0102", "102 ", "103", "999", 1e2, True, None, "102/../101", "102#", "102?x")
CATALOG_IDS = (1, 2, 3, "1", "2", "02", " 2", "2.0", 2.0, True, [2], {"a": 2}, 99, -2, "٢", None)
EXECUTE = (
    "/execute", "/execute/", "/Execute", "/EXECUTE", "//execute", "/./execute", "/%65xecute", "/execute?x=1", "/execute?", "/exec%75te/",
    "/execute;x", "/execute#", "/execute#x", "/execute%23", "/execute%20", "/x/../execute", "/execute%2f", "/execute/.", "/execute%00",
    "/execute.", "/execute/%2e", "/executions/../execute", "/execute?#", "/catalog/../execute", "/execute%3f", "/EXECUTE/?a#b",
)  # fmt: skip
TYPES = (
    "application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=utf-16", "text/plain", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x", "application/vnd.api+json", "application/json, text/plain", "text/json", "", "application/json\r\ncontent-type: text/plain",
    "application/json\r\ncontent-encoding: gzip", "application/json\r\ncontent-encoding: identity\r\ncontent-encoding: gzip", "application/json\r\nx-http-method-override: PUT",
    "application/json\r\nx-original-url: /api/health", "application/json\r\nconnection: content-type", "application/json\r\ncontent_type: text/plain",
)  # fmt: skip
METHODS = ("POST", "POST", "POST", "GET", "HEAD", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the attacker's, ready to send. `plain` ones must be served just if the rules say so; of what they ask is told."""

    name: str
    data: bytes
    plain: str = ""


def http(method: str, target: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    """A raw request."""
    lines = [f"{method} {target} HTTP/1.1", "host: gateway.test", "authorization: Bearer TOKEN", "connection: close"]
    if kind:
        lines.append(f"content-type: {kind}")
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode("latin-1") + body


def graphql(query: str, variables: dict[str, Any] | None = None, **more: Any) -> bytes:
    """A GraphQL request."""
    return http("POST", "/graphql", json.dumps({"query": query, "variables": variables, **more}).encode())


def quoted(text: str) -> str:
    """A GraphQL literal."""
    return json.dumps(text)


FIELDS = "{ id executionId name status }"
SHAPES: dict[str, Callable[[str], bytes]] = {
    "literal": lambda n: graphql(f"mutation {{ executePlaybook(name: {quoted(n)}) {FIELDS} }}"),
    "escaped literal": lambda n: graphql('mutation { executePlaybook(name: "' + "".join(f"\\u{ord(c):04x}" for c in n) + f'") {FIELDS} }}'),
    "block string": lambda n: graphql(f'mutation {{ executePlaybook(name: """{n}""") {FIELDS} }}'),
    "variable": lambda n: graphql(f"mutation M($n: String!) {{ executePlaybook(name: $n) {FIELDS} }}", {"n": n}),
    "default value": lambda n: graphql(f"mutation M($n: String! = {quoted(n)}) {{ executePlaybook(name: $n) {FIELDS} }}"),
    "default and variable": lambda n: graphql(f'mutation M($n: String! = "open/a") {{ executePlaybook(name: $n) {FIELDS} }}', {"n": n}),
    "alias": lambda n: graphql(f"mutation {{ me: executePlaybook(name: {quoted(n)}) {FIELDS} }}"),
    "second alias": lambda n: graphql(f'mutation {{ a: executePlaybook(name: "open/a") {FIELDS} b: executePlaybook(name: {quoted(n)}) {FIELDS} }}'),
    "fragment": lambda n: graphql(f"mutation {{ ...F }} fragment F on Mutation {{ executePlaybook(name: {quoted(n)}) {FIELDS} }}"),
    "inline fragment": lambda n: graphql(f"mutation {{ ... on Mutation {{ executePlaybook(name: {quoted(n)}) {FIELDS} }} }}"),
    "variable in a fragment": lambda n: graphql(f"mutation M($n: String!) {{ ...F }} fragment F on Mutation {{ executePlaybook(name: $n) {FIELDS} }}", {"n": n}),
    "include": lambda n: graphql(f"mutation M($y: Boolean!) {{ executePlaybook(name: {quoted(n)}) @include(if: $y) {FIELDS} }}", {"y": True}),
    "one of two operations": lambda n: graphql(f'mutation A {{ executePlaybook(name: "open/a") {FIELDS} }} mutation B {{ executePlaybook(name: {quoted(n)}) {FIELDS} }}', operationName="B"),
    "as an agent": lambda n: graphql(f"mutation {{ executePlaybook(name: {quoted(n)}, resourceKind: agent) {FIELDS} }}"),
    "a path among the variables": lambda n: graphql(f'mutation {{ executePlaybook(name: "open/a", variables: {{path: {quoted(n)}, catalog_id: 2}}) {FIELDS} }}'),
    "batch": lambda n: http("POST", "/graphql", json.dumps([{"query": f"mutation {{ executePlaybook(name: {quoted(x)}) {FIELDS} }}"} for x in ("open/a", n)]).encode()),
    "GET": lambda n: http("GET", "/graphql?query=mutation%7BexecutePlaybook(name:%22secret/b%22)%7Bid%7D%7D"),
    "proxyRequest": lambda n: proxied("POST", "/api/execute", {"path": n}),
    "execute": lambda n: http("POST", "/noetl/execute", json.dumps({"path": n}).encode()),
    "execute with a workload": lambda n: http("POST", "/noetl/execute", json.dumps({"workload": {"path": "open/a"}, "path": n}).encode()),
}  # fmt: skip
"""Shapes of a request to run a playbook, by its name."""


def proxied(method: str, endpoint: str, body: Any) -> bytes:
    """`proxyRequest`."""
    text = "mutation P($i: ProxyRequestInput!) { proxyRequest(input: $i) { success status data error } }"
    return graphql(text, {"i": {"method": method, "endpoint": endpoint, "body": body}})


def bodies(name: str, other: str, catalog_id: Any) -> list[bytes]:
    """Bodies of execute that name a playbook in one way, in two, or in one that two parsers read differently."""
    one, two, number = json.dumps(name), json.dumps(other), json.dumps(catalog_id)
    texts = [
        f'{{"path": {one}}}', f'{{"catalog_id": {number}}}', f'{{"path": {one}, "catalog_id": {number}}}', f'{{"path": {two}, "path": {one}}}',
        f'{{"path": {one}, "path": {two}}}', f'{{"path": {two}, "p\\u0061th": {one}}}', f'{{"Path": {one}, "path": {two}}}', f'{{"path": {two}, "PATH": {one}}}',
        f'{{"catalog_id": {number}, "catalog_id": 1}}', f'{{"path": null, "catalog_id": {number}}}', f'{{"path": {one}, "catalog_id": null}}', f'[{{"path": {one}}}]',
        f'{{"path": [{one}]}}', f'{{"path": {{"path": {one}}}}}', f'{{"path": {one}}}{{"path": {two}}}', f'{{"path": {two}}}\n{{"path": {one}}}', f'{{"payload": {{"path": {one}}}, "path": {two}}}',
        f'{{"path": {one}, "x": NaN}}', f'{{"path": {one},}}', f"{{'path': {one}}}", f'{{"path": {one} /* {two} */}}', f'{{"path ": {one}, "path": {two}}}', f'{{"path\\u0000": {one}, "path": {two}}}',
        f'{{"": {{"path": {one}}}, "path": {two}}}', f'{{"path": {two}, "version": 1, "catalog_id": {number}}}', "", "null", "{}", one,
    ]  # fmt: skip
    encoded = [text.encode() for text in texts]
    plain = texts[0]
    return [
        *encoded,
        b"\xef\xbb\xbf" + encoded[0],
        plain.encode("utf-16"),
        plain.encode("utf-16-le"),
        plain.encode("utf-32"),
        encoded[0] + b"\x00",
        b"path=" + name.encode("utf-8", "replace"),
    ]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request that names a playbook or an execution in some way."""
    way = draw(st.sampled_from(["shape", "execute", "proxied", "rerun", "execution"]))
    name, other = draw(st.sampled_from(NAMES)), draw(st.sampled_from(("open/a", "secret/b")))
    if way == "shape":
        shape = draw(st.sampled_from(sorted(SHAPES)))
        return Request(f"{shape} {name!r}", SHAPES[shape](name))
    method, path = draw(st.sampled_from(METHODS)), draw(st.sampled_from(EXECUTE))
    if way == "execute":
        body = draw(st.sampled_from(bodies(name, other, draw(st.sampled_from(CATALOG_IDS)))))
        kind = draw(st.sampled_from(TYPES))
        return Request(f"{method} /noetl{path} {kind!r} {body!r}", http(method, "/noetl" + path, body, kind))
    if way == "proxied":
        body_ = draw(
            st.sampled_from(
                [
                    {"path": name},
                    {"catalog_id": 2},
                    {"path": "open/a", "catalog_id": 2},
                    {"PATH": name},
                    [name],
                    name,
                    None,
                ]
            )
        )
        if draw(st.booleans()):
            path = f"/executions/{draw(st.sampled_from(IDS))}" + draw(
                st.sampled_from(["/rerun", "/rerun#", "/cancel", "", "/status", "#", "/RERUN/", "/rerun?x#y"])
            )
        return Request(f"proxyRequest {method} {path} {body_!r}", proxied(method, "/api" + path, body_))
    number = draw(st.sampled_from(IDS))
    if draw(st.booleans()):
        field = draw(st.sampled_from(["rerunExecution", "executionStatus", "execution", "cancelExecution"]))
        word = "mutation" if field in ("rerunExecution", "cancelExecution") else "query"
        argument = "id" if field == "execution" else "executionId"
        selection = "{ id name }" if field == "rerunExecution" else "{ id path variables result events { id result } }"
        kind = "ID!" if field == "execution" else "String!"
        text = f"{word} W($x: {kind}) {{ w: {field}({argument}: $x) {selection} }}"
        return Request(f"{field} {number!r}", graphql(text, {"x": number}))
    tail = draw(
        st.sampled_from(
            [
                "/rerun",
                "/RERUN",
                "/rerun/",
                "//rerun",
                "/%72erun",
                "/rerun?x",
                "",
                "/",
                "/status",
                "/events",
                "/cancel",
                "/x/../rerun",
                "/rerun;x",
            ]
        )
    )
    word = draw(st.sampled_from(["executions", "Executions", "EXECUTIONS", "%65xecutions", "executions/"]))
    return Request(
        f"{method} /noetl/{word}/{number}{tail}",
        http(method, f"/noetl/{word}/{number}{tail}".replace(" ", "%20"), b"{}" if method != "GET" else b""),
    )
