"""The url of a Redis: one server, the servers of Sentinel, or a cluster. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, unquote, urlsplit

FORMS = (
    "redis://HOST:PORT/DATABASE, redis+sentinel://HOST:PORT,HOST:PORT/NAME/DATABASE or redis+cluster://HOST:PORT,HOST:PORT"
    " (rediss… for TLS), each with USER:PASSWORD@ before the hosts if the server requires them"
)
_PORT, _SENTINEL_PORT = 6379, 26379


class Kind(StrEnum):
    """How servers are found."""

    SINGLE = "redis"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class BadUrl(ValueError):
    """The url can't be used. The text says why, without the password."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is.

    Args:
        kind: how its servers are found.
        hosts: host and port of the server, of the sentinels, or of some servers of the cluster.
        tls: True to use TLS.
        username: the ACL user; None is `default`.
        password: its password, or None.
        database: the number of the database.
        service: the name of the master, for Sentinel.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    tls: bool
    username: str | None
    password: str | None
    database: int
    service: str

    def __str__(self) -> str:
        """Return what the log may say: the hosts, without user and password."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)


def read_address(url: str) -> Address:
    """Return the address of a url. Raises BadUrl."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadUrl(f"is not a url; use {FORMS}") from None
    scheme, _, suffix = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or suffix not in ("", "sentinel", "cluster"):
        raise BadUrl(f"has the scheme {parts.scheme!r}; use {FORMS}")
    if parts.query or parts.fragment:
        raise BadUrl("has a query or a fragment; settings of the connection are in sessions.redis")
    kind = Kind(suffix or "redis")
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    found = tuple(_host(each, _SENTINEL_PORT if kind is Kind.SENTINEL else _PORT) for each in hosts.split(","))
    if kind is Kind.SINGLE and len(found) > 1:
        raise BadUrl("names several hosts; use redis+sentinel:// or redis+cluster://")
    service, database = _path(kind, parts)
    return Address(kind, found, scheme == "rediss", unquote(user) or None, unquote(password) or None, database, service)


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        number = parts.port
    except ValueError:
        raise BadUrl("has a malformed host or port") from None
    if not parts.hostname or "@" in text or number == 0:
        raise BadUrl("has a malformed host or port")
    return parts.hostname, number or port


def _path(kind: Kind, parts: SplitResult) -> tuple[str, int]:
    """Return the name of the master and the number of the database."""
    names = [unquote(name) for name in parts.path.split("/") if name]
    service = ""
    if kind is Kind.SENTINEL:
        if not names:
            raise BadUrl("names no master; use redis+sentinel://HOST:PORT,HOST:PORT/NAME")
        service = names.pop(0)
    if not names:
        return service, 0
    if kind is Kind.CLUSTER or len(names) > 1 or not (names[0].isascii() and names[0].isdecimal()):
        raise BadUrl(
            "ends with a path that is not the number of a database" if kind is not Kind.CLUSTER else _NO_DATABASE
        )
    return service, int(names[0])


_NO_DATABASE = "names a database; a cluster has only one"
