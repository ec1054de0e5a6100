"""Once a second: CPU, memory, descriptors and threads of the stack's processes, and the gateways' own metrics."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

SAMPLE_SECONDS = 1.0
_WANTED = frozenset({
    "noetl_gateway_connections", "noetl_gateway_live_streams", "noetl_gateway_event_streams", "noetl_gateway_sessions",
    "noetl_gateway_upstream_connections", "noetl_gateway_executions_followed", "noetl_gateway_upstream_pending",
})  # fmt: skip
METRICS_PREFIX = "noetl_gateway_"
_OVERHEAD = "noetl_gateway_overhead_seconds"
MAX_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Usage:
    """What a program and its children use at a moment; `cpu` is the share of one core since the moment before."""

    cpu: float
    memory: int
    descriptors: int
    tasks: int | None


@dataclass(slots=True)
class Sample:
    """A moment: the usage of each program, and sums over the gateways of some metrics."""

    at: float
    usage: dict[str, Usage] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Sampler:
    """A thread that samples until it is stopped; what can't be sampled is left out, and is in `problems`, each once."""

    def __init__(self, pids: Mapping[str, object], gateways: Iterable[str], admins: Mapping[str, str]) -> None:
        """Prepare.

        Args:
            pids: objects with a `pid` by the name of the program; empty for a stack that runs elsewhere.
            gateways: the base URLs of the gateways.
            admins: the base URLs of the control planes by the name of the program.
        """
        self._programs = pids
        self._gateways = tuple(gateways)
        self._admins = admins
        self._cpu: dict[int, float] = {}
        self._overhead: dict[float, float] = {}
        self.samples: list[Sample] = []
        self.problems: dict[str, None] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the current sample."""
        self._stop.set()
        self._thread.join(SAMPLE_SECONDS * 10)

    def _run(self) -> None:
        with httpx.Client(timeout=2.0, trust_env=False) as http:
            while not self._stop.wait(SAMPLE_SECONDS):
                sample = Sample(time.time())
                try:
                    self._fill(http, sample)
                except Exception as error:  # the next sample may be complete
                    self._note(f"{type(error).__name__}: {error}")
                self.samples.append(sample)

    def _fill(self, http: httpx.Client, sample: Sample) -> None:
        for name, program in self._programs.items():
            pid = getattr(program, "pid", None)
            if pid is not None and (usage := self._usage(pid, self._tasks(http, name))) is not None:
                sample.usage[name] = usage
        self._read_metrics(http, sample)

    def _note(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems[problem] = None

    def _usage(self, pid: int, tasks: int | None) -> Usage | None:
        cpu, memory, descriptors = 0.0, 0, 0
        try:
            main = psutil.Process(pid)
            for process in [main, *main.children(recursive=True)]:
                with process.oneshot():
                    times = process.cpu_times()
                    used = float(times.user + times.system)
                    cpu += used - self._cpu.get(process.pid, used)
                    self._cpu[process.pid] = used
                    memory += _memory(process)
                    descriptors += process.num_fds()
        except psutil.Error:
            return None
        return Usage(cpu / SAMPLE_SECONDS, memory, descriptors, tasks)

    def _tasks(self, http: httpx.Client, name: str) -> int | None:
        """Return the tasks of a program: of its control plane, or of the gateway's metrics."""
        with suppress(httpx.HTTPError, ValueError, KeyError, TypeError):
            if name in self._admins:
                return int(http.get(f"{self._admins[name]}/__admin/status").json()["tasks"])
            if name.startswith("gateway"):
                families = self._families(http, getattr(self._programs[name], "url", ""))
                counts = [s.value for f in families if f.name == "noetl_gateway_tasks" for s in f.samples]
                return int(sum(counts)) if counts else None
        return None

    def _families(self, http: httpx.Client, gateway: str) -> list[Metric]:
        """Return the metrics of a gateway; none if it does not run, does not allow it, or sends something else."""
        try:
            response = http.get(f"{gateway}/metrics")
        except httpx.HTTPError:
            return []
        if not response.is_success:
            self._note(f"{gateway}/metrics: status {response.status_code}")
            return []
        try:
            return list(text_string_to_metric_families(response.text))
        except (ValueError, KeyError, IndexError):
            self._note(f"{gateway}/metrics: malformed")
            return []

    def _read_metrics(self, http: httpx.Client, sample: Sample) -> None:
        overhead: dict[float, float] = {}
        for url in self._gateways:
            for family in self._families(http, url):
                if family.name in _WANTED:
                    value = sum(found.value for found in family.samples)
                    sample.metrics[family.name] = sample.metrics.get(family.name, 0.0) + value
                elif family.name == _OVERHEAD:
                    for found in family.samples:
                        if found.name.endswith("_bucket"):
                            limit = float(found.labels["le"])
                            overhead[limit] = overhead.get(limit, 0.0) + found.value
        if overhead:
            if self._overhead and (p99 := _quantile(self._overhead, overhead, 0.99)) is not None:
                sample.metrics["overhead_p99"] = p99
            self._overhead = overhead


def _memory(process: psutil.Process) -> int:
    """Return the memory of a process, on Linux without the pages of files such as the session store's."""
    info = process.memory_info()
    return int(info.rss - getattr(info, "shared", 0))


def _quantile(before: Mapping[float, float], now: Mapping[float, float], share: float) -> float | None:
    """Return a quantile of a histogram between two moments: the upper end of its bucket."""
    total = now[max(now)] - before.get(max(now), 0.0)
    if total <= 0:
        return None
    for limit in sorted(now):
        if now[limit] - before.get(limit, 0.0) >= share * total:
            return limit if limit != float("inf") else None
    return None


def machine() -> str:
    """Return one line about this machine."""
    model = "unknown processor"
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{os.cpu_count()} cores ({model}), {psutil.virtual_memory().total / 2**30:.0f} GiB"
