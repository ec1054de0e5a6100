"""A pytest plugin with both sandboxes as fixtures, for the tests of other projects."""

from __future__ import annotations

from .mocks import Mock, MockAuth0, MockNoetl, VerificationError
from .responses import MockError

__all__ = ["Mock", "MockAuth0", "MockError", "MockNoetl", "VerificationError"]
