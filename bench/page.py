"""A run's results as one HTML page that needs nothing else: no scripts, no hosts, light and dark. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench import tables
from bench.curves import bounds, chart
from bench.goals import findings
from bench.report import BASELINE
from bench.results import Delay, Results, Table
from bench.scenarios import EDGE
from bench.stats import Spread

_STYLE = Path(__file__).with_name("page.css")
_CHIPS = {"met": "good", "not met": "bad"}
_OPEN_LOOP = (
    "An open-loop load: requests arrive when independent clients would send them, whether or not the server keeps up, "
    "and latency counts from the planned time. The rates are shares of noetl-edge's own peak, the same for everyone. "
    "A curve ends where fewer than five answers lie beyond it; lower is better."
)


def page(results: Results) -> str:
    """The whole page."""
    title = "noetl-edge, measured"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE.read_text()}</style></head><body><main>",
        f'<h1>{title}</h1><p class="soft">{_head(results)}</p>',
        _warning("Failed, and in no table", results.failures),
        _warning("Measure again on a quiet machine", tables.disturbance(results)),
        _goals(results),
        *(_latency(results, scenario) for scenario in dict.fromkeys(delay.scenario for delay in results.delays)),
        _peaks(results),
        _list("What was the limit", tables.what_limited(results)),
        _list("How it was measured", tables.how(results)),
        _versions(results),
        "</main></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _head(results: Results) -> str:
    machine = tables.surroundings(results)[1]
    commit = results.versions.get("commit", "unknown")
    return f"{escape(results.measured_at)}, commit <code>{escape(commit)}</code>, {escape(machine)}"


def _warning(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="card failed"><h3>{title}</h3><ul>{items}</ul></div>' if lines else ""


def _goals(results: Results) -> str:
    rows = tables.goals(findings(results))
    if not rows:
        return ""
    told = f'<p class="soft">{escape(BASELINE[0].upper() + BASELINE[1:])}.</p>'
    note = told if tables.TUNED in rows[0] else ""
    return f'<h2>Goals</h2>{note}<div class="card scroll goals">{_table(rows)}</div>'


def _latency(results: Results, scenario: str) -> str:
    delays = [delay for delay in results.delays if delay.scenario == scenario]
    same = [delay for delay in delays if delay.peak_of == EDGE]
    low, high = bounds(same) if same else (1.0, 1.0)
    cards = []
    for share in dict.fromkeys(delay.share for delay in same):
        here = [delay for delay in same if delay.share == share]
        head = f"<h3>{share:.0%} of our peak</h3><div class='soft'>{here[0].rate:,.0f} requests per second</div>"
        # The gateway last, so that its line lies on top.
        ordered = sorted(here, key=lambda delay: delay.contender == EDGE)
        cards.append(f'<div class="card">{head}{chart(ordered, low, high)}</div>')
    numbers = f'<details><summary>The numbers</summary><div class="card scroll">{_delays(results, scenario)}</div>'
    return (
        f'<h2>Latency: {escape(scenario)}</h2><p class="soft">{_OPEN_LOOP}</p>{_legend(delays)}'
        f'<div class="grid3">{"".join(cards)}</div>{numbers}</details>'
    )


def _delays(results: Results, scenario: str) -> str:
    return _table(tables.delays(results, scenario))


def _legend(delays: Sequence[Delay]) -> str:
    seen = {delay.contender: delay.label for delay in delays}
    keys = [
        f'<span><svg viewBox="0 0 26 10" class="line c-{escape(name)}"><path d="M0 5H26"/></svg>{escape(label)}</span>'
        for name, label in seen.items()
    ]
    return f'<div class="legend">{"".join(keys)}</div>'


def _peaks(results: Results) -> str:
    intro = (
        "How much each can do, with every connection always busy. Bars are medians over the rounds, the dark stroke is "
        "the range; the ratios are taken within a round."
    )
    cards = "".join(_peak(table) for table in results.tables)
    return f'<h2>Peaks</h2><p class="soft">{intro}</p><div class="grid2">{cards}</div>'


def _peak(table: Table) -> str:
    spreads = [Spread.of(row.values(table.unit)) for row in table.rows]
    most = max(spread.high for spread in spreads)
    bars = []
    for row, spread in zip(table.rows, spreads, strict=True):
        own = ' class="own"' if row.contender == EDGE else ""
        left, width = 100 * spread.low / most, 100 * (spread.high - spread.low) / most
        bars.append(
            f'<span{own}>{escape(row.label)}</span><span class="bar c-{escape(row.contender)}">'
            f'<b style="width:{100 * spread.median / most:.2f}%"></b>'
            f'<i style="left:{left:.2f}%;width:{max(width, 0.3):.2f}%"></i></span>'
            f"<span{own}>{spread.median:,.0f}</span>"
        )
    more = [rows for rows in (tables.ratio_rows(table), tables.rates(table)) if rows]
    details = "".join(f'<div class="scroll">{_table(rows)}</div>' for rows in more)
    return (
        f'<div class="card"><h3>{escape(table.scenario)}</h3><div class="soft">{escape(table.title)}; '
        f'{tables.unit_note(table)}</div><div class="bars">{"".join(bars)}</div>'
        f"<details><summary>Ratios, spread, CPU</summary>{details}</details></div>"
    )


def _table(rows: tables.Rows) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = ""
    for row in rows[1:]:
        own = ' class="own"' if row[0] == "noetl-edge" else ""
        body += f"<tr{own}>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>"
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(text: str) -> str:
    kind = _CHIPS.get(text)
    return f'<span class="chip {kind}">{text}</span>' if kind else escape(text)


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""


def _versions(results: Results) -> str:
    rows = [["program", "version"], *([name, version] for name, version in results.versions.items())]
    return f'<h2>Versions</h2><div class="card" style="max-width:420px">{_table(rows)}</div>'
