"""The schedule of faults: at each moment, what is switched on or off, at the sandboxes or at processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from load.processes import Process, Programs
from load.scenario import Fault, Scenario

CALL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Action:
    """A step of the schedule: when, a text for the progress, and what is done."""

    at: float
    text: str
    run: Callable[[], None]


@dataclass(slots=True)
class Schedule:
    """The steps of a scenario, carried out by a thread."""

    actions: list[Action]
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, say: Callable[[str], None]) -> None:
        """Begin now."""
        self._thread = threading.Thread(target=self._run, args=(say, time.monotonic()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Do no further steps."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CALL_SECONDS * 2)

    def _run(self, say: Callable[[str], None], begun: float) -> None:
        for action in sorted(self.actions, key=lambda action: action.at):
            if self._stop.wait(max(0.0, begun + action.at - time.monotonic())):
                return
            say(action.text)
            try:
                action.run()
            except Exception as error:  # the run goes on, and fails at its end
                self.failures.append(f"{action.text}: {type(error).__name__}: {error}")
                say(f"{action.text}: failed: {error}")


def schedule(scenario: Scenario, programs: Programs) -> Schedule:
    """Return the schedule of a scenario."""
    actions = []
    for fault in scenario.faults:
        begin = fault.at
        while begin < scenario.duration:
            actions += _steps(fault, begin, min(begin + fault.lasts, scenario.duration), programs.named(fault.target))
            if fault.every is None:
                break
            begin += fault.every
    return Schedule(actions)


def _steps(fault: Fault, begin: float, end: float, target: Process) -> list[Action]:
    first = f"{fault.name} begins" if fault.lasts else fault.name
    last = f"{fault.name} ends"
    if fault.rule is not None:
        rule = {**fault.rule, "name": f"scheduled: {fault.name}"}
        return [
            Action(begin, first, lambda: _admin(target, "POST", "/rules", rule)),
            Action(end, last, lambda: _admin(target, "DELETE", f"/rules/{rule['name']}", None)),
        ]
    if fault.call is not None:
        call = fault.call
        method, path = str(call.get("method", "POST")), str(call["path"])
        return [Action(begin, first, lambda: _admin(target, method, path, call.get("body")))]
    if fault.process == "pause":
        return [
            Action(begin, first, lambda: target.pause(True)),
            Action(end, last, lambda: target.pause(False)),
        ]
    return [
        Action(begin, first, target.kill if fault.process == "kill" else target.stop),
        Action(end, last, target.start),
    ]


def _admin(target: Process, method: str, path: str, body: object) -> None:
    response = httpx.request(method, f"{target.url}/__admin{path}", json=body, timeout=CALL_SECONDS, trust_env=False)
    if not response.is_success:
        raise RuntimeError(f"{response.status_code} {response.text[:300]}")
