"""The connection to a Redis: scripts and commands with a deadline, and errors as `StoreError` with the remedy.

Nothing is repeated that may have been done: a write whose response was lost raises an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from proxy.sessions.redis.address import Address, Kind
from proxy.sessions.store import StoreError

_CONNECTIONS = 64
_MAX_WAITING = 10_000
_REMEDIES: dict[type[BaseException], str] = {
    OutOfMemoryError: "it is out of memory: raise maxmemory, and keep maxmemory-policy noeviction",
    ReadOnlyError: "this server is a replica: sessions.url must lead to the master",
    AuthenticationError: "user or password in sessions.url is missing or wrong",
    AuthenticationWrongNumberOfArgsError: "user or password in sessions.url is missing or wrong",
    NoPermissionError: "its ACL user lacks a permission: docs/scaling.md lists them",
    BusyLoadingError: "it is still reading its data",
    ClusterDownError: "the cluster does not serve all slots",
    ClusterCrossSlotError: "it is a cluster: use redis+cluster:// in sessions.url",
    MovedError: "it is a cluster: use redis+cluster:// in sessions.url",
    MasterNotFoundError: "the sentinels know no master of this name, or can't be reached",
}
_BY_WORD = {
    "MISCONF": "it can't write its snapshot or AOF: look at its disk",
    "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How the redis store is used.

    Args:
        address: where it is.
        prefix: the beginning of all keys and channels.
        timeout: the longest time that a command may take, with its connection, in seconds.
        wait_replicas: how many replicas must have a write before it is answered.
        local_grace: seconds for which known sessions are valid while Redis can't be reached.
        recheck: seconds after which a cached session is read again.
        idle_timeout: seconds after which unused sessions end; 0: never.
        ca_file, cert_file, key_file: files for TLS, or None.
    """

    address: Address
    prefix: str = "noetl-edge:"
    timeout: float = 2.0
    wait_replicas: int = 0
    local_grace: float = 30.0
    recheck: float = 30.0
    idle_timeout: float = 0.0
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class Script:
    """A Lua script, with the beginning of its keys.

    When Redis is full, it refuses the operations in `growing` before they begin, and no others: sessions still end.
    """

    __slots__ = ("_full", "_growing", "_plain", "base")

    def __init__(self, name: str, prefix: str, tag: str, growing: Collection[str]) -> None:
        """Read a script of this package. `tag` is the hash tag that keeps its keys in one slot of a cluster."""
        text = (Path(__file__).parent / f"{name}.lua").read_bytes()
        self._plain = _with_digest(b"#!lua\n" + text)
        self._full = _with_digest(b"#!lua flags=allow-oom\n" + text)
        self._growing = frozenset(growing)
        self.base = f"{prefix}{{{tag}}}:"

    def of(self, operation: str) -> tuple[bytes, str]:
        """Return the text for an operation, and its SHA-1, by which Redis knows it."""
        return self._plain if operation in self._growing else self._full


def _with_digest(text: bytes) -> tuple[bytes, str]:
    return text, hashlib.sha1(text, usedforsecurity=False).hexdigest()


def describe(error: BaseException) -> str:
    """Return the cause of an error of Redis, with the remedy if it is known."""
    if isinstance(error, TimeoutError):
        return "it did not respond in time"
    text = str(error)
    otherwise = _BY_WORD.get(text.split(" ", 1)[0], text or type(error).__name__)
    return _REMEDIES.get(type(error), otherwise)


