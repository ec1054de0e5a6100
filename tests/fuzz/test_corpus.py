"""Every committed input, every seed and some changes of them go through their target as an ordinary test."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from tests.fuzz.registry import NAMES, Target, inputs, load

HANG = 10.0
CHANGED = 300


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Break off what takes longer."""

    def over(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"over {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def broken(target: Target, name: str, data: bytes) -> str:
    """What is wrong with what an input does; empty if nothing is."""
    try:
        with limited(HANG):
            target.run(data)
    except Exception as error:
        return f"{target.name}, {name}: {type(error).__name__}: {str(error)[:500]}\n  {data!r}"
    return ""


def changed(data: bytes, other: bytes, chance: random.Random, words: tuple[str, ...], most: int) -> bytes:
    """An input with some places set, cut, doubled, or filled with a word or with a part of another."""
    out = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at, size = chance.randrange(len(out) + 1), chance.randrange(1, 17)
        part = chance.choice(
            [b"", bytes([chance.randrange(256)]), chance.choice(words).encode(), out[at : at + size], other[-size:]]
        )
        out[at : at + chance.choice([0, len(part), size])] = part
    return bytes(out[:most])


@pytest.mark.parametrize("name", NAMES)
def test_every_committed_input_and_every_seed_keeps_what_the_target_promises(name: str) -> None:
    target = load(name)
    found = [broken(target, label, data) for label, data in inputs(target)]
    assert len(found) >= 10
    assert [why for why in found if why] == []


@pytest.mark.parametrize("name", NAMES)
def test_changed_inputs_keep_what_the_target_promises(name: str) -> None:
    target, chance = load(name), random.Random(name)
    known = [data for _, data in inputs(target)]
    for number in range(CHANGED):
        data = changed(chance.choice(known), chance.choice(known), chance, target.words, target.max_size)
        assert broken(target, f"change {number}", data) == ""


def test_an_input_that_hangs_is_broken_off() -> None:
    with pytest.raises(TimeoutError), limited(0.05):
        signal.pause()
