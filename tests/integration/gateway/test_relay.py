"""`/noetl/*`: what reaches the upstream, what comes back, and what is answered when the upstream fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from tests.integration.harness import PATIENCE, Running, Upstream, behind_gateway, eventually


async def test_method_path_query_and_body_reach_the_upstream(gateway: Running, upstream: Upstream) -> None:
    bodies = []

    async def keep(request: web.BaseRequest) -> web.StreamResponse:
        bodies.append(await request.read())
        return web.Response(text="kept", status=201)

    upstream.answer = keep
    url, headers = f"{gateway.url}/noetl/a/b%20c;d?x=%41&y", await gateway.bearer()
    async with gateway.client.put(URL(url, encoded=True), data=b"body", headers=headers) as answer:
        assert (answer.status, await answer.text()) == (201, "kept")
    (seen,) = upstream.seen
    assert (seen.method, seen.raw_path, bodies) == ("PUT", "/api/a/b%20c;d?x=%41&y", [b"body"])


async def test_the_upstream_learns_who_asks_and_never_the_token(gateway: Running, upstream: Upstream) -> None:
    token = await gateway.session("anna@staff.test")
    forged = {"x-user-id": "1000", "X_User_Email": "root@staff.test", "X-Forwarded-For": "6.6.6.6"}
    carriers = {"Authorization": f"Bearer {token}", "X-Session-Token": token}
    cookies = {"Cookie": f"session_token={token}; theme=dark"}
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers={**carriers, **forged, **cookies}) as answer:
        assert answer.status == 200
    (seen,) = upstream.seen
    assert token.encode() not in b"".join(name + value for name, value in seen.raw_headers)
    assert seen.headers.getall("x-user-id") == ["1"]
    assert seen.headers.getall("x-user-email") == ["anna@staff.test"]
    assert seen.headers["x-user-roles"] == "staff"
    assert "root@staff.test" not in str(seen.raw_headers)
    assert seen.headers["cookie"] == "theme=dark"
    assert "6.6.6.6" not in seen.headers["x-forwarded-for"]


async def test_request_id_and_traceparent_of_the_client_are_kept(gateway: Running, upstream: Upstream) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {**await gateway.bearer(), "x-request-id": "my.id-1", "traceparent": trace}
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
        assert answer.headers.getall("x-request-id") == ["my.id-1"]
    assert upstream.seen[0].headers.getall("x-request-id") == ["my.id-1"]
    assert upstream.seen[0].headers["traceparent"] == trace


async def test_a_malformed_request_id_is_replaced(gateway: Running) -> None:
    async with gateway.client.get(f"{gateway.url}/health", headers={"x-request-id": "a b"}) as answer:
        assert len(answer.headers["x-request-id"]) == 32


async def test_status_and_headers_come_back_without_hop_by_hop_ones(gateway: Running, upstream: Upstream) -> None:
    async def teapot(request: web.BaseRequest) -> web.StreamResponse:
        headers = [("x-a", "1"), ("x-a", "2"), ("connection", "x-secret"), ("x-secret", "s"), ("location", "/else")]
        return web.Response(status=307, headers=headers, body=b"gone", content_type="text/x-tea")

    upstream.answer = teapot
    async with gateway.client.get(
        f"{gateway.url}/noetl/x", headers=await gateway.bearer(), allow_redirects=False
    ) as answer:
        assert (answer.status, answer.headers["location"], answer.content_type) == (307, "/else", "text/x-tea")
        assert answer.headers.getall("x-a") == ["1", "2"]
        assert "x-secret" not in answer.headers


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_answers_without_a_body_have_none_and_the_connection_goes_on(
    gateway: Running, upstream: Upstream, method: str, status: int
) -> None:
    async def empty(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=b"12345" if method == "HEAD" else None, headers={"etag": '"e"'})

    upstream.answer = empty
    token = await gateway.session()
    head = f"host: a\r\nauthorization: Bearer {token}\r\n"
    first = f"{method} /noetl/x HTTP/1.1\r\n{head}\r\n"
    answer = await gateway.raw((first + f"GET /health HTTP/1.1\r\n{head}connection: close\r\n\r\n").encode())
    start, _, rest = answer.partition(b"\r\n\r\n")
    assert start.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'etag: "e"' in start.lower()
    assert rest.startswith(b"HTTP/1.1 200 OK")


async def test_a_response_streams_before_it_is_complete(gateway: Running, upstream: Upstream) -> None:
    more = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await more.wait()
        await response.write(b"second")
        return response

    upstream.answer = slow
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=await gateway.bearer()) as answer:
        assert await answer.content.readexactly(5) == b"first"
        more.set()
        assert await answer.content.read() == b"second"


async def test_a_request_body_streams_before_it_is_complete(gateway: Running, upstream: Upstream) -> None:
    arrived = asyncio.Event()

    async def listen(request: web.BaseRequest) -> web.StreamResponse:
        first = await request.content.readexactly(5)
        arrived.set()
        return web.Response(body=first + await request.content.read())

    async def upload() -> AsyncIterator[bytes]:
        yield b"first"
        await arrived.wait()
        yield b"second"

    upstream.answer = listen
    async with asyncio.timeout(PATIENCE):
        async with gateway.client.post(
            f"{gateway.url}/noetl/x", data=upload(), headers=await gateway.bearer()
        ) as answer:
            assert await answer.read() == b"firstsecond"


@pytest.mark.gateway(server="limits: {max_body_size: 1KiB}")
async def test_a_body_over_the_limit_is_413_whether_announced_or_not(gateway: Running) -> None:
    async def upload() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 512

    headers = await gateway.bearer()
    for body in (b"x" * 2048, upload()):
        async with gateway.client.post(f"{gateway.url}/noetl/x", data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json())["error"]) == (413, "Request body too large")


@pytest.mark.gateway(server="limits: {body_timeout: 50ms}")
async def test_a_body_that_stalls_is_408(gateway: Running, upstream: Upstream) -> None:
    async def swallow(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response()

    upstream.answer = swallow
    token = await gateway.session()
    head = f"POST /api/auth/check-access HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n"
    answer = await gateway.raw(
        f"{head}content-type: application/json\r\ncontent-length: 9\r\n\r\n{{".encode(), until_closed=False
    )
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_an_unreachable_upstream_is_502(tmp_path: Path, unused_tcp_port: int) -> None:
    more = f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{unused_tcp_port}']}}}}\n"
    async with behind_gateway(tmp_path, more=more) as (gateway, _):
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=await gateway.bearer()) as answer:
            body = await answer.json()
    assert (answer.status, body["error"]) == (502, "NoETL server unreachable")
    assert str(unused_tcp_port) not in json.dumps(body)


@pytest.mark.gateway(more="upstreams: {noetl: {urls: ['UPSTREAM'], response_timeout: 50ms}}\n")
async def test_an_upstream_that_is_silent_is_504(gateway: Running, upstream: Upstream) -> None:
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(PATIENCE)
        return web.Response()

    upstream.answer = silent
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=await gateway.bearer()) as answer:
        assert (answer.status, (await answer.json())["error"]) == (504, "NoETL server did not answer in time")


@pytest.mark.gateway(more="upstreams: {noetl: {urls: ['UPSTREAM'], max_connections: 1, max_pending: 0}}\n")
async def test_more_requests_than_may_wait_are_503_at_once(gateway: Running, upstream: Upstream) -> None:
    release = asyncio.Event()

    async def wait(request: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    upstream.answer = wait
    headers = await gateway.bearer()
    first = asyncio.create_task(gateway.client.get(f"{gateway.url}/noetl/x", headers=headers).__aenter__())
    await eventually(lambda: len(upstream.seen) == 1)
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    release.set()
    assert (await first).status == 200


async def test_an_upstream_that_breaks_off_mid_body_cuts_the_client_off(gateway: Running, upstream: Upstream) -> None:
    """A client must not take the part for the whole."""

    async def break_off(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "100"})
        await response.prepare(request)
        await response.write(b"part")
        assert request.transport is not None
        request.transport.close()
        return response

    upstream.answer = break_off
    token = await gateway.session()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET /noetl/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n".encode())
    received = b""
    async with asyncio.timeout(PATIENCE):
        try:
            while chunk := await reader.read(100):
                received += chunk
        except ConnectionResetError:
            pass
    writer.close()
    body = received.partition(b"\r\n\r\n")[2]
    assert len(body) < 100


async def test_a_client_that_leaves_releases_the_upstream(gateway: Running, upstream: Upstream) -> None:
    left = asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                await asyncio.sleep(0)
        finally:
            left.set()

    upstream.answer = endless
    answer = await gateway.client.get(f"{gateway.url}/noetl/x", headers=await gateway.bearer())
    await answer.content.readexactly(10)
    answer.close()
    async with asyncio.timeout(PATIENCE):
        await left.wait()
    await eventually(lambda: gateway.server.gateway.upstreams["noetl"].pool.busy == 0)


@pytest.mark.parametrize(
    "path",
    [
        "/noetl/../admin",
        "/noetl/%2e%2e/admin",
        "/noetl/a%2fb",
        "/noetl/a%5cb",
        "/noetl/a\\b",
        "/noetl/%00",
        "/noetl/%0a",
    ],
)
async def test_a_path_that_could_be_read_in_two_ways_is_400_and_never_sent(
    gateway: Running, upstream: Upstream, path: str
) -> None:
    token = await gateway.session()
    request = f"GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
    answer = await gateway.raw(request.encode(), until_closed=False)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert upstream.seen == []


async def test_what_is_matched_is_what_is_sent(gateway: Running, upstream: Upstream) -> None:
    token = await gateway.session()
    request = f"GET //noetl/./a//%62 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    await gateway.raw(request.encode())
    assert [seen.raw_path for seen in upstream.seen] == ["/api/a/b"]


async def test_a_path_that_no_rule_allows_is_403_and_never_sent(gateway: Running, upstream: Upstream) -> None:
    headers = await gateway.bearer("guest@elsewhere.test")
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
        assert (answer.status, (await answer.json())["error"]) == (403, "Forbidden")
    assert upstream.seen == []


@pytest.mark.gateway(
    more="""
