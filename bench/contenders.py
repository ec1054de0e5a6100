"""Who is measured, and what stands around them: the upstream, the session services and the identity provider.

The thing measured has one core; the load generator and the upstream have the other. The gateway runs with the
gateway.yaml of this repository: file session store, access rules, access log.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench import servers
from bench.answers import json_text, large, upstream_values
from bench.programs import BenchError, Cores, Program
from bench.scenarios import (
    AUTH_REQUEST,
    AUTH_REQUEST_TUNED,
    EDGE,
    EMAIL,
    HAPROXY,
    LABELS,
    PLAIN,
    PLAIN_TUNED,
    UPSTREAM,
    Credentials,
)
from proxy.client import Client, ClientError

_PASSWORD, _CLIENT_ID, _AUDIENCE = "password", "noetl-gateway", "noetl-gateway"

CONDITIONS = (
    "'nginx' and 'nginx + auth_request' have nginx's own proxy settings (HTTP/1.0, a new connection per request on "
    "each hop); the session service shares the core that is measured, so its cost is charged, as the gateway's own is",
    "the rows marked 'tuned' keep connections open on each hop, and the session service is on the other core, so its "
    "cost is not charged to the core that is measured",
    "the session service is the fastest there is, a map with the one token in a second nginx; a real one costs more",
    "noetl-edge has its file session store, access rules and access log (JSON) on, and metrics "
    f"{'on' if servers.METRICS else 'OFF, as this version has none'}",
    "everyone writes an access log to a file: nginx in 64 KiB pieces, noetl-edge in pieces of at most 64 KiB or 0.2 s, "
    "haproxy a line at a time; the files are emptied between measurements",
    "the upstream is an nginx that answers from memory, and shares the other core with the load generator: its own "
    "rate is the most that this set-up can ask of anyone",
    "executionStatus polls a running execution, whose playbook the gateway has seen before: one upstream request each",
)


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that is measured, with the name it has in the report. Its CPU is that of all its programs."""

    name: str
    label: str
    programs: tuple[Program, ...]

    @property
    def url(self) -> str:
        """Where it is asked."""
        return self.programs[0].url

    def cpu_seconds(self) -> float:
        """CPU seconds used so far."""
        return sum(program.cpu_seconds() for program in self.programs)


class Field:
    """All programs of a run, in a folder of their own. Use it within an `ExitStack`, which stops them."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, core: Cores, other_core: Cores) -> None:
        self._stack, self.folder = stack, folder
        self._core, self._other = core, other_core
        self.credentials = Credentials()
        self.contenders: dict[str, Contender] = {}
        self.helpers: dict[str, Program] = {}

    def start_gateway(self, nginx: str, server: Mapping[str, str] | None = None) -> None:
        """Start the upstream, the identity provider and the gateway, and sign in. Raises BenchError.

        `server` are settings for the gateway's server block.
        """
        upstream = self.start_upstream(nginx)
        gateway, self.credentials = self.gateway(upstream, server=server)
        self._add(UPSTREAM, upstream)
        self._add(EDGE, gateway)

    def start_upstream(self, nginx: str, cores: Cores | None = None) -> Program:
        """Start an upstream, with everything else if no cores are given. Raises BenchError."""
        file = self.folder / "large.json"
        file.write_text(json_text(large()))
        values = {**upstream_values(), "LARGE": str(file)}
        name = f"upstream{len(self.helpers)}"
        cores = self._other if cores is None else cores
        upstream = self.run(servers.nginx(nginx, self.folder, "upstream", cores, values, name))
        self.helpers.setdefault("upstream", upstream)
        return upstream

    def gateway(
        self, upstream: Program, cores: Cores | None = None, server: Mapping[str, str] | None = None
    ) -> tuple[Program, Credentials]:
        """Start a gateway, on its core if no others are given, and sign in there. Raises BenchError."""
        if "identity provider" not in self.helpers:
            self.helpers["identity provider"] = self.run(servers.mock_auth0(self.folder, self._other))
        auth0 = self.helpers["identity provider"]
        cores = self._core if cores is None else cores
        gateway = self.run(servers.gateway(self.folder, cores, upstream, auth0, server))
        return gateway, sign_in(f"localhost:{auth0.port}", gateway.url)

    def start_others(self, nginx: str, haproxy: str) -> None:
        """Start those that the gateway is compared with. Raises BenchError."""
        token = {"TOKEN": self.credentials.session_token}
        near = self._server(nginx, "sessions", self._core, token, "sessions_same_core")
        far = self._server(nginx, "sessions", self._other, token, "sessions_other_core")
        self.helpers["session service"] = far
        upstream = {"UPSTREAM": str(self.helpers["upstream"].port)}
        self._add(PLAIN, self._server(nginx, "plain", self._core, upstream))
        self._add(PLAIN_TUNED, self._server(nginx, "plain_tuned", self._core, upstream))
        self._add(HAPROXY, self.run(servers.haproxy(haproxy, self.folder, self._core, upstream)))
        hops = {**upstream, "SESSIONS": str(near.port)}
        self._add(AUTH_REQUEST, self._server(nginx, "auth_request", self._core, hops), near)
        hops = {**upstream, "SESSIONS": str(far.port)}
        self._add(AUTH_REQUEST_TUNED, self._server(nginx, "auth_request_tuned", self._core, hops))

    def add(self, name: str, label: str, program: Program) -> None:
        """Start another contender. Raises BenchError."""
        self.contenders[name] = Contender(name, label, (self.run(program),))

    def run(self, program: Program) -> Program:
        """Start a program, which is stopped at the end. Raises BenchError."""
        self._stack.callback(program.stop)
        program.start()
        return program

    def _server(self, nginx: str, template: str, core: Cores, values: Mapping[str, str], name: str = "") -> Program:
        return self.run(servers.nginx(nginx, self.folder, template, core, values, name))

    def _add(self, name: str, *programs: Program) -> None:
        self.contenders[name] = Contender(name, LABELS[name], programs)


def sign_in(domain: str, gateway: str) -> Credentials:
    """A session as a user gets one: an id_token of the identity provider, traded at the gateway. Raises BenchError."""
    form = {
        "grant_type": "password",
        "username": EMAIL,
        "password": _PASSWORD,
        "client_id": _CLIENT_ID,
        "audience": _AUDIENCE,
        "scope": "openid profile email",
    }
    try:
        answer = httpx.post(f"http://{domain}/oauth/token", data=form, timeout=10, trust_env=False)
        if not answer.is_success:
            raise BenchError(f"mock_auth0 refused the login: {answer.status_code} {answer.text[:200]}")
        id_token = answer.json()["id_token"]
        with Client(gateway, timeout=10, transport=httpx.HTTPTransport()) as client:
            return Credentials(client.login(id_token, domain).session_token, id_token, domain)
    except (httpx.HTTPError, ClientError) as error:
        raise BenchError(f"signing in: {error}") from None
