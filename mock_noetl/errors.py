"""The errors of the sandbox; a dialect converts them to responses.

NoetlMockError
├── ApiError         an HTTP error response
├── PlaybookError    an invalid playbook; one line, with its place
└── AccountsError    invalid accounts; one line, with its file
"""

from __future__ import annotations

from dataclasses import dataclass


class NoetlMockError(Exception):
    """The base class of all errors of this package."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An invalid field of a request body; the Python server lists these in a 422 response."""

    type: str
    loc: tuple[str | int, ...]
    msg: str


class ApiError(NoetlMockError):
    """An error response; the dialect defines its body."""

    def __init__(self, status: int, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problem = problem


class PlaybookError(NoetlMockError):
    """An invalid playbook. The text is one line and names the place."""


class AccountsError(NoetlMockError):
    """Invalid accounts. The text is one line and names the file."""
