"""The listening identity provider: the program on a sandbox, with its clock and its control plane."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from mock_server.clock import Clock
from mock_server.messages import Handler
from mock_server.randomness import random_source
from mock_server.recording import Player, Recorder
from mock_server.sandbox import Control, Sandbox

from .keys import SigningKey
from .program import IdentityProvider
from .settings import TenantFile


class Server:
    """A listening provider: `start` binds the port, `stop` finishes the current requests and closes.

    Args:
        settings: the content of the tenant file.
        clock: the time.
        seed: makes two runs identical, with the same keys; None: everything is random.
        issuer: the issuer of the default tenant, in place of its address.
        logout_uri: a `backchannel_logout_uri`, in place of those of the file.
        tls: the certificate; None: plain HTTP.
        key: the first key of the default tenant; None: a new one.
        control: what of the control plane is on.
        backend: makes what answers in place of the program, from the program's own handler.
    """

    def __init__(
        self,
        settings: TenantFile,
        *,
        clock: Clock | None = None,
        seed: str | None = None,
        issuer: str | None = None,
        logout_uri: str | None = None,
        tls: ssl.SSLContext | None = None,
        key: SigningKey | None = None,
        control: Control | None = None,
        backend: Callable[[Handler], Recorder | Player | None] = lambda handler: None,
    ) -> None:
        source = random_source(seed)
        clock = clock or Clock()
        self.program = IdentityProvider(
            settings, clock, source, seed=seed, issuer=issuer, logout_uri=logout_uri, key=key
        )
        self._backend = backend(self.program.respond)
        respond = self._backend.respond if self._backend is not None else None
        self.sandbox = Sandbox(self.program, control or Control(), clock, source, seed, tls, respond)
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on the port; the system selects one for port 0. `url` is known afterwards.

        Raises:
            OSError: the address is not available.
        """
        await self.sandbox.start(host, port, self._prepare)

    async def _prepare(self) -> None:
        scheme, bound = "https" if self.sandbox.tls else "http", self.sandbox.listener.port
        self.url = f"{scheme}://localhost:{bound}/"
        await asyncio.to_thread(self.program.bind, scheme, bound)

    async def stop(self) -> None:
        """Stop accepting connections, wait a short time for the current requests, then close."""
        await self.sandbox.stop()
        if isinstance(self._backend, Recorder):
            await self._backend.close()
