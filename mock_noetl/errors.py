"""The errors of the sandbox.

NoetlMockError
├── PlaybookError    an invalid playbook; one line, with its place
├── AccountsError    invalid accounts; one line, with its file
└── FullError        a bound is reached
"""

from __future__ import annotations


class NoetlMockError(Exception):
    """The base class of all errors of this package."""


class PlaybookError(NoetlMockError):
    """An invalid playbook. The text is one line and names the place."""


class AccountsError(NoetlMockError):
    """Invalid accounts. The text is one line and names the file."""


class FullError(NoetlMockError):
    """The sandbox keeps no more of something."""
