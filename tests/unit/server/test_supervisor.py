"""How the process above changes the number of its workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.server.supervisor import Slot, Supervisor, ready_note

Kills = list[tuple[int, int]]


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Kills:
    """The signals that were sent."""
    sent: Kills = []
    monkeypatch.setattr(os, "kill", lambda pid, name: sent.append((pid, name)))
    return sent


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    """One with two workers that run."""
    file = tmp_path / "gateway.yaml"
    file.write_text("server: {}\n")
    compiled = compile_config(load(file, {}))
    made = Supervisor(compiled, lambda: compiled, lambda *_: 0)
    made.slots = [Slot(0, pid=100), Slot(1, pid=101)]
    return made


def numbers(supervisor: Supervisor, *, wanted: bool = True) -> list[int]:
    return [slot.number for slot in supervisor.slots if slot.wanted == wanted]


def test_superfluous_workers_get_sigterm(supervisor: Supervisor, kills: Kills) -> None:
    supervisor._resize(1)
    assert (numbers(supervisor), numbers(supervisor, wanted=False)) == ([0], [1])
    assert kills == [(101, signal.SIGTERM)]


def test_a_number_is_free_again_only_when_its_worker_has_ended(supervisor: Supervisor, kills: Kills) -> None:
    supervisor._resize(1)
    supervisor._resize(2)
    assert numbers(supervisor) == [0, 2]
    supervisor._resize(2)
    assert numbers(supervisor) == [0, 2]
    supervisor.slots = [slot for slot in supervisor.slots if slot.wanted]
    supervisor._resize(3)
    assert numbers(supervisor) == [0, 2, 1]


def test_ending_worker_gets_no_reload(supervisor: Supervisor, kills: Kills) -> None:
    supervisor._resize(1)
    kills.clear()
    supervisor._signal_workers(signal.SIGHUP)
    assert kills == [(100, signal.SIGHUP)]
    supervisor._signal_workers(signal.SIGTERM)
    assert kills[1:] == [(100, signal.SIGTERM), (101, signal.SIGTERM)]


def test_a_worker_of_any_number_can_say_that_it_is_ready(supervisor: Supervisor) -> None:
    supervisor.slots = [Slot(1), Slot(300)]
    supervisor._note_ready(ready_note(300) + ready_note(1), "http://localhost:1")
    assert all(slot.ready for slot in supervisor.slots)
