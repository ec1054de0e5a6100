"""A PostgreSQL cluster of the contract's own: made for one run, on a free port of 127.0.0.1, and removed after it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.contract.programs import Program, find, run, unprivileged
from tests.e2e.processes import free_port

_INSTALL = "install PostgreSQL (Debian: apt-get install postgresql)"
_ROLE = "noetl"


def _binaries() -> Path:
    """Return the folder with the server programs of the newest PostgreSQL. Raises Missing."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return folders[-1] if folders else Path(find("initdb", _INSTALL)).parent


class Database:
    """A cluster with one database for each server; the role of all is `noetl`."""

    def __init__(self, log: Path) -> None:
        self._binaries = _binaries()
        self._psql = find("psql", _INSTALL)
        self._user = unprivileged()
        self._log = log
        self._folder = Path(tempfile.mkdtemp(prefix="noetl-edge-contract-"))
        self.port = free_port()
        arguments = (f"-p{self.port}", f"-k{self._folder}", "-clisten_addresses=127.0.0.1", "-ctimezone=UTC")
        self._program = Program(
            "PostgreSQL",
            (str(self._binaries / "postgres"), f"-D{self._folder / 'data'}", *arguments),
            log,
            ready=self._is_ready,
            user=self._user,
            stop_with=signal.SIGINT,
        )

    def _is_ready(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h127.0.0.1", f"-p{self.port}"]
        return subprocess.run(command, check=False).returncode == 0

    def start(self) -> None:
        """Make the cluster, and start it. Raises Failed."""
        if self._user is not None:
            shutil.chown(self._folder, self._user, self._user)
        initdb = (str(self._binaries / "initdb"), f"-D{self._folder / 'data'}", "-Upostgres", "-Atrust", "-EUTF8", "-N")
        run(initdb, self._log, user=self._user)
        self._program.start()
        self._sql("postgres", "postgres", f"CREATE USER {_ROLE} WITH PASSWORD '{_ROLE}' LOGIN")
        self._sql("postgres", "postgres", f"ALTER ROLE {_ROLE} SET search_path=noetl,public")

    def create(self, name: str, schema: Path) -> None:
        """Make a database with NoETL's schema. Raises Failed."""
        self._sql("postgres", "postgres", f"CREATE DATABASE {name} OWNER {_ROLE}")
        self._sql("postgres", name, f"CREATE SCHEMA noetl AUTHORIZATION {_ROLE}")
        self._sql("postgres", name, f"GRANT ALL ON SCHEMA public TO {_ROLE}")
        self._psql_run(_ROLE, name, "-f", str(schema))

    def run_as_noetl(self, name: str, statements: str) -> None:
        """Run SQL in a database, as its owner. Raises Failed."""
        self._sql(_ROLE, name, statements)

    def _sql(self, user: str, database: str, statement: str) -> None:
        self._psql_run(user, database, "-c", statement)

    def _psql_run(self, user: str, database: str, *what: str) -> None:
        where = ("-h127.0.0.1", f"-p{self.port}", f"-U{user}", f"-d{database}")
        run((self._psql, "-q", "-X", "-vON_ERROR_STOP=1", *where, *what), self._log, environment={"PGPASSWORD": _ROLE})

    def stop(self) -> None:
        """Stop the cluster, and remove it."""
        self._program.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
