"""The report of a run: one page without outside files, with charts by uPlot and the faults under each of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from load.results import Results
from load.sampler import machine
from load.settings import ROOT
from load.thresholds import DURATIONS, EVERYWHERE, KINDS, Verdict
from load.windows import WAITS, Windows, grouped, quantile

TEMPLATES = Path(__file__).with_name("templates")
MAX_POINTS = 400
_MIB = 1024 * 1024
_CHARTS = ROOT / "node_modules" / "uplot" / "dist"
_METRICS = {
    "noetl_gateway_connections": "client connections",
    "noetl_gateway_live_streams": "event streams",
    "noetl_gateway_upstream_connections": "upstream connections",
    "noetl_gateway_executions_followed": "executions followed",
    "noetl_gateway_sessions": "sessions",
}


def write_report(results: Results, folder: Path) -> Path:
    """Write `report.html` and `results.json`, and return the path of the page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    scenario = results.scenario
    page = environment.get_template("report.html").render(
        scenario=scenario,
        began=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(results.began)),
        machine=machine(),
        verdicts=[_verdict(verdict) for verdict in results.verdicts()],
        passed=results.passed,
        stopped=results.stopped,
        failures=results.failures,
        operations=operations(results),
        errors=_errors(results),
        counters=sorted(results.windows.counters.items()),
        programs=_programs(results),
        faults=[
            {"name": name, "begin": begin - results.began, "end": end - results.began}
            for name, begin, end in results.faults
        ],
        data=json.dumps(chart_data(results)).replace("</", "<\\/"),
        script=_asset("uPlot.iife.min.js"),
        style=_asset("uPlot.min.css"),
    )
    path = folder / "report.html"
    path.write_text(page, "utf-8")
    summary = {
        "scenario": scenario.model_dump(mode="json", by_alias=True),
        "passed": results.passed,
        "stopped_after": results.stopped,
        "thresholds": [_verdict(verdict) for verdict in results.verdicts()],
        "operations": operations(results),
        "errors": _errors(results),
        "counters": dict(results.windows.counters),
        "programs": _programs(results),
    }
    (folder / "results.json").write_text(json.dumps(summary, indent=1), "utf-8")
    return path


def _asset(name: str) -> str:
    try:
        return (_CHARTS / name).read_text("utf-8").replace("</script", "<\\/script")
    except OSError:
        return ""


def _verdict(verdict: Verdict) -> dict[str, Any]:
    threshold, value = verdict.threshold, verdict.value
    if value is None:
        shown = "nothing was measured"
    elif threshold.name in DURATIONS:
        shown = f"{value * 1000:.1f} ms"
    elif threshold.name in {"memory", "growth"}:
        shown = f"{value / _MIB:.4g} MiB"
    elif threshold.name in {"share", "cpu"}:
        shown = f"{value * 100:.3g} %"
    else:
        shown = f"{value:.6g}"
    return {"text": threshold.text, "value": shown, "holds": verdict.holds}


def operations(results: Results) -> list[dict[str, Any]]:
    """Return the figures of each operation."""
    found = []
    seconds = results.seconds(EVERYWHERE) or 1.0
    names = results.windows.operations
    for name in [*(name for name in names if name not in WAITS), "*", *(name for name in names if name in WAITS)]:
        window = results.select(name, EVERYWHERE)
        shares = {key: quantile(window.buckets, share) for key, share in DURATIONS.items()}
        found.append({
            "name": "all" if name == "*" else name,
            "wait": name in WAITS,
            "count": window.count,
            "rate": round(window.count / seconds, 2),
            "errors": window.errors.total(),
            **{key: round(value * 1000, 2) if value is not None else None for key, value in shares.items()},
        })  # fmt: skip
    return found


def _errors(results: Results) -> list[dict[str, Any]]:
    rows = []
    for name in results.windows.operations:
        for kind, count in sorted(results.select(name, EVERYWHERE).errors.items()):
            during = results.select(name, "during").errors[kind]
            rows.append({"operation": name, "kind": kind, "count": count, "during": during})
    return rows


