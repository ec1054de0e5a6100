"""Reloading of the files: a change is used within a second; a mistake is logged, and the old content stays in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from mock_server.yaml_file import YamlFileError

from .program import IdentityProvider
from .settings import TenantFile
from .settings_file import load_file, load_users, with_users

POLL_SECONDS = 0.5
_log = structlog.get_logger("mock_auth0")
Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """The files of the command line.

    Args:
        config: the tenant file.
        users: a file of further users, or None.
        generate: the number of generated users of the default tenant, or None.
    """

    config: Path
    users: Path | None = None
    generate: int | None = None

    def load(self) -> TenantFile:
        """Return their content. Raises YamlFileError."""
        settings = load_file(self.config)
        if self.users is not None:
            settings = with_users(settings, load_users(self.users))
        if self.generate is not None:
            settings = settings.model_copy(update={"generate_users": self.generate})
        return settings

    def stamp(self) -> Stamp:
        """Return what changes with the content: time, size and number of each file."""
        return tuple(_stamp(path) for path in (self.config, self.users) if path is not None)


async def watch(files: Files, program: IdentityProvider, since: Stamp, done: Callable[[], None] = lambda: None) -> None:
    """Use the content of the files whenever they change, until cancelled.

    Args:
        files: the files.
        program: the program that uses them.
        since: their stamp before they were loaded, so that no change is missed.
        done: called after each attempt.
    """
    last = since
    while True:
        await asyncio.sleep(POLL_SECONDS)
        stamp = await asyncio.to_thread(files.stamp)
        if stamp == last:
            continue
        last = stamp
        try:
            settings = await asyncio.to_thread(files.load)
            await asyncio.to_thread(program.use, settings)
        except YamlFileError as error:
            _log.error("reload refused, the old content stays in force", problem=str(error))
        else:
            _log.warning("reloaded", users=program.default.directory.user_count, tenants=len(program.tenants))
        done()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
