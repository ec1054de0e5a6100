"""What the sandbox adds to the real servers in both dialects, and its limits. The rest: `tests/contract/answers`."""

import asyncio
import base64
import hashlib
import json

import httpx
import pytest

from mock_noetl.server import build, serve, start
from mock_noetl.state import Settings
from mock_server.randomness import random_source
from mock_server.sandbox import Control

CONTENT = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: double, path: mine/double}
workload: {x: 2}
workflow:
- step: start
  tool: {kind: sandbox, duration: 10ms, set: {y: "{{ x * 2 }}"}}
  next: {arcs: [{step: end}]}
- step: end
  tool: {kind: sandbox}
"""


@pytest.mark.parametrize("content", [CONTENT, base64.b64encode(CONTENT.encode()).decode()])
async def test_registered_playbook_can_be_executed(sandbox, content):
    entry = await sandbox.post("/api/catalog/register", {"content": content, "resource_type": "Playbook"})
    assert (entry["path"], str(entry["version"]), entry["kind"].lower()) == ("mine/double", "1", "playbook")
    answer = await sandbox.post("/api/execute", {"catalog_id": int(entry["catalog_id"]), "workload": {"x": 21}})
    detail = await sandbox.ended(answer["execution_id"])
    done = [event for event in detail["events"] if event["event_type"] == "call.done"]
    assert '"y": 42' in json.dumps(done)


async def test_wrong_tool_is_refused_with_its_place(sandbox):
    content = CONTENT.replace("duration: 10ms", "duration: 10x")
    response = await sandbox.client.post(
        "/api/catalog/register", json={"content": content, "resource_type": "Playbook"}
    )
    assert response.status_code == 422
    assert "workflow.0.tool.duration: a duration is a number with ms, s, m or h behind it" in response.text


@pytest.mark.parametrize("dialect", ["python", "rust"])
async def test_python_steps_can_be_refused(sandboxes, dialect):
    sandbox = await sandboxes(dialect, Settings(python_steps=False))
    content = CONTENT.replace("kind: sandbox, duration: 10ms, set", "kind: python, code: pass, input")
    response = await sandbox.client.post(
        "/api/catalog/register", json={"content": content, "resource_type": "Playbook"}
    )
    assert response.status_code == 422
    assert "python" in response.text


async def test_database_reaches_no_file(sandbox, tmp_path):
    target = tmp_path / "x.db"
    for query in (f"attach '{target}' as x", f"vacuum into '{target}'", "select load_extension('x')"):
        answer = await sandbox.client.post("/api/postgres/execute", json={"query": query})
        assert answer.status_code == 500 or answer.json()["status"] == "error"
        assert not target.exists()


async def test_echo_says_what_arrived(sandbox):
    url = "/api/echo?a=%2Fb;c&d=+"
    seen = (await sandbox.client.post(url, content=b"hi", headers=[("X-A", "1"), ("X-A", "2")])).json()
    assert (seen["method"], seen["path"], seen["body"], seen["body_length"]) == ("POST", url, "hi", 2)
    assert [pair for pair in seen["headers"] if pair[0] == "X-A"] == [["X-A", "1"], ["X-A", "2"]]


async def test_bytes_are_deterministic(sandbox):
    body = (await sandbox.client.get("/api/bytes/100000")).content
    assert body == bytes(i % 251 for i in range(100_000))


async def test_sink_takes_more_than_other_endpoints(sandbox):
    body = b"x" * (11 * 1024 * 1024)
    seen = (await sandbox.client.post("/api/sink", content=body)).json()
    assert seen == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}


async def test_body_over_the_limit_is_413(sandbox):
    response = await sandbox.client.post("/api/execute", content=b"x" * (10 * 1024 * 1024 + 1))
    assert response.status_code == 413


@pytest.mark.parametrize(("name", "error"), [("examples/failing", "printing failed: no ink")])
async def test_shipped_playbook_fails_with_its_reason(sandbox, name, error):
    detail = await sandbox.ended(await sandbox.start(name, reason="no ink"))
    assert detail["status"] == "FAILED"
    assert error in json.dumps(detail)
    assert (await sandbox.ended(await sandbox.start(name, fail=False)))["status"] == "COMPLETED"


async def told(seed: str) -> tuple[str, str]:
    async with serve(build("python", source=random_source(seed))) as listener:
        async with httpx.AsyncClient(base_url=listener.url, trust_env=False) as client:
            entry = await client.post("/api/catalog/resource", json={"path": "my_playbook"})
            run = await client.post("/api/execute", json={"path": "my_playbook"})
    return entry.json()["catalog_id"], run.json()["execution_id"]


async def test_ids_follow_from_the_seed():
    assert await told("a") == await told("a") != await told("b")


RANDOM = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: random, path: mine/random}
workload: {n: 0}
workflow:
- step: start
  tool: {kind: sandbox, duration: {uniform: [0, 40ms]}, fail_probability: 0.4}
  next: {arcs: [{step: middle}]}
- step: middle
  tool: {kind: sandbox, duration: {lognormal: {median: 10ms, sigma: 1}}}
  next: {arcs: [{step: end}]}
- step: end
  tool: {kind: sandbox, fail_probability: 0.5}
"""


