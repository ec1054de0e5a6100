"""The NoETL API for coroutines that are driven by hand: each call is yielded to the driver, which sends it.

It serves the fast path, which runs GraphQL resolvers without a task. From each `send` into such a coroutine the driver
gets an `UpstreamCall` or an `OtherCall`; it sends its answer in, or throws a GatewayError in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from proxy.noetl.api import Answer, NoetlApi
from proxy.noetl.on_behalf import OnBehalf
from proxy.upstream.client import OutgoingRequest

T = TypeVar("T")


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)


class UpstreamCall:
    """A request that the driver is to send; it answers with the response's status and body."""

    __slots__ = ("on_behalf", "wanted")

    def __init__(self, wanted: OutgoingRequest, on_behalf: OnBehalf) -> None:
        self.wanted = wanted
        self.on_behalf = on_behalf

    def __await__(self) -> Generator[UpstreamCall, Answer, Answer]:
        return (yield self)


class OtherCall(Generic[T]):
    """Work that is under way in a task: a call that others wait for too, or a thread. The driver sends its result."""

    __slots__ = ("task",)

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task

    def __await__(self) -> Generator[OtherCall[T], T, T]:
        return (yield self)


class StepwiseApi(NoetlApi):
    """A NoetlApi whose calls are made by the driver. It shares its cached facts with `api`."""

    def __init__(self, api: NoetlApi) -> None:
        super().__init__(api.client, api.known)
        self._api = api

    def send(self, method: str, target: str, on_behalf: OnBehalf, body: Any = None) -> Awaitable[Answer]:
        return UpstreamCall(self.outgoing(method, target, body, on_behalf), on_behalf)

    def apart(self, work: Coroutine[Any, Any, T]) -> Awaitable[T]:
        return OtherCall(asyncio.get_running_loop().create_task(work))

    def in_thread(self, work: Callable[[], T]) -> Awaitable[T]:
        return OtherCall(asyncio.get_running_loop().create_task(_in_thread(work)))

    def _wait_for(self, task: asyncio.Task[T]) -> Awaitable[T]:
        return OtherCall(task)

    @property
    def plain(self) -> NoetlApi:
        return self._api
