"""The supervisor of several worker processes on one port: start and restart workers, forward signals, log changes.

The supervisor serves no request and opens no store. It forks before an event loop or a thread exists. The kernel
distributes connections over the sockets of the workers (SO_REUSEPORT).
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
from proxy.config.replace import check_replacement
from proxy.observe.exposition import SUPERVISOR, MetricsFolder
from proxy.observe.logs import configure, get_logger, place_of
from proxy.observe.metrics import Collected
from proxy.server.lifecycle import Report, log_rejection, no_report
from proxy.server.worker import FORWARDED, STOP_NOW

_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 10.0
_STABLE_AFTER = 10.0
_KILL_AFTER = 5.0
_TICK = 0.5
_NOTE = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
Serve = Callable[[int, Compiled, int, int], int]
"""Runs a worker and returns its exit status. Arguments: its number, the configuration, a file descriptor that is closed
when the supervisor ends, and a file descriptor to which the worker writes its `ready_note`."""


def ready_note(number: int) -> bytes:
    """Return the message of a worker that is ready to serve."""
    return number.to_bytes(_NOTE, "big")


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(slots=True)
class Slot:
    """The state of one worker.

    Args:
        number: the worker's number, from 0.
        pid: its process id; 0 if it does not run.
        started: the time of its last start, in seconds.
        starts: how often it was started.
        backoff: the waiting time before the next start, in seconds; grows with each crash.
        due: the time of its next start, in seconds.
        ready: True if it serves requests.
        wanted: False if it must end, because the number of workers was reduced.
    """

    number: int
    pid: int = 0
    started: float = 0.0
    starts: int = 0
    backoff: float = _FIRST_BACKOFF
    due: float = 0.0
    ready: bool = False
    wanted: bool = True


@dataclass(slots=True)
class Supervisor:
    """The supervisor process.

    Args:
        compiled: the configuration.
        load: reads the configuration again.
        serve: runs a worker in its process.
        changed: returns True if the files of the configuration have changed; None: do not watch them.
        metrics: the folder with the metrics of the workers; None: do not share them.
        report: receives the result of each reload.
        slots: the workers.
    """

    compiled: Compiled
    load: Callable[[], Compiled]
    serve: Serve
    changed: Callable[[Compiled], bool] | None = None
    metrics: Path | None = None
    report: Report = no_report
    slots: list[Slot] = field(default_factory=list)
    _stopping: bool = False
    _status: int = 0
    _announced: bool = False
    _kill_at: float = 0.0

    def run(self, count: int, url: str) -> int:
        """Run `count` workers until SIGINT or SIGTERM and return the exit status. `url` is for the log."""
        self.slots = [Slot(number) for number in range(count)]
        self._publish_reload(1)
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
                readable, _, _ = select.select([wake_read, ready_read], [], [], self._seconds_until_step())
                if ready_read in readable:
                    self.note_ready(os.read(ready_read, 4096), url)
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
        """Handle ended workers and start those that are due. Return False if there are no workers."""
        self._reap()
        if not self._stopping and self.changed is not None and self.changed(self.compiled):
            self._reload()
        now = time.monotonic()
        if self._stopping and now >= self._kill_at:
            self.signal_workers(signal.SIGKILL)
        for slot in self.slots:
            if not slot.pid and slot.wanted and not self._stopping and now >= slot.due:
                self._start(slot, inner, outer)
        self.slots = [slot for slot in self.slots if slot.pid or (slot.wanted and not self._stopping)]
        return bool(self.slots)

    def _seconds_until_step(self) -> float:
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
                if self.metrics is not None:
                    MetricsFolder(self.metrics, slot.number).write_counters()
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
        stable = time.monotonic() - slot.started >= _STABLE_AFTER
        slot.backoff = _FIRST_BACKOFF if stable else slot.backoff
        slot.due = time.monotonic() + slot.backoff
        log.error("worker.crashed", worker=slot.number, pid=pid, status=code, restart_in=f"{slot.backoff:g}s")
        slot.backoff = min(_LONGEST_BACKOFF, slot.backoff * 2)

    def note_ready(self, notes: bytes, url: str) -> None:
        """Record the workers that are ready, from their `ready_note`s; log when all are. `url` is for the log."""
        for at in range(0, len(notes), _NOTE):
            number = int.from_bytes(notes[at : at + _NOTE], "big")
            for slot in self.slots:
                if slot.number == number:
                    slot.ready = True
                    get_logger().info("worker.ready", worker=number, pid=slot.pid)
        if not self._announced and all(slot.ready for slot in self.slots):
            self._announced = True
            get_logger().info("gateway.listening", url=url, workers=len(self.slots))

    def _on_signal(self, name: int) -> None:
        if name in (signal.SIGINT, signal.SIGTERM):
            self._stop()
        elif name == signal.SIGHUP and not self._stopping:
            self._reload()

    def _stop(self) -> None:
        """Send SIGTERM to the workers; the second time, send the signal to stop immediately."""
        now = time.monotonic()
        if self._stopping:
            self._kill_at = min(self._kill_at, now + _KILL_AFTER)
            self.signal_workers(STOP_NOW)
            return
        get_logger().info("gateway.stopping", workers=sum(bool(slot.pid) for slot in self.slots))
        self._kill_at = now + self._gateway().server.shutdown_grace + _KILL_AFTER
        self._stopping = True
        self.signal_workers(signal.SIGTERM)

    def signal_workers(self, name: int) -> None:
        """Send a signal to the workers that run; SIGHUP not to those that end."""
        for slot in self.slots:
            if slot.pid and (slot.wanted or name != signal.SIGHUP):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.pid, name)

    def _reload(self) -> None:
        """Load the new configuration, and send the reload to the workers only if it is valid."""
        try:
            compiled = self.load()
            check_replacement(self.compiled.loaded, compiled.loaded)
        except ConfigError as error:
            self._reject(tuple(map(str, error.problems)))
            return
        except Exception as error:  # its text may contain a value of the configuration
            self._reject(reason=place_of(error))
            return
        changed = list(differences(self._gateway(), compiled.loaded.gateway)) or "nothing"
        self.compiled = compiled
        configure(self._gateway().logging.format, self._gateway().logging.level)
        get_logger().info("reload.checked", config=fingerprint(self._gateway()), changed=changed)
        self._publish_reload(1)
        self.resize(worker_count(compiled))
        self.signal_workers(signal.SIGHUP)
        self.report(fingerprint(self._gateway()), ())

    def _reject(self, problems: tuple[str, ...] = (), reason: str = "") -> None:
        self._publish_reload(0)
        still = fingerprint(self._gateway())
        self.report(still, log_rejection(still, problems, reason))

    def _publish_reload(self, succeeded: int) -> None:
        """Write the result of a reload to the folder of the metrics, because workers do not see a rejected reload."""
        if self.metrics is not None:
            shown: Collected = {"noetl_gateway_config_last_reload_successful": {(): succeeded}}
            MetricsFolder(self.metrics, SUPERVISOR).write(shown)

    def _gateway(self) -> Gateway:
        return self.compiled.loaded.gateway

    def resize(self, count: int) -> None:
        """Start more workers, or stop the last ones. The number of a worker is in use until its process has ended."""
        wanted = [slot for slot in self.slots if slot.wanted]
        for slot in wanted[count:]:
            slot.wanted = False
            if slot.pid:
                os.kill(slot.pid, signal.SIGTERM)
        used = {slot.number for slot in self.slots}
        free = (number for number in itertools.count() if number not in used)
        self.slots += [Slot(next(free)) for _ in range(count - len(wanted))]


def worker_count(compiled: Compiled) -> int:
    """Return the number of workers that a configuration requests, at least 1."""
    wanted = compiled.loaded.gateway.server.workers
    return cores() if wanted == "auto" else int(wanted)
