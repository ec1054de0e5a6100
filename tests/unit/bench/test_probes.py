"""What is said of workers, idle connections and large bodies, and the measures beneath."""

from __future__ import annotations

import hashlib
import os

import pytest

from bench import idle, large, workers
from bench.bulk import MIB, blocks, digest
from bench.cores import CoreTimes
from bench.large import Transfer
from bench.memory import forget_peak, peak, resident
from bench.scenarios import EDGE
from bench.workers import Layout, Turn, layout
from tests.unit.bench.made import delay

# Workers

APART, SHARED = layout(range(4), 2), layout(range(2), 2)


@pytest.mark.parametrize(
    ("cores", "expected", "apart"),
    [
        (4, Layout((0,), (0, 1), (2, 3), (2, 3)), True),
        (3, Layout((0,), (0, 1), (2,), (2,)), True),
        (2, Layout((0,), (0, 1), (1,), (0, 1)), False),
        (1, Layout((0,), (0,), (0,), (0,)), False),
    ],
)
def test_load_and_upstream_have_the_cores_that_are_left_or_all(cores: int, expected: Layout, apart: bool) -> None:
    found = layout(range(cores), 2)
    assert (found, found.apart) == (expected, apart)


def turn(rate: float, *busy: float, wrk: float = 0.2, upstream: float = 0.1, idle: float = 1.0) -> Turn:
    return Turn(rate, busy, wrk, upstream, idle)


@pytest.mark.parametrize(
    ("one", "many", "plan", "said"),
    [
        (
            turn(1000, 1.0), turn(1900, 0.98, 0.97), APART,
            ["1.90 (1.90-1.90) times one worker; goal >= 1.7: met", "the 2 workers filled their cores: neither load"],
        ),
        (
            turn(1000, 1.0), turn(1500, 0.7, 0.7, upstream=0.99, idle=0.0), APART,
            ["goal >= 1.7: not met", "the 2 workers used 140% of 2 cores: load or upstream was the limit"],
        ),
        (
            turn(1000, 1.0), turn(1500, 0.7, 0.7), APART,
            ["the 2 workers used 140% of 2 cores: more connections may show more"],
        ),
        (
            turn(1000, 1.0), turn(1600, 0.8, 0.8, wrk=0.25, upstream=0.15, idle=0.0), SHARED,
            ["not met (a lower bound)", "of which load and upstream took 40% of one"],
        ),
        (
            turn(500, 0.5, idle=0.0), turn(1000, 0.5, 0.5, idle=0.0), SHARED,
            ["the one worker used only 50% of its core: other programs had the cores, and the ratio is too high"],
        ),
    ],
)  # fmt: skip
def test_the_verdict_on_workers_says_what_was_the_limit(one: Turn, many: Turn, plan: Layout, said: list[str]) -> None:
    found = " | ".join(workers.verdict(2, [[one] * 3, [many] * 3], plan))
    assert [text for text in said if text not in found] == []


def test_the_cost_of_a_request_tells_what_workers_would_do_on_cores_of_their_own() -> None:
    found = workers.verdict(2, [[turn(1000, 1.0)], [turn(1600, 0.8, 0.8)]], SHARED)
    assert found[-1].endswith("would serve 2.00 (2.00-2.00) times as many")


def test_a_row_tells_how_busy_each_worker_was() -> None:
    text = workers.report("relay", [1, 2], [[turn(1000, 1.0)], [turn(1600, 0.82, 0.78)]], SHARED)
    assert "  1 worker " in text
    assert "82% + 78%" in text


# Idle connections


def held(kib: float, beside: list[float]) -> str:
    calm = delay(EDGE, [3.0, 4.0])
    return idle.report(idle.Finding(1000, 2**26, 2**26 + int(kib * 1024 * 1000), calm, delay(EDGE, beside), calm))


@pytest.mark.parametrize(("kib", "met"), [(9.3, "met"), (11.99, "met"), (12.01, "not met")])
def test_idle_connections_have_a_price_each(kib: float, met: str) -> None:
    row = next(line for line in held(kib, [3.0]).splitlines() if "1000 idle connections" in line)
    assert row.split()[-len(met.split()) :] == met.split()
    assert f"{kib:.2f} KiB" in row


@pytest.mark.parametrize(("beside", "met"), [([3.0, 9.0], "met"), ([4.3, 9.0], "met"), ([4.5, 9.0], "not met")])
def test_active_connections_are_harmed_if_every_pass_is_slower_than_all_without(beside: list[float], met: str) -> None:
    row = next(line for line in held(1, beside).splitlines() if "beside them" in line and "ms" not in line)
    assert row.split()[-len(met.split()) :] == met.split()


# Large bodies


def test_a_large_body_is_another_in_every_mib() -> None:
    pieces = list(blocks(3))
    assert [len(piece) for piece in pieces] == [MIB] * 3
    assert len(set(pieces)) == 3
    assert digest(3) == hashlib.sha256(b"".join(pieces)).hexdigest()
    assert digest(3) != hashlib.sha256(b"".join([pieces[0], pieces[2], pieces[1]])).hexdigest()


@pytest.mark.parametrize(("growth", "met"), [(0, "met"), (19.9, "met"), (20, "not met")])
def test_growth_is_held_against_its_goal(growth: float, met: str) -> None:
    row = large.report([Transfer("download", 1024, 2.0, 90 * MIB, int(growth * MIB))]).splitlines()[2]
    assert row.split()[-len(met.split()) :] == met.split()
    assert "512" in row


def test_the_peak_of_memory_is_seen_also_when_it_has_passed() -> None:
    pids = [os.getpid()]
    before = resident(pids)
    forget_peak(pids)
    assert peak(pids) - before < 16 * MIB
    block = bytearray(64 * MIB)
    block[::4096] = b"x" * len(block[::4096])
    del block
    assert resident(pids) - before < 32 * MIB
    assert peak(pids) - before > 48 * MIB


def test_shares_of_a_core_are_of_the_time_between() -> None:
    before, after = CoreTimes(idle=10, stolen=1, total=100), CoreTimes(idle=15, stolen=2, total=110)
    assert after.shares_since(before) == (0.5, 0.1)
