"""`noetl-edge sessions`: list, end and purge the sessions of a gateway, which may be running."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from proxy.commands.common import load_configuration
from proxy.commands.output import CONFIG, Failed, table
from proxy.config.compile import Compiled
from proxy.gateway import open_audit
from proxy.observe.audit import local_event
from proxy.sessions.opening import open_store, session_folder
from proxy.sessions.store import Session, SessionStore, StoreError, instant

T = TypeVar("T")
_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class _Opened:
    store: SessionStore
    idle_timeout: float


@click.group(epilog="Example: noetl-edge sessions list")
def sessions() -> None:
    """List and end sessions. A running gateway uses the changes at once."""


@sessions.command("list", epilog="Example: noetl-edge sessions list --user user@example.com")
@CONFIG
@click.option("--user", help="List sessions of this user only: an e-mail address or a user id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one session per line.")
def list_(config: Path, user: str | None, as_json: bool) -> None:
    """List the valid sessions. The ids are not tokens."""

    async def find(opened: _Opened) -> list[Session]:
        now = time.time()
        found = await opened.store.all(_LISTED)
        return [s for s in found if s.alive(now, opened.idle_timeout) and _is_of(s, user)]

    found = sorted(_with_store(config, find), key=lambda session: session.created_at)
    if as_json:
        for session in found:
            click.echo(json.dumps(dict(zip(_FIELDS, _cells(session), strict=True))))
    elif found:
        click.echo(table([[field.upper() for field in _FIELDS], *map(_cells, found)]))
    else:
        click.echo("no sessions")


_FIELDS = ("id", "user_id", "email", "created_at", "expires_at", "last_seen_at", "ip", "user_agent")


def _cells(session: Session) -> list[str]:
    times = (session.created_at, session.expires_at, session.last_seen_at)
    stamps = [instant(int(seconds)) for seconds in times]
    agent = "".join(char if char.isprintable() else "?" for char in session.user_agent)
    return [session.id, str(session.user_id), session.identity.email or "-", *stamps, session.ip or "-", agent or "-"]


def _is_of(session: Session, user: str | None) -> bool:
    return user is None or user in (str(session.user_id), session.identity.email)


@sessions.command(epilog="Example: noetl-edge sessions end --user user@example.com")
@CONFIG
@click.argument("session_id", required=False)
@click.option("--user", help="End all sessions of this user: an e-mail address or a user id.")
@click.option("--all", "everyone", is_flag=True, help="End all sessions of all users.")
def end(config: Path, session_id: str | None, user: str | None, everyone: bool) -> None:
    """End one session by its id, all sessions of a user, or all sessions. The exit status is 1 if there was none."""
    if sum((session_id is not None, user is not None, everyone)) != 1:
        raise Failed("give a session id, --user EMAIL, or --all")

    async def finish(opened: _Opened) -> int:
        if session_id is not None:
            return int(await opened.store.end_id(session_id, lambda session: True))
        ended = 0
        while found := [s for s in await opened.store.all(_LISTED) if _is_of(s, user)]:
            for number in {session.user_id for session in found}:
                ended += await opened.store.end_user(number)
        return ended

    count = _with_store(config, finish)
    audit = open_audit(load_configuration(config))
    if audit is not None:
        whose = session_id or user or "everyone"
        audit.append(
            local_event("session.end", "success" if count else "failed", f"noetl-edge sessions end: {count} of {whose}")
        )
    click.echo(f"ended {count} session{'s' * (count != 1)}")
    if not count:
        click.get_current_context().exit(1)


@sessions.command(epilog="Example: noetl-edge sessions purge")
@CONFIG
def purge(config: Path) -> None:
    """Delete expired sessions now; a running gateway also does this periodically."""

    async def drop(opened: _Opened) -> int:
        return await opened.store.purge(time.time(), opened.idle_timeout)

    count = _with_store(config, drop)
    click.echo(f"deleted {count} expired session{'s' * (count != 1)}")


def _with_store(config: Path, use: Callable[[_Opened], Awaitable[T]]) -> T:
    compiled = load_configuration(config)

    async def main() -> T:
        store = _open(compiled)
        try:
            return await use(_Opened(store, compiled.loaded.gateway.sessions.idle_timeout))
        finally:
            await store.close()

    try:
        return asyncio.run(main())
    except StoreError as error:
        raise Failed(f"session store: {error}") from None


def _open(compiled: Compiled) -> SessionStore:
    if compiled.loaded.gateway.sessions.store == "memory":
        raise Failed("sessions.store is memory: only the running gateway can access its sessions")
    folder = session_folder(compiled)
    if compiled.loaded.gateway.sessions.store == "file" and not folder.exists():
        raise Failed(f"no session folder at {folder} yet: the gateway creates it when it starts")
    return open_store(compiled)
