"""The check of `sessions.bind`: whether a session is used from the client of its login. Pure."""

from __future__ import annotations

from enum import StrEnum

from proxy.policy.ratelimit import address_key


class Bind(StrEnum):
    """The properties of the login's client that a session is bound to."""

    NONE = "none"
    IP = "ip"
    USER_AGENT = "user_agent"
    BOTH = "both"


def binding_mismatch(bind: Bind, began: tuple[str, str], now: tuple[str, str]) -> str:
    """Return the property that differs from the login, `address` or `user agent`; empty if the binding is satisfied.

    `began` and `now` are the address and the user agent at the login and of the request. IPv6 addresses are compared by
    their /64, user agents by their stored part.
    """
    if bind in (Bind.IP, Bind.BOTH) and address_key(began[0]) != address_key(now[0]):
        return "address"
    if bind in (Bind.USER_AGENT, Bind.BOTH) and began[1] != now[1]:
        return "user agent"
    return ""
