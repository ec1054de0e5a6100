"""Clients that a gateway must bear: an attacker, and clients that send or read slowly."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import gevent
from locust import task

from load.users.common import MEASURED, EdgeUser

SLOW_SECONDS = 30.0
REFUSALS = (400, 401, 403, 404, 405, 413, 422, 429, 431)


def unsigned_token(email: str) -> str:
    """Return a token with the algorithm `none`."""
    parts: list[dict[str, object]] = [
        {"alg": "none", "typ": "JWT"},
        {"email": email, "email_verified": True, "sub": "attacker", "iat": int(time.time()), "exp": 4102444800},
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


class Attacker(EdgeUser):
    """A client that tries what must fail; a success is counted as `attacks_succeeded`."""

    def wait_time(self) -> float:
        """Return a short pause."""
        return self.random.uniform(0.1, 0.5)

    def on_start(self) -> None:
        """Sign in as a user; attacks come from an own address, because failed logins are throttled by address."""
        super().on_start()
        self.address = f"10.66.{self.random.randrange(256)}.{self.random.randrange(1, 255)}"

    def refused(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> None:
        """Send a request that must be refused."""
        headers = {"x-forwarded-for": self.address, **(headers or {})}
        response = self.send(method, path, "attack", expected=REFUSALS, headers=headers, **options)
        if response.status_code and 200 <= response.status_code < 300:
            MEASURED.counters["attacks_succeeded"] += 1

    @task(3)
    def without_a_session(self) -> None:
        """Use the API without a session, or with a made-up one."""
        self.refused("GET", "/noetl/executions")
        self.refused("GET", "/noetl/executions", headers={"authorization": "Bearer " + "a" * 43})

    @task(3)
    def with_a_forged_token(self) -> None:
        """Sign in with a token that nobody has signed."""
        self.refused("POST", "/api/auth/login", json={"auth0_token": unsigned_token("admin@example.com")})

    @task(2)
    def what_is_not_allowed(self) -> None:
        """Run and see what an analyst must not, also by other spellings of the path."""
        own = self.authorized
        self.refused("POST", "/noetl/execute", headers=own, json={"path": "system/purge", "workload": {}})
        self.refused("POST", "/noetl/execute", headers=own, json={"path": " system/purge", "workload": {}})
        self.refused("GET", "/noetl/credentials", headers=own)
        self.refused("GET", "/noetl/health/..%2fcredentials", headers=own)
        self.refused("GET", "/noetl/%63redentials?include_data=true", headers=own)

    @task(1)
    def too_much(self) -> None:
        """Send a very long head."""
        self.refused("GET", "/noetl/executions", headers={"x-padding": "a" * 100_000})


class SlowClient(EdgeUser):
    """A client that sends its request, or reads the response, a few bytes at a time; it is not counted as a user."""

    def on_start(self) -> None:
        """Do not sign in."""

    @task(3)
    def send_slowly(self) -> None:
        """Send a head byte by byte (Slowloris), until the gateway ends it."""
        self._hold(b"POST /graphql HTTP/1.1\r\nhost: gateway\r\nx-a: " + b"a" * 4096, 1)

    @task(2)
    def send_body_slowly(self) -> None:
        """Send a body byte by byte."""
        head = b"POST /api/auth/login HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        self._hold(head + b"content-length: 5000\r\n\r\n" + b"{" * 4000, len(head) + 24)

    @task(1)
    def say_nothing(self) -> None:
        """Open a connection, and send nothing."""
        self._hold(b"", 0)

    def _hold(self, data: bytes, first: int) -> None:
        address = urlsplit(self.gateway)
        started = time.time()
        try:
            with socket.create_connection((address.hostname or "", address.port or 80), timeout=5) as connection:
                connection.sendall(data[:first])
                for place in range(first, len(data)):
                    if time.time() - started > SLOW_SECONDS:
                        break
                    connection.sendall(data[place : place + 1])
                    gevent.sleep(0.25)
                connection.settimeout(SLOW_SECONDS)
                connection.recv(1024)
        except OSError:
            pass
        MEASURED.counters["slow connections"] += 1
