"""Which requests are entries of the audit log, and what their entries say.

Logins, logouts and ended sessions are always written. Denials and failures are written within a budget per user or
address; of those beyond it, one line a minute has the number.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from proxy.observe.access import AccessLine
from proxy.observe.audit import Audit, now_text
from proxy.policy.denials import Counted, DenialBudget, Denied
from proxy.policy.ratelimit import address_key

EVENTS = {
    "auth.login": "login",
    "auth.logout": "logout",
    "auth.sessions": "session.end",
    "auth.backchannel_logout": "logout.backchannel",
}
"""The event of a request to each handler. A request that an access rule denies, on any route, is `access.denied`."""
_LOGINS = {200: "success", 401: "refused", 429: "slowed_down"}
_NO_EVENT = frozenset({"GET", "HEAD", "OPTIONS"})
_COUNT_SECONDS = 60.0


class AuditTrail:
    """Writes the entries of requests to an audit log, within a budget for denials."""

    def __init__(self, audit: Audit, budget: DenialBudget) -> None:
        self._audit = audit
        self._budget = budget
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: AccessLine, handler: str | None, agent: str) -> None:
        """Write the entry of a request, if it is one for the audit log: by its handler, or as it was denied."""
        event = EVENTS.get(handler or "")
        if event is not None and line.method not in _NO_EVENT:
            outcome = _outcome(event, line)
        elif line.denied:
            event, outcome = "access.denied", "denied"
        else:
            return
        if outcome == "success" or self._budget.admits(_who(line), time.monotonic()):
            self._audit.append(_entry(event, outcome, line, agent))
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_COUNT_SECONDS, self.write_counts)

    def write_counts(self) -> None:
        """Write the numbers of denials that had no entry of their own."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._budget.has_counted:
            self._audit.append(*map(_count_entry, self._budget.take_counts()))


def _who(line: AccessLine) -> Denied:
    return Denied(line.user_id, "" if line.user_id is not None else str(address_key(line.ip)))


def _outcome(event: str, line: AccessLine) -> str:
    if event == "login":
        return _LOGINS.get(line.status, "failed")
    return "success" if line.status < 300 else "denied" if line.status == 403 else "failed"


def _entry(event: str, outcome: str, line: AccessLine, agent: str) -> dict[str, Any]:
    return {
        "at": now_text(),
        "event": event,
        "outcome": outcome,
        "user_id": line.user_id,
        "ip": line.ip,
        "agent": agent,
        "method": line.method,
        "path": line.path,
        "status": line.status,
        "request_id": line.request_id,
        "detail": line.detail,
    }


def _count_entry(counted: Counted) -> dict[str, Any]:
    kind = "users" if counted.signed_in else "addresses"
    whose = f" of {counted.others} {kind}" if counted.who is None else ""
    return {
        "at": now_text(),
        "event": "denials.counted",
        "outcome": "denied",
        "user_id": counted.who.user_id if counted.who is not None else None,
        "ip": counted.who.address if counted.who is not None else "",
        "count": counted.number,
        "detail": f"{counted.number} more denials and failures{whose}, which have no lines of their own",
    }
