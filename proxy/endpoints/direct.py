"""Endpoints that need no waiting, on the fast path: their request has arrived whole, and their answer is at hand."""

from __future__ import annotations

from collections.abc import Callable

from proxy.exchange import Exchange, FastExchange
from proxy.http.response import Response

Answer = Callable[[Exchange, bytes], Response]


class DirectExchange(FastExchange):
    """A request that is answered at once, by an `Answer`: a function of the request and its body."""

    __slots__ = ()

    def begin(self) -> None:
        """Answer the request."""
        self.completion.respond(self, self.service.fast_route(self, self.request_body))
