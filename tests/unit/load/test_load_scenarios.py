"""Scenarios: all committed ones can be read, mistakes are reported with their place, shapes stay within bounds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from load.checks import OPERATIONS
from load.processes import Process, Programs
from load.scenario import Scenario, ScenarioError, changed, load_scenario, names
from load.schedule import schedule
from load.settings import Settings
from load.shapes import SHAPES, users_at
from load.windows import WAITS

TEN = {
    "monday-morning", "noisy-neighbour", "upstream-brown-out", "upstream-restart", "key-rotation", "key-set-outage",
    "slow-clients", "reconnect-storm", "gateway-dies", "redis-outage",
}  # fmt: skip
ROOT = Path(__file__).parents[3]
BASE = "description: d\nthresholds: [lost_results == 0]\n"


def _programs() -> Programs:
    def process(name: str) -> Process:
        return Process(name, ("true",), "http://127.0.0.1:1", "/", Path("log"))

    gateways = [process(f"gateway-{number}") for number in range(1, 4)]
    return Programs(process("auth0"), process("noetl"), gateways, process("redis"))


@pytest.mark.parametrize("name", names())
def test_committed_scenario_is_valid_and_has_a_schedule_within_its_time(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.description.endswith(".")
    actions = schedule(scenario, _programs()).actions
    assert all(0 <= action.at <= scenario.duration for action in actions)
    assert len({fault.name for fault in scenario.faults}) == len(scenario.faults)
    assert all(begin <= end <= scenario.duration for _, begin, end in scenario.windows())
    assert any("lost" in text or "errors" in text for text in scenario.thresholds)


def test_the_ten_scenarios_and_the_soak_are_there() -> None:
    assert set(names()) == TEN | {"soak"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("description: d\n", "line 1: thresholds: is missing"),
        (BASE + "user: 5\n", 'thresholds, users; did you mean "users"?)'),
        (BASE + "shape: zigzag\n", "zigzag is not one of steady, ramp, spike, monday-morning"),
        (BASE + "mix: {Robot: 1}\n", "line 3: mix.Robot: unknown kind of users (known: Attacker, BrowserL"),
        (BASE + "duration: long\n", "line 3: duration: a duration is a number"),
        ("description: d\nthresholds: [fast]\n", "a threshold is like"),
        (BASE + "faults: [{name: x, at: 1s, target: mars, process: kill}]\n", "target: unknown target mars (known: a"),
        (BASE + "faults: [{name: x, at: 1s, target: gateway-2, process: kill}]\n", "gateway-2 does not run"),
        (BASE + "faults: [{name: x, at: 1s, target: redis, process: kill}]\n", "stack.store is not redis"),
        (BASE + "faults: [{name: x, at: 1s, target: noetl}]\n", "a fault has one of rule, call and process"),
        (
            BASE + "faults: [{name: x, at: 1s, target: noetl, rule: {fault: x}}]\n",
            "line 3: faults[0].rule.fault: unknown kind x (known: ",
        ),
        (BASE + "faults: [{name: x, at: 1s, target: gateway-1, rule: {fault: empty}}]\n", "other targets have process"),
        ("description: d\nthresholds:\n- p99(logn) < 1s\n", "line 3: thresholds[0]: p99(logn) < 1s: no user of this"),
        ("description: d\nthresholds: [p99(logn) < 1s]\n", 'validate; did you mean "login"?)'),
        ("description: d\nthresholds: [count(attack) > 1]\n", "no user of this scenario has the operation attack"),
        ("description: d\nthresholds: [cpu(gatway) < 1]\n", "there is no program gatway (known: auth0, gateway,"),
        ("description: d\nthresholds: [memory(redis) < 1MiB]\n", "there is no program redis"),
        ("description: d\nthresholds: [errors(5xx) == 0 during faults]\n", "the scenario has no faults"),
        (
            BASE + "faults: [{name: x, at: 60s, target: noetl, rule: {fault: empty}}]\n",
            "line 3: faults[0].at: fault x begins after the end of the run, at 60 s",
        ),
        ("a: [", "not YAML"),
        (BASE + "think_time: [5, 1]\n", "line 3: think_time: must be the shortest and the longest time, in this order"),
        (BASE + "think_time: [-1, 1]\n", "line 3: think_time: must be the shortest and the longest time"),
        (BASE + "think_time: [1, .inf]\n", "line 3: think_time[1]: must be a finite number"),
        (BASE + "duration: 0s\n", "line 3: duration: must be at least 1"),
        (
            "description: d\nthresholds: [share(5xx) < 5]\n",
            "thresholds[0]: 'share(5xx) < 5': share is compared",
        ),
    ],
)
def test_mistake_in_a_scenario_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(str(path))
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


FAULT = "faults:\n- name: x\n  at: 1s\n  for: 1s\n"  # lines 3 to 6


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BASE + FAULT + "  target: redis\n  process: kill\n", "line 7: faults[0].target: fault x: stack.store is not"),
        (BASE + FAULT + "  target: gateway-2\n  process: kill\n", "line 7: faults[0].target: fault x: gateway-2 does"),
        (BASE + FAULT + "  target: redis\n  rule: {fault: empty}\n", "line 7: faults[0].target: rule and call are for"),
        (BASE + FAULT + "  target: noetl\n", "line 4: faults[0]: a fault has one of rule, call and process"),
        (BASE + FAULT + "  target: noetl\n  call:\n    paht: /reset\n", "line 9: faults[0].call.paht: unknown key"),
        (BASE + FAULT + "  target: noetl\n  call:\n    method: GET\n", "line 8: faults[0].call.path: is missing"),
        (BASE + "mix:\n  BrowserPolls: 1\n  Robot: 1\n", "line 5: mix.Robot: unknown kind of users"),
        ("description: d\nthresholds:\n- lost_results == 0\n- fast\n", "line 4: thresholds[1]: 'fast': a threshold"),
    ],
)
def test_mistake_between_two_fields_has_the_line_of_one_of_them(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(str(path))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ("at: 1s\n  for: 61s", "line 6: faults[0].for: fault x ends at 62 s, after the end of the run, at 60 s: lower"),
        ("at: 50s\n  for: 11s", "line 6: faults[0].for: fault x ends at 61 s, after the end of the run"),
        ("at: 1s\n  for: 8s\n  every: 5s", "line 6: faults[0].for: fault x lasts 8 s, and comes again every 5 s"),
        ("at: 1s\n  for: 8s\n  every: 0s", "line 7: faults[0].every: must be at least 0.1"),
        ("at: 1s", "line 4: faults[0].for: fault x ends when it begins: add for"),
    ],
)
def test_times_of_a_fault_that_do_not_fit_are_reported(tmp_path: Path, times: str, problem: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{BASE}faults:\n- name: x\n  {times}\n  target: noetl\n  rule: {{fault: empty}}\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(str(path))
    assert problem in str(caught.value)


def test_fault_until_the_end_or_until_it_comes_again_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    effect = "target: noetl, rule: {fault: empty}"
    path.write_text(
        f"{BASE}faults: [{{name: a, at: 20, for: 40, {effect}}}, {{name: b, at: 1, for: 5, every: 5, {effect}}}]"
    )
    assert len(load_scenario(str(path)).faults) == 2


def test_second_fault_of_a_name_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    fault = "- {name: a, at: 1, target: noetl, process: kill}\n"
    path.write_text(f"{BASE}faults:\n{fault}{fault}")
    with pytest.raises(ScenarioError, match=r"line 5: faults\[1\].name: there is another fault a"):
        load_scenario(str(path))


def test_unknown_scenario_lists_those_there_are() -> None:
    with pytest.raises(ScenarioError, match=r"there is no scenario nope \(known: gateway-dies"):
        load_scenario("nope")


def test_fault_that_comes_again_has_several_windows() -> None:
    scenario = Scenario.model_validate({
        "name": "n", "description": "", "duration": "1m", "thresholds": [],
        "faults": [{"name": "f", "at": "10s", "for": "5s", "every": "20s", "target": "noetl", "process": "pause"}],
    })  # fmt: skip
    assert scenario.windows() == [("f", 10.0, 15.0), ("f", 30.0, 35.0), ("f", 50.0, 55.0)]
    assert [(a.at, a.text) for a in schedule(scenario, _programs()).actions][:2] == [(10, "f"), (15, "f ends")]


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_stays_within_its_bounds_and_reaches_most_users(shape: str) -> None:
    found = [users_at(shape, second, 60.0, 200) for second in range(61)]
    assert min(found) >= 1
    assert 180 <= max(found) <= 200


def test_settings_pass_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings("soak", 5, 1.5, ("http://a", "http://b"), "http://c", output="x.json")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.from_environment() == settings


@pytest.mark.parametrize("kind", OPERATIONS)
def test_known_operations_are_those_of_the_users(kind: str) -> None:
    """Users can't be imported without Locust: their operations are the texts in their classes."""
    bases = {"EdgeUser"} if kind != "SlowClient" else set()
    found: set[str] = set()
    for path in (ROOT / "load" / "users").glob("*.py"):
        for item in ast.parse(path.read_text()).body:
            if isinstance(item, ast.ClassDef) and item.name in {kind, *bases}:
                found |= {operation for call in ast.walk(item) for operation in _operations(call)}
    assert found == set(OPERATIONS[kind])


def _operations(call: ast.AST) -> set[str]:
    """Return the operations that a call counts: the argument at the place of each method."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return set()
    place = {"call": 2, "send": 2, "graphql": 2, "note": 0, "add": 1}.get(call.func.attr)
    if place is None or len(call.args) <= place:
        return set()
    argument = call.args[place]
    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
        return set()
    return {argument.value}


def test_waits_are_what_users_note() -> None:
    calls = [
        call
        for path in (ROOT / "load" / "users").glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "note"
    ]
    assert {operation for call in calls for operation in _operations(call)} == WAITS


@pytest.mark.parametrize(
    ("users", "duration", "problem"),
    [(0, None, "--users: must be at least 1"), (5, "long", "--duration: a duration is a number with ms, s, m or h")],
)
def test_wrong_option_of_a_run_is_one_plain_line(users: int, duration: str | None, problem: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        changed(load_scenario("soak"), users, duration)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)
