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
    """A step of the schedule: when, of which fault, whether it ends the fault, and what is done."""

    at: float
    fault: str
    ends: bool
    run: Callable[[], None]

    @property
    def text(self) -> str:
        """A line for the progress."""
        return f"{self.fault} ends" if self.ends else self.fault


@dataclass(slots=True)
class Schedule:
    """The steps of a scenario, carried out by a thread.

    Args:
        actions: the steps.
        failures: what of them did not work.
        faults: name, begin and end of each fault, as they really were, in seconds since 1970.
    """

    actions: list[Action]
    failures: list[str] = field(default_factory=list)
    faults: list[tuple[str, float, float]] = field(default_factory=list)
    _ongoing: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self, say: Callable[[str], None]) -> None:
        """Begin now."""
        self._thread = threading.Thread(target=self._run, args=(say, time.monotonic()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Do no further steps; a fault that goes on ends now."""
        self._stop.set()
        now = time.time()
        if self._thread is not None:
            self._thread.join(CALL_SECONDS * 2)
        for place in self._ongoing.values():
            name, begin, _ = self.faults[place]
            self.faults[place] = (name, begin, max(begin, now))
        self._ongoing.clear()

    def _run(self, say: Callable[[str], None], begun: float) -> None:
        for action in sorted(self.actions, key=lambda action: action.at):
            if self._stop.wait(max(0.0, begun + action.at - time.monotonic())):
                return
            say(action.text)
            before = time.time()
            try:
                action.run()
            except Exception as error:  # the run goes on, and fails at its end
                self.failures.append(f"{action.text}: {type(error).__name__}: {error}")
                say(f"{action.text}: failed: {error}")
            self._note(action, before, time.time())

    def _note(self, action: Action, before: float, after: float) -> None:
        if not action.ends:
            self._ongoing[action.fault] = len(self.faults)
            self.faults.append((action.fault, before, after))
        elif (place := self._ongoing.pop(action.fault, None)) is not None:
            name, begin, _ = self.faults[place]
            self.faults[place] = (name, begin, after)


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
    def pair(begins: Callable[[], None], ends: Callable[[], None]) -> list[Action]:
        return [Action(begin, fault.name, False, begins), Action(end, fault.name, True, ends)]

    if fault.rule is not None:
        rule = {**fault.rule, "name": f"scheduled: {fault.name}"}
        return pair(
            lambda: _admin(target, "POST", "/rules", rule),
            lambda: _admin(target, "DELETE", f"/rules/{rule['name']}", None),
        )
    if fault.call is not None:
        call = fault.call
        return pair(lambda: _admin(target, call.method, call.path, call.body), lambda: None)
    if fault.process == "pause":
        return pair(lambda: target.pause(True), lambda: target.pause(False))
    return pair(target.kill if fault.process == "kill" else target.stop, target.start)


def _admin(target: Process, method: str, path: str, body: object) -> None:
    response = httpx.request(method, f"{target.url}/__admin{path}", json=body, timeout=CALL_SECONDS, trust_env=False)
    if not response.is_success:
        raise RuntimeError(f"{response.status_code} {response.text[:300]}")
