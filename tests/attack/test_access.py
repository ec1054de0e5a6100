# ruff: noqa: E501 - data in lines
"""Access can't be gone round: whatever a server might run for what arrives, the rules allow it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from proxy.policy.acl import AccessPolicy, Action, Subject
from tests.attack.battle import Battle, Outcome, battle
from tests.attack.noetl import CATALOG, EXECUTIONS, MARK, runs, says
from tests.attack.table import Tally
from tests.attack.ways import EXECUTE, NAMES, SHAPES, TYPES, Request, bodies, graphql, http, proxied, requests

RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: ["*"], roles: [staff], paths: ["/noetl/**"]}
    - {allow: ["*"], roles: [staff], playbooks: ["open/**"]}
    - {deny: ["*"], roles: [staff], playbooks: ["open/secret/**"]}
"""


class Attack:
    """A gateway before a server that runs whatever could be meant, and what the rule engine itself says."""

    def __init__(self, field: Battle, runner: asyncio.Runner) -> None:
        self._field = field
        self._runner = runner
        self.policy: AccessPolicy = field.gateway.server.gateway.compiled.access
        self.who: Subject = self.policy.subject("attacker@staff.test", "attacker@staff.test", {}, None)

    def allowed(self, name: str) -> bool:
        """What the rule engine says of running a playbook."""
        return self.policy.on_playbook(self.who, Action.EXECUTE, name).allowed

    def send(self, request: Request) -> tuple[Outcome, set[str], str]:
        """What came back, what might have been run, and what is wrong with it."""
        outcome, ran = self._runner.run(self._send(request.data))
        denied = {name for name in ran if not self.allowed(name)}
        if denied:
            return outcome, ran, f"{request.name}: may run {denied}, which the rules do not allow"
        if any(MARK.encode() in answer.body for answer in outcome.answers):
            return outcome, ran, f"{request.name}: shows what the rules do not allow to see"
        if self._field.upstream.violations:
            return outcome, ran, f"{request.name}: {self._field.upstream.violations}"
        if any(answer.status >= 500 for answer in outcome.answers):
            return outcome, ran, f"{request.name}: {outcome.statuses}"
        return outcome, ran, ""

    async def _send(self, data: bytes) -> tuple[Outcome, set[str]]:
        self._field.forget()
        outcome = await self._field.send(data, victim=False)
        return outcome, set().union(*(runs(one) for one in self._field.upstream.arrived))


@pytest.fixture
def attack(tmp_path: Path) -> Iterator[Attack]:
    """The attack, on an event loop of its own, so that hypothesis can drive it."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        field = runner.run(
            stack.enter_async_context(battle(tmp_path, rules=RULES, more="\ngraphql: {limits: {batch: 3}}\n"))
        )
        field.upstream.says = says
        try:
            yield Attack(field, runner)
        finally:
            runner.run(stack.aclose())


def test_every_shape_of_a_request_to_run_a_playbook_is_judged_by_what_runs(
    attack: Attack, tally: Callable[[str], Tally]
) -> None:
    with tally("access: shapes and names") as counts:
        for shape, made in SHAPES.items():
            for name in NAMES:
                request = Request(f"{shape} {name!r}", made(name))
                _, ran, why = attack.send(request)
                if not why and name in CATALOG.values() and shape not in ("GET", "a path among the variables"):
                    expected = {name} if attack.allowed(name) else set()
                    why = "" if ran - {"open/a"} == expected - {"open/a"} else f"{request.name}: ran {ran}"
                counts.count(request.name, refused=not ran, surprise=why)


def test_every_spelling_of_execute_is_judged_by_what_runs(attack: Attack, tally: Callable[[str], Tally]) -> None:
    with tally("access: spellings of execute") as counts:
        made = [Request(f"{m} {path} {name}", http(m, f"/noetl{path}", b'{"path": "%b"}' % name.encode()))
                for path in EXECUTE for name in ("open/a", "secret/b") for m in ("POST", "PUT", "GET", "HEAD")]  # fmt: skip
        made += [Request(f"proxyRequest {path} {name}", proxied("POST", f"/api{path}", {"path": name}))
                 for path in EXECUTE for name in ("open/a", "secret/b")]  # fmt: skip
        made += [Request(f"{kind!r} {name}", http("POST", "/noetl/execute", b'{"path": "%b"}' % name.encode(), kind))
                 for kind in TYPES for name in ("open/a", "secret/b")]  # fmt: skip
        for request in made:
            _, ran, why = attack.send(request)
            counts.count(request.name, refused=not ran, surprise=why)


def test_every_body_of_execute_is_judged_by_what_runs(attack: Attack, tally: Callable[[str], Tally]) -> None:
    with tally("access: bodies of execute") as counts:
        for number in (1, 2, 3, "2", "02", True, None, 2.0):
            for name, other in (("secret/b", "open/a"), ("open/a", "secret/b"), ("open/secret/c", "open/a")):
                for body in bodies(name, other, number):
                    _, ran, why = attack.send(Request(repr(body), http("POST", "/noetl/execute", body)))
                    counts.count(repr(body), refused=not ran, surprise=why)


@pytest.mark.parametrize(
    "lines",
    [
        "application/json\r\ncontent-encoding: gzip",
        "application/json\r\ncontent-encoding: identity\r\ncontent-encoding: gzip",
        "application/json\r\ncontent-type: text/plain",
        "application/json; charset=utf-16",
    ],
)
def test_a_body_that_another_would_decode_is_refused(attack: Attack, lines: str) -> None:
    outcome, ran, why = attack.send(Request(lines, http("POST", "/noetl/execute", b'{"path": "open/a"}', lines)))
    assert outcome.answers[0].status in (400, 415)
    assert not ran
    assert not why


@pytest.mark.parametrize("number", EXECUTIONS)
def test_a_rerun_is_judged_by_the_playbook_of_the_execution(attack: Attack, number: int) -> None:
    for data in (
        http("POST", f"/noetl/executions/{number}/rerun", b"{}"),
        http("POST", f"/noetl/executions/{number}/rerun", b'{"path": "open/a", "workload": {}}'),
        graphql(f'mutation {{ rerunExecution(executionId: "{number}") {{ id }} }}'),
        proxied("POST", f"/api/executions/{number}/rerun", {}),
    ):
        _, ran, why = attack.send(Request(f"rerun {number}", data))
        assert not why
        assert bool(ran) == attack.allowed(EXECUTIONS[number])


def test_no_request_makes_a_server_run_what_the_rules_do_not_allow(
    attack: Attack, tally: Callable[[str], Tally]
) -> None:
    with tally("access: generated requests") as counts:

        @settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
        @given(requests())
        def check(request: Request) -> None:
            _, ran, why = attack.send(request)
            counts.count(request.name, refused=not ran, surprise=why)
            assert not why

        check()
