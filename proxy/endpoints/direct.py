"""Endpoints that need no waiting, on the fast path: their request has arrived whole, and their answer is at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.exchange import Exchange, Handover
from proxy.http.response import Response
from proxy.services import Arrival, Service


@dataclass(frozen=True, slots=True)
class DirectEndpoint:
    """Serves one of the gateway's own endpoints. `answer` makes the response of a request and its body."""

    answer: Callable[[Exchange, bytes], Response]

    def begin(self, arrival: Arrival, service: Service) -> Handover | None:
        """Answer a request."""
        exchange = Exchange(arrival.head, service, arrival.params, arrival.principal, arrival.started)
        try:
            response = self.answer(exchange, arrival.body)
        except Exception as error:
            arrival.completion.fail(exchange, arrival.client, error, close=arrival.close)
            return None
        arrival.completion.respond(exchange, arrival.client, response, close=arrival.close)
        return None
