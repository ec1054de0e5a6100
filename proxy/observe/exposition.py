"""The Prometheus text: the metrics of this process and, with several workers, of all workers.

Each worker writes its metrics to a shared folder once a second; the worker that serves `/metrics` adds them up. The
counters of a worker that has ended stay there, and its successor continues them, so that no counter decreases.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

from proxy.observe.metrics import FAMILIES, Collected, Family, Histogram, Labels, Value, add, counters

CONTENT_TYPE = CONTENT_TYPE_LATEST
SUPERVISOR = "supervisor"
"""The value of the label `worker` for metrics of the supervisor."""


class _Shown:
    """A collector that returns given numbers."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def collect(self) -> Iterator[Metric]:
        """Yield every family, in the order of the table."""
        for name, family in FAMILIES.items():
            series = self._collected.get(name)
            if series:
                yield _metric(name, family, series)


def exposition(collected: Collected) -> bytes:
    """Return the numbers in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Shown(collected))
    return generate_latest(registry)


def _metric(name: str, family: Family, series: dict[Labels, Value]) -> Metric:
    several = any(len(labels) > len(family.labels) for labels in series)
    labels_of = (*family.labels, *(("worker",) if several else ()))
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.help, labels=labels_of)
        for labels, value in series.items():
            if isinstance(value, Histogram):
                histogram.add_metric(labels, _buckets(family, value), value.sum)
        return histogram
    plain = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(
        name, family.help, labels=labels_of
    )
    for labels, value in series.items():
        if not isinstance(value, Histogram):
            plain.add_metric(labels, value)
    return plain


def _buckets(family: Family, value: Histogram) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, count in zip((*family.bounds, float("inf")), value.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
    return buckets


class MetricsFolder:
    """The shared folder with the metrics of all processes of one gateway; `worker` identifies this one."""

    def __init__(self, folder: Path, worker: int | str) -> None:
        self._folder = folder
        self._worker = str(worker)
        self._last = b""

    def write(self, collected: Collected) -> None:
        """Write the metrics of this worker for the others. Errors of the file system are ignored."""
        data = _encode(collected)
        if data == self._last:
            return
        self._last = data
        target = self._folder / f"{self._worker}.json"
        with contextlib.suppress(OSError):
            fresh = target.with_suffix(".new")
            fresh.write_bytes(data)
            os.replace(fresh, target)

    def read_previous(self) -> Collected:
        """Return the metrics of the worker that had this number before."""
        return _read(self._folder / f"{self._worker}.json")

    def write_counters(self) -> None:
        """Remove the gauges of this worker after it has ended; keep its counters."""
        self.write(counters(self.read_previous()))

    def merged(self, mine: Collected) -> Collected:
        """Write the metrics of this worker, and return those of all workers: added up, or with the label `worker`."""
        self.write(mine)
        out: Collected = {}
        parts = {self._worker: mine}
        for file in sorted(self._folder.glob("*.json"), key=lambda file: (len(file.stem), file.stem)):
            if file.stem != self._worker:
                parts[file.stem] = _read(file)
        for worker, part in parts.items():
            for name, series in part.items():
                family = FAMILIES.get(name)
                for labels, value in series.items() if family is not None else ():
                    summed = family is not None and family.summed
                    add(out, name, labels if summed else (*labels, worker), value)
        for name in ("noetl_gateway_sessions", "noetl_gateway_build_info"):
            if name in mine:
                out[name] = dict(mine[name])
        return out


def _encode(collected: Collected) -> bytes:
    document = {
        name: [
            [list(labels), [value.sum, value.counts] if isinstance(value, Histogram) else value]
            for labels, value in series.items()
        ]
        for name, series in collected.items()
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _read(file: Path) -> Collected:
    try:
        document = json.loads(file.read_bytes())
        return {
            name: {
                tuple(labels): Histogram(value[0], value[1]) if isinstance(value, list) else value
                for labels, value in series
            }
            for name, series in document.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, IndexError):
        return {}
