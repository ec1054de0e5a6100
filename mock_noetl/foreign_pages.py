"""No page of another origin may bring code to this machine.

As the real servers do, the sandbox lets pages of every origin call it, and it runs the code of Python steps. Together
that would let any page in the developer's browser run code here, so such a page can't change the catalog.
"""

from __future__ import annotations

from mock_noetl.state import Settings
from mock_server.foreign import is_foreign
from mock_server.messages import Request, Response, json_response

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_TEXT = (
    "A page of another origin must not register playbooks, as their Python steps run on this machine. "
    "Start the sandbox with --no-python-steps to allow it."
)


def refusal(request: Request, settings: Settings) -> Response | None:
    """Return the refusal of a request that may bring code from a page of another origin; None for all others."""
    if request.method in _READING or not settings.python_steps or "/catalog/" not in f"{request.path}/":
        return None
    path = request.path
    if path.endswith(("/catalog/list", "/catalog/resource", "/catalog/agents/list")) or not is_foreign(request):
        return None
    return json_response({"detail": _TEXT, "error": _TEXT}, 403)
