"""Load balancing: choose one of the urls of an upstream for each request.

An endpoint receives no requests while its health checks fail, while it is ejected, and while its circuit is open. If no
endpoint is healthy, health and ejection are ignored, because an attempt may succeed. An open circuit is never ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from enum import StrEnum
from hashlib import blake2b

from proxy.upstream.circuit_breaker import CircuitBreaker, CircuitState
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.pool import Pool
from proxy.upstream.retry import longest_idle
from proxy.upstream.routing_keys import MAX_ID, Key, hash_key, posts_events, shard_of

_CLOSED = CircuitState.CLOSED
_EJECT_AFTER = 5
_FIRST_EJECTION = 1.0
_LONGEST_EJECTION = 30.0


class Balance(StrEnum):
    """The algorithm that chooses an endpoint."""

    ROUND_ROBIN = "round_robin"
    LEAST_REQUESTS = "least_requests"
    CONSISTENT_HASH = "consistent_hash"
    NOETL_SHARDS = "noetl_shards"


class CircuitOpen(Exception):
    """Every circuit is open; the first probe is possible in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("the circuit is open")


class Endpoint:
    """One url of an upstream: its connections, health, ejection and circuit breaker.

    Args:
        pool: the connections.
        circuit: the circuit breaker; None if it is disabled.
        alone: True if the upstream has no other url; then the url is never ejected.
    """

    def __init__(self, pool: Pool, circuit: CircuitBreaker | None, *, alone: bool) -> None:
        self.pool = pool
        self.circuit = circuit
        self.healthy = True
        self.ejected_until = 0.0
        self._ejections = 0
        self._failures = 0
        self._only_endpoint = alone
        self._seed = pool.url.encode()
        pool.observer = self

    def succeeded(self) -> None:
        """Record a successful request."""
        self._failures = self._ejections = 0
        self.ejected_until = 0.0
        if self.circuit is not None:
            self.circuit.succeeded()

    def failed(self, *, unreachable: bool) -> None:
        """Record a failed request. Eject an unreachable endpoint immediately, and others after five failures."""
        now = self.pool.now()
        self._failures += 1
        if self.circuit is not None:
            self.circuit.failed(now)
        if not self._only_endpoint and (unreachable or self._failures >= _EJECT_AFTER) and now >= self.ejected_until:
            self.ejected_until = now + min(_LONGEST_EJECTION, _FIRST_EJECTION * 2**self._ejections)
            self._ejections = min(self._ejections + 1, 16)

    def is_usable(self, now: float) -> bool:
        """Return True if the endpoint is healthy and not ejected at this time."""
        return self.healthy and now >= self.ejected_until

    def would_admit(self, now: float) -> bool:
        """Return True if the circuit breaker would admit a request."""
        return self.circuit is None or self.circuit.would_admit(now)

    def weight(self, key: bytes) -> bytes:
        """Return the rank of the endpoint for a key (rendezvous hashing). If a url is removed, only its keys move."""
        return blake2b(key, digest_size=8, key=self._seed[:64]).digest()

    @property
    def load(self) -> int:
        """Return the number of current requests, including those that wait for a connection."""
        return self.pool.busy + self.pool.waiting


class Balancer:
    """The balancer of an upstream.

    Args:
        endpoints: the urls.
        balance: the algorithm.
        hash_on: the source of the key for consistent hashing.

    `key` extracts the key of a request; None if requests are not routed by a key.
    """

    __slots__ = ("_balance", "_next", "_sharded", "endpoints", "hash_on", "key")

    def __init__(self, endpoints: tuple[Endpoint, ...], balance: Balance, hash_on: str | None) -> None:
        self.endpoints = endpoints
        self._balance = balance
        self._next = 0
        self._sharded = balance is Balance.NOETL_SHARDS
        self.hash_on = hash_on if balance is Balance.CONSISTENT_HASH else "execution_id" if self._sharded else None
        self.key: Key | None = hash_key(self.hash_on) if self.hash_on is not None else None

    def reads_body(self, target: str) -> bool:
        """Return whether the key of a request stands in its body."""
        return self.hash_on == "execution_id" and len(self.endpoints) > 1 and posts_events(target)

    def choose(self, key: bytes | None = None, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """Return the endpoint for a request.

        Args:
            key: the key of the request, for hashing.
            avoid: the endpoints that failed before; used only if there is no other.

        Raises:
            CircuitOpen: every circuit is open.
        """
        if len(self.endpoints) == 1:
            return self._admitted(self.endpoints[0])
        if self._sharded and key is not None:
            return self._admitted(self._shard(key))
        now = self.endpoints[0].pool.now()
        admitting = [endpoint for endpoint in self.endpoints if endpoint.would_admit(now)]
        if not admitting:
            raise CircuitOpen(self.seconds_until_probe())
        untried = [endpoint for endpoint in admitting if endpoint not in avoid] or admitting
        usable = [endpoint for endpoint in untried if endpoint.is_usable(now)] or untried
        return self._admitted(self._pick(usable, key))

    def take_idle(self, method: str, key: bytes | None, user: Hashable = None) -> UpstreamConnection | None:
        """Return an idle connection of the endpoint for a request; None if there is none, or a circuit is not closed.

        Args:
            method: the method of the request.
            key: the key of the request for consistent hashing.
            user: for whose share of the connections it counts.
        """
        endpoint, turn = self.endpoints[0], self._next
        if self._sharded and key is not None:
            endpoint = self._shard(key)
        elif len(self.endpoints) > 1:
            now = endpoint.pool.now()
            usable = [e for e in self.endpoints if e.healthy and now >= e.ejected_until and e.would_admit(now)]
            if not usable:
                return None
            endpoint = self._pick(usable, key)
        if endpoint.circuit is not None and endpoint.circuit.state is not _CLOSED:
            self._next = turn
            return None
        connection = endpoint.pool.take_idle(longest_idle(method), user)
        if connection is None:
            self._next = turn
        return connection

    def seconds_until_probe(self) -> float:
        """Return the seconds until the first circuit admits a probe."""
        waits = (e.circuit.seconds_until_probe(e.pool.now()) for e in self.endpoints if e.circuit is not None)
        return min(waits, default=0.0)

    def _admitted(self, endpoint: Endpoint) -> Endpoint:
        if endpoint.circuit is not None and not endpoint.circuit.admit(endpoint.pool.now()):
            raise CircuitOpen(self.seconds_until_probe())
        return endpoint

    def _shard(self, key: bytes) -> Endpoint:
        """Return the endpoint of an execution. No other one has it, so its health does not matter."""
        number = int(key)
        return self.endpoints[shard_of(number, len(self.endpoints)) if number <= MAX_ID else 0]

    def _pick(self, usable: Sequence[Endpoint], key: bytes | None) -> Endpoint:
        if key is not None:
            return max(usable, key=lambda endpoint: endpoint.weight(key))
        self._next += 1
        start = self._next % len(usable)
        if self._balance is Balance.LEAST_REQUESTS:
            return min((*usable[start:], *usable[:start]), key=lambda endpoint: endpoint.load)
        return usable[start]
