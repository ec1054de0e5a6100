"""OpenTelemetry spans for `tracing.enabled`: one per request, with spans for session, access and upstream in it.

Only this module uses OpenTelemetry, which the extra `otel` installs. Spans contain route patterns, methods and
statuses; they never contain headers, queries or tokens.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from proxy import __version__

_EXPORT_SECONDS = 2


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

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Open a span in the current one. Exceptions are not recorded: rejecting a request is not an error."""
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
            yield

    @contextmanager
    def upstream(self, name: str, method: str, headers: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
        """Open the span of an upstream request; yield the headers with a `traceparent` for this span."""
        from opentelemetry.trace import SpanKind

        attributes = {"http.request.method": method, "peer.service": name}
        with self._tracer.start_as_current_span("upstream", None, SpanKind.CLIENT, attributes, record_exception=False):
            carried: dict[str, str] = {}
            self._propagator.inject(carried)
            yield [*(field for field in headers if field[0].lower() != "traceparent"), *carried.items()]

    def close(self) -> None:
        """Send the remaining spans and stop."""
        self._provider.shutdown()
