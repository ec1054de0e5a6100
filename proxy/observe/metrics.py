"""The metrics of this process: numbers per route, converted to Prometheus text only when they are requested.

Route labels are patterns of the configuration, never paths that a client sent, so the number of series is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.observe.access import AccessLine

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]

DURATION = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MAX_SERIES = 20_000
LOGINS = ("success", "invalid_token", "throttled", "keys_unavailable", "error")
SESSION_CHECKS = ("valid", "missing", "invalid", "error")
DECISIONS = ("allowed", "denied")
BRIDGED = ("changed", "passed")
POLL_OK, POLL_FAILED = "ok", "failed"
EVENTS, SOCKET, GRAPHQL_SSE, GRAPHQL_WS = "events", "websocket", "graphql_sse", "graphql_websocket"
LIVE = (EVENTS, SOCKET, GRAPHQL_SSE, GRAPHQL_WS)
"""The kinds of streams that the gateway sends itself."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric.

    Args:
        kind: counter, gauge or histogram.
        help: the meaning.
        labels: the names of the labels.
        bounds: the bounds of a histogram, in seconds.
        summed: True if the values of several workers are added up; False if each has a series with the label `worker`.
    """

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    summed: bool = True


_UPSTREAM = ("upstream", "url")
FAMILIES: dict[str, Family] = {
    "noetl_gateway_requests": Family(
        "counter", "Responses, by route pattern, method and status.", ("route", "method", "status")
    ),
    "noetl_gateway_request_duration_seconds": Family(
        "histogram", "Time from the request head to the end of the response.", ("route", "method"), DURATION
    ),
    "noetl_gateway_overhead_seconds": Family(
        "histogram", "The duration of requests without the time spent upstream.", ("route",), OVERHEAD
    ),
    "noetl_gateway_login": Family("counter", "Logins, by outcome.", ("outcome",)),
    "noetl_gateway_session_check": Family("counter", "Session checks, by outcome.", ("outcome",)),
    "noetl_gateway_auth_calls": Family(
        "counter",
        "Calls of `provider: playbook` to NoETL: login, validate, check_access, and cancel of a playbook that was too "
        "slow; by way (process or playbook) and outcome.",
        ("call", "way", "outcome"),
    ),
    "noetl_gateway_authz": Family("counter", "Decisions of the access rules, by outcome.", ("outcome",)),
    "noetl_gateway_bridge": Family(
        "counter",
        "Responses on routes of the bridge, by row of its table: changed, or passed because they can't be changed.",
        ("row", "outcome"),
    ),
    "noetl_gateway_sessions": Family("gauge", "Sessions in the store, including expired ones that are not purged yet."),
    "noetl_gateway_connections": Family("gauge", "Open client connections."),
    "noetl_gateway_connections_limit": Family("gauge", "Maximum client connections per worker: max_connections."),
    "noetl_gateway_connections_refused": Family("counter", "Connections rejected because of a limit on their number."),
    "noetl_gateway_malformed_requests": Family("counter", "Malformed request heads."),
    "noetl_gateway_event_streams": Family("gauge", "Open server-sent-event streams that are forwarded."),
    "noetl_gateway_live_streams": Family("gauge", "Open streams of events and of GraphQL operations.", ("kind",)),
    "noetl_gateway_live_events": Family("counter", "Events and GraphQL results sent on such streams.", ("kind",)),
    "noetl_gateway_subscriptions": Family("gauge", "GraphQL subscriptions that are running."),
    "noetl_gateway_executions_followed": Family("gauge", "Executions that are polled because somebody waits."),
    "noetl_gateway_execution_polls": Family("counter", "Polls of such executions, by outcome.", ("outcome",)),
    "noetl_gateway_upstream_requests": Family("counter", "Requests sent upstream, retries included.", _UPSTREAM),
    "noetl_gateway_upstream_responses": Family(
        "counter", "Responses of the upstream, by class of status.", (*_UPSTREAM, "class")
    ),
    "noetl_gateway_upstream_faults": Family(
        "counter", "Upstream requests that failed, by kind of fault.", (*_UPSTREAM, "kind")
    ),
    "noetl_gateway_upstream_retries": Family("counter", "Retries.", ("upstream",)),
    "noetl_gateway_upstream_retries_refused": Family(
        "counter", "Retries that were not made because the retry budget of 10 % was used up.", ("upstream",)
    ),
    "noetl_gateway_upstream_connections": Family(
        "gauge", "Upstream connections, by state: busy or idle.", (*_UPSTREAM, "state")
    ),
    "noetl_gateway_upstream_pending": Family("gauge", "Requests that wait for an upstream connection.", _UPSTREAM),
    "noetl_gateway_upstream_circuit": Family(
        "gauge", "State of the circuit breaker: 0 closed, 1 half open, 2 open.", _UPSTREAM, summed=False
    ),
    "noetl_gateway_upstream_healthy": Family(
        "gauge", "1 if the url is in use; 0 if a health check failed or the url is ejected.", _UPSTREAM, summed=False
    ),
    "noetl_gateway_draining": Family("gauge", "1 while the process drains before it ends.", summed=False),
    "noetl_gateway_config_info": Family("gauge", "Hash of the current configuration.", ("hash",), summed=False),
    "noetl_gateway_config_loaded_timestamp_seconds": Family(
        "gauge", "Time at which the current configuration was loaded.", summed=False
    ),
    "noetl_gateway_config_last_reload_successful": Family(
        "gauge", "1 if the last reload succeeded, or if there was none.", summed=False
    ),
    "noetl_gateway_config_reloads": Family("counter", "Reloads, by outcome.", ("outcome",), summed=False),
    "noetl_gateway_rate_limited": Family("counter", "Requests over a rate limit, by the limit's name.", ("limit",)),
    "noetl_gateway_key_set_fetch_failures": Family(
        "counter", "Fetches of a tenant's key set that failed.", ("tenant",), summed=False
    ),
    "noetl_gateway_key_set_usable": Family(
        "gauge",
        "1 if the tenant's key set is at hand; else nobody can sign in.",
        ("tenant",),
        summed=False,
    ),
    "noetl_gateway_audit_failures": Family("counter", "Lines of the audit log that could not be written."),
    "noetl_gateway_certificate_expiry_timestamp_seconds": Family(
        "gauge", "Time at which the server's certificate expires.", summed=False
    ),
    "process_cpu_seconds": Family("counter", "User and system processor time.", summed=False),
    "process_resident_memory_bytes": Family("gauge", "Resident memory.", summed=False),
    "process_open_fds": Family("gauge", "Open file descriptors.", summed=False),
    "noetl_gateway_tasks": Family(
        "gauge", "Tasks of the event loop; a number that only grows is a leak.", summed=False
    ),
    "process_max_fds": Family("gauge", "Maximum number of open file descriptors.", summed=False),
    "process_start_time_seconds": Family("gauge", "Start time of the process.", summed=False),
    "noetl_gateway_build_info": Family("gauge", "Version of the program.", ("version", "python", "aiohttp")),
}


@dataclass(slots=True)
class Histogram:
    """The sum of values, and the number of values per bucket; the last bucket is for values above all bounds."""

    sum: float
    counts: list[int]

    def add(self, other: Histogram) -> None:
        """Add the values of another histogram."""
        self.sum += other.sum
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]


Value = float | Histogram
Collected = dict[str, dict[Labels, Value]]


def add(collected: Collected, name: str, labels: Labels, value: Value) -> None:
    """Add a value to a series of a family."""
    series = collected.setdefault(name, {})
    known = series.get(labels)
    if isinstance(known, Histogram) and isinstance(value, Histogram):
        known.add(value)
    elif isinstance(value, Histogram):
        series[labels] = Histogram(value.sum, list(value.counts))
    else:
        series[labels] = value + (known if isinstance(known, float | int) else 0)


def counters(collected: Collected) -> Collected:
    """Return the counters and histograms, without the gauges."""
    return {name: s for name, s in collected.items() if name in FAMILIES and FAMILIES[name].kind != "gauge"}


@dataclass(slots=True)
class _Request:
    """The numbers of one route, method and status.

    Args:
        count: the number of requests.
        seconds: the sum of durations.
        overhead: the sum of durations without the time spent upstream.
        durations: the number of requests per bucket of `DURATION`.
        overheads: the number of requests per bucket of `OVERHEAD`.
    """

    count: int = 0
    seconds: float = 0.0
    overhead: float = 0.0
    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATION) + 1))
    overheads: list[int] = field(default_factory=lambda: [0] * (len(OVERHEAD) + 1))


class Metrics:
    """The numbers of this process. A reload does not reset them."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str | None, str, int], _Request] = {}
        self.logins = dict.fromkeys(LOGINS, 0)
        self.session_checks = dict.fromkeys(SESSION_CHECKS, 0)
        self.decisions = dict.fromkeys(DECISIONS, 0)
        self.rate_limited: dict[str, int] = {}
        self.bridged: Counter[tuple[str, str]] = Counter()
        self.live_streams = dict.fromkeys(LIVE, 0)
        self.live_events = dict.fromkeys(LIVE, 0)
        self.polls = dict.fromkeys((POLL_OK, POLL_FAILED), 0)
        self.auth_calls: Counter[tuple[str, str, str]] = Counter()
        self._kept: Collected = {}

    def observe(self, line: AccessLine) -> None:
        """Count one request that was answered."""
        method, _, route, status, ms, upstream_ms, *_ = line
        known = self._requests.get((route, method, status))
        if known is None:
            known = self._new(line)
        seconds = ms / 1000
        own = seconds - upstream_ms / 1000
        known.count += 1
        known.seconds += seconds
        known.overhead += own
        known.durations[bisect_left(DURATION, seconds)] += 1
        known.overheads[bisect_left(OVERHEAD, own)] += 1

    def _new(self, line: AccessLine) -> _Request:
        method = line.method if line.method in _METHODS else "other"
        if len(self._requests) >= _MAX_SERIES:
            method = "other"
        key = (line.route, method, line.status)
        if key not in self._requests and len(self._requests) >= 2 * _MAX_SERIES:
            return _Request()
        return self._requests.setdefault(key, _Request())

    def add_counters_of(self, collected: Collected) -> None:
        """Add the counters of an upstream or a worker that ends, so that no counter decreases."""
        for name, series in counters(collected).items():
            for labels, value in series.items():
                add(self._kept, name, labels, value)

    def collect(self) -> Collected:
        """Return all series; an outcome that did not occur is 0."""
        out: Collected = {}
        for name, series in self._kept.items():
            for labels, value in series.items():
                add(out, name, labels, value)
        for (route, method, status), seen in self._requests.items():
            pattern = route or "none"
            add(out, "noetl_gateway_requests", (pattern, method, str(status)), seen.count)
            histogram = Histogram(seen.seconds, seen.durations)
            add(out, "noetl_gateway_request_duration_seconds", (pattern, method), histogram)
            add(out, "noetl_gateway_overhead_seconds", (pattern,), Histogram(seen.overhead, seen.overheads))
        for family, outcomes in self._outcomes().items():
            for outcome, count in outcomes.items():
                add(out, family, (outcome,), count)
        for labels, count in self.bridged.items():
            add(out, "noetl_gateway_bridge", labels, count)
        for call, count in self.auth_calls.items():
            add(out, "noetl_gateway_auth_calls", call, count)
        return out

    def _outcomes(self) -> Mapping[str, Mapping[str, int]]:
        return {
            "noetl_gateway_login": self.logins,
            "noetl_gateway_session_check": self.session_checks,
            "noetl_gateway_authz": self.decisions,
            "noetl_gateway_rate_limited": self.rate_limited,
            "noetl_gateway_live_streams": self.live_streams,
            "noetl_gateway_live_events": self.live_events,
            "noetl_gateway_execution_polls": self.polls,
        }
