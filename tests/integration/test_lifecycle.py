"""Reload, drain and workers, on real processes under load: no request is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.integration.harness import PATIENCE, eventually
from tests.integration.spawned import Spawned, gateway_process

WORKERS = "workers: 2"


def route(path: str, rewrite: str, more: str = "") -> str:
    return f"  - {{path: '{path}', upstream: noetl, rewrite: '{rewrite}'{more}}}\n"


KEPT = "routes:\n  - {path: /health, handler: health}\n" + route("/noetl/{path:**}", "/api/{path}")


class Load:
    """Clients that ask without a pause, each on a kept connection, until they are stopped or refused a connection."""

    def __init__(self, gateway: Spawned, path: str = "/noetl/x", clients: int = 8) -> None:
        self._gateway, self._path = gateway, path
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self._stopping = False
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(clients)]

    async def _ask(self) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:
            while not self._stopping:
                try:
                    async with client.get(self._gateway.url + self._path, headers=self._gateway.bearer) as answer:
                        await answer.read()
                        self.statuses[answer.status] += 1
                except aiohttp.ClientConnectorError:
                    return
                except aiohttp.ClientError as error:
                    self.failures.append(repr(error))

    async def until(self, count: int) -> None:
        """Wait until there were so many answers in all."""
        await eventually(lambda: self.statuses.total() >= count or bool(self.failures))

    async def stop(self) -> None:
        """No more requests."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def refused(self) -> None:
        """Wait until nobody is served any more."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._tasks)


async def events(request: web.BaseRequest) -> web.StreamResponse:
    """An event stream that goes on until its client leaves."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    number = 0
    while request.transport is not None and not request.transport.is_closing():
        number += 1
        await response.write(b"id: %d\ndata: tick\n\n" % number)
        await asyncio.sleep(0.02)
    return response


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    return await events(request) if request.path == "/api/events" else web.json_response({"ok": True})


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["workers: 1", WORKERS], ids=["alone", "two workers"])
async def test_fifty_reloads_under_load_lose_no_request_and_cut_no_stream(tmp_path: Path, workers: str) -> None:
    async with gateway_process(tmp_path, KEPT, server=workers) as gateway:
        gateway.upstream.answer = answer
        load = Load(gateway)
        done = "reload.done" if workers == "workers: 1" else "reload.checked"
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{gateway.url}/noetl/events", headers=gateway.bearer) as stream:
                await stream.content.readuntil(b"\n\n")
                for number in range(50):
                    more = route("/extra", f"/api/e{number}") if number % 3 else ""
                    more += route(f"/more/{number}", "/api/more", ", timeout: 9s")
                    gateway.rewrite(KEPT + more)
                    gateway.signal(signal.SIGHUP)
                    await gateway.logged(done, number + 1)
                    await load.until(load.statuses.total() + 20)
                before = await stream.content.readuntil(b"\n\n")
                after = await stream.content.readuntil(b"\n\n")
                assert int(after.split(b"\n")[0][4:]) == int(before.split(b"\n")[0][4:]) + 1
        await load.stop()
        assert load.failures == []
        assert set(load.statuses) == {200}


async def test_a_reload_takes_routes_away_and_brings_new_ones(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, KEPT + route("/old", "/api/old")) as gateway:
        async with aiohttp.ClientSession(headers=gateway.bearer) as client:

            async def status(path: str) -> int:
                async with client.get(gateway.url + path) as answer:
                    return answer.status

            assert [await status("/old"), await status("/new")] == [403, 404]
            gateway.rewrite(KEPT + route("/new", "/api/new"))
            gateway.signal(signal.SIGHUP)
            (done,) = await gateway.logged("reload.done")
            assert [await status("/old"), await status("/new")] == [404, 403]
            assert "routes[/new].rewrite: (added) -> /api/new" in done["changed"]


async def test_a_reload_with_a_mistake_changes_nothing_and_says_where_it_is(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, KEPT) as gateway:
        gateway.rewrite(KEPT + "acl_: {}\n")
        gateway.signal(signal.SIGHUP)
        (problem,) = await gateway.logged("reload.problem")
        assert 'acl_: unknown key (did you mean "acl"?)' in problem["problem"]
        await gateway.logged("reload.rejected")
        async with aiohttp.ClientSession() as client, client.get(f"{gateway.url}/health") as health:
            assert health.status == 200


