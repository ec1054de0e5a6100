"""The NoETL servers that the contract holds the gateway to: both real ones, and both dialects of the sandbox.

A real server is set up once in `var/contract/`, and runs with a database of its own for each run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.contract.database import Database
from tests.contract.programs import FOLDER, Missing, Program, answers, contains, find, run
from tests.e2e.processes import free_port

PYTHON_RELEASE = "4.26.0"
RUST_RELEASE = "3.54.0"
_SCHEMA = "noetl/database/ddl/postgres/schema_ddl.sql"
_WORKERS = 2
_WORKER = Path(__file__).with_name("rust_worker.py")
_OF_PYTHON = """
TZ=UTC POSTGRES_HOST=127.0.0.1 POSTGRES_PORT={database} POSTGRES_DB=noetl POSTGRES_USER=postgres
POSTGRES_PASSWORD=postgres NOETL_USER=noetl NOETL_PASSWORD=noetl NOETL_SCHEMA=noetl NOETL_HOST=127.0.0.1
NOETL_PORT={port} NOETL_SERVER_URL=http://127.0.0.1:{port} NOETL_SERVER=uvicorn NOETL_SERVER_WORKERS=1
NOETL_SERVER_RELOAD=false NOETL_SERVER_NAME=contract NOETL_ENABLE_UI=false NOETL_DEBUG=false NOETL_DISABLE_METRICS=true
NOETL_AUTO_RECREATE_RUNTIME=true NOETL_AUTO_RESUME_ENABLED=false NOETL_HEARTBEAT_RETRY_AFTER=3
NOETL_RUNTIME_SWEEP_INTERVAL=15 NOETL_RUNTIME_OFFLINE_SECONDS=60 NOETL_SERVER_METRICS_INTERVAL=60
NATS_URL=nats://noetl:noetl@127.0.0.1:{nats} NATS_USER=noetl NATS_PASSWORD=noetl NATS_STREAM=NOETL_COMMANDS
NATS_CONSUMER=noetl_worker_pool NATS_SUBJECT=noetl.commands
"""
_OF_RUST = """
POSTGRES_HOST=127.0.0.1 POSTGRES_PORT={database} POSTGRES_DATABASE=noetl POSTGRES_USER=noetl POSTGRES_PASSWORD=noetl
NOETL_SCHEMA=noetl NOETL_HOST=127.0.0.1 NOETL_PORT={port} NOETL_ALLOW_INSECURE_DEFAULT_KEY=true
NOETL_ORCHESTRATE_PLUGIN_DRIVE=false NOETL_COMMAND_BUS=ehdb RUST_LOG=warn
"""
KINDS = ("python", "rust", "mock-python", "mock-rust")
"""The names of the servers."""
DATABASES: dict[str, Database] = {}
"""The databases of the real servers that run, by the name of the server."""


@contextmanager
def running(kind: str, *, empty: bool = False) -> Iterator[str]:
    """Run a server until the context ends, and yield its address. Raises Missing or Failed.

    `empty`: a sandbox starts without the playbooks that it ships, as a real server does.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    starter = {"python": _python, "rust": _rust}.get(kind)
    with ExitStack() as stack:
        yield starter(stack) if starter is not None else _sandbox(stack, kind.removeprefix("mock-"), empty)


def _settings(text: str, **values: object) -> dict[str, str]:
    """Return the environment that a text of NAME=value describes, with these values."""
    words = text.format(**values).split()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _start(stack: ExitStack, program: Program) -> None:
    stack.callback(program.stop)
    program.start()


def _sandbox(stack: ExitStack, dialect: str, empty: bool) -> str:
    port = free_port()
    command = [sys.executable, "-m", "mock_noetl", "--port", str(port), "--dialect", dialect]
    if empty:
        command += ["--playbooks", stack.enter_context(TemporaryDirectory(prefix="noetl-edge-contract-"))]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    url = f"http://127.0.0.1:{port}"
    log = FOLDER / f"mock-{dialect}.log"
    _start(stack, Program(f"mock_noetl ({dialect})", command, log, environment, answers(f"{url}/api/health")))
    return url


def _database(stack: ExitStack, name: str) -> int:
    """Start a database, and return its port."""
    database = Database(FOLDER / f"postgres-{name}.log")
    stack.callback(database.stop)
    database.start()
    database.create("noetl", _schema())
    DATABASES[name] = database
    stack.callback(DATABASES.pop, name)
    return database.port


