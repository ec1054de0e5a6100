"""What a run found, as a table for people and as JSON for programs. Pure: samples in, text or data out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.measure import Sample, Samples, Settings
from bench.scenarios import AUTH_REQUEST, EDGE, PLAIN, UPSTREAM, Scenario
from bench.stats import Spread, disturbed, limit, middle, ratios

SCHEMA = 1
_BASES = (AUTH_REQUEST, PLAIN)
_WIDTH = 118
_SMALL = 0.2


def surroundings_text(machine: Mapping[str, str | int], versions: Mapping[str, str]) -> str:
    """The machine and the versions in two lines."""
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{told}\n{machine['processor']}, {machine['cores']} cores, kernel {machine['kernel']}"


def text(
    scenarios: Sequence[Scenario],
    labels: Mapping[str, str],
    samples: Samples,
    settings: Settings,
    conditions: Sequence[str],
) -> str:
    """The whole report."""
    parts = [_scenario(scenario, labels, samples) for scenario in scenarios]
    parts += [_across(samples), _limits(scenarios, labels, samples), _how(settings, conditions)]
    return "\n\n".join(part for part in parts if part)


def _scenario(scenario: Scenario, labels: Mapping[str, str], samples: Samples) -> str:
    bases = [name for name in _BASES if name in scenario.asks]
    head = ["", "req/s", "(min-max)", "p50 ms", "p99 ms", "CPU", "CPU us/req"]
    rows = [[*head, *(f"vs {labels[base]}" for base in bases)]]
    for name in scenario.asks:
        found = samples[scenario.name, name]
        mid, rate = middle(found), Spread.of(rates(found))
        cells = [
            labels[name], f"{rate.median:.0f}", f"{rate.low:.0f}-{rate.high:.0f}", f"{mid.p50_ms:.2f}",
            f"{mid.p99_ms:.2f}", f"{mid.cpu:.0%}", f"{mid.cpu_us:.0f}",
        ]  # fmt: skip
        rows.append([*cells, *(_ratio(found, samples[scenario.name, base]) for base in bases)])
    return f"{scenario.name}: {scenario.title}\n{table(rows)}"


def _ratio(found: Sequence[Sample], base: Sequence[Sample]) -> str:
    if found is base:
        return "1"
    return ratio_text(ratios(rates(found), rates(base)))


def ratio_text(spread: Spread) -> str:
    """A ratio with its spread: `0.62 (0.60-0.65)`; small ones get another digit."""
    digits = 3 if spread.median < _SMALL else 2
    return " ".join((f"{spread.median:.{digits}f}", f"({spread.low:.{digits}f}-{spread.high:.{digits}f})"))


def rates(samples: Sequence[Sample]) -> list[float]:
    """The rate of each round."""
    return [sample.rate for sample in samples]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    lines.insert(1, "  " + "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


def _across(samples: Samples) -> str:
    relay, status = samples.get(("relay", EDGE)), samples.get(("executionStatus", EDGE))
    if not relay or not status:
        return ""
    return f"noetl-edge, executionStatus by relay: {ratio_text(ratios(rates(status), rates(relay)))}"


def limits(scenarios: Sequence[Scenario], samples: Samples) -> dict[tuple[str, str], str]:
    """What limited whom, for those who were limited."""
    found = {
        (scenario.name, name): limit(middle(samples[scenario.name, name]), is_upstream=name == UPSTREAM)
        for scenario in scenarios
        for name in scenario.asks
    }
    return {key: reason for key, reason in found.items() if reason}


def _limits(scenarios: Sequence[Scenario], labels: Mapping[str, str], samples: Samples) -> str:
    lines = [f"{scenario}, {labels[name]}: {why}" for (scenario, name), why in limits(scenarios, samples).items()]
    for (scenario, name), found in samples.items():
        count = disturbed(found)
        if count:
            lines.append(f"{scenario}, {labels[name]}: disturbed by other programs in {count} of {len(found)} rounds")
    return "What was the limit, where it was not the contender's own core:\n" + bullets(lines)


def _how(settings: Settings, conditions: Sequence[str]) -> str:
    cores = f"core {settings.core} for the thing measured, core {settings.other_core} for everything else"
    if settings.core == settings.other_core:
        cores = "only one core, shared by all: the load generator takes part of what is measured"
    how = (
        f"{settings.rounds} interleaved rounds of {settings.seconds} s, {settings.connections} connections, {cores}; "
        "medians over rounds; ratios are of req/s within a round; CPU is of one core; latencies are at saturation"
    )
    return "How it was measured:\n" + bullets([how, *conditions])


def bullets(lines: Sequence[str]) -> str:
    """A list, folded to the width of the page."""
    folded = []
    for line in lines:
        row = "  *"
        for word in line.split():
            if len(row) + 1 + len(word) > _WIDTH:
                folded.append(row)
                row = "   "
            row += f" {word}"
        folded.append(row)
    return "\n".join(folded)


def document(
    scenarios: Sequence[Scenario],
    labels: Mapping[str, str],
    samples: Samples,
    settings: Settings,
    surroundings: Mapping[str, Any],
) -> dict[str, Any]:
    """The same as JSON, with each round's numbers. `surroundings` are the time, the machine and the versions."""
    why = limits(scenarios, samples)
    return {
        "schema": SCHEMA,
        **surroundings,
        "settings": asdict(settings),
        "scenarios": {
            scenario.name: {
                "title": scenario.title,
                "contenders": {
                    name: {
                        "label": labels[name],
                        "rate": Spread.of(rates(samples[scenario.name, name])).as_json(),
                        "ratios": {
                            base: ratios(
                                rates(samples[scenario.name, name]), rates(samples[scenario.name, base])
                            ).as_json()
                            for base in _BASES
                            if base in scenario.asks
                        },
                        "limit": why.get((scenario.name, name), ""),
                        "rounds": [sample.as_json() for sample in samples[scenario.name, name]],
                    }
                    for name in scenario.asks
                },
            }
            for scenario in scenarios
        },
    }
