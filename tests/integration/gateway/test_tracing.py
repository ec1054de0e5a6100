"""Traces: `traceparent` on the way, spans at a collector, `Server-Timing` where a route asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.harness import Running, Upstream, behind_gateway

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"


@dataclass
class Collector:
    """Takes spans, as an OpenTelemetry collector does."""

    port: int = 0
    spans: list[Any] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One export."""
        assert request.path == "/v1/traces"
        export = ExportTraceServiceRequest.FromString(await request.read())
        self.spans += [s for r in export.resource_spans for scope in r.scope_spans for s in scope.spans]
        return web.Response(body=b"", content_type="application/x-protobuf")

    def named(self, name: str) -> Any:
        """The only span of this name."""
        (span,) = [span for span in self.spans if span.name == name]
        return span


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    collector = Collector()
    runner = web.ServerRunner(web.Server(collector.handle), handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.port = runner.addresses[0][1]
    try:
        yield collector
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
async def test_a_well_formed_traceparent_is_passed_on(gateway: Running, upstream: Upstream, warm: bool) -> None:
    headers = {**await gateway.bearer(), "traceparent": GIVEN}
    for _ in range(1 + warm):
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers):
            pass
    assert upstream.seen[-1].headers.getall("traceparent") == [GIVEN]


@pytest.mark.parametrize("given", [{}, {"traceparent": "nonsense"}], ids=["none", "malformed"])
@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
async def test_without_one_a_traceparent_is_made(
    gateway: Running, upstream: Upstream, given: dict[str, str], warm: bool
) -> None:
    headers = {**await gateway.bearer(), **given}
    for _ in range(1 + warm):
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers):
            pass
    (made,) = upstream.seen[-1].headers.getall("traceparent")
    assert len(made) == 55
    assert made != given.get("traceparent")


async def test_spans_of_a_relayed_request_reach_the_collector(tmp_path: Path) -> None:
    async with collecting() as collector:
        more = f"tracing: {{enabled: true, endpoint: 'http://127.0.0.1:{collector.port}'}}\n"
        async with behind_gateway(tmp_path, more=more) as (gateway, upstream):
            headers = {**await gateway.bearer(), "traceparent": GIVEN}
            async with gateway.client.get(f"{gateway.url}/noetl/x?secret=1", headers=headers) as answer:
                assert answer.status == 200
            (sent,) = upstream.seen[0].headers.getall("traceparent")
        request, behind = collector.named("GET /noetl/{path:**}"), collector.named("upstream")
        assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
        assert request.parent_span_id.hex() == SPAN
        assert behind.parent_span_id == request.span_id
        assert sent == f"00-{TRACE}-{behind.span_id.hex()}-01"
        assert {collector.named(name).parent_span_id for name in ("session", "access")} == {request.span_id}


async def test_no_span_holds_a_token_or_a_query(tmp_path: Path) -> None:
    async with collecting() as collector:
        more = f"tracing: {{enabled: true, endpoint: 'http://127.0.0.1:{collector.port}'}}\n"
        async with behind_gateway(tmp_path, more=more) as (gateway, _):
            headers = await gateway.bearer()
            async with gateway.client.get(f"{gateway.url}/noetl/x?session_token=c0ffee", headers=headers):
                pass
        text = "".join(str(span) for span in collector.spans)
        assert collector.spans
        assert "c0ffee" not in text
        assert headers["authorization"].split()[1] not in text


@pytest.mark.gateway(more="tracing: {enabled: true, endpoint: 'http://127.0.0.1:1'}\n")
async def test_a_collector_that_is_not_there_harms_no_request(gateway: Running) -> None:
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=await gateway.bearer()) as answer:
        assert answer.status == 200


@pytest.mark.gateway(
    more="routes:\n  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}', server_timing: true}\n"
    "  - {path: '/ws/{path:**}', upstream: noetl, rewrite: '/api/{path}'}\n"
)
async def test_route_with_server_timing_sends_the_header(gateway: Running) -> None:
    headers = await gateway.bearer()
    for path, told in (("/noetl/x", True), ("/ws/x", False)) * 2:
        async with gateway.client.get(gateway.url + path, headers=headers) as answer:
            assert ("server-timing" in answer.headers) is told
            if told:
                assert answer.headers["server-timing"].startswith("upstream;dur=")