async def test_a_reload_whose_acl_tests_fail_is_refused(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, KEPT) as gateway:
        rule = '    - {allow: ["*"], roles: [staff], paths: ["/noetl/**", "/ws/**"]}\n'
        text = gateway.file.read_text().replace(
            rule, rule + "  tests:\n    - {as: {email: a@else.test}, execute: x, expect: allow}\n"
        )
        gateway.file.write_text(text.replace("  tests:", "    # tests\n  tests:", 1))
        gateway.signal(signal.SIGHUP)
        await gateway.logged("reload.rejected")
        assert gateway.events("reload.done") == []


async def test_a_change_of_the_file_is_noticed_where_it_is_watched(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, KEPT, arguments=("--watch",)) as gateway:
        gateway.rewrite(KEPT + route("/new", "/api/new"))
        (done,) = await gateway.logged("reload.done")
        assert any("/new" in line for line in done["changed"])


@pytest.mark.parametrize("workers", ["workers: 1", WORKERS], ids=["alone", "two workers"])
async def test_sigterm_under_load_fails_no_accepted_request(tmp_path: Path, workers: str) -> None:
    async with gateway_process(tmp_path, server=f"{workers}, shutdown_grace: 10s") as gateway:
        gateway.upstream.answer = answer
        load = Load(gateway)
        await load.until(300)
        gateway.signal(signal.SIGTERM)
        await load.refused()
        assert await gateway.ended() == 0
        assert load.failures == []
        assert set(load.statuses) == {200}


async def test_a_slow_request_is_answered_after_sigterm_and_its_connection_closed(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="late")

    async with gateway_process(tmp_path) as gateway:
        gateway.upstream.answer = slow
        async with aiohttp.ClientSession() as client:
            asked = asyncio.create_task(client.get(f"{gateway.url}/noetl/x", headers=gateway.bearer))
            await eventually(lambda: bool(gateway.upstream.relayed))
            gateway.signal(signal.SIGTERM)
            await gateway.logged("gateway.stopping")
            release.set()
            late = await asked
            assert (await late.text(), late.headers["connection"]) == ("late", "close")
        assert await gateway.ended() == 0


async def test_a_kept_connection_is_served_while_draining_and_ready_says_so(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as gateway:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as client:
            async with client.get(f"{gateway.url}/health") as health:
                assert health.status == 200
            gateway.signal(signal.SIGTERM)
            await gateway.logged("gateway.stopping")
            async with client.get(f"{gateway.url}/ready") as ready:
                document = await ready.json()
                assert (ready.status, document["draining"], ready.headers["connection"]) == (503, True, "close")
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.get(f"{gateway.url}/health")
        assert await gateway.ended() == 0


@pytest.mark.parametrize("path", ["/health", "/noetl/x"], ids=["streaming path", "fast path"])
async def test_idle_connections_do_not_hold_up_the_end(tmp_path: Path, path: str) -> None:
    async with gateway_process(tmp_path, server="shutdown_grace: 60s") as gateway:
        gateway.upstream.answer = answer
        async with aiohttp.ClientSession(headers=gateway.bearer) as client:
            for _ in range(3):
                async with client.get(gateway.url + path) as answered:
                    assert answered.status == 200
            _, half = await asyncio.open_connection("127.0.0.1", gateway.port)
            half.write(b"GET / HTTP/1.1\r\n")
            gateway.signal(signal.SIGTERM)
            assert await gateway.ended() == 0
            half.close()


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
async def test_event_stream_at_drain_gets_a_retry_time(tmp_path: Path, warm: bool) -> None:
    async with gateway_process(tmp_path) as gateway:
        gateway.upstream.answer = answer
        async with aiohttp.ClientSession(headers=gateway.bearer) as client:
            if warm:
                async with client.get(f"{gateway.url}/noetl/x") as first:
                    assert first.status == 200
            async with client.get(f"{gateway.url}/noetl/events") as stream:
                await stream.content.readuntil(b"\n\n")
                gateway.signal(signal.SIGTERM)
                async with asyncio.timeout(PATIENCE):
                    rest = await stream.content.read()
        *whole, farewell, nothing = rest.split(b"\n\n")
        assert farewell.startswith(b"retry: ")
        assert nothing == b""
        assert all(event.endswith(b"data: tick") for event in whole)
        assert await gateway.ended() == 0


async def test_what_does_not_end_within_the_grace_is_cut_and_the_status_is_0(tmp_path: Path) -> None:
    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with gateway_process(tmp_path, server="shutdown_grace: 500ms") as gateway:
        gateway.upstream.answer = never
        async with aiohttp.ClientSession() as client:
            asked = asyncio.create_task(client.get(f"{gateway.url}/noetl/x", headers=gateway.bearer))
            await eventually(lambda: bool(gateway.upstream.relayed))
            gateway.signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientError):
                await asked
        assert await gateway.ended() == 0


