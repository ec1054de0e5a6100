"""A NoETL server with a large catalog and many executions, as a process: `python -m tests.integration.large_noetl`.

It prints its port. The catalog has 25 versions of each of 80 playbooks, 22 MB of JSON, as either server would send it.
"""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

PATHS, VERSIONS, EXECUTIONS = 80, 25, 1_200
STEP = """  - step: step_{n}
    desc: "Load, transform and store part {n} of the records"
    tool:
      kind: python
      code: |
        result = {{"part": {n}, "rows": [1, 2, 3], "note": "a line of code that does something with its input"}}
    next:
      arcs:
        - step: step_{m}
"""
HEAD = """apiVersion: noetl.io/v2
kind: Playbook
metadata: {{name: flow_{number}, path: team/flow_{number}, description: Flow {number} in version {version}}}
workload: {{number: {number}, version: {version}, items: [1, 2, 3]}}
workflow:
"""


def content(number: int, version: int) -> str:
    """Return the text of one version of a playbook: about 10 KB."""
    steps = "".join(STEP.format(n=n, m=n + 1) for n in range(36))
    return HEAD.format(number=number, version=version) + steps


def catalog(*, rust: bool) -> bytes:
    """Return the list of the catalog, newest first."""
    entries = []
    for version in range(VERSIONS, 0, -1):
        for number in range(PATHS):
            workload = {"number": number, "version": version, "items": [1, 2, 3]}
            about = {"description": f"Flow {number} in version {version}", "path": f"team/flow_{number}"}
            whole = {"apiVersion": "noetl.io/v2", "kind": "Playbook", "metadata": about, "workload": workload}
            entry = {
                "catalog_id": str(10**17 + version * 1000 + number),
                "path": f"team/flow_{number}",
                "version": version,
                "kind": "playbook",
                "content": content(number, version),
                "payload": workload if rust else {**whole, "workflow": [{"step": "a"}]},
            }
            entries.append(entry)
    return json.dumps({"entries": entries}).encode()


def executions() -> list[dict[str, object]]:
    """Return the executions, newest first: the last one is of another playbook."""
    paths = ["team/other"] * EXECUTIONS + ["team/wanted"]
    about = {"status": "COMPLETED", "start_time": "2026-01-01T00:00:00Z"}
    return [{"execution_id": str(10**17 + number), "path": path, **about} for number, path in enumerate(paths)]


async def serve() -> None:
    """Serve until the process is ended."""
    lists = {"rust": catalog(rust=True), "python": catalog(rust=False)}
    found, which = executions(), ["rust"]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        if request.path.startswith("/as/"):
            which[0] = request.path.rpartition("/")[2]
        if request.path == "/api/catalog/list":
            return web.Response(body=lists[which[0]], content_type="application/json")
        if request.path == "/api/executions":
            size = min(200, int(request.query["page_size"]))
            start = (int(request.query["page"]) - 1) * size
            return web.json_response(found[start : start + size])
        return web.json_response({"status": "ok"})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
