"""Operations of the control plane as data: method, path, models of what goes in, and the function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from .messages import Response


class AdminError(Exception):
    """An operation is refused; the text says why, and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Call:
    """The call of an operation.

    Args:
        names: the variable parts of the path.
        body: the parsed body: an instance of the operation's model, or None.
        query: the parsed query: an instance of the operation's model, or None.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    query: Any = None


Result = Any | Response


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation.

    Args:
        method: the method.
        path: the path below `/__admin`; a part such as `{name}` is variable.
        summary: one sentence, for the OpenAPI document and the docs.
        run: the function; it returns JSON data or a response, or raises AdminError.
        body: the model of the body; None: there is no body.
        query: the model of the query; None: there is no query.
        group: the heading in documents.
    """

    method: str
    path: str
    summary: str
    run: Callable[[Call], Result | Awaitable[Result]]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    group: str = "control"