def _programs(results: Results) -> list[dict[str, Any]]:
    rows = []
    for name in sorted({name for sample in results.samples for name in sample.usage}):
        usages = results.usages(name)
        memory = [usage.memory / _MIB for usage in usages]
        rows.append({
            "name": name,
            "cpu_mean": round(sum(usage.cpu for usage in usages) / len(usages), 3),
            "cpu_max": round(max(usage.cpu for usage in usages), 3),
            "memory_first": round(memory[0], 1),
            "memory_last": round(memory[-1], 1),
            "memory_max": round(max(memory), 1),
            "descriptors_last": usages[-1].descriptors,
            "descriptors_max": max(usage.descriptors for usage in usages),
            "tasks_last": usages[-1].tasks,
        })  # fmt: skip
    return rows


Series = Mapping[str, Sequence[float | None]]


def chart_data(results: Results) -> dict[str, Any]:
    """Return the data of the charts: for each a title, a unit, moments and named series."""
    step = max(1, round(results.scenario.duration / MAX_POINTS))
    charts = [*_requests(results.windows, step, results), *_usage(results, step)]
    return {
        "began": results.began,
        "faults": [{"name": name, "begin": begin, "end": end} for name, begin, end in results.faults],
        "charts": charts,
    }


def _requests(windows: Windows, step: int, results: Results) -> list[dict[str, Any]]:
    rows = list(grouped(windows, step))
    moments = [at for at, _ in rows]
    throughput: dict[str, list[float | None]] = {"requests": [], "errors": []}
    kinds: dict[str, list[float | None]] = {kind: [] for kind in KINDS if kind != "any"}
    latency: dict[str, dict[str, list[float | None]]] = {
        name: {"p50": [], "p95": [], "p99": []} for name in windows.operations
    }
    for _, found in rows:
        requests = [window for name, window in found.items() if name not in WAITS]
        throughput["requests"].append(sum(window.count for window in requests) / step)
        throughput["errors"].append(sum(window.errors.total() for window in requests) / step)
        for kind, values in kinds.items():
            values.append(sum(window.errors[kind] for window in found.values()) / step)
        for name, series in latency.items():
            window = found.get(name)
            for key, values in series.items():
                value = quantile(window.buckets, DURATIONS[key]) if window is not None else None
                values.append(None if value is None else value * 1000)
    shown = {kind: values for kind, values in kinds.items() if any(values)}
    users = {"users": [count for _, count in results.users]}
    charts = [
        _chart("Users", "", [at for at, _ in results.users], users),
        _chart("Throughput", "/s", moments, throughput),
        _chart("Errors by kind", "/s", moments, shown or {"none": [0.0] * len(moments)}),
    ]
    return charts + [_chart(f"Latency of {name}", "ms", moments, series) for name, series in latency.items()]


def _usage(results: Results, step: int) -> list[dict[str, Any]]:
    samples = results.samples[::step]
    moments = [sample.at for sample in samples]
    names = sorted({name for sample in results.samples for name in sample.usage})
    cpu: dict[str, list[float | None]] = {name: [] for name in names}
    memory: dict[str, list[float | None]] = {name: [] for name in names}
    gauges: dict[str, list[float | None]] = {label: [] for label in _METRICS.values()}
    overhead: list[float | None] = []
    for sample in samples:
        for name in names:
            usage = sample.usage.get(name)
            cpu[name].append(usage.cpu * 100 if usage else None)
            memory[name].append(usage.memory / _MIB if usage else None)
        for metric, label in _METRICS.items():
            gauges[label].append(sample.metrics.get(metric))
        value = sample.metrics.get("overhead_p99")
        overhead.append(None if value is None else value * 1000)
    charts = [
        _chart("Connections and executions of the gateways", "", moments, gauges),
        _chart("Overhead of the gateways, p99, by their own metrics", "ms", moments, {"p99": overhead}),
    ]
    if names:
        charts = [_chart("CPU, in % of a core", "%", moments, cpu), _chart("Memory", "MiB", moments, memory), *charts]
    return charts


def _chart(title: str, unit: str, moments: Sequence[float], series: Series) -> dict[str, Any]:
    rows = [{"label": name, "values": list(values)} for name, values in series.items()]
    return {"title": title, "unit": unit, "moments": list(moments), "series": rows}
