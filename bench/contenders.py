"""The programs of a measurement: upstream, session service, identity provider, and the contenders.

A contender has one core; the load generator, the upstream and the session service share the other one. The gateway runs
with this repository's gateway.yaml: file session store, rules, CORS, limits, access log, and metrics.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import jinja2
import yaml

from bench import upstream
from bench.programs import ROOT, BenchError, Cores, MissingProgram, Program, alone, find_program, free_port
from bench.scenarios import (
    AUTH_REQUEST,
    EDGE,
    EMAIL,
    FLOOR,
    LOGIN_EMAIL,
    MERCURIUS,
    NGINX,
    RUST,
    STRAWBERRY,
    TRACED,
    USERS,
    YOGA,
    SignedIn,
)  # fmt: skip

_HERE = Path(__file__).parent
_STRAWBERRY = ROOT / "var" / "bench" / "strawberry" / "bin" / "python"
_CARGO = str(Path.home() / ".cargo" / "bin")
_PASSWORD = "password"
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
    "mercurius (jit: 1), graphql-yoga and strawberry (both with caches of documents) look the session up in a table in "
    "memory, apply no rules and write no log",
    "after a warm-up each relayed request made one request to the upstream, counted there",
    "the upstream is an nginx that responds from memory and shares the other core with the load generator",
)


class Testbed:
    """The running programs of a measurement, in a folder of their own."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, core: Cores, other_core: Cores) -> None:
        self._stack, self.folder = stack, folder
        self._core, self._other = core, other_core
        self.who = SignedIn()
        self.contenders: dict[str, Program] = {}
        self._nginx = find_program("nginx", "nginx-light")
        self.identity_provider = self._start_identity_provider()
        self.upstream = self.start_upstream(other_core)

    def start(self, names: Collection[str], *, many_users: bool = False) -> None:
        """Start the gateway, sign in, and start those of the named contenders that are installed. Raises BenchError."""
        self.contenders[EDGE] = self.start_gateway(self.upstream)
        self.sign_in(self.contenders[EDGE], USERS if many_users else 1)
        starters: dict[str, Callable[[], Program | None]] = {
            NGINX: lambda: self._proxy(NGINX),
            AUTH_REQUEST: lambda: self._proxy(
                AUTH_REQUEST, self._nginx_of("sessions", self._other, tokens=self.who.tokens)
            ),
            FLOOR: self._floor,
            RUST: self._rust,
            TRACED: self._traced,
            MERCURIUS: lambda: self._rival(shutil.which("node"), "mercurius.mjs"),
            YOGA: lambda: self._rival(shutil.which("node"), "yoga.mjs"),
            STRAWBERRY: lambda: self._rival(shutil.which(_STRAWBERRY), "strawberry_app.py"),
        }
        for name, starter in starters.items():
            if name in names and (program := starter()):
                self.contenders[name] = program

    def run(self, program: Program) -> Program:
        """Start a program, which is stopped at the end. Raises BenchError."""
        self._stack.callback(program.stop)
        program.start()
        return program

    def start_upstream(self, cores: Cores) -> Program:
        """Start an upstream. Raises BenchError."""
        file = self.folder / "large.json"
        file.write_text(upstream.json_text(upstream.large()))
        return self._nginx_of("upstream", cores, responses=upstream.responses(), large=file)

    def start_gateway(
        self, upstream: Program, cores: Cores | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Program:
        """Start a gateway, on the core of contenders if no others are given. Raises BenchError."""
        cores = self._core if cores is None else cores
        return self.run(gateway(self.folder, cores, upstream.url, self.identity_provider.port, overrides))

    def sign_in(self, gateway: Program, users: int = 1) -> None:
        """Sign in at a gateway, all others share its sessions; `who` holds the tokens. Raises BenchError."""
        domain = f"localhost:{self.identity_provider.port}"
        with httpx.Client(timeout=10, trust_env=False) as client:
            tokens = [_session(client, gateway.url, domain, _id_token(client, domain, EMAIL))]
            other = _id_token(client, domain, LOGIN_EMAIL)
            _session(client, gateway.url, domain, other)
            for number in range(1, users):
                tokens.append(_session(client, gateway.url, domain, _id_token(client, domain, _email(number))))
        self.who = SignedIn(tokens, other, domain)

    def _start_identity_provider(self) -> Program:
        directory = yaml.safe_load((ROOT / "mock_auth0" / "users.yaml").read_text())
        claims = {"https://noetl.io/roles": ["developer"]}
        directory["users"] += [
            {"email": _email(number), "password": _PASSWORD, "claims": claims} for number in range(1, USERS)
        ]
        file, port = self.folder / "users.yaml", free_port()
        file.write_text(yaml.safe_dump(directory))
        command = (sys.executable, "-m", "mock_auth0", "--port", str(port), "--users", str(file))
        log, ready = self.folder / "mock_auth0.log", "/.well-known/jwks.json"
        return self.run(Program("mock_auth0", command, port, log, self._other, ready))

    def _nginx_of(self, template: str, cores: Cores, name: str = "", **values: Any) -> Program:
        port = free_port()
        name = name or f"{template}-{port}"
        file, log, access_log = (self.folder / f"{name}{suffix}" for suffix in (".conf", ".log", ".access.log"))
        values |= {"port": port, "name": name, "folder": self.folder}
        file.write_text(_TEMPLATES.get_template(f"{template}.conf.j2").render(values))
        command = (self._nginx, "-p", str(self.folder), "-e", "stderr", "-c", str(file))
        growing = (access_log,) if template == "proxy" else ()
        return self.run(Program(f"nginx ({name})", command, port, log, cores, growing=growing))

    def _proxy(self, name: str, sessions: Program | None = None) -> Program:
        ports = {"upstream": self.upstream.port, "sessions": sessions.port if sessions else 0}
        program = self._nginx_of("proxy", self._core, name, **ports)
        program.helpers = (sessions,) if sessions else ()
        return program

    def _floor(self) -> Program:
        tokens, port, log = self.folder / "tokens", free_port(), self.folder / "floor.access.log"
        tokens.write_text("".join(f"{token}\n" for token in self.who.tokens))
        command = (sys.executable, str(_HERE / "floor.py"), str(self.upstream.port), str(port), str(tokens), str(log))
        return self.run(Program("floor", command, port, self.folder / "floor.log", self._core, growing=(log,)))

    def _traced(self) -> Program | None:
        if importlib.util.find_spec("opentelemetry") is None:
            return None
        tracing = {"enabled": True, "endpoint": f"http://127.0.0.1:{free_port()}"}
        return self.start_gateway(self.upstream, overrides={"tracing": tracing})

    def _rust(self) -> Program | None:
        try:
            rust, nats = (find_program(name, name, _CARGO) for name in ("noetl-gateway", "nats-server"))
        except MissingProgram:
            return None
        port, store = free_port(), self.folder / "nats"
        command = (nats, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(store))
        self.run(Program("nats-server", command, port, self.folder / "nats.log", self._other, None))
        environment = {
            "NOETL_BASE_URL": self.upstream.url,
            "NATS_URL": f"nats://127.0.0.1:{port}",
            "GATEWAY_AUTH_BYPASS": "true",
            "ROUTER_PORT": str(port := free_port()),
        }
        log = self.folder / "rust.log"
        return self.run(Program("noetl-gateway", (rust,), port, log, self._core, "/health", environment, (log,)))

    def _rival(self, interpreter: str | None, file: str) -> Program | None:
        if interpreter is None or not (_HERE / "graphql" / "node_modules").is_dir():
            return None
        port, log = free_port(), self.folder / f"{file}.log"
        token = self.who.tokens[0]
        environment = {
            "PORT": str(port),
            "UPSTREAM": self.upstream.url,
            "SESSION_TOKEN": token,
            "NODE_ENV": "production",
        }
        command = (interpreter, str(_HERE / "graphql" / file))
        return self.run(Program(file, command, port, log, self._core, environment=environment))


@contextlib.contextmanager
def testbed(core: Cores, other_core: Cores) -> Iterator[Testbed]:
    """Run an upstream and an identity provider; stop everything that was started at the end, also on ctrl-C."""
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


def configuration(overrides: Mapping[str, Mapping[str, Any]]) -> str:
    """Return this repository's gateway.yaml with metrics and other settings in its blocks."""
    document = yaml.safe_load((ROOT / "gateway.yaml").read_text())
    for block, settings in {"metrics": {"enabled": True}, **overrides}.items():
        document[block] = {**document.get(block, {}), **settings}
    return yaml.safe_dump(document, sort_keys=False)


def gateway(
    folder: Path,
    cores: Cores,
    upstream_url: str,
    provider_port: int,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    sessions: Path | None = None,
) -> Program:
    """Return noetl-edge as a program. Gateways of one folder share their sessions if no other folder is given."""
    port, provider = free_port(), f"localhost:{provider_port}"
    file, log = folder / f"gateway-{port}.yaml", folder / f"gateway-{port}.log"
    file.write_text(configuration(overrides or {}))
    environment = {
        "AUTH0_DOMAIN": provider,
        "AUTH0_ISSUER": f"http://{provider}/",
        "AUTH0_AUDIENCE": "noetl-gateway",
        "NOETL_BASE_URL": upstream_url,
        "NOETL_EDGE_LOGIN_RATE": "1000000/second",
        "GATEWAY_PORT": str(port),
        "NOETL_EDGE_AUDIT": str(folder / f"audit-{port}.log"),
        "NOETL_EDGE_SESSIONS": str(sessions or folder / "sessions"),
    }
    command = (sys.executable, "-m", "proxy", "serve", "--config", str(file))
    return Program("noetl-edge", command, port, log, cores, "/health", environment, (log,))


def _email(number: int) -> str:
    return f"user{number}@bench.example"


def _id_token(client: httpx.Client, domain: str, email: str) -> str:
    form = {
        "grant_type": "password",
        "username": email,
        "password": _PASSWORD,
        "client_id": "noetl-gateway",
        "audience": "noetl-gateway",
        "scope": "openid profile email",
    }
    return _member(client.post(f"http://{domain}/oauth/token", data=form), "id_token")


def _session(client: httpx.Client, gateway: str, domain: str, id_token: str) -> str:
    document = {"auth0_token": id_token, "auth0_domain": domain}
    return _member(client.post(f"{gateway}/api/auth/login", json=document), "session_token")


def _member(response: httpx.Response, name: str) -> str:
    if response.status_code != 200:
        raise BenchError(f"signing in: {response.url.path} responded {response.status_code}: {response.text[:200]}")
    return str(response.json()[name])
