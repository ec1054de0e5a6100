"""Who is measured, and what stands around them: the upstream, the session service and the identity provider.

The thing measured has one core; everything else, the load generator too, has the other. The gateway runs with the
gateway.yaml of this repository: file session store, access rules, one access line per request.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.programs import ROOT, BenchError, Program, free_port
from bench.scenarios import AUTH_REQUEST, DETAIL, EDGE, EXECUTION_ID, PLAIN, STATS, STATUS, UPSTREAM, json_text
from proxy.client import Client, ClientError

_TEMPLATES = Path(__file__).with_name("nginx")
_USER, _PASSWORD, _CLIENT_ID, _AUDIENCE = "dev@example.com", "password", "noetl-gateway", "noetl-gateway"

CONDITIONS = (
    "nginx+auth_request asks a session service that is the fastest there can be: a map of tokens in a second nginx, on "
    "the other core, so its cost is not charged to the core that is measured; a real one costs more",
    "nginx writes its access log in 64 KiB pieces, noetl-edge a line at a time; keepalive is on for every hop",
    "the upstream is an nginx that answers from memory, and shares the other core with the load generator and the "
    "session service: its own rate is the most that this set-up can ask of anyone",
    "executionStatus polls a running execution, whose playbook the gateway has seen before: one upstream request each",
)


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that is measured, with the name it has in the report."""

    name: str
    label: str
    url: str
    program: Program


class Field:
    """All programs of a run, in a folder of their own. Use it within an `ExitStack`, which stops them."""

    def __init__(self, nginx: str, folder: Path, core: int, other_core: int) -> None:
        self._nginx = nginx
        self._folder = folder
        self._core, self._other = core, other_core
        self.session_token = ""
        self.contenders: Mapping[str, Contender] = {}

    def start(self, stack: contextlib.ExitStack) -> None:
        """Start everything and sign in. Raises BenchError."""

        def run(program: Program) -> Program:
            stack.callback(program.stop)
            program.start()
            return program

        auth0 = free_port()
        run(self._python("mock_auth0", ("mock_auth0", "--port", str(auth0)), auth0, "/.well-known/jwks.json"))
        answers = {
            "STATS": json_text(STATS),
            "STATUS": json_text(STATUS).replace(EXECUTION_ID, "$execution_id"),
            "DETAIL": json_text(DETAIL).replace(EXECUTION_ID, "$execution_id"),
        }
        self.upstream = run(self._server("upstream", self._other, answers))
        upstream = {"UPSTREAM": str(_port(self.upstream))}
        gateway = run(self._gateway(self.upstream, auth0))
        self.session_token = _sign_in(f"localhost:{auth0}", _url(gateway))
        self.sessions = run(self._server("sessions", self._other, {"TOKEN": self.session_token}))
        plain = run(self._server("plain", self._core, upstream))
        hops = {**upstream, "SESSIONS": str(_port(self.sessions))}
        auth_request = run(self._server("auth_request", self._core, hops))
        self.contenders = {
            UPSTREAM: Contender(UPSTREAM, "upstream direct", _url(self.upstream), self.upstream),
            PLAIN: Contender(PLAIN, "nginx plain", _url(plain), plain),
            AUTH_REQUEST: Contender(AUTH_REQUEST, "nginx+auth_request", _url(auth_request), auth_request),
            EDGE: Contender(EDGE, "noetl-edge", _url(gateway), gateway),
        }

    def _server(self, name: str, core: int, values: Mapping[str, str]) -> Program:
        port = free_port()
        body = (_TEMPLATES / f"{name}.conf").read_text()
        text = (_TEMPLATES / "main.conf").read_text().replace("@BODY@", body)
        filled = fill(text, {**values, "PORT": str(port), "NAME": name, "FOLDER": str(self._folder)})
        file = self._folder / f"{name}.conf"
        file.write_text(filled)
        log = self._folder / f"{name}.access.log"
        command = (self._nginx, "-p", str(self._folder), "-e", "stderr", "-c", str(file))
        grows = (log,) if "@NAME@.access.log" in body else ()
        return Program(f"nginx ({name})", command, f"http://127.0.0.1:{port}/", self._log(name), core, grows=grows)

    def _python(self, name: str, arguments: tuple[str, ...], port: int, path: str) -> Program:
        command = (sys.executable, "-m", *arguments)
        return Program(name, command, f"http://127.0.0.1:{port}{path}", self._log(name), self._other)

    def _gateway(self, upstream: Program, auth0: int) -> Program:
        port, log = free_port(), self._log("gateway")
        return Program(
            "noetl-edge",
            (sys.executable, "-m", "proxy", "serve", "--config", str(ROOT / "gateway.yaml")),
            f"http://127.0.0.1:{port}/health",
            log,
            self._core,
            {
                "AUTH0_DOMAIN": f"localhost:{auth0}",
                "AUTH0_ISSUER": f"http://localhost:{auth0}/",
                "AUTH0_AUDIENCE": _AUDIENCE,
                "NOETL_BASE_URL": _url(upstream),
                "GATEWAY_PORT": str(port),
                "NOETL_EDGE_SESSIONS": str(self._folder / "store"),
            },
            grows=(log,),
        )

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values where `@NAME@` stands."""
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    return template


def _url(program: Program) -> str:
    return str(httpx.URL(program.ready_url).copy_with(path="")).rstrip("/")


def _port(program: Program) -> int:
    return httpx.URL(program.ready_url).port or 80


def _sign_in(domain: str, gateway: str) -> str:
    """A session as a user gets one: an id_token of the identity provider, traded at the gateway."""
    form = {
        "grant_type": "password",
        "username": _USER,
        "password": _PASSWORD,
        "client_id": _CLIENT_ID,
        "audience": _AUDIENCE,
        "scope": "openid profile email",
    }
    try:
        answer = httpx.post(f"http://{domain}/oauth/token", data=form, timeout=10, trust_env=False)
        if not answer.is_success:
            raise BenchError(f"mock_auth0 refused the login: {answer.status_code} {answer.text[:200]}")
        with Client(gateway, timeout=10, transport=httpx.HTTPTransport()) as client:
            return client.login(answer.json()["id_token"], domain).session_token
    except (httpx.HTTPError, ClientError) as error:
        raise BenchError(f"signing in: {error}") from None
