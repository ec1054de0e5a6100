"""What idle keep-alive connections cost: memory for each, and the latency of the active ones beside them.

The active load is measured without the idle connections, with them, and without them again, so that a change of the
machine is not attributed to them.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace

from bench import latency, report, requests, wrk
from bench.contenders import testbed
from bench.measure import Pair, pairs_of
from bench.programs import BenchError, MissingProgram, Program, resident_bytes, say, two_cores
from bench.results import Latency, Settings
from bench.scenarios import EDGE, Scenario, scenarios

GOAL_KIB, HARMED = 12, 1.1
_PASSES, _SPARE_FILES, _TIMEOUT = 3, 512, 10


def run(count: int) -> str:
    """Measure with `count` idle connections and return the report. Raises BenchError."""
    _allow_files(count + _SPARE_FILES)
    settings = Settings(1, 1, 32, *two_cores())
    limits = {"max_connections": count + _SPARE_FILES, "idle_timeout": "1h"}
    with testbed(settings.core, settings.other_core) as running:
        gateway = running.start_gateway(running.upstream, overrides={"server": {"limits": limits}})
        running.contenders[EDGE] = gateway
        running.sign_in(gateway)
        polls = next(each for each in scenarios(running.who) if each.name == "status").requests[EDGE]
        (pair,) = pairs_of([Scenario("status", "", {EDGE: polls})], running)
        requests.verify(polls, gateway.url)
        # The first run warms the gateway up.
        loads = [wrk.run(gateway, pair.file, seconds=2, connections=32, cores=settings.other_core) for _ in range(2)]
        rate = loads[-1].rate / 2
        phases = [_phase("without", pair, rate, settings)]
        before = resident_bytes(gateway.pids())
        with _connections(count, gateway, polls[0].to_bytes("127.0.0.1")):
            held = resident_bytes(gateway.pids())
            phases.append(_phase("beside them", pair, rate, settings))
        phases.append(_phase("without again", pair, rate, settings))
    return table(count, before, held, phases)


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise MissingProgram(f"{wanted} open files are needed, {hard} are allowed: raise the hard limit (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _phase(name: str, pair: Pair, rate: float, settings: Settings) -> Latency:
    say(f"{rate:.0f} req/s {name}")
    passes = [latency.one_pass(pair, rate, settings, seed=number + 1) for number in range(_PASSES)]
    return replace(latency.merged(pair, rate, passes), scenario=name)


@contextlib.contextmanager
def _connections(count: int, gateway: Program, request: bytes) -> Iterator[None]:
    """Hold connections that have each had a response. Raises BenchError if one of them is closed meanwhile."""
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", gateway.port), timeout=_TIMEOUT))
            stack.enter_context(held[-1])
            _ask(held[-1], request)
        yield
        for connection in held:
            _ask(connection, request)


def _ask(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    received = b""
    # The JSON of a status ends with the only closing brace but one.
    while not received.endswith(b'"}'):
        part = connection.recv(65536)
        received += part
        if not part or not received.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"an idle connection was closed or failed: {received[:40]!r}")


def table(count: int, before: int, held: int, phases: list[Latency]) -> str:
    """Return the report."""
    each = (held - before) / count / 1024
    without, beside, again = phases
    harmed = min(beside.p99_ms) > HARMED * max(*without.p99_ms, *again.p99_ms)
    lines = [
        f"{count} idle connections: {before / 2**20:.1f} MiB before, {held / 2**20:.1f} MiB with them, {each:.2f} KiB "
        f"each; goal < {GOAL_KIB} KiB: {report.met(each < GOAL_KIB)}",
        f"p99 of the active connections: {'HARMED' if harmed else 'unharmed'} (harmed: every pass beside them is "
        f"over {HARMED:g} times the slowest pass without them)",
        "memory is the gateway's resident set, without what the kernel holds for a socket",
    ]
    return f"{report.latencies(phases)}\n\n{report.bullets(lines)}"
