"""Header fields on both transports: edits, credentials, and the bytes of responses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.harness import TRANSPORTS
from tests.integration.raw import Behind, behind_recorder

EDITED = """
routes:
  - path: /noetl/{path:**}
    upstream: noetl
    rewrite: /api/{path}
    headers:
      request: REQUEST
      response: RESPONSE
"""
NAMES = ("cookie", "origin", "authorization", "user-agent", "x-custom")
UNEDITED = ["Cookie: theme=dark", "Origin: http://a.test", "User-Agent: ua/1", "X-Custom: 1", "Accept: text/plain"]


def edited(*, request: str = "{}", response: str = "{}") -> str:
    return EDITED.replace("REQUEST", request).replace("RESPONSE", response)


def forwarded(behind: Behind) -> list[str]:
    """The field lines of the only request upstream, without those of the gateway's own and without framing."""
    (arrived,) = behind.upstream.arrived
    lines = arrived.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    own = ("host", "x-user-", "x-forwarded-", "forwarded", "via", "x-request-id", "traceparent", "content-length")
    return [line for line in lines if not line.lower().startswith(own)]


@TRANSPORTS
@pytest.mark.parametrize("name", NAMES)
async def test_request_edit_sets_a_field_upstream(tmp_path: Path, fast: bool, name: str) -> None:
    more = edited(request=f"{{set: {{{name}: 'sét by route'}}}}")
    async with behind_recorder(tmp_path, fast=fast, more=more) as behind:
        await behind.warm()
        got = await behind.ask(behind.request("/noetl/x", *UNEDITED))
        assert got.status == 200
        kept = [line for line in UNEDITED if line.partition(":")[0].lower() != name]
        assert forwarded(behind) == [*kept, f"{name}: sét by route"]
        assert behind.gateway.served_fast == int(fast)


@TRANSPORTS
@pytest.mark.parametrize("name", NAMES)
async def test_request_edit_removes_a_field_upstream(tmp_path: Path, fast: bool, name: str) -> None:
    async with behind_recorder(tmp_path, fast=fast, more=edited(request=f"{{remove: [{name}]}}")) as behind:
        await behind.warm()
        assert (await behind.ask(behind.request("/noetl/x", *UNEDITED))).status == 200
        assert forwarded(behind) == [line for line in UNEDITED if line.partition(":")[0].lower() != name]


@TRANSPORTS
@pytest.mark.parametrize("name", NAMES)
async def test_response_edit_sets_and_removes_a_field(tmp_path: Path, fast: bool, name: str) -> None:
    more = edited(response=f"{{set: {{{name}: 'sét'}}, remove: [x-removed]}}")
    async with behind_recorder(tmp_path, fast=fast, more=more) as behind:
        behind.upstream.answer = (
            f"HTTP/1.1 200 OK\r\n{name}: own\r\nX-Removed: 1\r\nx-kept: 2\r\ncontent-length: 2\r\n\r\nok".encode()
        )
        await behind.warm()
        for _ in range(2):
            got = await behind.ask(behind.request("/noetl/x"))
            assert (got.values(name), got.values("x-removed"), got.values("x-kept")) == (
                ["sét".encode("latin-1")],
                [],
                [b"2"],
            )


CARRIERS = {
    "an empty authorization first": ["authorization: ", "authorization: Bearer TOKEN"],
    "an empty bearer first": ["authorization: Bearer ", "authorization: Bearer TOKEN"],
    "another scheme first": ["authorization: Basic YTpi", "authorization: bearer TOKEN"],
    "a malformed bearer first": ["authorization: Bearer nonsense", "authorization: Bearer TOKEN"],
    "an empty x-session-token first": ["x-session-token: ", "x-session-token: TOKEN"],
    "a malformed x-session-token first": ["x-session-token: ZZ", "x-session-token: TOKEN"],
    "a malformed bearer and a token": ["authorization: Bearer ZZ", "x-session-token: TOKEN"],
    "the same token twice": ["authorization: Bearer TOKEN", "authorization: Bearer TOKEN"],
}
JSON = "content-type: application/json"


