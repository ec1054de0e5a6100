"""Executions of closed programs: computed when somebody looks, as if timers had run."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import pytest

from mock_noetl import deferred, ended
from mock_noetl.catalog import Catalog, Entry
from mock_noetl.engine import Engine
from mock_noetl.errors import FullError
from mock_noetl.playbook import load
from mock_noetl.remembered import MAX_RUN_BYTES
from mock_noetl.runs import BROKEN, DONE, Moment, Run
from mock_noetl.values import IdSource
from mock_server.clock import Clock

HEAD = "kind: Playbook\nmetadata: {name: n, path: n}\nworkload: {n: 20, items: [1, 2]}\nworkflow:\n"
THREE = """
- step: start
  tool: {kind: sandbox, duration: 200ms, set: {text: 'n is {{ n }}'}}
  next: {arcs: [{step: middle}]}
- step: middle
  tool: {kind: sandbox, duration: 200ms, set: {total: '{{ items | sum }}'}}
  next: {arcs: [{step: end}]}
- step: end
  tool: {kind: noop}
"""
RANDOM = """
- step: start
  tool: {kind: sandbox, duration: {uniform: [0, 40ms]}, fail_probability: 0.4}
  next: {arcs: [{step: middle, when: 'n > 5'}, {step: end}]}
- step: middle
  tool: {kind: sandbox, duration: {lognormal: {median: 10ms, sigma: 1}}, set: {n: '{{ n + 1 }}'}}
  next: {arcs: [{step: end}]}
- step: end
  tool: {kind: sandbox, fail_probability: 0.5}
"""
TEMPLATE = '"{{ n }}"'
LONG = "- step: start\n  tool: {kind: sandbox, duration: 1h}\n"
LARGE = "- step: start\n  tool: {kind: sandbox, set: {a: '{{ n * 900 }}'}}\n"


def playbook(workflow: str) -> Entry:
    return Catalog(IdSource()).add("n", "playbook", workflow, load(HEAD + workflow))


class Time:
    """The monotonic clock of the engine, which goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    for module in ("engine", "deferred", "ended"):
        monkeypatch.setattr(f"mock_noetl.{module}.monotonic", found)
    return found


class Stopped(Clock):
    """A clock that shows what the engine's monotonic clock does."""

    def __init__(self, moment: Callable[[], float]) -> None:
        super().__init__()
        self._moment = moment

    def now(self) -> float:
        return 2e9 + self._moment()


def engine_of(now: Time, style: str = "python", source: random.Random | None = None, kept: int = 1_000) -> Engine:
    return Engine(style, IdSource(), Stopped(now), source or random.SystemRandom(), max_kept=kept)


def accounts_of(engine: Engine) -> tuple[int, int]:
    """Return how many bytes the engine counts, and how many its executions say that they take."""
    return engine.executions.bytes_kept, sum(run.size for run in engine.executions.runs.values())


@pytest.mark.parametrize("style", ["python", "rust"])
async def test_nothing_is_done_before_somebody_looks(now: Time, style: str) -> None:
    engine = engine_of(now, style)
    run = engine.start(playbook(THREE), {"n": 7})
    now.now += 60
    assert (run.log, run.active) == (None, None)
    assert engine.executions.find(run.run_id) is run
    assert run.verdict == "COMPLETED"
    at = [round(moment.at - run.started, 6) for moment in run.moments]
    assert at == [0, 0.005, 0.205, 0.225, 0.23, 0.43, 0.45, 0.455, 0.455, 0.475]
    values = [moment.data.value for moment in run.moments if moment.code == DONE]
    assert values[:2] == [{"text": "n is 7"}, {"total": 3}]


@pytest.mark.parametrize("style", ["python", "rust"])
async def test_looks_on_the_way_see_what_has_happened_until_then(now: Time, style: str) -> None:
    engine = engine_of(now, style)
    often, once = engine.start(playbook(THREE), {}), engine.start(playbook(THREE), {})
    seen: list[int] = []
    for _ in range(50):
        seen.append(len(engine.executions.seen(often).moments))
        assert all(moment.at <= engine.clock.now() for moment in often.moments)
        now.now += 0.01
    assert seen == sorted(seen)
    assert set(seen) >= {1, 2, 3, 4, 5, 6}
    assert [moment[2:] for moment in engine.executions.seen(once).moments] == [moment[2:] for moment in often.moments]


