"""One watch per execution: when it polls, whom it tells, and when it ends. A server of the test answers at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from proxy.errors import BadGateway, NotFound, Unavailable
from proxy.live import follow
from proxy.live.follow import Follower
from proxy.live.hub import Hub, LiveSettings
from proxy.live.watchers import Subscriber, on_behalf_of
from proxy.noetl.executions import ExecutionState

RUNNING = ExecutionState("1", "p", "running", "a", (), {}, None, None, None, None, None)
ENDED = RUNNING._replace(status="completed", result={"n": 1})
ME = on_behalf_of(b"", 1)


class Server:
    """Answers polls with `state`, or fails with it; `asked` counts them."""

    def __init__(self) -> None:
        self.state: ExecutionState | Exception = RUNNING
        self.asked: list[str] = []

    async def state_of(self, api: Any, execution_id: str, on_behalf: Any) -> ExecutionState:
        """Answer a poll."""
        self.asked.append(execution_id)
        await asyncio.sleep(0)
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that answers at once, with polls every few milliseconds."""
    found = Server()
    monkeypatch.setattr(follow, "state_of", found.state_of)
    monkeypatch.setattr(follow, "FIRST", 0.01)
    monkeypatch.setattr(follow, "LAST", 0.02)
    return found


@pytest.fixture
async def follower(server: Server) -> AsyncIterator[Follower]:
    """A follower of that server."""
    made = Follower(Hub(), {"ok": 0, "failed": 0})
    yield made
    await made.close()


async def subscribed(follower: Follower, execution_id: str = "1") -> Subscriber:
    """Return a subscriber."""
    return await follower.subscribe(execution_id, cast(Any, None), ME)


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.002)


async def test_the_current_state_then_changes_only_then_the_end(server: Server, follower: Follower) -> None:
    subscriber = await subscribed(follower)
    assert await anext(subscriber) == RUNNING
    count = len(server.asked)
    waiting = asyncio.ensure_future(anext(subscriber))
    await eventually(lambda: len(server.asked) > count + 3)
    assert not waiting.done()
    server.state = RUNNING._replace(variables={"x": float("nan")})
    assert (await waiting) is not None
    waiting = asyncio.ensure_future(anext(subscriber))
    server.state = RUNNING._replace(variables={"x": float("nan")})  # another NaN, but the same for a client
    count = len(server.asked)
    await eventually(lambda: len(server.asked) > count + 2)
    assert not waiting.done()
    server.state = ENDED
    assert await waiting == ENDED
    with pytest.raises(StopAsyncIteration):
        await anext(subscriber)
    await eventually(lambda: follower.followed == 0)


async def test_many_subscribers_share_the_polls(server: Server, follower: Follower, monkeypatch: Any) -> None:
    monkeypatch.setattr(follow, "FIRST", 10.0)
    many = await asyncio.gather(*(subscribed(follower) for _ in range(50)))
    assert (server.asked, follower.followed) == (["1"], 1)
    assert [await anext(each) for each in many] == [RUNNING] * 50
    for each in many:
        each.close()
    assert follower.followed == 0


async def test_a_slow_subscriber_gets_the_newest_state(server: Server, follower: Follower) -> None:
    subscriber = await subscribed(follower)
    for number in range(3):
        server.state = RUNNING._replace(current_step=str(number))
        count = len(server.asked)
        await eventually(lambda count=count: len(server.asked) > count + 1)  # type: ignore[misc]
    assert await anext(subscriber) == RUNNING._replace(current_step="2")
    subscriber.close()


async def test_no_poll_after_the_last_one_has_left(server: Server, follower: Follower) -> None:
    first, second = await subscribed(follower), await subscribed(follower)
    first.close()
    assert follower.followed == 1
    second.close()
    assert follower.followed == 0
    count = len(server.asked)
    await asyncio.sleep(0.05)
    assert len(server.asked) == count


@pytest.mark.parametrize("error", [BadGateway(), NotFound()])
async def test_an_error_at_the_start_is_raised_and_nothing_is_left(
    server: Server, follower: Follower, error: Exception
) -> None:
    server.state = error
    with pytest.raises(type(error)):
        await subscribed(follower)
    assert follower.followed == 0


async def test_errors_between_are_survived(server: Server, follower: Follower) -> None:
    subscriber = await subscribed(follower)
    assert await anext(subscriber) == RUNNING
    server.state = BadGateway()
    await eventually(lambda: follower.polls["failed"] > 2)
    server.state = ENDED
    assert await anext(subscriber) == ENDED


async def test_a_server_that_is_away_for_too_long_is_given_up(server: Server, follower: Follower) -> None:
    follower.hub.settings = LiveSettings(request_lifetime=0.1)
    subscriber = await subscribed(follower)
    assert await anext(subscriber) == RUNNING
    server.state = BadGateway()
    with pytest.raises(Unavailable):
        await anext(subscriber)


async def test_a_wake_is_none_and_loses_no_state(server: Server, follower: Follower) -> None:
    subscriber = await subscribed(follower)
    subscriber.wake()
    assert await anext(subscriber) is None
    assert await anext(subscriber) == RUNNING
    subscriber.wake()
    assert await anext(subscriber) is None
    server.state = ENDED
    assert await anext(subscriber) == ENDED


async def test_there_is_a_limit(server: Server, follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MAX_FOLLOWED", 2)
    first = await subscribed(follower, "1")
    await subscribed(follower, "2")
    with pytest.raises(Unavailable, match="Too many executions are watched"):
        await subscribed(follower, "3")
    first.close()
    await subscribed(follower, "3")


async def test_polls_are_spread_over_time(server: Server, follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    real = asyncio.timeout

    def noted(seconds: float) -> Any:
        pauses.append(seconds)
        return real(seconds)

    monkeypatch.setattr(asyncio, "timeout", noted)
    random.seed(1)
    for number in range(20):
        await subscribed(follower, str(number))
    await eventually(lambda: len(server.asked) > 60)
    waits = {round(each, 6) for each in pauses if each < 1}
    assert len(waits) > 20
    assert min(waits) >= 0.01 * 0.8
    assert max(waits) <= 0.02 * 1.2
