"""NoETL's own command line through the gateway: what it prints, and its exit statuses.

The command line is set up once in `var/contract/`; it signs in at the sandbox Auth0, with the url of the page that a
browser would be sent to.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.contract.playbooks import BROKEN, FAILING, QUICK, SLOW, Playbook
from tests.contract.programs import FOLDER, find, run
from tests.contract.report import Cell, Column
from tests.contract.server import Server
from tests.e2e.processes import Programs, clean_environment

RELEASE = "5.3.2"
SESSION_ENDED = 77
"""The exit status of the command line for 401."""
DIFFERENCES = {
    "noetl --gateway execute status ID (a script raised)": "the Rust server completes such a run",
    "completed and failed (a script raised)": "the Rust server completes such a run",
}
"""Why servers differ in a row, where they may."""
_SECONDS = 60.0
_QUERY = "SELECT 1 AS one"
_ID = re.compile(r'"execution_id": ?"?([0-9]+)')


def set_up() -> Path:
    """Install the command line, unless it is there, and return its program. Raises Missing or Failed."""
    folder = FOLDER / f"noetl-cli-{RELEASE}"
    program = folder / "bin" / "noetl"
    if not program.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        log = FOLDER / "cli-setup.log"
        run((find("python3", "install Python 3.11 or newer"), "-m", "venv", str(folder)), log)
        run((str(folder / "bin" / "pip"), "install", "--quiet", f"noetl=={RELEASE}"), log)
    return program


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command line, with a home of its own; `column` collects what it did."""

    program: Path
    home: Path
    column: Column

    async def __call__(self, *arguments: str, status: int = 0, text: str = "", shown: str = "") -> str:
        """Run a command and note whether it ends with this status, and prints this text. `shown` stands for it."""
        process = await asyncio.create_subprocess_exec(
            str(self.program), *arguments,
            env={**clean_environment(), "HOME": str(self.home)}, cwd=self.home,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(_SECONDS):
            out, _ = await process.communicate()
        printed, ended = out.decode(errors="replace"), process.returncode
        fine = ended == status and text in printed
        found = "the ID" if text.isdecimal() else text
        seen = f"exit {ended}" + (f", {found}" if text and text in printed else "")
        row = (shown or "noetl " + " ".join(arguments),)
        self.column[row] = Cell(seen if fine else f"{seen}: {printed[-300:]}", fine)
        return printed


@asynccontextmanager
async def gateway_before(server: Server) -> AsyncIterator[Programs]:
    """The sandbox Auth0, and a gateway with the shipped file before a server."""
    with Programs("python") as programs:
        programs.gateway.environment = {**programs.gateway.environment, "NOETL_BASE_URL": server.url}
        await asyncio.to_thread(programs.auth0.start)
        await asyncio.to_thread(programs.gateway.start)
        yield programs


async def check(server: Server) -> Column:
    """Sign in, use the server and sign out, as the command line's user would. Raises Missing or Failed."""
    program = await asyncio.to_thread(set_up)
    column: Column = {}
    for playbook in (QUICK, SLOW, FAILING, BROKEN):
        await server.register(playbook)
    async with gateway_before(server) as programs:
        with tempfile.TemporaryDirectory(prefix="noetl-edge-cli-") as home:
            await _session(CommandLine(program, Path(home), column), programs, server)
        with tempfile.TemporaryDirectory(prefix="noetl-edge-cli-") as home:
            await _administrator(CommandLine(program, Path(home), column), programs)
    return column


def with_reasons(columns: dict[str, Column]) -> dict[str, Column]:
    """Return the columns, and one that says why servers differ; a difference without a reason is wrong."""
    rows = dict.fromkeys(row for column in columns.values() for row in column)
    reasons: Column = {}
    for row in rows:
        if len({column[row].text if row in column else "" for column in columns.values()}) > 1:
            reason = DIFFERENCES.get(row[0], "")
            reasons[row] = Cell(reason or "no reason is known", bool(reason))
        else:
            reasons[row] = Cell("")
    return {**columns, "why they differ": reasons}


async def _session(noetl: CommandLine, programs: Programs, server: Server) -> None:
    await _sign_in(noetl, programs, "dev")
    await noetl("--gateway", "catalog", "list", "Playbook", "--json", text=QUICK.path)
    await noetl("--gateway", "catalog", "list", "Playbook", text=QUICK.path)
    await noetl("--gateway", "catalog", "get", QUICK.path, text=f'"path": "{QUICK.path}"')
    await _register(noetl, server, QUICK)
    await _runs(noetl, server)
    await noetl("--gateway", "run", "system/purge", "-r", "distributed", status=1, text="No access to playbook")
    await noetl("--gateway", "query", _QUERY, "--format", "json", status=1, text="403 Forbidden")
    await noetl("auth", "logout", text="Cleared cached gateway session token")
    shown = "noetl --gateway catalog list Playbook (signed out)"
    await noetl("--gateway", "catalog", "list", "Playbook", status=SESSION_ENDED, text="noetl auth login", shown=shown)


async def _administrator(noetl: CommandLine, programs: Programs) -> None:
    """Query the database, which only an administrator may do; in this release a table has no lines on either server."""
    await _sign_in(noetl, programs, "admin")
    for form, text in (("json", '"one": 1'), ("table", "")):
        shown = f"noetl --gateway query '{_QUERY}' --format {form} (admin)"
        await noetl("--gateway", "query", _QUERY, "--format", form, text=text, shown=shown)


async def _sign_in(noetl: CommandLine, programs: Programs, name: str) -> None:
    url, by = programs.gateway_url, "" if name == "dev" else f" ({name})"
    init = ("context", "init", "edge", "--from-gateway", url, "--yes", "--set-current")
    shown = f"noetl context init edge --from-gateway URL --yes --set-current{by}"
    await noetl(*init, text="auth0_client_id:      noetl-gateway", shown=shown)
    token = await _id_token(programs, name)
    callback = f"http://localhost:3000/login#id_token={token}&state=x"
    shown = f"noetl auth login --auth0-callback-url 'URL#id_token=…'{by}"
    login = ("auth", "login", "--auth0-callback-url", callback)
    await noetl(*login, text="Gateway login successful.", shown=shown)


async def _register(noetl: CommandLine, server: Server, playbook: Playbook) -> None:
    (noetl.home / "playbook.yaml").write_text(playbook.yaml(sandbox=server.sandbox))
    await noetl("--gateway", "catalog", "register", "playbook.yaml", text="registered successfully")


async def _runs(noetl: CommandLine, server: Server) -> None:
    """Start runs that complete, fail and are cancelled; ask for the status of each, and of one that is under way."""
    quick = await _start(noetl, QUICK)
    await server.ended(quick)
    await _status(noetl, quick, "completed", completed=True, failed=False)
    failing = await _start(noetl, FAILING)
    await server.ended(failing)
    await _status(noetl, failing, "a script raised", completed=True, failed=await server.status(failing) == "FAILED")
    broken = await _start(noetl, BROKEN)
    await server.ended(broken)
    await _status(noetl, broken, "failed", completed=True, failed=True)
    slow = await _start(noetl, SLOW)
    await _status(noetl, slow, "running", completed=False, failed=False)
    await noetl("--gateway", "cancel", slow, "--json", text=slow, shown="noetl --gateway cancel ID --json")
    other = await _start(noetl, SLOW)
    await noetl("--gateway", "cancel", other, text="Cancelled: 1 execution(s)", shown="noetl --gateway cancel ID")
    await server.ended(slow)
    await _status(noetl, slow, "cancelled", completed=True, failed=False)
    await noetl(
        "--gateway", "cancel", slow, "--json", text="already", shown="noetl --gateway cancel ID --json (cancelled)"
    )


async def _start(noetl: CommandLine, playbook: Playbook) -> str:
    shown = f"noetl --gateway run {playbook.path} -r distributed --json"
    return _id_in(
        await noetl("--gateway", "run", playbook.path, "-r", "distributed", "--json", text="execution_id", shown=shown)
    )


async def _status(noetl: CommandLine, execution_id: str, kind: str, *, completed: bool, failed: bool) -> None:
    """Request the status of an execution, as text and as JSON, and note whether it is the right one."""
    word = {(True, True): "FAILED", (True, False): "COMPLETED"}.get((completed, failed), "RUNNING")
    command = ("--gateway", "execute", "status", execution_id)
    await noetl(*command, text=word, shown=f"noetl --gateway execute status ID ({kind})")
    printed = await noetl(
        *command, "--json", text=execution_id, shown=f"noetl --gateway execute status ID --json ({kind})"
    )
    start = printed.find("{")
    assert start >= 0, printed
    found, _ = json.JSONDecoder().raw_decode(printed[start:])
    seen = {name: found.get(name) for name in ("completed", "failed", "execution_id")}
    wanted = {"completed": completed, "failed": failed, "execution_id": execution_id}
    noetl.column[f"completed and failed ({kind})",] = Cell(f"{seen['completed']}, {seen['failed']}", seen == wanted)


def _id_in(printed: str) -> str:
    found = _ID.search(printed)
    assert found is not None, printed
    return found[1]


async def _id_token(programs: Programs, name: str) -> str:
    form = {
        "grant_type": "password",
        "client_id": "noetl-gateway",
        "username": f"{name}@example.com",
        "password": programs.password,
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"{programs.auth0_url}/oauth/token", data=form)
        return str(response.json()["id_token"])
