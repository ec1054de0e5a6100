"""Record what the real NoETL servers answer to bridged requests: `python -m tests.contract.record`.

Writes `tests/integration/gateway/recorded_answers.json`, which `test_bridge_recorded.py` reads. Ids, times, names and
addresses of the machine are replaced; ids remain in their order, and times at their distances.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.contract.playbooks import BROKEN, FAILING, QUICK, SLOW
from tests.contract.server import Server, connected
from tests.contract.servers import running
from tests.e2e.processes import ROOT

FILE = ROOT / "tests" / "integration" / "gateway" / "recorded_answers.json"
_ID = re.compile(r"(?<![0-9.])[0-9]{17,19}(?![0-9])")
_TIME = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}(?::[0-9]{2})?)?")
_FIRST_ID, _FIRST_TIME = 412345678901230000, datetime(2026, 11, 2, 8, tzinfo=UTC)
_KEPT = {"9007199254740993"}
"""Numbers in workloads that look like ids."""


@dataclass(slots=True)
class Recording:
    """What one server has answered: `records` are objects with the request, and the answer as text."""

    server: Server
    records: list[dict[str, Any]] = field(default_factory=list)

    async def send(self, name: str, method: str, path: str, body: Any = None) -> Any:
        """Send a request and record the answer; return its JSON, or None."""
        data = {} if body is None else {"json": body}
        async with self.server.client.request(method, f"{self.server.url}/api{path}", **data) as response:
            text = await response.text()
            kind = response.headers.get("content-type", "")
        request = {"name": name, "method": method, "path": path, "body": body}
        self.records.append({**request, "status": response.status, "type": kind, "answer": text})
        try:
            return json.loads(text)
        except ValueError:
            return None


async def record(server: Server) -> list[dict[str, Any]]:
    """Return the records of one server."""
    for playbook in (QUICK, FAILING, BROKEN, SLOW, QUICK):
        catalog_id = await server.register(playbook)
    recording = Recording(server)
    send = recording.send
    await send("health", "GET", "/health")
    await _of_catalog(send, catalog_id)
    await _of_starts(send, catalog_id)
    runs = {playbook.path: await server.start(playbook.path) for playbook in (QUICK, FAILING, BROKEN)}
    for execution_id in runs.values():
        await server.ended(execution_id)
    slow = await server.start(SLOW.path)
    await asyncio.sleep(1)
    await _of_run(send, "running", slow)
    await send("cancel", "POST", f"/executions/{slow}/cancel", {"reason": "enough"})
    await server.ended(slow)
    for kind, execution_id in (("cancelled", slow), *((path.rpartition("/")[2], run) for path, run in runs.items())):
        await _of_run(send, kind, execution_id)
    await send("cancel of a cancelled run", "POST", f"/executions/{slow}/cancel", {})
    await send("list", "GET", "/executions?page=1&page_size=20")
    for word in ("FAILED", "failed"):
        await send(f"list of {word}", "GET", f"/executions?status={word}")
    await _of_unknown(send)
    return recording.records


Send = Callable[..., Any]


async def _of_catalog(send: Send, catalog_id: str) -> None:
    for kind in ("Playbook", "playbook"):
        await send(f"catalog of {kind}", "POST", "/catalog/list", {"resource_type": kind})
    await send("agents", "POST", "/catalog/agents/list", {})
    for name, body in {
        "resource": {"path": QUICK.path},
        "resource, latest": {"path": QUICK.path, "version": "latest"},
        "resource by version": {"path": QUICK.path, "version": "1"},
        "resource by version, a number": {"path": QUICK.path, "version": 1},
        "resource by id": {"catalog_id": catalog_id},
        "resource by id, a number": {"catalog_id": int(catalog_id)},
        "resource that is unknown": {"path": "contract/nothing"},
        "resource of nothing": {},
    }.items():
        await send(name, "POST", "/catalog/resource", body)
    await send("validate", "POST", "/catalog/playbooks/validate", {"content": "a: 1"})
    await send("content", "GET", f"/catalog/playbook/content?playbook_id={QUICK.path}")


async def _of_starts(send: Send, catalog_id: str) -> None:
    for name, body in {
        "execute": {"path": QUICK.path, "workload": {"n": 7}},
        "execute by id": {"catalog_id": catalog_id, "workload": {}, "resource_kind": "playbook"},
        "execute by id, a number": {"catalog_id": int(catalog_id)},
        "execute a version": {"path": QUICK.path, "version": 1},
        "execute what is unknown": {"path": "contract/nothing"},
        "execute nothing": {},
    }.items():
        await send(name, "POST", "/execute", body)


async def _of_run(send: Send, kind: str, execution_id: str) -> None:
    await send(f"status, {kind}", "GET", f"/executions/{execution_id}/status")
    await send(f"detail, {kind}", "GET", f"/executions/{execution_id}?page=1&page_size=10")
    await send(f"events, {kind}", "GET", f"/executions/{execution_id}/events?page=1&page_size=10")


async def _of_unknown(send: Send) -> None:
    for tail in ("", "/status", "/events"):
        await send(f"unknown{tail}", "GET", f"/executions/{_FIRST_ID}{tail}")
    for tail in ("/cancel", "/stop", "/rerun"):
        await send(f"unknown{tail}", "POST", f"/executions/{_FIRST_ID}{tail}", {})
    await send("list of a wrong page", "GET", "/executions?page=x&limit=x")


def replaced(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records with other ids, times and addresses."""
    text = json.dumps(records, ensure_ascii=False)
    ids = sorted({int(found) for found in _ID.findall(text) if found not in _KEPT and int(found) != _FIRST_ID})
    places = {str(found): str(_FIRST_ID + 100 + place) for place, found in enumerate(ids)}
    text = _ID.sub(lambda match: places.get(match[0], match[0]), text)
    times = {found: _parsed(found) for found in _TIME.findall(text)}
    shift = _FIRST_TIME - min(times.values())
    text = _TIME.sub(lambda match: _shifted(match[0], times[match[0]], shift), text)
    text = re.sub(r"127\.0\.0\.1:[0-9]+", "127.0.0.1:8082", text).replace(str(ROOT), "/srv")
    found: list[dict[str, Any]] = json.loads(re.sub(rf"\b{re.escape(socket.gethostname())}\b", "worker", text))
    return found


def _parsed(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _shifted(text: str, at: datetime, shift: timedelta) -> str:
    """Return a time in the format of a text."""
    zone = re.search(r"(?:Z|[+-][0-9:]+)$", text[19:])
    fraction = f".{(at + shift).microsecond:06d}" if "." in text else ""
    return (at + shift).strftime(f"%Y-%m-%d{text[10]}%H:%M:%S") + fraction + (zone[0] if zone else "")


async def _record(url: str) -> list[dict[str, Any]]:
    async with connected(url) as server:
        return await record(server)


def main() -> None:
    """Record both servers."""
    found = {}
    for kind in ("python", "rust"):
        with running(kind) as url:
            found[kind] = replaced(asyncio.run(_record(url)))
    lines = [
        f" {json.dumps(kind)}: [\n" + ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in records) + "\n ]"
        for kind, records in found.items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    print(f"written: {FILE.relative_to(ROOT)}: {', '.join(f'{len(found[kind])} of {kind}' for kind in found)}")


if __name__ == "__main__":
    main()