def _schema() -> Path:
    """Return the schema of NoETL's database, which its Python package contains."""
    found = FOLDER / "schema_ddl.sql"
    if not found.exists():
        wheels = FOLDER / "wheel"
        options = (
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--python-version=3.12",
        )
        command = (sys.executable, "-m", "pip", "download", *options, "-d", str(wheels), f"noetl=={PYTHON_RELEASE}")
        run(command, FOLDER / "setup.log")
        with zipfile.ZipFile(next(wheels.glob("noetl-*.whl"))) as wheel:
            found.write_bytes(wheel.read(_SCHEMA))
    return found


# The Python server


def _python_3_12() -> str:
    """Return a Python that the server runs on. Raises Missing."""
    pyenv = sorted(map(str, (Path.home() / ".pyenv" / "versions").glob("3.12.*/bin/python")))
    for candidate in (sys.executable, shutil.which("python3.12"), *pyenv):
        check = "import sys; sys.exit(sys.version_info[:2] != (3, 12))"
        if candidate and subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    raise Missing(f"Python 3.12 not found: noetl {PYTHON_RELEASE} needs it (Debian: apt-get install python3.12-venv)")


def _python_environment() -> Path:
    """Return the folder of the programs of a virtual environment with the server; make it if there is none."""
    folder = FOLDER / f"noetl-{PYTHON_RELEASE}"
    done, log = folder / ".ready", FOLDER / "setup.log"
    if not done.exists():
        print(f"setting up noetl {PYTHON_RELEASE} (once; some minutes)", flush=True)
        run((_python_3_12(), "-m", "venv", "--clear", str(folder)), log)
        pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run((*pip, f"noetl=={PYTHON_RELEASE}"), log)
        done.touch()
    return folder / "bin"


def _python(stack: ExitStack) -> str:
    nats_server = find("nats-server", "install it (Debian: apt-get install nats-server)")
    programs = _python_environment()
    database, nats, port = _database(stack, "python"), free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    data = FOLDER / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    account = ("--user", "noetl", "--pass", "noetl")
    broker = (nats_server, "-a", "127.0.0.1", "-p", str(nats), "-js", "-sd", str(data / "nats"), *account)
    _start(stack, Program("nats-server", broker, FOLDER / "nats.log"))
    settings = {**_settings(_OF_PYTHON, database=database, nats=nats, port=port), "NOETL_DATA_DIR": str(data)}
    server = (str(programs / "python"), "-m", "noetl.server", "--host", "127.0.0.1", "--port", str(port))
    name, log, ready = f"NoETL {PYTHON_RELEASE}", FOLDER / "python-server.log", answers(f"{url}/api/health")
    _start(stack, Program(name, server, log, {**settings, "NOETL_RUN_MODE": "server"}, ready))
    worker = (str(programs / "python"), "-m", "noetl.worker", "--nats-url", settings["NATS_URL"], "--server-url", url)
    role = {**settings, "NOETL_RUN_MODE": "worker", "NOETL_WORKER_POOL_NAME": "contract"}
    subscribed = contains(f"{url}/api/worker/pools", b'"status":"ready"')
    for number in range(_WORKERS):
        log = FOLDER / f"python-worker-{number}.log"
        _start(stack, Program("NoETL's worker", worker, log, role, subscribed))
    return url


# The Rust server


def _rust_program() -> Path:
    """Return the server; build it if it is not there. Raises Missing or Failed."""
    folder = FOLDER / f"noetl-server-{RUST_RELEASE}"
    program = folder / "bin" / "noetl-control-plane"
    if not program.exists():
        cargo = find("cargo", "install Rust (https://rustup.rs)")
        print(f"building noetl-server {RUST_RELEASE} (once; about six minutes on two cores)", flush=True)
        command = (cargo, "install", "noetl-server", "--version", RUST_RELEASE, "--locked", "--root", str(folder))
        run(command, FOLDER / "cargo.log")
    return program


def _rust(stack: ExitStack) -> str:
    program = _rust_program()
    database, port = _database(stack, "rust"), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = _settings(_OF_RUST, database=database, port=port)
    log = FOLDER / "rust-server.log"
    ready = answers(f"{url}/api/health")
    _start(stack, Program(f"noetl-server {RUST_RELEASE}", (str(program),), log, environment, ready))
    worker = (sys.executable, str(_WORKER), url)
    _start(stack, Program("the worker of the Rust server", worker, FOLDER / "rust-worker.log"))
    return url
