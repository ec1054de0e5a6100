"""Three gateways with one Redis under load: one gateway is killed, and Redis is killed and started again.

`python -m tests.scaling.run` prints what clients saw. Exit 0 if nothing that was answered was lost. All programs listen
on 127.0.0.1, and only those that the run has started are ended.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.e2e.processes import Program, Programs, free_port
from tests.integration.crash import id_token
from tests.redis_server import DURABLE, REDIS, VALKEY, NoServer, RedisServer
from tests.scaling.clients import Clients
from tests.scaling.ledger import Ledger, table
from tests.scaling.noetl import Server

GATEWAYS = 3
FAULTS = (
    "gateway 2 is killed",
    "gateway 2 is back",
    "Redis is killed",
    "Redis is back",
    "Redis is killed",
    "Redis is back",
)


def main() -> int:
    """Run with each kind of server, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.scaling.run", description=__doc__)
    parser.add_argument("--server", choices=(REDIS, VALKEY), help="only with this kind of server")
    parser.add_argument("--seconds", type=float, default=28.0, help="how long the load lasts")
    options = parser.parse_args()
    failed = False
    for kind in (options.server,) if options.server else (REDIS, VALKEY):
        try:
            wrong = asyncio.run(run(kind, options.seconds))
        except NoServer as error:
            print(f"\n{error}", file=sys.stderr)
            return 2
        for text in wrong:
            print(f"FAIL  {text}")
        failed = failed or bool(wrong)
    return 1 if failed else 0


async def run(kind: str, seconds: float) -> list[str]:
    """Run with one kind of server, and return what is wrong."""
    ledger = Ledger()
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="noetl-edge-scaling-")))
        redis = RedisServer(kind, *DURABLE, "--maxmemory-policy", "noeviction")
        opened.callback(redis.remove)
        redis.start()
        print(f"\n{GATEWAYS} gateways with {redis.version}, appendfsync always; load for {seconds:g} s", flush=True)
        programs = opened.enter_context(Programs("python"))
        programs.auth0.start()
        timeout = aiohttp.ClientTimeout(total=10)
        connector = aiohttp.TCPConnector(limit=0)
        http = await opened.enter_async_context(aiohttp.ClientSession(timeout=timeout, connector=connector))
        ports = [free_port() for _ in range(GATEWAYS)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        server = Server(ledger, urls, http)
        upstream = await _serve(opened, server)
        gateways = [_gateway(programs, folder, redis.url, upstream, port) for port in ports]
        for gateway in gateways:
            opened.callback(gateway.stop)
            await asyncio.to_thread(gateway.start)
        clients = Clients(urls, await asyncio.to_thread(id_token, programs), ledger, server, http)
        faults = asyncio.ensure_future(_faults(gateways[1], redis, seconds / (len(FAULTS) + 1)))
        await clients.run(seconds)
        await faults
        await _check_all(clients, ledger)
        print(table(ledger.rows()))
        print(f"relayed with a valid session, by status (0: no answer): {dict(sorted(ledger.statuses.items()))}")
        return ledger.verdict()


async def _serve(opened: AsyncExitStack, server: Server) -> int:
    runner = web.ServerRunner(web.Server(server.answer), handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    opened.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


def _gateway(programs: Programs, folder: Path, redis: str, upstream: int, port: int) -> Program:
    """Return a gateway with the shipped configuration and its sessions in Redis."""
    file = programs.configuration(folder / f"gateway-{port}.yaml", f"redis\n  url: {redis}")
    environment = {
        **programs.gateway.environment,
        "GATEWAY_PORT": str(port),
        "NOETL_BASE_URL": f"http://127.0.0.1:{upstream}",
        "NOETL_EDGE_AUDIT": str(folder / f"audit-{port}.log"),
        "LOG_LEVEL": "warning",
    }
    command = ("proxy", "serve", "--config", str(file))
    return Program("gateway", command, f"http://127.0.0.1:{port}/health", folder / f"{port}.log", environment)


async def _faults(gateway: Program, redis: RedisServer, pause: float) -> None:
    """Let the faults happen, one after the other."""
    started = time.monotonic()
    for what in FAULTS:
        await asyncio.sleep(pause if "back" not in what else min(pause, 3.0))
        action = {
            "gateway 2 is killed": gateway.kill,
            "gateway 2 is back": gateway.start,
            "Redis is killed": redis.kill,
            "Redis is back": redis.start,
        }[what]
        await asyncio.to_thread(action)
        print(f"{time.monotonic() - started:5.1f} s  {what}", flush=True)


async def _check_all(clients: Clients, ledger: Ledger) -> None:
    """Use every session at every gateway once more."""
    for gateway in clients.gateways:
        for token in ledger.alive:
            status = await clients.status(token, gateway)
            ledger.used_alive(token, status)
            if status != 200:
                ledger.lost.add(token)
        for token in ledger.ended:
            ledger.used_ended(token, await clients.status(token, gateway), time.monotonic())


if __name__ == "__main__":
    sys.exit(main())
