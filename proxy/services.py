"""A route, ready to serve: its guards, its handler, and what serves it on the fast path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxy.config.compile import RouteSpec
from proxy.exchange import Client, Completion, FastExchange, RequestContext, Result
from proxy.guards import RouteGuards

if TYPE_CHECKING:
    from proxy.http.request import RequestHead

Handler = Callable[[RequestContext], Awaitable[Result]]


class FastHandler(Protocol):
    """Serves requests of one route on the fast path."""

    def exchange(
        self,
        head: RequestHead,
        service: Service,
        params: Mapping[str, str],
        started: float,
        client: Client,
        completion: Completion,
        body: bytes,
    ) -> FastExchange:
        """Return the exchange of a request; see `FastExchange`."""


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One route, compiled.

    `handler` serves it on the streaming path, `fast` on the fast path (None: it can't), `max_body` is the largest body
    in bytes that the fast path accepts; `audited`: its requests are entries of the audit log.
    """

    spec: RouteSpec
    guards: RouteGuards
    handler: Handler
    fast: FastHandler | None
    max_body: int
    server_timing: bool
    audited: bool = False