async def journal_of(dialect: str, seed: str) -> tuple[bytes, set[str]]:
    """Run twenty executions at the same time; return the journal, and how they have ended."""
    server = build(dialect, source=random_source(seed))
    async with serve(server, control=Control(admin=True)) as listener:
        async with httpx.AsyncClient(base_url=listener.url, headers={"host": "localhost"}, trust_env=False) as client:
            await client.put("/__admin/clock", json={"stop": True, "set": "2030-01-01T00:00:00Z"})
            document = {"content": RANDOM, "resource_type": "Playbook"}
            (await client.post("/api/catalog/register", json=document)).raise_for_status()
            ids = []
            for number in range(20):
                body = {"path": "mine/random", "workload": {"n": number}}
                ids.append(str((await client.post("/api/execute", json=body)).json()["execution_id"]))
            async with asyncio.timeout(20):
                engine = server.state.engine
                while not all(engine.executions.seen(run).ended for run in engine.executions.newest_first()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            found = [(await client.get(f"/api/executions/{each}")).json() for each in ids]
            journal = (await client.get("/__admin/journal?timing=false")).content
            return journal, {str(each["status"]) for each in found}


@pytest.mark.parametrize("dialect", ["python", "rust"])
async def test_executions_that_overlap_have_the_same_journal_with_one_seed(dialect):
    first, endings = await journal_of(dialect, "a")
    assert len(endings) == 2
    assert first == (await journal_of(dialect, "a"))[0]
    assert first != (await journal_of(dialect, "b"))[0]


async def test_agent_of_an_mcp_server_beyond_the_limit_of_executions_is_503(sandboxes):
    sandbox = await sandboxes("python", Settings(keep=1))
    mcp = "kind: Mcp\nmetadata: {name: m, path: m}\nspec: {lifecycle: {deploy: examples/slow}}\n"
    await sandbox.post("/api/catalog/register", {"content": mcp, "resource_type": "mcp"})
    found = [(await sandbox.client.post("/api/mcp/m/lifecycle/deploy", json={})).status_code for _ in range(2)]
    assert found == [200, 503]


@pytest.mark.parametrize("query", ["limit=5&offset=290", "limit=5&offset=290&path=my_play", "limit=5"])
async def test_list_computes_only_what_it_shows(query):
    server = build("rust")
    async with serve(server) as listener, httpx.AsyncClient(base_url=listener.url, trust_env=False) as client:
        for _ in range(300):
            start(server, "my_playbook")
        found = (await client.get(f"/api/executions?{query}")).json()
        assert len(found) == 5
        engine = server.state.engine
        assert sum(run.log is not None for run in engine.executions.newest_first()) == 5
        offset = int(query.partition("offset=")[2].partition("&")[0] or 0)
        newest = [run.run_id for run in engine.executions.newest_first()]
        assert [item["execution_id"] for item in found] == newest[offset : offset + 5]


async def test_cleanup_does_not_touch_what_a_reset_has_forgotten():
    server = build("python")
    async with serve(server) as listener, httpx.AsyncClient(base_url=listener.url, trust_env=False) as client:
        engine = server.state.engine
        for path, count in (("examples/slow", 3_000), ("examples/callback", 500)):
            for _ in range(count):
                start(server, path)
        server.state.clock.move(3600)
        first = next(iter(engine.executions.runs.values()))
        cleanup = asyncio.create_task(client.post("/api/executions/cleanup", json={"older_than_minutes": 5}))
        async with asyncio.timeout(20):
            while not first.cancelled:  # noqa: ASYNC110
                await asyncio.sleep(0)
        engine.clear()
        found = (await cleanup).json()
        assert 0 < found["cancelled_count"] == len(found["execution_ids"]) < 3_500
        assert engine.executions.running == 0
