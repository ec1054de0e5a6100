"""A NoETL server whose workers send their results to any of several gateways, again and again until one answers."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.scaling.ledger import Ledger

_SHORTEST, _LONGEST = 0.1, 1.5
_RETRY_SECONDS = 0.1
_WITHOUT_CALLBACK = 0.25


@dataclass(slots=True)
class Execution:
    """An execution: when it ends, and whether a callback says so."""

    ends_at: float
    calls_back: bool


@dataclass(slots=True)
class Server:
    """The server; `gateways` are the urls for callbacks."""

    ledger: Ledger
    gateways: Sequence[str]
    client: aiohttp.ClientSession
    executions: dict[str, Execution] = field(default_factory=dict)
    by_execution: dict[str, str] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(101))
    _workers: set[asyncio.Task[None]] = field(default_factory=set)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        if request.path == "/api/execute":
            return web.json_response(self._start(await request.json()))
        parts = request.path.split("/")
        execution = self.executions.get(parts[3]) if len(parts) > 3 else None
        if execution is None:
            return web.json_response({"status": "ok"})
        over = not execution.calls_back and time.monotonic() > execution.ends_at
        return web.json_response(_status(over) if parts[-1] == "status" else _detail(over))

    def _start(self, document: dict[str, Any]) -> dict[str, str]:
        execution_id = str(next(self._numbers))
        workload = document.get("workload") or document.get("payload") or {}
        request_id = str(workload["request_id"])
        calls_back = random.random() > _WITHOUT_CALLBACK
        ends_at = time.monotonic() + random.uniform(_SHORTEST, _LONGEST)
        self.executions[execution_id] = Execution(ends_at, calls_back)
        self.by_execution[execution_id] = request_id
        if calls_back:
            task = asyncio.get_running_loop().create_task(self._call_back(request_id, execution_id, ends_at))
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)
        return {"execution_id": execution_id, "status": "started"}

    async def _call_back(self, request_id: str, execution_id: str, ends_at: float) -> None:
        await asyncio.sleep(ends_at - time.monotonic())
        body = {"request_id": request_id, "execution_id": execution_id, "status": "COMPLETED", "data": request_id}
        while True:
            url = f"{random.choice(self.gateways)}/api/internal/callback/async"
            try:
                async with self.client.post(url, json=body) as response:
                    await response.read()
                    if response.status in (200, 202):
                        self.ledger.owed.add(request_id)
                        return
                    if response.status == 404:
                        return  # the start failed, so nobody waits
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(_RETRY_SECONDS)

    async def finish(self) -> None:
        """Wait for the workers."""
        if self._workers:
            await asyncio.wait(self._workers, timeout=10)


def _status(over: bool) -> dict[str, Any]:
    steps = ["one"] if over else []
    return {"completed_steps": steps, "completed": over, "failed": False, "current_step": "one"}


def _detail(over: bool) -> dict[str, Any]:
    if not over:
        return {"path": "my_playbook", "events": [], "pagination": {"total_events": 0}}
    names = (("call.done", "one"), ("step.exit", "one"), ("playbook.completed", "my_playbook"))
    events: list[dict[str, Any]] = [
        {
            "event_type": kind, "node_name": node, "event_id": number, "status": "COMPLETED",
            "created_at": f"2026-01-05T10:15:3{number}Z", "result": {"context": {"ok": True}},
        }
        for number, (kind, node) in enumerate(names, 1)
    ]  # fmt: skip
    return {"path": "my_playbook", "events": events[::-1], "pagination": {"total_events": len(events)}}
