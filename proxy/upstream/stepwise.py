"""The NoETL API for coroutines that are driven by hand: a call is handed to the driver, which sends it and goes on.

It serves the fast lane, which runs resolvers without a task. Whoever drives such a coroutine gets an `UpstreamCall`
from each `send`, and gives back status and answer, or throws a GatewayError in.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from proxy.upstream.noetl import Headers, NoetlApi

Answer = tuple[int, bytes]


class UpstreamCall:
    """A call that the driver is to make: as `NoetlApi.send`, with the JSON body ready to send."""

    __slots__ = ("body", "data", "headers", "method", "target")

    def __init__(self, method: str, target: str, headers: Headers, body: Any) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.data = None if body is None else json.dumps(body).encode()

    def __await__(self) -> Generator[UpstreamCall, Answer, Answer]:
        return (yield self)


class StepwiseApi(NoetlApi):
    """A NoetlApi whose calls are made by the driver. It knows what `api` knows, and the other way round."""

    def __init__(self, api: NoetlApi) -> None:
        super().__init__(api.client)
        self._paths = api._paths
        self._catalog = api._catalog

    async def send(
        self, method: str, target: str, headers: Headers, body: Any = None, *, spent: int = 0
    ) -> tuple[int, bytes]:
        return await UpstreamCall(method, target, headers, body)
