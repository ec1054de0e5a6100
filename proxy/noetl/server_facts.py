"""Which NoETL server is behind, for operators: `/ready` and `noetl-edge doctor`."""

from __future__ import annotations

from typing import NamedTuple

from proxy.noetl.api import HEALTH, NoetlApi
from proxy.noetl.known_facts import KnownFacts

_MAX_HEALTH = 64 * 1024
_UNKNOWN = "unknown"


class ServerFacts(NamedTuple):
    """The dialect and the release of a server; `unknown` for what it has not said."""

    dialect: str
    release: str


def server_facts(known: KnownFacts) -> ServerFacts:
    """Return what is known of a server."""
    return ServerFacts(known.dialect.value if known.dialect is not None else _UNKNOWN, known.release or _UNKNOWN)


async def health_failure(api: NoetlApi, seconds: float) -> str:
    """Return why a server does not respond, empty if it does; note its dialect and release."""
    failure, data = await api.client.failure_and_body(HEALTH, seconds, _MAX_HEALTH)
    api.known.note_health(data)
    return failure
