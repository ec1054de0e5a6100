"""Several worker processes on one port: starts them, restarts those that crash, passes signals on, tells what happens.

The process above serves no request and opens no store. It forks before any event loop or thread exists, and the
kernel spreads connections over the workers' sockets (SO_REUSEPORT).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from proxy.config.compile import Compiled
from proxy.config.diff import differences, fingerprint
from proxy.config.model import Gateway
from proxy.config.problems import ConfigError
from proxy.observe.exposition import SUPERVISOR, Shelf
from proxy.observe.logs import configure, get_logger, place_of
from proxy.observe.metrics import Collected
from proxy.server.worker import FORWARDED, HURRY

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_STEADY = 10.0
_KILL_AFTER = 5.0
_TICK = 0.5
_NOTE = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
Serve = Callable[[int, Compiled, int, int], int]
"""Runs a worker: its number, the configuration, a file descriptor that ends with the process above, and one to say
on that it is ready. Returns the exit status."""


def ready_note(number: int) -> bytes:
    """What a worker says when it is ready."""
    return number.to_bytes(_NOTE, "big")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(slots=True)
class Slot:
    """The place of one worker. `pause` grows with each crash, and is forgotten once a worker has run for a while."""

    number: int
    pid: int = 0
    started: float = 0.0
    starts: int = 0
    pause: float = _FIRST_PAUSE
    due: float = 0.0
    ready: bool = False
    wanted: bool = True


@dataclass(slots=True)
class Supervisor:
    """The process above the workers. `numbers`: the folder where they show each other what they have counted."""

    compiled: Compiled
    load: Callable[[], Compiled]
    serve: Serve
    changed: Callable[[Compiled], bool] | None = None
    numbers: Path | None = None
    slots: list[Slot] = field(default_factory=list)
    _stopping: bool = False
    _status: int = 0
    _told: bool = False
    _kill_at: float = 0.0

    def run(self, count: int, url: str) -> int:
        """Run so many workers until SIGINT or SIGTERM; returns the exit status."""
        self.slots = [Slot(number) for number in range(count)]
        self._show_reload(1)
        alive_read, alive_write = os.pipe()
        ready_read, ready_write = os.pipe()
        os.set_blocking(ready_read, False)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        before = {name: signal.signal(name, lambda *_: None) for name in _SIGNALS}
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        inner, outer = (alive_read, ready_write), (alive_write, ready_read, wake_read, wake_write)
        try:
            while self._step(inner, outer):
                readable, _, _ = select.select([wake_read, ready_read], [], [], self._patience())
                if ready_read in readable:
                    self._note_ready(os.read(ready_read, 4096), url)
                for name in os.read(wake_read, 4096) if wake_read in readable else b"":
                    self._on_signal(name)
        finally:
            signal.set_wakeup_fd(-1)
            for name, handler in before.items():
                signal.signal(name, handler)
            for descriptor in (*inner, *outer):
                os.close(descriptor)
        return self._status

    def _step(self, inner: tuple[int, int], outer: tuple[int, ...]) -> bool:
        """Collect what has ended, start what is due; whether to go on."""
        self._reap()
        if not self._stopping and self.changed is not None and self.changed(self.compiled):
            self._reload()
        now = time.monotonic()
        if self._stopping and now >= self._kill_at:
            self._tell(signal.SIGKILL)
        for slot in self.slots:
            if not slot.pid and slot.wanted and not self._stopping and now >= slot.due:
                self._start(slot, inner, outer)
        self.slots = [slot for slot in self.slots if slot.pid or (slot.wanted and not self._stopping)]
        return bool(self.slots)

    def _patience(self) -> float:
        dues = [slot.due - time.monotonic() for slot in self.slots if not slot.pid]
        return max(0.0, min([_TICK, *dues]))

    def _start(self, slot: Slot, inner: tuple[int, int], outer: tuple[int, ...]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        slot.ready, slot.started, slot.starts = False, time.monotonic(), slot.starts + 1
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        slot.pid = os.fork()
        if slot.pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            return
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for name in _SIGNALS:
                signal.signal(name, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for descriptor in outer:
                os.close(descriptor)
            status = self.serve(slot.number, self.compiled, *inner)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        for slot in self.slots:
            if not slot.pid:
                continue
            pid, code = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                if self.numbers is not None:
                    Shelf(self.numbers, slot.number).leave_counters()
                self._ended(slot, os.waitstatus_to_exitcode(code))

    def _ended(self, slot: Slot, code: int) -> None:
        log, pid, slot.pid = get_logger(), slot.pid, 0
        if self._stopping or not slot.wanted:
            if code:
                self._status = self._status or 1
                log.error("worker.failed", worker=slot.number, pid=pid, status=code)
            return
        if not slot.ready and slot.starts == 1 and code == 2:
            self._status = 2
            self._stop()
            return
        steady = time.monotonic() - slot.started >= _STEADY
        slot.pause = _FIRST_PAUSE if steady else slot.pause
        slot.due = time.monotonic() + slot.pause
        log.error("worker.died", worker=slot.number, pid=pid, status=code, restart_in=f"{slot.pause:g}s")
        slot.pause = min(_LONGEST_PAUSE, slot.pause * 2)

    def _note_ready(self, notes: bytes, url: str) -> None:
        for at in range(0, len(notes), _NOTE):
            number = int.from_bytes(notes[at : at + _NOTE], "big")
            for slot in self.slots:
                if slot.number == number:
                    slot.ready = True
                    get_logger().info("worker.ready", worker=number, pid=slot.pid)
        if not self._told and all(slot.ready for slot in self.slots):
            self._told = True
            get_logger().info("gateway.listening", url=url, workers=len(self.slots))

    def _on_signal(self, name: int) -> None:
        if name in (signal.SIGINT, signal.SIGTERM):
            self._stop()
        elif name == signal.SIGHUP and not self._stopping:
            self._reload()

    def _stop(self) -> None:
        """Tell the workers to end; a second time, to hurry."""
        now = time.monotonic()
        if self._stopping:
            self._kill_at = min(self._kill_at, now + _KILL_AFTER)
            self._tell(HURRY)
            return
        get_logger().info("gateway.stopping", workers=sum(bool(slot.pid) for slot in self.slots))
        self._kill_at = now + self._gateway().server.shutdown_grace + _KILL_AFTER
        self._stopping = True
        self._tell(signal.SIGTERM)

    def _tell(self, name: int) -> None:
        for slot in self.slots:
            if slot.pid and (slot.wanted or name != signal.SIGHUP):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.pid, name)

    def _reload(self) -> None:
        """The new file is checked here first: the workers are told only of one that can be used."""
        log = get_logger()
        try:
            compiled = self.load()
        except ConfigError as error:
            self._show_reload(0)
            for problem in error.problems:
                log.error("reload.problem", problem=str(problem))
            log.error("reload.refused", problems=len(error.problems), still=fingerprint(self._gateway()))
            return
        except Exception as error:  # its text may hold a value of the configuration
            self._show_reload(0)
            log.error("reload.refused", reason=place_of(error), still=fingerprint(self._gateway()))
            return
        told = differences(self._gateway(), compiled.loaded.gateway)
        self.compiled = compiled
        configure(self._gateway().logging.format, self._gateway().logging.level)
        log.info("reload.checked", config=fingerprint(self._gateway()), changed=list(told))
        self._show_reload(1)
        self._resize(worker_count(compiled))
        self._tell(signal.SIGHUP)

    def _show_reload(self, worked: int) -> None:
        """The workers hear of no reload that is refused here, so it is laid with their numbers."""
        if self.numbers is not None:
            shown: Collected = {"noetl_gateway_config_last_reload_successful": {(): worked}}
            Shelf(self.numbers, SUPERVISOR).lay_down(shown)

    def _gateway(self) -> Gateway:
        return self.compiled.loaded.gateway

    def _resize(self, count: int) -> None:
        """More workers are started, the last ones too many are told to end. Until one has ended its number is taken."""
        wanted = [slot for slot in self.slots if slot.wanted]
        for slot in wanted[count:]:
            slot.wanted = False
            if slot.pid:
                os.kill(slot.pid, signal.SIGTERM)
        taken = {slot.number for slot in self.slots}
        free = (number for number in itertools.count() if number not in taken)
        self.slots += [Slot(next(free)) for _ in range(count - len(wanted))]


def worker_count(compiled: Compiled) -> int:
    """How many workers a configuration asks for; never less than one."""
    wanted = compiled.loaded.gateway.server.workers
    return cores() if wanted == "auto" else int(wanted)
