"""Messages between the workers of this machine, as datagrams on UNIX sockets.

Each worker has a socket in the folder that the workers share.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from proxy.peer_messages import MAX_MESSAGE

_PREFIX = "live-"
_MOST = MAX_MESSAGE + 100
_AT_ONCE = 100
_RETRY_SECONDS = 0.05
_RETRIES = 20


class Peers:
    """The other workers.

    Args:
        folder: the folder that the workers share.
        number: the number of this worker.
        receive: accepts a message of another worker.
    """

    def __init__(self, folder: Path, number: int, receive: Callable[[bytes], None]) -> None:
        self._folder = folder
        self._name = f"{_PREFIX}{number}"
        self._accept = receive
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        path = folder / self._name
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of an earlier worker with this number
        self._socket.bind(str(path))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._receive)

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_MOST)
            except OSError:
                return
            self._accept(data)

    def send(self, message: bytes) -> None:
        """Send a message to all other workers."""
        for name in os.listdir(self._folder):
            if name.startswith(_PREFIX) and name != self._name:
                self._send(name, message, _RETRIES)

    def _send(self, name: str, data: bytes, retries: int) -> None:
        """Send to one worker. One that has ended is ignored; one that is too busy gets it a little later."""
        try:
            self._socket.sendto(data, str(self._folder / name))
        except BlockingIOError:
            if retries:
                self._loop.call_later(_RETRY_SECONDS, self._send, name, data, retries - 1)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket, and remove it from the folder."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            (self._folder / self._name).unlink()