class RedisConnection:
    """Runs scripts and commands, on up to 64 connections."""

    def __init__(self, settings: RedisSettings) -> None:
        """Connect when it is first used. Raises StoreError if the files for TLS can't be used."""
        self.settings = settings
        self._options = _options(settings)
        self._client: Redis | RedisCluster | None = None
        self._free = asyncio.Semaphore(_CONNECTIONS)
        self._waiting = 0

    def _redis(self) -> Redis | RedisCluster:
        if self._client is None:
            self._client = _client(self.settings.address, self._options, self.settings.timeout)
        return self._client

    async def run(self, script: Script, operation: str, *arguments: Any) -> Any:
        """Run an operation of a script that only reads, or that may be lost. Raises StoreError."""
        return await self._limited(lambda: self._run(script, operation, arguments))

    async def write(self, script: Script, operation: str, *arguments: Any) -> Any:
        """Run an operation of a script, and wait for the replicas that must have it. Raises StoreError."""
        if not self.settings.wait_replicas:
            return await self.run(script, operation, *arguments)
        return await self._limited(lambda: self._run_replicated(script, operation, arguments))

    async def command(self, *words: Any) -> Any:
        """Run a command of one key. Raises StoreError."""
        return await self._limited(lambda: self._redis().execute_command(*words))

    async def _run(self, script: Script, operation: str, arguments: tuple[Any, ...]) -> Any:
        (text, digest), words = script.of(operation), (1, script.base, operation, *arguments)
        try:
            return await self._redis().execute_command("EVALSHA", digest, *words)
        except NoScriptError:  # a new server, or one that was started again
            return await self._redis().execute_command("EVAL", text, *words)

    async def _run_replicated(self, script: Script, operation: str, arguments: tuple[Any, ...]) -> Any:
        client, wanted = self._redis(), self.settings.wait_replicas
        assert isinstance(client, Redis)  # noqa: S101 - the checks refuse `wait_replicas` with a cluster
        milliseconds = int(self.settings.timeout * 750)
        text, digest = script.of(operation)
        for words in (("EVALSHA", digest), ("EVAL", text)):
            pipeline = client.pipeline(transaction=False)
            pipeline.execute_command(*words, 1, script.base, operation, *arguments)
            pipeline.execute_command("WAIT", wanted, milliseconds)
            result, replicas = await pipeline.execute(raise_on_error=False)
            if isinstance(result, NoScriptError):
                continue
            for outcome in (result, replicas):
                if isinstance(outcome, Exception):
                    raise outcome
            if replicas < wanted:
                raise StoreError(
                    f"{self}: {replicas} of {wanted} replicas have the write (sessions.redis.wait_replicas)"
                )
            return result
        raise StoreError(f"{self}: it does not keep scripts")

    async def _limited(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._waiting >= _MAX_WAITING:
            raise StoreError(f"{self}: too many commands are waiting")
        self._waiting += 1
        try:
            async with asyncio.timeout(self.settings.timeout), self._free:
                return await work()
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(f"{self}: {describe(error)}") from None
        finally:
            self._waiting -= 1

    async def subscription(self) -> AbstractConnection:
        """Return a new connection of the caller's own, not connected yet. Raises RedisError, OSError."""
        client = self._redis()
        if isinstance(client, Redis):
            connection: AbstractConnection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            return connection
        await client.initialize()
        node: ClusterNode = client.get_random_node()
        return node.connection_class(**node.connection_kwargs)

    async def close(self) -> None:
        """Close all connections."""
        client = self._client
        if client is None:
            return
        await client.aclose()
        if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool):
            for sentinel in client.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()

    def __str__(self) -> str:
        """Return what the log says."""
        return f"Redis at {self.settings.address}"


def _options(settings: RedisSettings) -> dict[str, Any]:
    """Return the arguments of each connection. Raises StoreError."""
    address = settings.address
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": None,  # each command has a deadline as a whole
        "socket_connect_timeout": settings.timeout,
        "socket_keepalive": True,
        "client_name": "noetl-edge",
        "retry": Retry(NoBackoff(), 0),
    }
    if address.kind is not Kind.CLUSTER:
        options["db"] = address.database
    return options | _tls_options(settings) if address.tls else options


def _tls_options(settings: RedisSettings) -> dict[str, Any]:
    """Return the arguments of a connection with TLS, whose certificate is always verified. Raises StoreError."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise StoreError(f"sessions.redis: the files for TLS can't be used: {error}") from None
    return {
        "ssl_ca_certs": str(settings.ca_file) if settings.ca_file else None,
        "ssl_certfile": str(settings.cert_file) if settings.cert_file else None,
        "ssl_keyfile": str(settings.key_file) if settings.key_file else None,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
    }


def _client(address: Address, options: dict[str, Any], timeout: float) -> Redis | RedisCluster:
    hosts = address.hosts
    if address.kind is Kind.CLUSTER:
        nodes = [ClusterNode(host, port) for host, port in hosts]
        options = options | {"retry": Retry(NoBackoff(), 1)}  # what a node that has moved or gone away needs
        return RedisCluster(startup_nodes=nodes, ssl=address.tls, **options)
    if address.kind is Kind.SENTINEL:
        asked: dict[str, Any] = {
            "socket_timeout": timeout / 3,
            "socket_connect_timeout": timeout / 3,
            "retry": Retry(NoBackoff(), 0),
        }
        tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
        if address.tls:
            asked, options = asked | tls | {"ssl": True}, options | {"ssl": True}
        sentinel: Any = Sentinel(hosts, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
        found: Redis = sentinel.master_for(address.service, **options)
        return found
    kind = SSLConnection if address.tls else Connection
    return Redis.from_pool(ConnectionPool(kind, host=hosts[0][0], port=hosts[0][1], **options))
