"""The subscription to what other gateways do: it says whether cached sessions may be trusted, and until when.

A ping is sent several times a second on the connection of the subscription. Redis answers in order, so its pong proves
that everything announced before the ping has arrived: what is cached can be trusted for a short time behind each ping,
and no longer. If the connection is lost, so is that trust, until a new subscription.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from proxy.observe.logs import get_logger
from proxy.sessions.redis.connection import RedisConnection, describe
from proxy.sessions.store import StoreError

PING_SECONDS = 0.15
TRUST_SECONDS = 0.75
"""How often a ping is sent, and for how long behind one that was answered the announcements are complete."""
_LOOK_SECONDS = 0.01
_ATTEMPT_SECONDS = 0.5
_PAUSES = (0.05, 0.1, 0.2, 0.4)
_SPREAD = 0.2
_AT_ONCE = 32
_FAILED = (RedisError, OSError, TimeoutError, StoreError)
Receive = Callable[[bytes], None]


class State(StrEnum):
    """Where the subscription is: CONNECTED -> LOST -> CONNECTED, or LOST -> AWAY once an attempt has failed."""

    LOST = "lost"
    CONNECTED = "connected"
    AWAY = "away"


class Link:
    """The subscription.

    `epoch` grows with each subscription: what was read in an earlier one may have changed unnoticed. `lost_at` is the
    monotonic time of the loss.

    Args:
        connection: the connection to Redis.
        channels: what receives the messages of each channel.
        on_connected: is called after each subscription.
    """

    def __init__(
        self, connection: RedisConnection, channels: Mapping[bytes, Receive], on_connected: Callable[[], None]
    ) -> None:
        self.state = State.LOST
        self.epoch = 0
        self.lost_at = 0.0
        self.trusted_until = 0.0
        self._connection = connection
        self._channels = channels
        self._on_connected = on_connected
        self._task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether the subscription is kept up."""
        return self._task is not None

    def start(self) -> None:
        """Subscribe, and keep the subscription up."""
        if self._task is None:
            self.lost_at = time.monotonic()
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End the subscription."""
        if self._task is not None:
            await cancelled(self._task)

    async def settled(self) -> None:
        """Wait until all announcements that have arrived are handled: a busy process may be behind with them.

        That is so once a ping was answered lately, or once the loss of the connection has been noticed.
        """
        end = time.monotonic() + 2 * TRUST_SECONDS
        while self.state is State.CONNECTED and self.trusted_until <= time.monotonic() < end:  # noqa: ASYNC110 - rare
            await asyncio.sleep(_LOOK_SECONDS)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._serve()
            except _FAILED as error:
                failures = 1 if self.state is State.CONNECTED else failures + 1
                await self._lose(error, failures)
            pause = _PAUSES[min(failures, len(_PAUSES)) - 1]
            await asyncio.sleep(pause * (1 + random.uniform(-_SPREAD, _SPREAD)))  # noqa: S311 - jitter

    async def _lose(self, error: Exception, failures: int) -> None:
        """Note that there is no subscription. Redis is away only if it answers no command either, as slow ones do."""
        if self.state is State.CONNECTED:
            self.state, self.lost_at, self.trusted_until = State.LOST, time.monotonic(), 0.0
            get_logger().warning("redis.lost", reason=describe(error), redis=str(self._connection))
        elif await self._answers():
            self.state = State.LOST
        elif self.state is State.LOST:
            self.state = State.AWAY
            get_logger().error("redis.away", reason=describe(error), redis=str(self._connection))

    async def _answers(self) -> bool:
        """Return whether Redis answers a command."""
        try:
            await self._connection.command("PING")
        except StoreError:
            return False
        return True

    async def _serve(self) -> None:
        """Subscribe, and pass on what arrives until the connection is lost. Raises what ends it."""
        connection = None
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS * 2):
                connection = await self._connection.subscription()
                asked_at = time.monotonic()
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("SUBSCRIBE", *self._channels)
                for _ in self._channels:
                    await connection.read_response()
            self._subscribed(asked_at)
            await self._receive(connection)
        finally:
            if connection is not None:
                await connection.disconnect(nowait=True)

    def _subscribed(self, asked_at: float) -> None:
        was_away = self.state is State.AWAY
        self.state = State.CONNECTED
        self.epoch += 1
        self.trusted_until = asked_at + TRUST_SECONDS
        if self.epoch > 1 or was_away:
            get_logger().info("redis.back", redis=str(self._connection), away=round(time.monotonic() - self.lost_at, 2))
        self._on_connected()

    async def _receive(self, connection: AbstractConnection) -> None:
        pings = asyncio.get_running_loop().create_task(self._ping(connection))
        try:
            while True:
                async with asyncio.timeout(TRUST_SECONDS + PING_SECONDS):
                    message = await connection.read_response()
                if not isinstance(message, list):
                    continue
                if message[0] == b"pong":
                    self.trusted_until = float(message[1]) + TRUST_SECONDS
                elif message[0] == b"message":
                    self._channels[message[1]](message[2])
        finally:
            await cancelled(pings)
            with contextlib.suppress(asyncio.CancelledError, *_FAILED):
                pings.result()

    async def _ping(self, connection: AbstractConnection) -> None:
        while connection.is_connected:
            await connection.send_command("PING", repr(time.monotonic()), check_health=False)
            await asyncio.sleep(PING_SECONDS)


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end; again and again, since `asyncio.wait_for` of Python 3.11 may ignore it."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class Sender:
    """Does things at Redis without letting the caller wait: a bounded number of them, in no certain order.

    What fails is tried again until Redis is back, `keep` seconds at most.
    """

    def __init__(self, most: int, keep: float) -> None:
        self._most, self._keep = most, keep
        self._waiting: list[tuple[float, Callable[[], Awaitable[object]]]] = []
        self._task: asyncio.Task[None] | None = None

    def send(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Do something soon. Return False if too much is waiting."""
        if len(self._waiting) >= self._most:
            return False
        self._waiting.append((time.monotonic() + self._keep, work))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain())
        return True

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            outcomes = await asyncio.gather(*(work() for _, work in batch), return_exceptions=True)
            failed = [each for each, outcome in zip(batch, outcomes, strict=True) if isinstance(outcome, StoreError)]
            for outcome in outcomes:
                if isinstance(outcome, Exception) and not isinstance(outcome, StoreError):
                    get_logger().error("redis.work_failed", exc_info=outcome)
            if failed:
                now = time.monotonic()
                self._waiting = [(until, work) for until, work in failed if now < until] + self._waiting
                await asyncio.sleep(_PAUSES[-1])

    async def flush(self) -> None:
        """Wait until everything is done, or has failed once more."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=1.0)
            await cancelled(self._task)
