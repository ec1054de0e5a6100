"""The tables of a report, as rows of text, whether for a terminal, Markdown or HTML. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.goals import Finding, beyond_peak
from bench.results import DISTURBED, MIB, Delay, Results, Row, Table
from bench.scenarios import AUTH_REQUEST, AUTH_REQUEST_TUNED, EDGE, MERCURIUS, PLAIN, PLAIN_TUNED, STRAWBERRY, YOGA
from bench.stats import FULL, Spread, middle, ratios
from bench.verdict import Judgement

Rows = list[list[str]]
BASES = (AUTH_REQUEST, AUTH_REQUEST_TUNED, PLAIN, PLAIN_TUNED)
GRAPHQL_BASES = (MERCURIUS, YOGA, STRAWBERRY)
TUNED = "to the tuned one"
_SMALL = 0.2
_LATE = 0.01


def ratio_text(spread: Spread) -> str:
    """A ratio with its spread: `0.62 (0.60-0.65)`; small ones get another digit."""
    digits = 3 if spread.median < _SMALL else 2
    return " ".join((f"{spread.median:.{digits}f}", f"({spread.low:.{digits}f}-{spread.high:.{digits}f})"))


def rates(table: Table) -> Rows:
    """What everyone reached. Latencies at saturation are left to the latency tables."""
    rows = [["", table.unit, "(min-max)", "CPU", "CPU us/req"]]
    for row in table.rows:
        spread, mid = Spread.of(row.values(table.unit)), middle(row.samples)
        rows.append([
            row.label, f"{spread.median:.0f}", f"{spread.low:.0f}-{spread.high:.0f}", f"{mid.cpu:.0%}",
            f"{mid.cpu_us:.0f}",
        ])  # fmt: skip
    return rows


def ratio_rows(table: Table) -> Rows:
    """Everyone against each baseline; nothing where there is none."""
    bases = [row for name in (*BASES, *GRAPHQL_BASES) for row in [table.row(name)] if row]
    if not bases:
        return []
    rows = [["ratio to", *(base.label for base in bases)]]
    rows += [[row.label, *(_ratio(row, base, table.unit) for base in bases)] for row in table.rows]
    return rows


def _ratio(row: Row, base: Row, unit: str) -> str:
    return "1" if row is base else ratio_text(Spread.of(ratios(row.values(unit), base.values(unit))))


def goals(findings: Sequence[Finding]) -> Rows:
    """Each promise with what the run says to it, also on the tuned baseline."""
    tuned = any(finding.tuned for finding in findings)
    rows = [["", "goal", "aim", "measured", "", *([TUNED] if tuned else [])]]
    for finding in findings:
        goal, sign = finding.goal, "<=" if finding.goal.latency else ">="
        rows.append([
            goal.text + (f" ({finding.note})" if finding.note else ""),
            f"{sign} {goal.bound:g}",
            f"{sign} {goal.aim:g}" if goal.aim else "",
            ratio_text(finding.ratio),
            "met" if finding.met else "not met",
            *([ratio_text(finding.tuned) if finding.tuned else ""] if tuned else []),
        ])  # fmt: skip
    return rows if findings else []


def delays(results: Results, scenario: str) -> Rows:
    """Latencies of a scenario at each rate."""
    found = [delay for delay in results.delays if delay.scenario == scenario]
    rows = [["", "of our peak", "req/s", "p50 ms", "p90 ms", "p99 ms", "p99 by pass", "p99.9 ms", ""]]
    for delay in found:
        rows.append([
            delay.label, share_text(delay), f"{delay.rate:.0f}", _ms(delay, 50), _ms(delay, 90), _ms(delay, 99),
            f"{min(delay.p99_passes_ms):.2f}-{max(delay.p99_passes_ms):.2f}", _ms(delay, 99.9),
            remark(results, delay),
        ])  # fmt: skip
    return rows if found else []


def _ms(delay: Delay, percentile: float) -> str:
    # Beyond the curve there were too few answers to tell.
    return f"{delay.at(percentile):.2f}" if delay.curve[-1][0] >= percentile else "-"


def share_text(delay: Delay) -> str:
    """The load as a share of the gateway's peak, or of the contender's own."""
    return f"{delay.share:.0%}" if delay.peak_of == EDGE else f"{delay.share:.0%} of its own"


def remark(results: Results, delay: Delay) -> str:
    """What makes a latency other than what it seems; empty if nothing does."""
    said = []
    if beyond_peak(results, delay):
        said.append("more than its peak")
    if delay.unanswered:
        said.append(f"{delay.unanswered / delay.planned:.0%} unanswered")
    if delay.late > _LATE:
        said.append(f"generator late: {delay.late:.1%}")
    elif delay.load_idle < FULL:
        said.append("load core full")
    return ", ".join(said)


def disturbance(results: Results) -> list[str]:
    """Whom other programs kept from being measured well."""
    return [line for line in results.limits if line.startswith(DISTURBED)]


def what_limited(results: Results) -> list[str]:
    """What limited whom, and where the load generator itself did."""
    return [line for line in results.limits if not line.startswith(DISTURBED)] + generator_remarks(results)


def generator_remarks(results: Results) -> list[str]:
    """In words, where the load generator could not keep its times or had no room to."""
    late = [delay for delay in results.delays if delay.late > _LATE]
    full = [delay for delay in results.delays if delay.load_idle < FULL and delay.late <= _LATE]
    told = []
    if late:
        worst = max(late, key=lambda delay: delay.worst_late_ms)
        told.append(
            f"in {len(late)} of {len(results.delays)} rows of latencies the load generator sent over {_LATE:.0%} of "
            f"the requests more than 1 ms after their time (at worst {worst.worst_late_ms:.1f} ms, using "
            f"{worst.generator_cpu:.0%} of its core, of which {worst.load_idle:.0%} was free): those latencies include "
            "its own lateness, and are upper bounds"
        )
    if full:
        told.append(
            f"in {len(full)} of {len(results.delays)} rows of latencies the core of load generator and upstream was "
            "full: those are upper bounds too"
        )
    return told


def judgements(found: Sequence[Judgement]) -> Rows:
    """Verdicts of a comparison."""
    rows = [["", "against", "before", "after", "verdict"]]
    for one in found:
        before, after = (ratio_text(spread) if spread else "-" for spread in (one.before, one.after))
        rows.append([one.scenario, one.base, before, after, one.verdict.value + (f": {one.why}" if one.why else "")])
    return rows


def how(results: Results) -> list[str]:
    """How it was measured, and under which conditions."""
    settings = results.settings
    cores = f"core {settings.core} for the thing measured, core {settings.other_core} for everything else"
    if settings.core == settings.other_core:
        cores = "only one core, shared by all: the load generator takes part of what is measured"
    first = (
        f"{settings.rounds} interleaved rounds of {settings.seconds} s, {settings.connections} connections, {cores}; "
        "medians over rounds; ratios are taken within a round; CPU is of one core"
    )
    later = (
        f"latencies: an open-loop generator, planned times of independent arrivals, {settings.connections} "
        "connections, counted from the planned time; percentiles over all passes"
    )
    return [first, *([later] if results.delays else []), *results.conditions]


def surroundings(results: Results) -> tuple[str, str]:
    """The versions and the machine, a line each."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    machine = results.machine
    return versions, f"{machine['processor']}, {machine['cores']} cores, kernel {machine['kernel']}"


def unit_note(table: Table) -> str:
    """The unit in words."""
    return "MiB of answers received per second" if table.unit == MIB else "answers per second"
