"""A run's results, or a comparison, as text for a terminal or as Markdown for the documentation. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench import tables
from bench.goals import findings
from bench.results import Results
from bench.verdict import Judgement

_WIDTH = 118


def text(results: Results) -> str:
    """The whole report."""
    parts = ["\n".join(tables.surroundings(results))]
    if results.failures:
        parts.append("FAILED, and in no table:\n" + bullets(results.failures))
    if disturbed := tables.disturbance(results):
        parts.append("Measure again on a quiet machine:\n" + bullets(disturbed))
    for table in results.tables:
        both = [rows for rows in (tables.rates(table), tables.ratio_rows(table)) if rows]
        parts.append(f"{table.scenario}: {table.title}\n" + "\n\n".join(columns(rows) for rows in both))
    for scenario in dict.fromkeys(delay.scenario for delay in results.delays):
        parts.append(f"{scenario}: latency by rate of arrival\n{columns(tables.delays(results, scenario))}")
    if promised := tables.goals(findings(results)):
        note = "\n\n" + bullets([BASELINE]) if tables.TUNED in promised[0] else ""
        parts.append(f"Goals:\n{columns(promised)}{note}")
    if limits := tables.what_limited(results):
        parts.append("What was the limit, where it was not the contender's own core:\n" + bullets(limits))
    parts.append("How it was measured:\n" + bullets(tables.how(results)))
    return "\n\n".join(parts)


BASELINE = (
    "the goals refer to nginx's own proxy settings with the session service on the same core; 'to the tuned one' is "
    "the same ratio to an nginx with connections kept open, whose session service has a core that it does not pay for"
)


def markdown(results: Results) -> str:
    """The tables, to be pasted into docs/performance.md."""
    parts = [" ".join(f"{line}." for line in tables.surroundings(results))]
    if promised := tables.goals(findings(results)):
        parts.append(_markdown(promised, "goals"))
    for table in results.tables:
        parts += [_markdown(rows, table.scenario) for rows in (tables.rates(table), tables.ratio_rows(table)) if rows]
    for scenario in dict.fromkeys(delay.scenario for delay in results.delays):
        parts.append(_markdown(tables.delays(results, scenario), f"{scenario}, latency"))
    return "\n\n".join(parts)


def _markdown(rows: tables.Rows, title: str) -> str:
    head, *body = rows
    lines = [[f"**{title}**" + (f": {head[0]}" if head[0] else ""), *head[1:]], *body]
    widths = [max(len(row[column]) for row in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (lines[0], rule, *body)]
    return "\n".join("| " + " | ".join(row) + " |" for row in padded)


def comparison(found: Sequence[Judgement]) -> str:
    """The verdicts of a comparison."""
    note = "better or worse: all rounds, five at least, lie beyond those of the other run, by 3 % at least"
    return columns(tables.judgements(found)) + "\n\n" + bullets([note])


def columns(rows: tables.Rows) -> str:
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    lines.insert(1, "  " + "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


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
