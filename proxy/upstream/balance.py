"""Several urls of one upstream: which of them a request goes to, and which are left alone for a while.

An endpoint is left alone while its health checks fail, while it is ejected for failing, and while its circuit is open.
If health and ejection would leave none, they are disregarded: a guess that may be wrong is better than no answer.
An open circuit is not disregarded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from hashlib import blake2b

from proxy.upstream.circuit_breaker import CircuitBreaker, CircuitState
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.pool import Pool
from proxy.upstream.retry import longest_idle

_EJECT_AFTER = 5
_FIRST_EJECTION = 1.0
_LONGEST_EJECTION = 30.0
_EXECUTION = re.compile(r"/executions/([0-9]{1,20})(?:[/?]|$)", re.IGNORECASE)


class Balance(StrEnum):
    """How an endpoint is chosen."""

    ROUND_ROBIN = "round_robin"
    LEAST_REQUESTS = "least_requests"
    CONSISTENT_HASH = "consistent_hash"


class CircuitOpen(Exception):
    """No endpoint may be sent to before `retry_after` seconds are over."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("the circuit is open")


class Endpoint:
    """One url: its connections, and what is known of how it fares."""

    def __init__(self, pool: Pool, circuit: CircuitBreaker | None, *, alone: bool) -> None:
        self.pool = pool
        self.circuit = circuit
        self.healthy = True
        self.ejected_until = 0.0
        self._ejections = 0
        self._failures = 0
        self._alone = alone
        self._seed = pool.url.encode()
        pool.watch = self

    def good(self) -> None:
        """A request was answered."""
        self._failures = self._ejections = 0
        self.ejected_until = 0.0
        if self.circuit is not None:
            self.circuit.succeeded()

    def bad(self, *, unreachable: bool) -> None:
        """A request failed. An endpoint that can't be reached is ejected at once, another one after five failures."""
        now = self.pool.now()
        self._failures += 1
        if self.circuit is not None:
            self.circuit.failed(now)
        if not self._alone and (unreachable or self._failures >= _EJECT_AFTER) and now >= self.ejected_until:
            self.ejected_until = now + min(_LONGEST_EJECTION, _FIRST_EJECTION * 2**self._ejections)
            self._ejections = min(self._ejections + 1, 16)

    def fit(self, now: float) -> bool:
        """Whether it is thought to work."""
        return self.healthy and now >= self.ejected_until

    def would_admit(self, now: float) -> bool:
        """Whether its circuit lets a request through."""
        return self.circuit is None or self.circuit.would_admit(now)

    def weight(self, key: bytes) -> bytes:
        """Where it stands for a key among the others (rendezvous hashing): a url that goes moves only its own keys."""
        return blake2b(key, digest_size=8, key=self._seed[:64]).digest()

    @property
    def load(self) -> int:
        """Requests on it just now."""
        return self.pool.busy + self.pool.waiting


Key = Callable[[str, bytes, bytes], bytes | None]


def hash_key(hash_on: str | None) -> Key:
    """Return what `hash_on` looks at: a function of a request's target, its field lines and its session's key."""
    if hash_on == "session":
        return lambda target, lines, session: session or None
    if hash_on is not None and hash_on.startswith("header:"):
        wanted = hash_on.removeprefix("header:").strip().lower().encode("latin-1")
        return lambda target, lines, session: _field_value(lines, wanted)
    return _execution_of


def _field_value(lines: bytes, wanted: bytes) -> bytes | None:
    fields = (line.partition(b":") for line in lines.split(b"\r\n"))
    return next((value.strip() for name, _, value in fields if name.lower() == wanted), None)


def _execution_of(target: str, lines: bytes, session: bytes) -> bytes | None:
    found = _EXECUTION.search(target)
    return found[1].encode() if found else None


class Balancer:
    """Chooses among endpoints."""

    __slots__ = ("_balance", "_next", "endpoints", "hash_on", "key")

    def __init__(self, endpoints: tuple[Endpoint, ...], balance: Balance, hash_on: str | None) -> None:
        self.endpoints = endpoints
        self._balance = balance
        self._next = 0
        self.hash_on = hash_on if balance is Balance.CONSISTENT_HASH else None
        self.key: Key | None = hash_key(hash_on) if balance is Balance.CONSISTENT_HASH else None

    def choose(self, key: bytes | None = None, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """The endpoint of a request; one of `avoid` only if there is no other. Raises CircuitOpen."""
        if len(self.endpoints) == 1:
            return self._admitted(self.endpoints[0])
        now = self.endpoints[0].pool.now()
        open_to = [endpoint for endpoint in self.endpoints if endpoint.would_admit(now)]
        if not open_to:
            raise CircuitOpen(self.seconds_until_probe())
        untried = [endpoint for endpoint in open_to if endpoint not in avoid] or open_to
        fit = [endpoint for endpoint in untried if endpoint.fit(now)] or untried
        return self._admitted(self._pick(fit, key))

    def take_idle(self, method: str, key: bytes | None) -> UpstreamConnection | None:
        """Return a kept connection of the endpoint that a request goes to; None if that needs more than a look.

        `key` is what the upstream balances by, if it does.
        """
        endpoint, turn = self.endpoints[0], self._next
        if len(self.endpoints) > 1:
            now = endpoint.pool.now()
            fit = [e for e in self.endpoints if e.healthy and now >= e.ejected_until and e.would_admit(now)]
            if not fit:
                return None
            endpoint = self._pick(fit, key)
        if endpoint.circuit is not None and endpoint.circuit.state is not CircuitState.CLOSED:
            self._next = turn
            return None
        connection = endpoint.pool.take_idle(longest_idle(method))
        if connection is None:
            self._next = turn
        return connection

    def seconds_until_probe(self) -> float:
        """How long every circuit stays open."""
        waits = (e.circuit.seconds_until_probe(e.pool.now()) for e in self.endpoints if e.circuit is not None)
        return min(waits, default=0.0)

    def _admitted(self, endpoint: Endpoint) -> Endpoint:
        if endpoint.circuit is not None and not endpoint.circuit.admit(endpoint.pool.now()):
            raise CircuitOpen(self.seconds_until_probe())
        return endpoint

    def _pick(self, fit: Sequence[Endpoint], key: bytes | None) -> Endpoint:
        if key is not None:
            return max(fit, key=lambda endpoint: endpoint.weight(key))
        self._next += 1
        start = self._next % len(fit)
        if self._balance is Balance.LEAST_REQUESTS:
            return min((*fit[start:], *fit[:start]), key=lambda endpoint: endpoint.load)
        return fit[start]
