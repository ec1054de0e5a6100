"""Endpoints that need no waiting, on the fast path: their request has arrived whole, and their answer is at hand."""

from __future__ import annotations

from collections.abc import Callable

from proxy.exchange import Exchange, FastExchange
from proxy.http.response import Response

Answer = Callable[[Exchange, bytes], Response]


class DirectExchange(FastExchange):
    """A request that is answered at once. `answer` makes the response of a request and its body."""

    answer: Answer

    def begin(self) -> None:
        """Answer the request."""
        self.completion.respond(self, self.answer(self, self.request_body))


def direct_exchange(answer: Answer) -> type[DirectExchange]:
    """Return the exchanges of one endpoint."""
    return type("BoundDirectExchange", (DirectExchange,), {"answer": staticmethod(answer)})
