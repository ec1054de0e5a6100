"""What can go wrong in the sandbox, as values a dialect can render.

NoetlMockError
├── ApiError         an HTTP answer that is not a success
└── PlaybookError    a playbook that cannot be used; one line, with its place
"""

from __future__ import annotations

from dataclasses import dataclass


class NoetlMockError(Exception):
    """Everything this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One field of a request body that cannot be used; the Python server lists these with a 422."""

    type: str
    loc: tuple[str | int, ...]
    msg: str


class ApiError(NoetlMockError):
    """An answer with an error status; how its body looks is for the dialect to say."""

    def __init__(self, status: int, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problem = problem


class PlaybookError(NoetlMockError):
    """A playbook that cannot be used. The text is one line and names the place."""
