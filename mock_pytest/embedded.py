"""Sandboxes for this process, from arguments of their command lines."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast


class Server(Protocol):
    """A server that is not started yet."""

    url: str

    async def start(self, host: str, port: int) -> None:
        """Listen; `url` is known afterwards."""

    async def stop(self) -> None:
        """Stop."""


def sandbox(program: str, arguments: Sequence[str]) -> Server:
    """Return `mock_auth0` or `mock_noetl` with arguments of its command line, not started yet."""
    return cast(Server, import_module(f"{program}.cli").server_of(arguments))
