"""What Locust runs: the users of a scenario, their number over time, and the collection of what they measured.

Started by `python -m load.run`; see `docs/load-testing.md` for several machines.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import gevent
from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from load.shapes import users_at
from load.users.browsers import BrowserListens, BrowserPolls
from load.users.common import MEASURED, SCENARIO, SETTINGS
from load.users.programs import CommandLine, Service
from load.users.unwelcome import Attacker, SlowClient
from load.windows import Windows

_ALL = (BrowserPolls, BrowserListens, CommandLine, Service, Attacker, SlowClient)
_COLLECTED = Windows()
_USERS: list[tuple[float, int]] = []


def _choose() -> None:
    """Leave only the users of the scenario, with their weights."""
    for kind in _ALL:
        kind.abstract = kind.__name__ not in SCENARIO.mix
        kind.weight = SCENARIO.mix.get(kind.__name__, 0)


_choose()


class Shape(LoadTestShape):
    """The number of users over time."""

    use_common_options = False

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and the rate of starts; None at the end."""
        now = float(self.get_run_time())  # type: ignore[no-untyped-call]
        if now >= SETTINGS.duration:
            return None
        return users_at(SCENARIO.shape, now, SETTINGS.duration, SETTINGS.users), SCENARIO.start_rate


def begin(environment: Environment, **_: Any) -> None:
    """Collect from workers, and count the users once a second."""
    if not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(_count_users, environment)


def _count_users(environment: Environment) -> None:
    while environment.runner is not None:
        _USERS.append((time.time(), environment.runner.user_count))
        gevent.sleep(1.0)


def report(client_id: str, data: dict[str, Any], **_: Any) -> None:
    """Hand what this worker has measured over to the master."""
    data["edge"] = MEASURED.take()


def receive(client_id: str, data: dict[str, Any], **_: Any) -> None:
    """Add what a worker has measured."""
    _COLLECTED.merge(data.get("edge", {}))


def started(environment: Environment, **_: Any) -> None:
    """Tell the runner that the first users start, so that its schedule begins at the same moment."""
    if isinstance(environment.runner, LocalRunner | MasterRunner) and SETTINGS.output:
        Path(SETTINGS.output).with_suffix(".started").touch()


def write(environment: Environment, **_: Any) -> None:
    """Write everything to the file that the runner reads."""
    if not isinstance(environment.runner, LocalRunner | MasterRunner) or not SETTINGS.output:
        return
    _COLLECTED.merge(MEASURED.take())
    data = {**_COLLECTED.take(), "users": _USERS}
    Path(SETTINGS.output).write_text(json.dumps(data), "utf-8")


for _hook, _listener in (
    (events.init, begin),
    (events.report_to_master, report),
    (events.worker_report, receive),
    (events.test_start, started),
    (events.quitting, write),
):
    _hook.add_listener(_listener)  # type: ignore[no-untyped-call]