routes:
  - path: /x/{rest:**}
    upstream: noetl
    auth: none
    rewrite: /api/{rest}
    headers: {request: {set: {x-gateway: edge}, remove: [x-internal]}, response: {set: {x-out: o}, remove: [etag]}}
"""
)
async def test_headers_of_a_route_are_set_and_removed(gateway: Running, upstream: Upstream) -> None:
    async def tagged(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers={"etag": '"e"'})

    upstream.answer = tagged
    async with gateway.client.get(f"{gateway.url}/x/y", headers={"x-internal": "1"}) as answer:
        assert (answer.headers["x-out"], "etag" in answer.headers) == ("o", False)
    assert (upstream.seen[0].headers["x-gateway"], "x-internal" in upstream.seen[0].headers) == ("edge", False)


@pytest.mark.gateway(more="routes: [{path: /health, handler: health, allow_from: [10.0.0.0/8]}]\n")
async def test_only_networks_of_allow_from_may_use_a_route(gateway: Running) -> None:
    async with gateway.client.get(f"{gateway.url}/health") as answer:
        assert answer.status == 403


async def _first_answer(gateway: Running, head: str, body: bytes) -> tuple[bytes, bytes]:
    """What a client that waits for `100 Continue` is told first, and after it has sent its body if it was told to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        writer.write(f"{head}expect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            first = await reader.readuntil(b"\r\n\r\n")
            if first != b"HTTP/1.1 100 Continue\r\n\r\n":
                return first, await reader.read()
            writer.write(body)
            return first, await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


async def test_request_with_expect_continue_gets_100(gateway: Running, upstream: Upstream) -> None:
    token = await gateway.session()
    head = f"POST /noetl/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n"
    first, then = await _first_answer(gateway, head, b"body")
    assert (first, then[:12]) == (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200")
    assert "expect" not in upstream.seen[0].headers


async def test_rejected_request_with_expect_continue_gets_no_100(gateway: Running, upstream: Upstream) -> None:
    first, _ = await _first_answer(gateway, "POST /noetl/x HTTP/1.1\r\nhost: a\r\n", b"x" * 1000)
    assert first.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in first.lower()
    assert upstream.seen == []


@pytest.mark.gateway(server="limits: {body_timeout: 200ms}")
async def test_a_body_that_does_not_come_takes_no_upstream_connection(gateway: Running) -> None:
    token = await gateway.session()
    head = f"POST /noetl/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 9\r\n\r\n"
    assert (await gateway.raw(head.encode() + b"x")).startswith(b"HTTP/1.1 408")
    assert gateway.server.gateway.upstreams["noetl"].pool.requests == 0
