"""The programs of a measurement: upstream, session service, and the contenders.

A contender has one core; the load generator, the upstream and the session service share the other one. The gateway runs
with this repository's gateway.yaml: file session store, rules, CORS, limits, access log, and metrics.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from bench import sessions, upstream
from bench.idle import hold
from bench.programs import ROOT, Cores, MissingProgram, Program, alone, find_program, free_port, say
from bench.scenarios import (
    AUTH_REQUEST,
    BRIDGED,
    EDGE,
    FLOOR,
    IDLE,
    IDLE_CONNECTIONS,
    MERCURIUS,
    NGINX,
    RUST,
    RUST_BRIDGED,
    RUST_OF_RUST,
    RUST_RELAYED,
    SHARED,
    STORED,
    STORED_SESSIONS,
    TRACED,
    USERS,
    WORKERS,
    YOGA,
    SignedIn,
    fields_of,
    request_of,
    user,
)

Blocks = Mapping[str, Mapping[str, Any]]
_HERE = Path(__file__).parent
_CARGO = str(Path.home() / ".cargo" / "bin")
_BRIDGE: Blocks = {"upstreams": {}}
"""The settings of a gateway whose bridge is on, as it is if nothing is set."""
_SPARE_CONNECTIONS, _CHOSEN_SESSIONS, _GOAL_SECONDS, _GOAL_KIB = 512, 20_000, 2.0, 12
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "nginx"),
    autoescape=False,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)

CONDITIONS = (
    "both nginx keep connections open on each hop; the session service of nginx + auth_request is a table of tokens in "
    "a second nginx on the other core; its cost is not charged, and stands after a plus sign",
    "noetl-edge has its file session store, rules, access log (JSON) and metrics; everyone writes an access log to a "
    "file, which is emptied between measurements",
    "the floor is bench/floor.py: the least that a gateway in Python on uvloop must do for a request",
    "the Rust gateway, if there is one, runs with GATEWAY_AUTH_BYPASS: it lets any token in, which flatters it",
    "mercurius (jit: 1) and graphql-yoga (with a cache of documents) look the session up in a table in memory, apply "
    "no rules and write no log",
    "after a warm-up each relayed request made one request to the upstream, counted there",
    "the upstream is an nginx that responds from memory and shares the other core with the load generator",
)


class Testbed:
    """The running programs of a measurement, in a folder of their own; `notes` are what starting them has shown."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, core: int, other_core: int) -> None:
        self._stack, self.folder = stack, folder
        self._core, self._other = core, other_core
        self.who = SignedIn(self._store("sessions", USERS))
        self.contenders: dict[str, Program] = {}
        self.notes: list[str] = []
        self._nginx = find_program("nginx", "nginx-light")
        self.upstream = self._start_upstream()
        self._rust_upstream: Program | None = None

    def start(self, names: Collection[str]) -> None:
        """Start those of the named contenders that are installed. Raises BenchError."""
        starters: dict[str, Callable[[], Program | None]] = {
            NGINX: self._start_proxy,
            AUTH_REQUEST: self._start_auth_request,
            FLOOR: self._start_floor,
            RUST: self._start_rust,
            EDGE: self._start_gateway,
            TRACED: self._start_traced,
            WORKERS: self._start_workers,
            STORED: self._start_stored,
            SHARED: self._start_shared,
            IDLE: self._start_idle,
            BRIDGED: lambda: self._start_gateway(_BRIDGE),
            RUST_RELAYED: lambda: self._start_gateway(before=self._rust_server()),
            RUST_BRIDGED: lambda: self._start_gateway(_BRIDGE, before=self._rust_server()),
            RUST_OF_RUST: lambda: self._start_rust(self._rust_server()),
            MERCURIUS: lambda: self._start_node("mercurius.mjs"),
            YOGA: lambda: self._start_node("yoga.mjs"),
        }
        for name, starter in starters.items():
            if name in names and (program := starter()):
                self.contenders[name] = program

    def run(self, program: Program) -> Program:
        """Start a program, which is stopped at the end. Raises BenchError."""
        self._stack.callback(program.stop)
        program.start()
        return program

    def _start_upstream(self, *, rust: bool = False) -> Program:
        return self._start_nginx("upstream", self._other, responses=upstream.responses(rust=rust))

    def _rust_server(self) -> Program:
        """Return the upstream that responds as the Rust NoETL server; started at the first call."""
        self._rust_upstream = self._rust_upstream or self._start_upstream(rust=True)
        return self._rust_upstream

    def gateway(
        self,
        blocks: Blocks,
        before: Program | None = None,
        routes: Sequence[Mapping[str, Any]] = (),
        rules: Sequence[Mapping[str, Any]] = (),
    ) -> Program:
        """Start a gateway with other settings in some blocks, before another upstream, with more routes and rules."""
        document = yaml.safe_load((ROOT / "gateway.yaml").read_text())
        acl = {**document["acl"], "rules": [*document["acl"]["rules"], *rules]}
        more = {"routes": list(routes)} if routes else {}
        return self._start_gateway({**blocks, "acl": acl}, before=before, more=more)

    def _start_gateway(
        self,
        blocks: Blocks | None = None,
        cores: Cores | None = None,
        sessions: str = "sessions",
        before: Program | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Program:
        """Start a gateway with other settings in some blocks, on other cores, with another folder of sessions, before
        another upstream, or with more blocks."""
        port = free_port()
        file, log = self.folder / f"gateway-{port}.yaml", self.folder / f"gateway-{port}.log"
        text = configuration(blocks or {})
        file.write_text(text + yaml.safe_dump(dict(more)) if more else text)
        variables = {
            "NOETL_BASE_URL": (before or self.upstream).url,
            "GATEWAY_PORT": str(port),
            "NOETL_EDGE_AUDIT": str(self.folder / f"audit-{port}.log"),
            "NOETL_EDGE_SESSIONS": str(self.folder / sessions),
        }
        command = (sys.executable, "-m", "proxy", "serve", "--config", str(file))
        cores = self._core if cores is None else cores
        return self.run(Program("noetl-edge", command, port, log, cores, "/health", variables, (log,), (), before))

    def _store(self, folder: str, count: int) -> list[str]:
        return sessions.fill(self.folder / folder, map(user, range(count)))

    def _start_nginx(self, template: str, cores: Cores, **values: Any) -> Program:
        port = free_port()
        name = f"{template}-{port}"
        values |= {"port": port, "name": name, "folder": self.folder}
        file, log, access_log = (self.folder / f"{name}{suffix}" for suffix in (".conf", ".log", ".access.log"))
        file.write_text(_TEMPLATES.get_template(f"{template}.conf.j2").render(values))
        command = (self._nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(file))
        growing = (access_log,) if template == "proxy" else ()
        return self.run(Program(f"nginx ({name})", command, port, log, cores, growing=growing))

    def _start_proxy(self, session_port: int = 0) -> Program:
        return self._start_nginx("proxy", self._core, upstream=self.upstream.port, sessions=session_port)

    def _start_auth_request(self) -> Program:
        service = self._start_nginx("sessions", self._other, tokens=self.who.tokens)
        program = self._start_proxy(service.port)
        program.helpers = (service,)
        return program

    def _start_floor(self) -> Program:
        tokens, port, log = self.folder / "tokens", free_port(), self.folder / "floor.access.log"
        tokens.write_text("".join(f"{token}\n" for token in self.who.tokens))
        command = (sys.executable, str(_HERE / "floor.py"), str(self.upstream.port), str(port), str(tokens), str(log))
        return self.run(Program("floor", command, port, self.folder / "floor.log", self._core, growing=(log,)))

    def _start_rust(self, before: Program | None = None) -> Program | None:
        try:
            rust, nats = (find_program(name, name, _CARGO) for name in ("noetl-gateway", "nats-server"))
        except MissingProgram:
            return None
        nats_port, port = free_port(), free_port()
        log = self.folder / f"rust-{port}.log"
        command = (nats, "-a", "127.0.0.1", "-p", str(nats_port), "-js", "-sd", str(self.folder / f"nats-{port}"))
        self.run(Program("nats-server", command, nats_port, self.folder / "nats.log", self._other, None))
        variables = {
            "NOETL_BASE_URL": (before or self.upstream).url,
            "NATS_URL": f"nats://127.0.0.1:{nats_port}",
            "GATEWAY_AUTH_BYPASS": "true",
            "ROUTER_PORT": str(port),
        }
        return self.run(
            Program("noetl-gateway", (rust,), port, log, self._core, "/health", variables, (log,), (), before)
        )

    def _start_traced(self) -> Program | None:
        if importlib.util.find_spec("opentelemetry") is None:
            return None
        return self._start_gateway({"tracing": {"enabled": True, "endpoint": f"http://127.0.0.1:{free_port()}"}})

    def _start_workers(self) -> Program:
        cores = sorted(os.sched_getaffinity(0))
        second = cores[2] if len(cores) > 2 else self._other
        return self._start_gateway({"server": {"workers": 2}}, cores=f"{self._core},{second}")

    def _start_stored(self) -> Program:
        say(f"storing {STORED_SESSIONS} sessions")
        tokens = self._store("many-sessions", STORED_SESSIONS)
        self.who = SignedIn(self.who.tokens, dict(random.sample(list(enumerate(tokens)), _CHOSEN_SESSIONS)))
        begun = time.perf_counter()
        program = self._start_gateway(sessions="many-sessions")
        seconds = time.perf_counter() - begun
        self._note(f"start with {STORED_SESSIONS} stored sessions", seconds, "s", _GOAL_SECONDS)
        return program

    def _start_shared(self) -> Program:
        """Start a Redis on the other core, which syncs each write, and a gateway with the same sessions in it."""
        server, folder = find_program("redis-server", "redis-server"), self.folder / "redis"
        folder.mkdir()
        folder.chmod(0o700)
        port = free_port()
        durable = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "")
        command = (server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *durable)
        redis = self.run(Program("Redis", command, port, self.folder / "redis.log", self._other, ready=None))
        url = f"redis://127.0.0.1:{port}/0"
        sessions.fill_redis(url, self.who.tokens, map(user, range(USERS)))
        program = self._start_gateway({"sessions": {"store": "redis", "url": url}})
        program.helpers = (redis,)
        return program

    def _start_idle(self) -> Program:
        limits = {"max_connections": IDLE_CONNECTIONS + _SPARE_CONNECTIONS, "idle_timeout": "1h"}
        program = self._start_gateway({"server": {"limits": limits}})
        say(f"opening {IDLE_CONNECTIONS} connections")
        request = request_of("status", fields_of(self.who.tokens[0]), upstream.execution_id(0)).to_bytes("127.0.0.1")
        each = self._stack.enter_context(hold(IDLE_CONNECTIONS, program, request))
        self._note(f"resident memory for each of {IDLE_CONNECTIONS} idle connections", each / 1024, "KiB", _GOAL_KIB)
        return program

    def _note(self, what: str, value: float, unit: str, goal: float) -> None:
        self.notes.append(f"{what}: {value:.2f} {unit}; goal < {goal:g} {unit}: {'met' if value < goal else 'NOT MET'}")

    def _start_node(self, file: str) -> Program | None:
        node = shutil.which("node")
        if node is None or not (_HERE / "graphql" / "node_modules").is_dir():
            return None
        port, log = free_port(), self.folder / f"{file}.log"
        token = self.who.tokens[0]
        variables = {"PORT": str(port), "UPSTREAM": self.upstream.url, "SESSION_TOKEN": token, "NODE_ENV": "production"}
        command = (node, str(_HERE / "graphql" / file))
        return self.run(Program(file, command, port, log, self._core, environment=variables))


@contextlib.contextmanager
def testbed(core: int, other_core: int) -> Iterator[Testbed]:
    """Run an upstream; stop everything that was started at the end, also on ctrl-C."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noetl-edge-bench-")))
        # nginx started by root runs its worker as another user, who must reach its folders.
        folder.chmod(0o711)
        # Entered last, so left first: a second ctrl-C must not keep the programs from being stopped.
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        try:
            yield Testbed(stack, folder, core, other_core)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def configuration(blocks: Blocks) -> str:
    """Return this repository's gateway.yaml with metrics, without the bridge, and with other settings in its blocks.

    The bridge adds members to responses: it is measured in scenarios of its own, and elsewhere relayed is compared with
    relayed.
    """
    document = yaml.safe_load((ROOT / "gateway.yaml").read_text())
    document["upstreams"]["noetl"]["bridge"] = blocks is _BRIDGE
    for block, settings in {"metrics": {"enabled": True}, **blocks}.items():
        document[block] = {**document.get(block, {}), **settings}
    return yaml.safe_dump(document, sort_keys=False)
