"""The session store that a configuration names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proxy.config.compile import Compiled
from proxy.sessions.file import FileStore
from proxy.sessions.memory import MemoryStore
from proxy.sessions.store import SessionStore

if TYPE_CHECKING:
    from proxy.sessions.redis.connection import RedisSettings


def session_folder(compiled: Compiled) -> Path:
    """Return the folder of the file store: relative to the configuration file.

    Users of NoETL have its user ids, so their sessions have a folder of their own, beside the one in the file.
    """
    loaded = compiled.loaded
    folder = (loaded.file.parent / loaded.gateway.sessions.path).resolve()
    return folder if loaded.gateway.auth.provider == "local" else folder.with_name(f"{folder.name}-noetl")


def redis_settings(compiled: Compiled) -> RedisSettings:
    """Return the settings of the redis store, whose url has been checked. Sessions of NoETL have keys of their own."""
    from proxy.sessions.redis.address import read_address
    from proxy.sessions.redis.connection import RedisSettings

    sessions, folder = compiled.loaded.gateway.sessions, compiled.loaded.file.parent
    block, tls = sessions.redis, sessions.redis.tls
    ca, certificate, key = (tls.ca, tls.certificate, tls.key) if tls is not None else (None, None, None)
    return RedisSettings(
        read_address(sessions.url or ""),
        block.prefix if compiled.loaded.gateway.auth.provider == "local" else f"{block.prefix}noetl:",
        block.timeout,
        block.wait_replicas,
        block.local_grace,
        block.recheck,
        sessions.idle_timeout,
        folder / ca if ca else None,
        folder / certificate if certificate else None,
        folder / key if key else None,
    )


def open_store(compiled: Compiled) -> SessionStore:
    """Open the configured store. Raises StoreError."""
    sessions = compiled.loaded.gateway.sessions
    if sessions.store == "memory":
        return MemoryStore()
    if sessions.store == "redis":
        from proxy.sessions.redis.store import RedisStore  # its client takes a moment to load

        return RedisStore(redis_settings(compiled))
    return FileStore(session_folder(compiled), shared=compiled.loaded.gateway.server.workers != 1)


def place_of_store(compiled: Compiled) -> object:
    """Return what is equal for configurations whose sessions are in the same store, which then is opened once."""
    match compiled.loaded.gateway.sessions.store:
        case "memory":
            return None
        case "redis":
            return redis_settings(compiled)
        case _:
            return session_folder(compiled)