@pytest.mark.parametrize("style", ["python", "rust"])
@pytest.mark.parametrize("workflow", [THREE, RANDOM])
async def test_they_do_what_timers_would_do(style: str, workflow: str) -> None:
    entry = playbook(workflow)
    assert entry.program is not None
    with_timers = Entry(**{name: getattr(entry, name) for name in entry.__slots__})
    with_timers.program = replace(entry.program, closed=None)
    told: list[list[list[Moment]]] = []
    for wanted in (entry, with_timers):
        engine = Engine(style, IdSource(), source=random.Random("same"))
        runs = [engine.start(wanted, {"n": n}) for n in range(10)]
        async with asyncio.timeout(20):
            while not all(engine.executions.seen(run).ended for run in runs):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        told.append([run.moments for run in runs])
        await engine.close()
    for computed, timed in zip(*told, strict=True):
        assert [(m.code, m.step, m.data) for m in computed] == [(m.code, m.step, m.data) for m in timed]
        for one, other in zip(computed, timed, strict=True):  # timers are late on a busy machine
            assert -0.01 < (other.at - timed[0].at) - (one.at - computed[0].at) < 1


async def test_what_is_dropped_is_computed_again_the_same(now: Time) -> None:
    engine = engine_of(now)
    runs = [engine.start(playbook(RANDOM), {"n": n}) for n in range(20)]
    now.now += 0.03
    before = [list(engine.executions.seen(run).moments) for run in runs]
    assert any(not run.ended for run in runs)
    while engine.executions.deferred.drop_oldest():
        pass
    unfinished = [run for run in runs if run.log is None]
    assert unfinished
    assert [engine.executions.seen(run).moments for run in runs] == before
    now.now += 60
    ends = [engine.executions.seen(run).moments for run in runs]
    assert [found[: len(start)] for found, start in zip(ends, before, strict=True)] == before
    assert accounts_of(engine)[0] == accounts_of(engine)[1]


async def test_half_computed_ones_are_limited(now: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "MAX_UNFINISHED", 5)
    engine = engine_of(now)
    runs = [engine.executions.seen(engine.start(playbook(LONG), {"n": n})) for n in range(20)]
    assert [run.active is not None for run in runs] == [False] * 15 + [True] * 5
    assert [len(engine.executions.seen(run).moments) for run in runs] == [1] * 20
    assert sum(run.active is not None for run in runs) == 5


@pytest.mark.parametrize("end", ["drop", "cancel", "finalize", "look"])
async def test_nothing_is_left_to_the_collector_of_garbage(now: Time, end: str) -> None:
    engine = engine_of(now)
    run = engine.executions.seen(engine.start(playbook(THREE), {"n": 1}))
    active = weakref.ref(run.active)
    gc.collect()
    gc.disable()
    try:
        if end == "drop":
            assert engine.executions.deferred.drop_oldest()
        elif end == "cancel":
            engine.cancel(run, None)
        elif end == "finalize":
            engine.finalize(run, "FAILED", None)
        else:
            now.now += 60
            engine.executions.seen(run)
        assert active() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("end", ["cancel", "finalize"])
async def test_end_by_force_is_not_dropped(now: Time, end: str) -> None:
    engine = engine_of(now)
    run = engine.start(playbook(LARGE), {"n": 1})
    now.now += 0.006
    engine.executions.seen(run)
    if end == "cancel":
        engine.cancel(run, "enough")
    else:
        engine.finalize(run, "FAILED", "enough")
    verdict, moments = run.verdict, run.moments
    while engine.executions.deferred.drop_oldest():
        pass
    now.now += 60
    assert (engine.executions.seen(run).verdict, run.moments) == (verdict, moments)
    assert verdict in ("CANCELLED", "FAILED")


async def test_oldest_that_has_ended_makes_room_looked_at_or_not(now: Time) -> None:
    engine = engine_of(now, kept=3)
    long = engine.start(playbook(LONG), {})
    engine.start(playbook(THREE), {})
    newer = engine.start(playbook(RANDOM), {})
    with pytest.raises(FullError, match="All 3 executions that --keep allows are running"):
        engine.start(playbook(THREE), {})
    now.now += 1
    newest = engine.start(playbook(THREE), {})
    assert set(engine.executions.runs.values()) == {long, newer, newest}
    last = engine.start(playbook(LONG), {})
    assert set(engine.executions.runs.values()) == {long, newest, last}
    with pytest.raises(FullError):
        engine.start(playbook(LONG), {})


