"""What every kind of user has: an account, a session, requests that are counted once, and an account of results."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import gevent
from locust import FastHttpUser
from locust.contrib.fasthttp import FastResponse

from load.kinds import graphql_kind, kind_of
from load.scenario import Scenario, load_scenario
from load.settings import Settings
from load.windows import Windows

SETTINGS = Settings.from_environment()
SCENARIO: Scenario = load_scenario(SETTINGS.scenario)
MEASURED = Windows()
RESULT_SECONDS = 60.0
RETRY_SECONDS = 2.0
_numbers = itertools.count()

EXECUTE = (
    "mutation ($name: String!, $variables: JSON, $client: String) "
    "{ executePlaybook(name: $name, variables: $variables, clientId: $client) { executionId requestId status } }"
)
STATUS = "query ($id: String!) { executionStatus(executionId: $id) { status completed failed result } }"


class EdgeUser(FastHttpUser):
    """A user of the gateway. Subclasses add tasks."""

    abstract = True
    connection_timeout = 10.0
    network_timeout = 30.0
    max_retries = 0
    host = SETTINGS.gateways[0]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        runner = environment.runner
        index, count = max(0, getattr(runner, "worker_index", 0)), max(1, getattr(runner, "worker_count", 1))
        number = (next(_numbers) * count + index) % SETTINGS.known_users + 1
        self.email = SETTINGS.user_pattern.format(number=number)
        self.gateway = SETTINGS.gateways[number % len(SETTINGS.gateways)]
        self.random = random.Random(number)
        self.token = ""
        self.id_token = ""

    def wait_time(self) -> float:
        """Return the think time."""
        return self.random.uniform(*SCENARIO.think_time)

    # Requests

    def send(
        self,
        method: str,
        path: str,
        operation: str,
        expected: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
        judge: Callable[[FastResponse], str] | None = None,
        **options: Any,
    ) -> FastResponse:
        """Send a request, and count it once, under an operation, with its duration.

        An error is a status that is not expected, or what `judge` returns of a response with one: the kind of its
        error, or an empty text.
        """
        url = path if "://" in path else self.gateway + path
        started = time.time()
        begun = time.perf_counter()
        response: FastResponse
        with self.client.request(
            method, url, name=operation, catch_response=True, headers=dict(headers or {}), **options
        ) as response:
            seconds = time.perf_counter() - begun
            status = response.status_code or 0
            if status not in expected:
                kind = kind_of(status, getattr(response, "error", None))
            else:
                kind = judge(response) if judge is not None else ""
            if kind:
                response.failure(f"{status or kind}")  # type: ignore[no-untyped-call]
            else:
                response.success()  # type: ignore[no-untyped-call]
            MEASURED.add(started, operation, seconds, kind)
        return response

    def note(self, operation: str, started: float, error: str = "") -> None:
        """Count a wait (`WAITS`), such as that from the start of a playbook to its result."""
        seconds = time.time() - started
        MEASURED.add(started, operation, seconds, error)
        exception = RuntimeError(error) if error else None
        self.environment.events.request.fire(
            request_type="USER",
            name=operation,
            response_time=seconds * 1000,
            response_length=0,
            exception=exception,
            context={},
        )

    def another_gateway(self) -> None:
        """Go to the next gateway, as a load balancer does when one does not answer."""
        place = SETTINGS.gateways.index(self.gateway)
        self.gateway = SETTINGS.gateways[(place + 1) % len(SETTINGS.gateways)]

    # Sessions

    def on_start(self) -> None:
        """Sign in; try again until it works."""
        while not self.sign_in():
            gevent.sleep(self.random.uniform(0.5, 1.5) * RETRY_SECONDS)

    def sign_in(self) -> bool:
        """Sign in at the identity provider, and trade the token for a session. Return whether that worked."""
        form = {
            "grant_type": "password",
            "client_id": SETTINGS.client_id,
            "username": self.email,
            "password": SETTINGS.password,
            "scope": "openid profile email",
        }
        answer = self.send("POST", f"{SETTINGS.auth0}/oauth/token", "token", json=form)
        if answer.status_code != 200:
            return False
        self.id_token = answer.json()["id_token"]
        return self.trade()

    def trade(self) -> bool:
        """Trade the id_token for a session. Return whether that worked."""
        answer = self.send("POST", "/api/auth/login", "login", json={"auth0_token": self.id_token})
        if answer.status_code != 200:
            if not answer.status_code:
                self.another_gateway()
            return False
        self.token = answer.json()["session_token"]
        return True

    @property
    def authorized(self) -> dict[str, str]:
        """The header fields of a request with the session."""
        return {"authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, operation: str, **options: Any) -> FastResponse:
        """Send a request with the session. A refused session is counted as lost, and the user signs in again."""
        response = self.send(
            method, path, operation, headers={**self.authorized, **options.pop("headers", {})}, **options
        )
        if response.status_code == 401:
            MEASURED.counters["lost_sessions"] += 1
            self.sign_in()
        elif not response.status_code:
            self.another_gateway()
        return response

    def graphql(self, query: str, variables: Mapping[str, Any], operation: str) -> Mapping[str, Any] | None:
        """Send a GraphQL operation; return its data, or None for an error, which is counted as one of the request."""
        bodies: list[Any] = []

        def judge(response: FastResponse) -> str:
            try:
                bodies.append(response.json())
            except ValueError:
                return "wrong"
            return graphql_kind(bodies[0])

        self.call("POST", "/graphql", operation, json={"query": query, "variables": variables}, judge=judge)
        data: Mapping[str, Any] | None = bodies[0]["data"] if bodies and not graphql_kind(bodies[0]) else None
        return data
