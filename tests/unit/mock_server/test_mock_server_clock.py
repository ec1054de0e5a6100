"""The clock of a sandbox: moved, set, stopped, and limited to instants that a date can have."""

from __future__ import annotations

import random
import time

import pytest

from mock_server.clock import MAX_CHANGES, MAX_INSTANT, Clock


def test_clock_follows_the_system_until_it_is_moved() -> None:
    clock = Clock()
    assert clock.now() == pytest.approx(time.time(), abs=0.5)
    clock.move(3600)
    assert clock.now() == pytest.approx(time.time() + 3600, abs=0.5)
    assert clock.offset == pytest.approx(3600, abs=0.5)
    clock.move(-7200)
    assert clock.now() == pytest.approx(time.time() - 3600, abs=0.5)
    clock.reset()
    assert clock.now() == pytest.approx(time.time(), abs=0.5)


def test_stopped_clock_stays_and_goes_on_from_there() -> None:
    clock = Clock()
    clock.stop()
    clock.set(1_000_000_000)
    assert clock.stopped
    assert clock.now() == clock.now() == 1_000_000_000
    clock.move(60)
    assert clock.moment().isoformat() == "2001-09-09T01:47:40+00:00"
    clock.go_on()
    assert not clock.stopped
    assert clock.now() == pytest.approx(1_000_000_060, abs=0.5)


@pytest.mark.parametrize("instant", [-1.0, MAX_INSTANT + 1, float("nan"), float("inf")])
def test_instant_that_no_date_has_is_refused(instant: float) -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="years 1970 to 9999"):
        clock.set(instant)
    with pytest.raises(ValueError, match="years 1970 to 9999"):
        clock.move(instant - clock.now() if instant < 0 else instant)


def test_reset_returns_to_the_clock_of_the_start() -> None:
    clock = Clock()
    clock.stop()
    clock.set(1_000_000_000)
    clock.is_the_start()
    clock.move(60)
    clock.go_on()
    clock.reset()
    assert (clock.now(), clock.stopped) == (1_000_000_000, True)


class Fake:
    """What the clock reads of the module `time`."""

    def __init__(self) -> None:
        self.at = 0.0

    def time(self) -> float:
        return 1_800_000_000 + self.at

    def monotonic(self) -> float:
        return 5_000 + self.at


@pytest.mark.parametrize("seed", range(30))
def test_what_it_has_shown_at_a_moment_is_known_later(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    fake, chance = Fake(), random.Random(seed)
    monkeypatch.setattr("mock_server.clock.time", fake)
    clock = Clock()
    shown: list[tuple[float, float]] = []
    for _ in range(100):
        fake.at += chance.choice([0.001, 1, 60])
        shown.append((clock.now(), fake.monotonic()))
        fake.at += chance.choice([0.001, 1])
        change = chance.choice([
            lambda: None, clock.stop, clock.go_on, clock.reset, lambda: clock.move(chance.uniform(-50, 3600)),
            lambda: clock.set(1_900_000_000), clock.is_the_start,
        ])  # fmt: skip
        change()
    for index, (instant, began) in enumerate(shown):
        for later, moment in shown[index:]:
            assert clock.later(instant, began, moment) == pytest.approx(later, abs=1e-5)


def test_only_the_last_changes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    monkeypatch.setattr("mock_server.clock.time", fake)
    clock = Clock()
    clock.stop()
    for _ in range(MAX_CHANGES + 1):
        fake.at += 1
        clock.move(60)
    instant, began = clock.now(), fake.monotonic()
    fake.at += 100
    assert clock.later(instant, began, fake.monotonic()) == clock.now() == instant