async def slowly(request: web.BaseRequest) -> web.StreamResponse:
    """Say a little at once and the rest much later, or nothing at all, as the path says; `warm` at once."""
    if request.path.endswith("/warm"):
        return web.Response()
    if request.path.endswith("/body"):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
@pytest.mark.parametrize("signals", [1, 2], ids=["grace is over", "second signal"])
async def test_requests_that_the_end_of_the_gateway_cuts_off_have_a_line_that_says_so(
    tmp_path: Path, warm: bool, signals: int
) -> None:
    grace = "500ms" if signals == 1 else "60s"
    async with gateway_process(tmp_path, server=f"shutdown_grace: {grace}") as gateway:
        gateway.upstream.answer = slowly
        async with aiohttp.ClientSession(headers=gateway.bearer) as client:
            if warm:
                await client.get(f"{gateway.url}/noetl/warm")
            tasks = [asyncio.create_task(client.get(f"{gateway.url}/noetl/{path}")) for path in ("head", "body")]
            await eventually(lambda: len(gateway.upstream.relayed) == 2 + warm)
            await asyncio.sleep(0.1)
            for _ in range(signals):
                gateway.signal(signal.SIGINT)
                await asyncio.sleep(0.1)
            assert await gateway.ended() == 0
            await asyncio.gather(*tasks, return_exceptions=True)
        lines = {line["path"]: line for line in gateway.events("request")}
        found = {
            path: (line["status"], line.get("detail")) for path, line in lines.items() if path[-4:] in ("head", "body")
        }
        assert found == dict.fromkeys(("/noetl/head", "/noetl/body"), (499, "the gateway stopped"))


async def test_a_worker_that_is_killed_comes_back_and_the_other_goes_on(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, server=WORKERS) as gateway:
        gateway.upstream.answer = answer
        pids = {line["worker"]: line["pid"] for line in await gateway.logged("worker.ready", 2)}
        load = Load(gateway, clients=4)
        await load.until(50)
        os.kill(pids[0], signal.SIGKILL)
        (crashed,) = await gateway.logged("worker.crashed")
        assert (crashed["worker"], crashed["pid"], crashed["status"]) == (0, pids[0], -9)
        again = (await gateway.logged("worker.ready", 3))[2]
        assert again["worker"] == 0
        await load.until(load.statuses.total() + 50)
        await load.stop()
        assert set(load.statuses) == {200}
        assert len(load.failures) <= 4
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended() == 0


async def test_workers_end_when_the_process_above_them_is_killed(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, server=WORKERS) as gateway:
        await gateway.logged("worker.ready", 2)
        gateway.program.kill()
        await gateway.logged("worker.orphaned", 2)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                except ConnectionRefusedError:
                    break
                writer.close()
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("workers", ["workers: 1", WORKERS], ids=["alone", "two workers"])
async def test_a_port_in_use_is_one_line_and_status_2(tmp_path: Path, workers: str) -> None:
    async with gateway_process(tmp_path, server=workers) as gateway:
        import sys

        command = [sys.executable, "-m", "proxy", "serve", "--config", str(gateway.file)]
        process = await asyncio.create_subprocess_exec(
            *command, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        _, printed = await process.communicate()
        assert process.returncode == 2
        assert b"the address is already in use" in printed.splitlines()[-1]
        assert b"Traceback" not in printed


async def test_numbers_of_two_workers_are_one_and_outlive_a_crash(tmp_path: Path) -> None:
    wanted = 'noetl_gateway_requests_total{method="GET",route="/noetl/{path:**}",status="200"}'

    async with gateway_process(tmp_path, server=WORKERS) as gateway:
        gateway.upstream.answer = answer
        pids = {line["worker"]: line["pid"] for line in await gateway.logged("worker.ready", 2)}

        async def counted() -> float:
            async with aiohttp.ClientSession() as client, client.get(f"{gateway.url}/metrics") as shown:
                lines = (await shown.text()).splitlines()
            return next((float(line.split()[-1]) for line in lines if line.startswith(wanted)), 0.0)

        async def until_counted(count: int) -> None:
            async with asyncio.timeout(PATIENCE):
                while await counted() != count:  # noqa: ASYNC110 - the numbers of another process
                    await asyncio.sleep(0.05)

        for _ in range(20):
            async with aiohttp.ClientSession(headers=gateway.bearer) as client:
                async with client.get(f"{gateway.url}/noetl/x") as got:
                    assert got.status == 200
        await until_counted(20)
        os.kill(pids[0], signal.SIGKILL)
        await gateway.logged("worker.ready", 3)
        await until_counted(20)
