"""What the attack tests share: the tally of a class, whose line stands in the table at the end of the run, and the
search of all that came out for every secret that was used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from tests.attack.table import PROPERTY, SEARCHED, Tally
from tests.secretsearch import RUN

PRINTED = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def tally(record_property: Any) -> Callable[[str], Tally]:
    """Begins the line of a class; it is complete when the tally is closed."""

    def begin(group: str) -> Tally:
        return Tally(group, lambda line: record_property(PROPERTY, line))

    return begin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a test has printed and logged so far, for `_no_secret_came_out`."""
    report = yield
    item.stash[PRINTED] = report.sections
    return report


@pytest.fixture(autouse=True)
def _no_secret_came_out(request: pytest.FixtureRequest, record_property: Any) -> Iterator[None]:
    """What a test's gateway logged, counted and answered to what it refused holds no secret of the run so far."""
    before = len(RUN.names)
    RUN.listening = True
    try:
        yield
        for stream, text in request.node.stash[PRINTED]:
            RUN.came_out(stream, text)
        found = RUN.found()
        record_property(SEARCHED, (len(RUN.names) - before, RUN.size, len(found)))
        assert found == []
    finally:
        RUN.listening = False
        RUN.forget_places()