async def test_one_that_has_ended_for_sure_is_forgotten_without_a_computation(now: Time) -> None:
    engine = engine_of(now, kept=1)
    first = engine.start(playbook(THREE), {})
    now.now += 1
    second = engine.start(playbook(THREE), {})
    assert list(engine.executions.runs.values()) == [second]
    assert first.log is None


async def test_values_that_looks_compute_have_a_limit(now: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_noetl.remembered.MAX_BYTES", 20_000)
    engine = engine_of(now)
    runs = [engine.start(playbook(LARGE), {"n": chr(97 + n)}) for n in range(20)]
    now.now += 1
    for _ in range(2):
        for number, run in enumerate(runs):
            done = next(moment.data for moment in engine.executions.seen(run).moments if moment.code == DONE)
            assert done.value == {"a": chr(97 + number) * 900}
            assert engine.executions.bytes_kept <= 20_000
    assert len(engine.executions.runs) == 20
    assert accounts_of(engine)[0] == accounts_of(engine)[1]


async def test_one_that_takes_too_much_fails(now: Time) -> None:
    workflow = "".join(
        f"- step: {name}\n  tool: {{kind: sandbox, set: {{a: '{{{{ a ~ a if (a | length) < 450000 else a }}}}'}}}}\n"
        f"  next: {{arcs: [{{step: s{number + 1}}}]}}\n"
        for number, name in enumerate(["start", *(f"s{n}" for n in range(1, 60))])
    )
    engine = engine_of(now)
    run = engine.start(playbook(workflow), {"a": "x" * 1_000})
    now.now += 60
    last = [moment.data for moment in engine.executions.seen(run).moments if moment.code == DONE][-1]
    assert (last.kind, run.verdict) == (BROKEN, "FAILED")
    assert str(MAX_RUN_BYTES) in str(last.error)


@pytest.mark.parametrize("seed", range(20))
async def test_any_order_of_starts_looks_and_ends_keeps_the_accounts(
    now: Time, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("mock_noetl.remembered.MAX_BYTES", 12_000)
    monkeypatch.setattr(deferred, "MAX_UNFINISHED", 6)
    monkeypatch.setattr(deferred, "MAX_BEHIND", 2)
    chance = random.Random(seed)
    engine = engine_of(now, chance.choice(["python", "rust"]), kept=30)
    entries = [playbook(workflow) for workflow in (THREE, RANDOM, LARGE, LONG)]
    refused = 0
    for _ in range(600):
        await asyncio.sleep(0)
        now.now += chance.choice([0, 0.001, 0.01, 0.3])
        known: list[Run] = list(engine.executions.newest_first())
        action = chance.random()
        if action < 0.4 or not known:
            try:
                engine.start(chance.choice(entries), {"n": chance.choice(["a", "b"]) * chance.choice([1, 3])})
            except FullError:
                refused += 1
        elif action < 0.7:
            for run in chance.sample(known, min(len(known), 8)):  # some may be forgotten while others are looked at
                engine.executions.seen(run)
        elif action < 0.9:
            engine.executions.seen(chance.choice(known))
        elif action < 0.95:
            engine.cancel(engine.executions.seen(chance.choice(known)), None)
        else:
            engine.finalize(engine.executions.seen(chance.choice(known)), "FAILED", "x")
        counted, taken = accounts_of(engine)
        assert counted == taken
        assert len(engine.executions.runs) <= 30
        assert engine.executions.bytes_kept < 12_000 + 2_000
        assert sum(run.active is not None for run in engine.executions.runs.values()) <= 6 + deferred.MAX_BEHIND
    assert refused < 400
    engine.clear()
    assert accounts_of(engine) == (0, 0)


def heavy(steps: int) -> str:
    """Return a workflow whose steps each take some milliseconds of CPU."""
    names = ["start", *(f"s{number}" for number in range(1, steps))]
    text = "{{ range(400) | map('string') | map('upper') | map('lower') | join('-') | length }}"
    return (
        "".join(
            f'- step: {name}\n  tool: {{kind: sandbox, set: {{a: "{text}"}}}}\n  next: [{{step: s{number + 1}}}]\n'
            for number, name in enumerate(names)
        )
        + f"- step: s{steps}\n"
    )


async def test_one_that_takes_long_to_compute_goes_on_in_the_background(
    now: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred, "RUN_SECONDS", 0.002)
    engine = engine_of(now)
    run = engine.start(playbook(heavy(60)), {})
    now.now += 60
    begun = time.perf_counter()
    assert not engine.executions.seen(run).ended
    first, took = len(run.moments), time.perf_counter() - begun
    assert engine.executions.seen(run) is run  # a look does not compute what is computed anyway
    assert len(run.moments) == first
    async with asyncio.timeout(20):
        while not engine.executions.seen(run).ended:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert took < 60 * 0.1
    assert [moment.step for moment in run.moments if moment.code == DONE] == list(range(61))
    assert run.moments[-1].at < run.started + 60


async def test_executions_of_a_turn_of_the_event_loop_have_a_limit_if_they_take_long(
    now: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(deferred, "RUN_SECONDS", 0.005)
    engine = engine_of(now)
    slow, quick = playbook(heavy(60)), playbook(THREE)
    runs = [engine.start(slow, {"n": n}) for n in range(30)]
    others = [engine.start(quick, {"n": n}) for n in range(300)]
    now.now += 60
    for run in [*runs, *others]:
        engine.executions.seen(run)
    assert [len(run.moments) for run in runs[5:]] == [1] * 25
    assert all(run.ended for run in others)
    await engine.close()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("end", ["cancel", "clear"])
async def test_what_is_computed_in_the_background_can_be_stopped(
    now: Time, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(deferred, "RUN_SECONDS", 0.001)
    engine = engine_of(now)
    run = engine.executions.seen(engine.start(playbook(heavy(60)), {}))
    now.now += 60
    assert not engine.executions.seen(run).ended
    if end == "cancel":
        engine.cancel(run, None)
    else:
        engine.clear()
    before = len(run.moments)
    await asyncio.sleep(0.1)
    assert len(run.moments) == before


async def test_others_that_run_are_not_computed_for_a_start_that_is_refused(
    now: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(now, kept=500)
    entry, computed = playbook(LONG), list[Run]()
    monkeypatch.setattr(engine.executions.deferred, "compute", lambda run, **_: computed.append(run))
    for _ in range(500):
        engine.start(entry, {})
    for _ in range(50):
        with pytest.raises(FullError):
            engine.start(entry, {})
    assert computed == []


@pytest.mark.parametrize("kept", [20, 2_000])
async def test_start_is_refused_only_if_all_run(now: Time, kept: int) -> None:
    engine = engine_of(now, kept=kept)
    long, short = playbook(LONG), playbook(RANDOM)
    first = [engine.start(long, {}) for _ in range(kept // 2)]
    for _ in range(kept // 2):
        engine.start(short, {})
        await asyncio.sleep(0)
    now.now += 1
    for _ in range(kept // 2):
        first.append(engine.start(long, {}))
        await asyncio.sleep(0)
    assert list(engine.executions.runs.values()) == first
    with pytest.raises(FullError):
        engine.start(long, {})


async def test_one_that_has_ended_makes_room_at_once(now: Time) -> None:
    engine = engine_of(now, kept=1)
    engine.start(playbook("- step: start\n  next: [{step: end}]\n- step: end\n"), {})
    now.now += 0.03
    with pytest.raises(FullError):
        engine.start(playbook(THREE), {})
    now.now += 0.03
    engine.start(playbook(THREE), {})


async def test_as_long_as_not_all_are_examined_one_more_may_start(now: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended, "MAX_AT_ONCE", 10)
    monkeypatch.setattr(ended, "AT_ONCE", 0)
    engine = engine_of(now, kept=100)
    first = playbook("- step: start\n  next: [{step: end}]\n- step: end\n  tool: {kind: sandbox, duration: 1h}\n")
    short = [engine.start(first if number < 95 else playbook(THREE), {}) for number in range(100)][95:]
    now.now += 60
    with pytest.raises(FullError):
        deque((engine.start(playbook(LONG), {}) for _ in range(30)), maxlen=0)
    assert not any(map(engine.executions.knows, short))
    assert engine.executions.ended.is_examined
    assert len(engine.executions.runs) <= 110


@pytest.mark.parametrize("timers", [False, True])
async def test_of_those_that_have_ended_the_one_that_was_started_first_makes_room(timers: bool) -> None:
    entries = [playbook(f"- step: start\n  tool: {{kind: sandbox, duration: {pace}}}\n") for pace in ("60ms", "5ms")]
    if timers:
        for entry in entries:
            assert entry.program is not None
            entry.program = replace(entry.program, closed=None)
    engine = Engine("python", IdSource(), max_kept=3)
    slow, quick = entries
    runs = [engine.start(slow, {}), engine.start(quick, {}), engine.start(quick, {})]
    await asyncio.sleep(0.3)
    runs.append(engine.start(quick, {}))
    assert list(engine.executions.runs.values()) == runs[1:]
    await engine.close()


async def test_looks_make_no_difference_to_executions_with_a_parent(now: Time) -> None:
    entry = playbook("- step: start\n  tool: {kind: sandbox, duration: 300ms, fail_probability: 0.5, raise: x}\n")

    async def run(*, looks: bool) -> tuple[list[bool], list[float]]:
        engine = engine_of(now, source=random.Random("seed"))
        parents, drawn = [], []
        for _ in range(6):
            parents.append(engine.start(entry, {}))
            now.now += 0.03
            if looks:
                engine.executions.seen(parents[-1])
            child = engine.start(entry, {}, parents[-1].run_id)
            assert child.active is not None
            drawn.append(child.active.source.random())
        now.now += 60
        failed = [engine.executions.seen(parent).failed for parent in parents]
        await engine.close()
        return failed, drawn

    assert await run(looks=False) == await run(looks=True)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_many_that_end_early_leave_nothing_behind(now: Time, cancelled: bool) -> None:
    engine = engine_of(now, kept=50)
    entry = playbook(LONG if cancelled else RANDOM)
    for _ in range(6_000):
        run = engine.start(entry, {})
        if cancelled:
            engine.cancel(engine.executions.seen(run), None)
        else:
            now.now += 0.1
        await asyncio.sleep(0)
    assert len(engine.executions.ended) < 3_000
    assert len(engine.executions.runs) == 50


@pytest.mark.parametrize(
    ("workflow", "closed"),
    [
        (THREE, True),
        (RANDOM, True),
        (LONG, True),
        ("- step: start\n  tool: {kind: http, url: x}\n", True),
        ("- step: start\n  tool: {kind: python, code: 'result = 1'}\n", False),
        ("- step: start\n- step: never\n  tool: {kind: python, code: 'result = 1'}\n", True),
        ("- step: start\n- step: a\n  next: [{step: b}]\n- step: b\n  next: [{step: a}]\n", True),
        ("- step: start\n  tool: {kind: playbook, path: x}\n", False),
        ("- step: start\n  tool: {kind: sandbox, callback: result}\n", False),
        ("- step: start\n  tool: {kind: sandbox, accounts: login}\n", False),
        ("- step: start\n  next: {arcs: [{step: start}]}\n", False),
        ("- step: start\n  next: {arcs: [{step: b}]}\n- step: b\n  next: {arcs: [{step: start}]}\n", False),
        ("- step: start\n  next: {spec: {mode: inclusive}, arcs: [{step: b}]}\n- step: b\n", False),
        ("- step: start\n  next: {arcs: [{step: b}, {step: c}]}\n- step: b\n  next: [{step: c}]\n- step: c\n", True),
        (f"- step: start\n  tool: {{kind: sandbox, set: {{a: [{', '.join([TEMPLATE] * 100)}]}}}}\n", True),
        (f"- step: start\n  tool: {{kind: sandbox, set: {{a: [{', '.join([TEMPLATE] * 101)}]}}}}\n", False),
    ],
)
def test_which_programs_are_closed(workflow: str, closed: bool) -> None:
    program = playbook(workflow).program
    assert program is not None
    assert (program.closed is not None) is closed


@pytest.mark.parametrize(
    ("workflow", "shortest", "longest", "draws"),
    [
        (THREE, 0.2, 0.4, False),
        (RANDOM, 0, 0.04 + 3600, True),
        (LONG, 3600, 3600, False),
        ("- step: start\n  tool: {kind: sandbox, duration: {exponential: {mean: 1s, max: 5s}}}\n", 0, 5, True),
        ("- step: start\n  tool: {kind: sandbox, duration: {uniform: [1s, 2s]}}\n", 1, 2, True),
        ("- step: start\n  tool: {kind: sandbox, duration: '{{ n }}'}\n", 0, 3600, False),
        ("- step: start\n  tool: {kind: sandbox, fail_probability: 0.5}\n", 0, 0, True),
        ("- step: start\n- step: never\n  tool: {kind: sandbox, duration: {uniform: [1s, 2s]}}\n", 0, 0, False),
        ("- step: start\n", 0, 0, False),
    ],
)
def test_how_long_a_program_takes_and_whether_it_draws(
    workflow: str, shortest: float, longest: float, draws: bool
) -> None:
    program = playbook(workflow).program
    assert program is not None
    assert program.closed is not None
    found = (program.closed.shortest, round(program.closed.longest, 6), program.closed.draws)
    assert found == (shortest, longest, draws)
