"""OpenTelemetry spans for `tracing.enabled`: one per request, with spans for session, access and upstream in it.

Only this module uses OpenTelemetry, which the extra `otel` installs. Spans contain route patterns, methods and
statuses; they never contain headers, queries or tokens.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from proxy import __version__

_EXPORT_SECONDS = 2
MOST_TRACES = 20
"""Requests recorded in a second, with as many at once; the others are forwarded with their trace, unrecorded."""


def is_installed() -> bool:
    """Return True if the packages of the extra `otel` are installed."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


class Tracing:
    """Sender of spans to one collector. A separate thread exports them; spans that can't be sent are dropped."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.endpoint = endpoint
        resource = Resource.create({"service.name": "noetl-edge", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("noetl-edge", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._allowance, self._refilled_at = float(MOST_TRACES), time.monotonic()
        self._next_at = 0.0

    @contextmanager
    def request(self, method: str, given: dict[str, str]) -> Iterator[Any]:
        """Open the span of a request, which continues the trace of the headers in `given`."""
        from opentelemetry.trace import SpanKind

        context = self._propagator.extract(given)
        attributes = {"http.request.method": method}
        with self._tracer.start_as_current_span(method, context, SpanKind.SERVER, attributes) as span:
            yield span

    def end_request(self, span: Any, route: str | None, status: int, request_id: str) -> None:
        """Add the route, the status and the request id to the span of a request."""
        from opentelemetry.trace import Status, StatusCode

        if route is not None:
            span.update_name(f"{span.attributes['http.request.method']} {route}")
            span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("noetl.request_id", request_id)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))

    def samples(self) -> bool:
        """Return whether the next request is recorded: at most `MOST_TRACES` in a second, so that tracing stays cheap.

        The exporter can't send more than that, and would drop the rest after it has cost its time.
        """
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._allowance = min(MOST_TRACES, self._allowance + (now - self._refilled_at) * MOST_TRACES)
        self._refilled_at = now
        if self._allowance < 1:
            self._next_at = now + (1 - self._allowance) / MOST_TRACES
            return False
        self._allowance -= 1
        return True

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record a span within the current one, if that is recorded. A refusal is no error, so none is recorded."""
        from opentelemetry.trace import get_current_span

        if not get_current_span().is_recording():
            yield
            return
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
            yield

    @contextmanager
    def upstream(self, name: str, method: str) -> Iterator[bytes]:
        """Record the span of a request to an upstream; yield the `traceparent` to send, empty if none is recorded."""
        from opentelemetry.trace import SpanKind, get_current_span

        if not get_current_span().is_recording():
            yield b""
            return
        attributes = {"http.request.method": method, "peer.service": name}
        with self._tracer.start_as_current_span("upstream", None, SpanKind.CLIENT, attributes, record_exception=False):
            carried: dict[str, str] = {}
            self._propagator.inject(carried)
            yield carried.get("traceparent", "").encode("ascii")

    def close(self) -> None:
        """Send the remaining spans and stop."""
        self._provider.shutdown()