@TRANSPORTS
@pytest.mark.parametrize("carriers", CARRIERS.values(), ids=CARRIERS)
async def test_first_well_formed_token_counts_everywhere(tmp_path: Path, fast: bool, carriers: list[str]) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        for _ in range(2):
            relayed = await behind.ask(behind.request("/noetl/x", *carriers, bearer=False))
            assert relayed.status == 200
            validated = await behind.ask(
                behind.request("/api/auth/validate", *carriers, JSON, method="POST", body=b"{}", bearer=False)
            )
            assert json.loads(validated.body)["valid"] is True
            query = b'{"query": "{ me { email } }"}'
            answered = await behind.ask(
                behind.request("/graphql", *carriers, JSON, method="POST", body=query, bearer=False)
            )
            assert json.loads(answered.body) == {"data": {"me": {"email": "anna@staff.test"}}}
        assert not any(behind.token.encode() in arrived.raw for arrived in behind.upstream.arrived)


@TRANSPORTS
async def test_first_well_formed_token_counts_also_if_it_is_of_no_session(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        carriers = ["authorization: Bearer " + "0" * 32, "authorization: Bearer TOKEN"]
        got = await behind.ask(behind.request("/noetl/x", *carriers, bearer=False))
        assert (got.status, got.values("www-authenticate"), behind.upstream.arrived) == (401, [b"Bearer"], [])


NAME = "ä日.txt"
DISPOSITIONS = {
    "Latin-1": "ä.txt".encode("latin-1"), "UTF-8": NAME.encode(), "Shift-JIS": "日本.txt".encode("shift-jis"),
}  # fmt: skip
FRAMES = {
    "with a length": b"content-length: 5\r\n\r\nhello",
    "in chunks": b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "without a body": b"content-length: 0\r\n\r\n",
}


@TRANSPORTS
@pytest.mark.parametrize("framing", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("name", DISPOSITIONS.values(), ids=DISPOSITIONS)
async def test_field_values_and_reason_keep_their_bytes(
    tmp_path: Path, fast: bool, name: bytes, framing: bytes
) -> None:
    field = b"attachment; filename=" + name
    async with behind_recorder(tmp_path, fast=fast) as behind:
        behind.upstream.answer = b"HTTP/1.1 200 Tr\xe8s bien\r\nContent-Disposition: " + field + b"\r\n" + framing
        await behind.warm()
        for _ in range(3):
            got = await behind.ask(behind.request("/noetl/x"))
            assert got.start == b"HTTP/1.1 200 Tr\xe8s bien"
            assert got.values("content-disposition") == [field]
            assert got.body == (b"" if framing.endswith(b"0\r\n\r\n") and b"chunked" not in framing else b"hello")


@TRANSPORTS
async def test_request_field_values_keep_their_bytes(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        await behind.ask(behind.request("/noetl/x", "x-name: ä\xff", "X-Spelled-SO:  two  words "))
        assert forwarded(behind) == ["x-name: ä\xff", "X-Spelled-SO: two  words"]


@TRANSPORTS
async def test_space_before_a_colon_of_an_upstream_field_is_removed(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        behind.upstream.answer = b"HTTP/1.1 200 OK\r\nX-Odd : 1\r\ncontent-length: 2\r\n\r\nok"
        await behind.warm()
        for _ in range(2):
            got = await behind.ask(behind.request("/noetl/x"))
            assert (got.status, got.values("x-odd")) == (200, [b"1"])


@TRANSPORTS
@pytest.mark.parametrize(
    ("given", "expected"), [("/noetl/x?", "/api/x?"), ("/noetl/x", "/api/x"), ("/noetl/x?a=%41&b", "/api/x?a=%41&b")]
)
async def test_query_is_kept_byte_for_byte(tmp_path: Path, fast: bool, given: str, expected: str) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        assert (await behind.ask(behind.request(given))).status == 200
        assert [arrived.target for arrived in behind.upstream.arrived] == [expected]


@TRANSPORTS
@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/noetl/x", []), ("/health", []), ("/api/auth/me", []), ("/nope", []), ("/noetl/x", ["connection: close"]),
        ("/noetl/..", []), ("/noetl/x", ["upgrade: h2c", "connection: upgrade"]), ("/metrics", []), ("/ready", []),
    ],
)  # fmt: skip
async def test_every_response_has_one_date(tmp_path: Path, fast: bool, target: str, fields: list[str]) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        for _ in range(2):
            assert len((await behind.ask(behind.request(target, *fields))).values("date")) == 1


@TRANSPORTS
async def test_bare_400_has_a_date(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        got = await behind.ask(b"GET / HTTP/1.1\r\nhost: a\r\nbad field\r\n\r\n")
        assert (got.status, len(got.values("date")), got.closes) == (400, 1, True)


@TRANSPORTS
async def test_date_of_the_upstream_is_kept(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        date = b"Sun, 06 Nov 1994 08:49:37 GMT"
        behind.upstream.answer = b"HTTP/1.1 200 OK\r\nDate: " + date + b"\r\ncontent-length: 2\r\n\r\nok"
        await behind.warm()
        assert (await behind.ask(behind.request("/noetl/x"))).values("date") == [date]


LOCATIONS = [
    ("http://127.0.0.1:PORT/api/executions/7?x=1#y", "/noetl/executions/7?x=1#y"),
    ("HTTP://127.0.0.1:PORT/api/", "/noetl/"),
    ("//127.0.0.1:PORT/api/a", "/noetl/a"),
    ("/api/executions/7", "/noetl/executions/7"),
    ("http://127.0.0.1:PORT/other", "/other"),
    ("/other", "/other"),
    ("executions/7", "executions/7"),
    ("http://elsewhere.test/api/x", "http://elsewhere.test/api/x"),
    ("https://127.0.0.1:PORT/api/x", "https://127.0.0.1:PORT/api/x"),
]


@TRANSPORTS
@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize(("given", "expected"), LOCATIONS)
async def test_location_of_the_upstream_becomes_the_gateways(
    tmp_path: Path, fast: bool, field: str, given: str, expected: str
) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        port = str(behind.upstream.port)
        value = given.replace("PORT", port)
        behind.upstream.answer = f"HTTP/1.1 302 Found\r\n{field}: {value}\r\ncontent-length: 0\r\n\r\n".encode()
        await behind.warm()
        got = await behind.ask(behind.request("/noetl/x"))
        assert got.values(field.lower()) == [expected.replace("PORT", port).encode()]


@TRANSPORTS
async def test_location_stays_where_rewrite_location_is_off(tmp_path: Path, fast: bool) -> None:
    more = "upstreams: {noetl: {urls: ['UPSTREAM'], rewrite_location: false}}\n"
    async with behind_recorder(tmp_path, fast=fast, more=more) as behind:
        for value in (f"http://127.0.0.1:{behind.upstream.port}/api/x", "/api/x"):
            behind.upstream.answer = f"HTTP/1.1 302 Found\r\nLocation: {value}\r\ncontent-length: 0\r\n\r\n".encode()
            await behind.warm()
            assert (await behind.ask(behind.request("/noetl/x"))).values("location") == [value.encode()]


@TRANSPORTS
@pytest.mark.parametrize("status", ["099", "000", "001"])
async def test_status_below_100_is_a_bad_gateway_at_once(tmp_path: Path, fast: bool, status: str) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        behind.upstream.answer = f"HTTP/1.1 {status} Odd\r\ncontent-length: 2\r\n\r\nok".encode()
        assert (await behind.ask(behind.request("/noetl/x"))).status == 502
