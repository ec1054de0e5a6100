"""The engine: how much it keeps, how far a run may go, and what its steps do."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from mock_noetl import runs
from mock_noetl.catalog import Catalog, Entry
from mock_noetl.engine import MAX_STEPS_RUN, Engine
from mock_noetl.errors import FullError
from mock_noetl.playbook import load
from mock_noetl.remembered import MAX_RUN_BYTES
from mock_noetl.runs import BROKEN, DONE, OK, RAISED, SOFT, Kept, Outcome, Run
from mock_noetl.values import IdSource
from mock_server.messages import Response

_WANTED = "a duration is a number with ms, s, m or h behind it, such as 200ms"
HEAD = "kind: Playbook\nmetadata: {name: n, path: n}\nworkload: {n: 20, items: [1, 2]}\nworkflow:\n"


def playbook(workflow: str, path: str = "n") -> Entry:
    return Catalog(IdSource()).add(path, "playbook", workflow, load(HEAD + workflow))


def one(tool: str) -> Entry:
    return playbook(f"- step: start\n  tool: {tool}\n")


def engine_of(
    style: str = "python", entries: Mapping[str, Entry] | None = None, seed: int = 1, kept: int = 100
) -> Engine:
    known = entries or {}
    return Engine(style, IdSource(), source=random.Random(seed), find=known.get, max_kept=kept, between=0)


@pytest.fixture(params=["python", "rust"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    engine = engine_of(request.param)
    yield engine
    await engine.close()


async def ended(engine: Engine, run: Run) -> Run:
    async with asyncio.timeout(20):
        while not engine.executions.seen(run).ended:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return run


def outcomes(run: Run) -> list[Outcome]:
    return [moment.data for moment in run.moments if moment.code == DONE]


async def test_oldest_ended_execution_makes_room() -> None:
    engine = engine_of(kept=2)
    slow = one("{kind: sandbox, duration: 1m}")
    running, cancelled = engine.start(slow, {}), engine.start(slow, {})
    engine.cancel(cancelled, None)
    engine.start(slow, {})
    assert next(iter(engine.executions.runs.values())) is running
    assert cancelled.run_id not in engine.executions.runs
    with pytest.raises(FullError, match="All 2 executions that --keep allows are running"):
        engine.start(slow, {})
    await engine.close()


@pytest.mark.slow
async def test_run_that_goes_in_circles_ends(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_noetl.engine.LATENCY_SECONDS", 0.0)
    circle = playbook("- step: start\n  next: {arcs: [{step: start}]}\n  tool: {kind: sandbox}")
    run = await ended(engine, engine.start(circle, {}))
    assert outcomes(run)[-1].error == f"more than {MAX_STEPS_RUN} steps"
    assert len(outcomes(run)) == MAX_STEPS_RUN + 1


async def test_values_of_an_execution_have_a_limit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_noetl.engine.LATENCY_SECONDS", 0.0)
    growing = "{a: '{{ a ~ a if (a | length) < 450000 else a }}', b: '{{ a }}'}"
    circle = playbook(f"- step: start\n  next: {{arcs: [{{step: start}}]}}\n  tool: {{kind: sandbox, set: {growing}}}")
    run = await ended(engine, engine.start(circle, {"a": "x" * 16}))
    assert outcomes(run)[-1].error == f"the values of an execution take at most {MAX_RUN_BYTES} bytes"
    assert len(outcomes(run)) < 100
    assert run.size < 2 * MAX_RUN_BYTES


@pytest.mark.parametrize(
    ("loop", "value"),
    [("{in: '{{ items }}', iterator: x}", 1), ("{in: [5, 6], iterator: x}", 5), ("{in: [], iterator: x}", "none")],
)
async def test_loop_runs_its_step_with_the_first_item(engine: Engine, loop: str, value: object) -> None:
    tool = "{kind: sandbox, set: {got: \"{{ iter.x | default('none') }}\"}}"
    run = await ended(engine, engine.start(playbook(f"- step: start\n  loop: {loop}\n  tool: {tool}"), {}))
    assert outcomes(run)[0].value == {"got": value}


async def test_values_of_all_executions_have_a_limit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_noetl.remembered.MAX_BYTES", 10_000)
    quick, slow = one("{kind: sandbox}"), one("{kind: sandbox, duration: 1m}")
    runs = [await ended(engine, engine.start(quick, {"text": "x" * 3_000})) for _ in range(10)]
    assert set(engine.executions.runs) == {run.run_id for run in runs[-3:]}
    for _ in range(4):
        engine.start(slow, {"text": "x" * 3_000})
    with pytest.raises(FullError, match="The values of the executions that run take more than 10000 bytes"):
        engine.start(slow, {})
    engine.clear()
    engine.start(slow, {"text": "x" * 3_000})


async def test_values_are_computed_from_the_variables(engine: Engine) -> None:
    entry = playbook(
        "- step: start\n  tool: {kind: sandbox, set: {double: '{{ n * 2 }}', deep: ['{{ items | length }}']}}\n"
        "  next: {arcs: [{step: other, when: '{{ double > 50 }}'}, {step: end, when: '{{ double == 40 }}'}]}\n"
        "- step: other\n- step: end\n  tool: {kind: sandbox, set: {seen: '{{ start.deep[0] }} {{ double }}'}}\n"
    )
    run = await ended(engine, engine.start(entry, {}))
    assert [found.value for found in outcomes(run)] == [{"double": 40, "deep": [2]}, {"seen": "2 40"}]


@pytest.mark.parametrize(
    ("tool", "kind", "error"),
    [
        ("{kind: sandbox, fail: 'no {{ n }}'}", BROKEN, "no 20"),
        ("{kind: sandbox, raise: 'no {{ n }}'}", RAISED, "no 20"),
        ("{kind: sandbox, fail_if: n > 10}", BROKEN, "failed"),
        ("{kind: sandbox, fail_if: n > 30}", OK, None),
        ("{kind: sandbox, fail_probability: 0}", OK, None),
        ("{kind: sandbox, set: {x: '{{ missing }}'}}", BROKEN, "'missing' is undefined"),
        ("{kind: sandbox, duration: '{{ items }}'}", BROKEN, _WANTED),
        ("{kind: playbook, path: none}", BROKEN, "Playbook not found: none"),
    ],
)  # fmt: skip
async def test_end_of_a_step(engine: Engine, tool: str, kind: str, error: str | None) -> None:
    (found,) = outcomes(await ended(engine, engine.start(one(tool), {})))
    assert (found.kind, found.error) == (kind, error)


@pytest.mark.parametrize("kind", ["http", "postgres", "duckdb", "invented"])
async def test_step_that_is_not_run_says_so(engine: Engine, kind: str) -> None:
    (found,) = outcomes(await ended(engine, engine.start(one(f"{{kind: {kind}}}"), {})))
    assert found.value["status"] == "not_run"
    assert kind in found.value["message"]


async def test_failures_follow_from_the_seed() -> None:
    entry = one("{kind: sandbox, fail_probability: 0.5, duration: {uniform: [0, 1ms]}}")

    async def failures(seed: int) -> list[str]:
        engine = engine_of(seed=seed)
        return [outcomes(await ended(engine, engine.start(entry, {})))[0].kind for _ in range(40)]

    first, again, other = await failures(1), await failures(1), await failures(2)
    assert first == again != other
    assert {OK, BROKEN} == set(first)


async def test_child_execution(engine: Engine) -> None:
    child = one("{kind: sandbox, set: {got: '{{ n }}'}}")
    engine = engine_of(engine.style, {"child": child, "bad": one("{kind: sandbox, fail: oh}")})
    run = await ended(engine, engine.start(one("{kind: playbook, path: child, input: {n: '{{ n + 1 }}'}}"), {}))
    (found,) = outcomes(run)
    started = engine.executions.runs[int(found.value["execution_id"])]
    assert (started.parent, started.given["n"], outcomes(started)[0].value) == (run.run_id, 21, {"got": 21})
    assert engine.executions.with_children(run) == [run, started]
    (failed,) = outcomes(await ended(engine, engine.start(one("{kind: playbook, path: bad}"), {})))
    assert (failed.kind, failed.error) == (BROKEN, "oh")


async def test_execution_that_starts_itself_is_bounded() -> None:
    known: dict[str, Entry] = {}
    known["self"] = one("{kind: playbook, path: self}")
    engine = engine_of(entries=known, kept=30)
    run = await ended(engine, engine.start(known["self"], {}))
    assert (run.verdict, outcomes(run)[0].error) == ("FAILED", "All 30 executions that --keep allows are running")
    assert len(engine.executions.runs) <= 30


@pytest.mark.slow
async def test_ended_executions_are_small_and_tell_the_same() -> None:
    entry = playbook("".join(
        f"- step: {name}\n  tool: {{kind: sandbox, set: {{a: 1, b: [1, 2], c: '{{{{ n }}}}'}}}}\n"
        f"  next: {{arcs: [{{step: {following}}}]}}\n"
        for name, following in (("start", "b"), ("b", "c"), ("c", "end"))
    ) + "- step: end\n")  # fmt: skip
    engine = engine_of(kept=10_000)
    before = await ended(engine, engine.start(entry, {}))
    told = before.moments
    tracemalloc.start()
    runs = [engine.start(entry, {}) for _ in range(500)]
    for run in runs:
        await ended(engine, run)
    runs.clear()
    size = tracemalloc.get_traced_memory()[0] / 500
    tracemalloc.stop()
    assert size < 1_000
    again = next(engine.executions.newest_first()).moments
    assert [moment[2:] for moment in again] == [moment[2:] for moment in told]


def _code(code: str, rest: str = "") -> Entry:
    body = "".join(f"      {line}\n" for line in code.splitlines())
    return playbook(f"- step: start\n  tool:\n    kind: python\n{rest}    code: |\n{body}")


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("result = {'n': n + 1}", {"n": 21}),
        ("import json\nresult = json.loads('[1, 2]')", [1, 2]),
        ("result = sorted(items, reverse=True)", [2, 1]),
    ],
)
async def test_python_runs_for_real(engine: Engine, code: str, value: object) -> None:
    names = "    input: {n: '{{ n }}', items: '{{ items }}'}\n"
    (found,) = outcomes(await ended(engine, engine.start(_code(code, names), {})))
    assert (found.kind, found.value) == (OK, value)


async def test_python_calls_main_and_sees_failed_results() -> None:
    engine = engine_of("python")
    (found,) = outcomes(await ended(engine, engine.start(_code("def main(n, k=3):\n    return n * k"), {})))
    assert (found.kind, found.value) == (OK, 60)
    (found,) = outcomes(await ended(engine, engine.start(_code("result = {'status': 'error', 'error': 'lost'}"), {})))
    assert (found.kind, found.error) == (SOFT, "lost")


@pytest.mark.parametrize("code", ["raise ValueError('bad')", "result = 1 / 0", "import sys\nsys.exit(3)", "def x(:"])
async def test_python_that_raises_fails_the_step(engine: Engine, code: str) -> None:
    (found,) = outcomes(await ended(engine, engine.start(_code(code), {})))
    assert (found.kind, bool(found.error)) == (RAISED, True)


async def test_cancelled_run_does_nothing_more(engine: Engine) -> None:
    run: Any = engine.start(_code("import time\ntime.sleep(30)"), {})
    await asyncio.sleep(0.3)
    engine.cancel(run, "enough")
    before = len(run.moments)
    await asyncio.sleep(0.1)
    assert (run.verdict, len(run.moments)) == ("CANCELLED", before)


async def test_templates_of_one_step_share_their_time(engine: Engine) -> None:
    value = '\'{{ range(1000) | map("string") | map("upper") | sort | list | length }}\''
    many = ", ".join(f"v{number}: {value}" for number in range(2_000))
    run = await ended(engine, engine.start(one(f"{{kind: sandbox, set: {{{many}}}}}"), {}))
    (found,) = outcomes(run)
    assert (found.kind, found.error) == (BROKEN, "the templates of a step take at most 100 ms")


def test_large_records_are_not_kept_a_second_time() -> None:
    entry, kept = one("{kind: sandbox}"), Kept()
    small, large = (Run(number, entry, None, None, 1.0, []) for number in range(2))
    for run, size in ((small, 10), (large, 100_000)):
        run.add(DONE, 1.0, 0, Outcome(OK, {"a": "x" * size}))
        run.pack()
        before = runs.parsed_once.cache_info().currsize
        assert run.moments[0].data.value == {"a": "x" * size}
        assert runs.parsed_once.cache_info().currsize - before == (run is small)
        kept.put(run, Response(200, b"{}", None))
    assert (kept.get(small) is not None, kept.get(large)) == (True, None)
