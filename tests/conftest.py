"""What all tests share: figures that a test wants to be seen stand at the end of the run."""

from __future__ import annotations

from typing import Any

import pytest

SHOWN = "shown"


@pytest.fixture
def show(record_property: Any) -> Any:
    """A function that has a line printed in the summary of the run, also when tests run in several processes."""

    def shown(line: str) -> None:
        record_property(SHOWN, line)

    return shown


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the lines that tests asked for."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    lines = [value for report in reports for name, value in report.user_properties if name == SHOWN]
    for line in sorted(set(map(str, lines))):
        terminalreporter.write_line(line)
