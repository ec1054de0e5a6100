"""The engine's bounds: how much it keeps, and how far a run may go."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mock_noetl.catalog import Catalog, Entry
from mock_noetl.engine import MAX_STEPS_RUN, Engine, Status
from mock_noetl.errors import ApiError
from mock_noetl.values import IdSource

PLAYBOOK = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {{name: n, path: n}}
workflow:
- step: a
  tool: {{kind: sandbox, duration: {duration}}}
  next: {following}
"""


def playbook(duration: str, following: str = "[]") -> Entry:
    return Catalog(IdSource()).add(PLAYBOOK.format(duration=duration, following=following), "test")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(IdSource(), max_kept=2, between=0)
    yield engine
    await engine.close()


async def test_the_oldest_ended_execution_makes_room(engine: Engine) -> None:
    running = engine.start(playbook("1m"), {})
    ended = engine.start(playbook("1m"), {})
    engine.cancel(ended)
    engine.start(playbook("1m"), {})
    assert engine.get(ended.execution_id) is None
    assert engine.get(running.execution_id) is running


async def test_there_is_no_room_while_all_are_running(engine: Engine) -> None:
    for _ in range(2):
        engine.start(playbook("1m"), {})
    with pytest.raises(ApiError, match="Too many executions"):
        engine.start(playbook("1m"), {})


async def test_a_run_that_goes_in_circles_fails(engine: Engine) -> None:
    execution = engine.start(playbook("0s", "[a]"), {})
    assert execution.task is not None
    await asyncio.wait_for(execution.task, 10)
    assert execution.status is Status.FAILED
    assert execution.error == f"more than {MAX_STEPS_RUN} steps"


async def test_a_condition_without_a_value_fails_the_run(engine: Engine) -> None:
    execution = engine.start(playbook("0s", "[{step: a, when: missing}]"), {})
    assert execution.task is not None
    await asyncio.wait_for(execution.task, 10)
    assert execution.error == "no variable named missing in `missing`"
