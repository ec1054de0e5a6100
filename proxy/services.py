"""A route, ready to serve: its guards, its handler, and what serves it on the fast path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from proxy.config.compile import RouteSpec
from proxy.exchange import Client, Exchange, Handover, RequestContext, Result
from proxy.guards import RouteGuards

if TYPE_CHECKING:
    from proxy.http.request import RequestHead
    from proxy.http.response import Response
    from proxy.identity.principal import Principal

Handler = Callable[[RequestContext], Awaitable[Result]]


class Completion(Protocol):
    """What ends requests on the fast path; the dispatcher."""

    def respond(self, exchange: Exchange, client: Client, response: Response, *, close: bool) -> None:
        """Send a response of the gateway's own, and complete the request."""

    def fail(self, exchange: Exchange, client: Client, error: Exception, *, close: bool) -> None:
        """Send the response to a request that ended in an error, and complete it."""

    def complete(self, exchange: Exchange) -> None:
        """Write the access line of a request, and count it."""

    def hand_over(self, client: Client, handover: Handover) -> None:
        """Let the streaming path go on with a request. Nothing has been sent to the client."""

    @property
    def draining(self) -> bool:
        """Whether the process is about to end, so that connections close after their response."""


class Arrival(NamedTuple):
    """A request on the fast path that passed its guards: it has arrived whole.

    `close`: the client wants the connection to end with the response.
    """

    head: RequestHead
    params: Mapping[str, str]
    principal: Principal | None
    body: bytes
    close: bool
    client: Client
    completion: Completion
    started: float


class FastHandler(Protocol):
    """Serves requests of one route on the fast path."""

    def begin(self, arrival: Arrival, service: Service) -> Handover | None:
        """Begin to serve a request; it may be answered before this returns.

        Returns a Handover for what the fast path can't do. Raises what refuses the request.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One route, compiled.

    `handler` serves it on the streaming path, `fast` on the fast path (None: it can't), `max_body` is the largest body
    in bytes that the fast path takes.
    """

    spec: RouteSpec
    guards: RouteGuards
    handler: Handler
    fast: FastHandler | None
    max_body: int
    server_timing: bool
