"""Results and comparisons as text for a terminal or as Markdown. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from tabulate import tabulate

from bench.compare import Change
from bench.goals import GOALS
from bench.results import Latency, Results, Sample
from bench.scenarios import (
    AUTH_REQUEST,
    BRIDGED,
    EDGE,
    FLOOR,
    IDLE,
    MERCURIUS,
    RUST_RELAYED,
    SHARED,
    STORED,
    TITLES,
    WORKERS,
)
from bench.stats import Spread, by_cpu, middle, remark

TEXT, MARKDOWN = "simple", "github"
_BASES = (AUTH_REQUEST, FLOOR, MERCURIUS, RUST_RELAYED)
# In a scenario with one of these, the gateway itself is the base.
_VARIANTS = {WORKERS, STORED, SHARED, IDLE, BRIDGED}
_WIDTH, _LATE = 118, 0.01


def report(results: Results, style: str = TEXT) -> str:
    """Return the whole report."""
    parts = [", ".join(f"{name} {version}" for name, version in {**results.versions, **results.machine}.items())]
    if results.failures:
        parts.append("FAILED, and in no table:\n" + bullets(results.failures))
    for scenario, samples in results.samples.items():
        parts.append(f"{scenario}: {TITLES[scenario]}\n\n" + rates(samples, style))
    if results.latencies:
        parts.append("Latencies at half load\n\n" + latencies(results.latencies, style))
    if found := goals(results, style):
        parts.append("Goals\n\n" + found)
    parts.append("How it was measured\n\n" + bullets([*_settings(results), *results.conditions]))
    return "\n\n".join(parts)


def rates(contenders: Mapping[str, Sequence[Sample]], style: str = TEXT) -> str:
    """Return the rates of a scenario, with the ratios to each base, by rate and by CPU time, and remarks below."""
    bases = [name for name in (*_BASES, *([EDGE] if _VARIANTS & contenders.keys() else [])) if name in contenders]
    heads = ["", "req/s", "(min-max)", "CPU us/req"]
    heads += [head for base in bases for head in (f"to {base}", "by CPU")]
    rows, remarks = [], []
    for name, samples in contenders.items():
        own = [sample.rate for sample in samples]
        spread, mid = Spread.of(own), middle(samples)
        rows.append([name, f"{spread.median:.0f}", f"{spread.low:.0f}-{spread.high:.0f}", cost(mid)])
        for base in (contenders[each] for each in bases):
            ratio, cpu = Spread.of_ratios(own, [sample.rate for sample in base]), by_cpu(samples, base)
            rows[-1] += [str(ratio or ""), f"{cpu.median:.2f}" if cpu else ""]
        if doubt := remark(mid):
            remarks.append(f"{name} {doubt}")
    return "\n\n".join(filter(None, (grid(heads, rows, style), bullets(["; ".join(remarks)] if remarks else []))))


def cost(sample: Sample) -> str:
    """Return the CPU time of a request, and after a plus that of programs whose cost is not charged."""
    return f"{sample.cpu_us:.0f}" + (f" + {sample.helper_us:.0f}" if sample.helper_us else "")


def latencies(found: Sequence[Latency], style: str = TEXT) -> str:
    """Return the table of latencies."""
    heads = ["", "", "req/s", *(f"p{point} ms" for point in found[0].percentiles), "p99 by pass", ""]
    rows = []
    for each in found:
        remarks = [f"{each.unanswered / each.planned:.0%} without response"] if each.unanswered else []
        remarks += [f"upper bound: the generator was late for {each.late:.0%}"] if each.late > _LATE else []
        times = [f"{ms:.2f}" for ms in each.percentiles.values()]
        passes = f"{min(each.p99_ms):.2f}-{max(each.p99_ms):.2f}"
        rows.append([each.scenario, each.contender, f"{each.rate:.0f}", *times, passes, ", ".join(remarks)])
    return grid(heads, rows, style)


def goals(results: Results, style: str = TEXT) -> str:
    """Return the goals with what was measured; empty if none was."""
    rows = []
    for goal in GOALS:
        if (ratio := goal.ratio(results)) is None:
            continue
        sign, aim = "<=" if goal.latency else ">=", f" (aim {goal.aim:g})" if goal.aim else ""
        measured = (str(each or "") for each in (ratio, goal.cpu_ratio(results), goal.floor_ratio(results)))
        verdict = "met" if goal.met(ratio) else "NOT MET"
        rows.append([str(goal), f"{sign} {goal.bound:g}{aim}", *measured, verdict])
    return grid(["", "goal", "measured", "by CPU", "the floor", "verdict"], rows, style) if rows else ""


def comparison(changes: Sequence[Change]) -> str:
    """Return the table of a comparison."""
    rows = [[each.scenario, each.base, each.before, each.after, each.verdict.value] for each in changes]
    return grid(["", "ratio to", "before", "after", ""], rows)


def grid(heads: Sequence[str], rows: Iterable[Sequence[object]], style: str = TEXT) -> str:
    """Return a table; the first column to the left, the others to the right."""
    found = [[str(cell) for cell in row] for row in rows]
    align = ["left" if not head else "right" for head in heads]
    return tabulate(found, heads, tablefmt=style, colalign=align, disable_numparse=True)


def bullets(lines: Iterable[str]) -> str:
    """Return a list, folded to the width of the page."""
    return "\n".join(
        textwrap.fill(f"* {line}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines
    )


def _settings(results: Results) -> list[str]:
    settings = results.settings
    cores = f"core {settings.core} for the contender, core {settings.other_core} for everything else"
    if settings.core == settings.other_core:
        cores = "one core for everything: the load generator takes part of what is measured"
    rounds = (
        f"{results.measured_at}; {settings.rounds} interleaved rounds of {settings.seconds} s, {settings.connections} "
        f"connections, {cores}; medians (least-greatest) over rounds, ratios within a round"
    )
    cpu = "by CPU: the ratio of requests per CPU second of the contender, for machines that others use too"
    latencies = (
        "latencies: an open-loop generator with planned times of independent arrivals, the same rate for everyone "
        "(half of the lowest peak among those that are compared), counted from the planned time"
    )
    return [rounds, cpu, *([latencies] if results.latencies else [])]
