"""Endpoints that need no waiting, on the fast path: their request has arrived whole, and their answer is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.exchange import Client, Completion, Exchange, FastExchange, Service
from proxy.http.request import RequestHead
from proxy.http.response import Response

Answer = Callable[[Exchange, bytes], Response]


class DirectEndpoint:
    """Serves one of the gateway's own endpoints. `answer` makes the response of a request and its body."""

    __slots__ = ("answer",)

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

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
        """Return the exchange of a request."""
        exchange = DirectExchange(head, service, params, started, client, completion, body)
        exchange.answer = self.answer
        return exchange


class DirectExchange(FastExchange):
    """A request that is answered at once."""

    answer: Answer

    def begin(self) -> None:
        """Answer the request."""
        self.completion.respond(self, self.answer(self, self.request_body))
