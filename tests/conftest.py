"""What all tests share: figures that a test wants to be seen stand at the end of the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from proxy.observe import logs

SHOWN = "shown"


@pytest.fixture
def show(record_property: Any) -> Any:
    """A function that has a line printed in the summary of the run, also when tests run in several processes."""

    def shown(line: str) -> None:
        record_property(SHOWN, line)

    return shown


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A test that sets the process's log up leaves it as it was: the next one's streams are others."""
    yield
    structlog.reset_defaults()
    logs._form.update(json=False, level=logging.INFO)
    for name in ("aiohttp", "httpx"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the lines that tests asked for."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    lines = [value for report in reports for name, value in report.user_properties if name == SHOWN]
    for line in sorted(set(map(str, lines))):
        terminalreporter.write_line(line)
