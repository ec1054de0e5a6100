"""Makes client connections."""

from __future__ import annotations

from typing import cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from proxy.server.client_transport import Outcome
from proxy.server.connection import ClientConnection
from proxy.server.connection_limits import ConnectionLimits
from proxy.server.dispatcher import Dispatcher


class Listener(Server):
    """Makes client connections. `dispatcher` is that of the configuration in force."""

    def __init__(self, dispatcher: Dispatcher, limits: ConnectionLimits) -> None:
        super().__init__(self._answer, handler_cancellation=True)  # type: ignore[arg-type]
        self.limits = limits
        self.dispatcher = dispatcher

    async def _answer(self, request: web.BaseRequest) -> Outcome:
        return await cast(ClientConnection, request.protocol).answer(request)

    def __call__(self) -> RequestHandler:
        """Return a new connection; called by the event loop for each that is accepted."""
        return ClientConnection(self, loop=self._loop)
