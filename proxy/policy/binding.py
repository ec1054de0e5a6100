"""Whether a session may be used from where it is used: `sessions.bind`. Pure decisions."""

from __future__ import annotations

from enum import StrEnum

from proxy.policy.ratelimit import address_key


class Bind(StrEnum):
    """What a session is bound to, as it was at the login."""

    NONE = "none"
    IP = "ip"
    USER_AGENT = "user_agent"
    BOTH = "both"


def differing(bind: Bind, began: tuple[str, str], now: tuple[str, str]) -> str:
    """What differs from the login, each side an address and a user agent; empty if nothing that matters.

    An IPv6 address is compared by its /64, a user agent as far as it is stored.
    """
    if bind in (Bind.IP, Bind.BOTH) and address_key(began[0]) != address_key(now[0]):
        return "address"
    if bind in (Bind.USER_AGENT, Bind.BOTH) and began[1] != now[1]:
        return "user agent"
    return ""
