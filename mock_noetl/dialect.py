"""What both dialects are as programs of the server of the sandboxes."""

from __future__ import annotations

from collections.abc import Sequence

from mock_noetl.probes import is_streamed
from mock_noetl.state import OVERRIDES, State
from mock_server.messages import Request
from mock_server.operations import Operation
from mock_server.overrides import Overrides
from mock_server.service import ERRORS, Errors


class Dialect:
    """A server with its state; subclasses respond to requests, and forget what they have kept."""

    name = "mock_noetl"
    server = ""
    errors: Errors = ERRORS
    operations: Sequence[Operation] = ()
    overrides: Overrides = OVERRIDES

    def __init__(self, state: State) -> None:
        self.state = state

    def streamed(self, request: Request) -> bool:
        """Return whether the body of a request is read part by part."""
        return is_streamed(request)

    async def close(self) -> None:
        """Stop what runs."""
        await self.state.close()
