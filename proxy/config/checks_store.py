"""Checks of the redis store: its url, and what can't be combined."""

from __future__ import annotations

from proxy.config.checker import Checker
from proxy.config.model import Gateway
from proxy.sessions.redis.address import Address, BadUrl, Kind, read_address


def check_store(gateway: Gateway, check: Checker) -> None:
    """Check what only the redis store needs."""
    sessions, path = gateway.sessions, ("sessions", "store")
    if not check.is_valid(path, ("sessions", "url"), ("sessions", "redis")):
        return
    if sessions.store != "redis":
        if sessions.url is not None:
            check.add(("sessions", "url"), "has an effect only with store: redis", key=True)
        return
    if sessions.url is None:
        check.add(path, "redis needs sessions.url, such as redis://localhost:6379/0")
        return
    try:
        _redis(gateway, read_address(sessions.url), check)
    except BadUrl as error:
        check.add(("sessions", "url"), str(error))


def _redis(gateway: Gateway, address: Address, check: Checker) -> None:
    block = gateway.sessions.redis
    if block.wait_replicas and address.kind is Kind.CLUSTER:
        check.add(("sessions", "redis", "wait_replicas"), "can't be used with a cluster: set 0")
    if block.tls is None:
        return
    if not address.tls:
        check.add(("sessions", "redis", "tls"), "has an effect only with a rediss… url in sessions.url", key=True)
    if (block.tls.certificate is None) != (block.tls.key is None):
        check.add(("sessions", "redis", "tls"), "needs both certificate and key, or neither")
