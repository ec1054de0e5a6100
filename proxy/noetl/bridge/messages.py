"""The requests and the responses that the rows of the bridge work on. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from proxy.noetl.dialect import Dialect
from proxy.noetl.executions import ExecutionState


class Page(NamedTuple):
    """The part of a list that a client wants: `skip` elements are left out, then `size` follow; None means all."""

    skip: int = 0
    size: int | None = None


class Wanted(NamedTuple):
    """What a client wants of a list that its server may not understand.

    Args:
        path: only entries with this path; empty for all.
        status: only executions with this status, in lower case; empty for all.
        page: the part of what remains; None if the server has made it.
        number: the number of the page, counted from 1, for a response that names it.
        since: only events after this one; 0 for all.
        with_events: False if the client wants no events.
    """

    path: str = ""
    status: str = ""
    page: Page | None = None
    number: int = 1
    since: int = 0
    with_events: bool = True


class ClientRequest(NamedTuple):
    """A bridged request: the name of its row, its execution, what it wants, and the server that it went to."""

    row: str
    execution_id: str = ""
    wanted: Wanted = Wanted()
    dialect: Dialect | None = None


class JsonAnswer(NamedTuple):
    """The status and the JSON text of a response."""

    status: int
    text: str


class Facts(NamedTuple):
    """What a response is made of besides itself.

    Args:
        payload_of: returns the JSON text of a playbook for its content, which is YAML; None if it has none.
        state: the state of the execution; None if it was not needed.
        version_of: returns the version of a catalog id; None if it is not known, 0 if the id does not exist.
    """

    payload_of: Callable[[str], str | None]
    state: ExecutionState | None = None
    version_of: Callable[[str], int | None] = lambda catalog_id: None
