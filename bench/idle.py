"""What idle keep-alive connections cost: memory for each, and the latency of those that are active beside them.

The active load is measured without the idle connections, with them, and without them again, so that what the machine
does meanwhile is not taken for their doing.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from bench import latency, wrk
from bench.latency import HALF, Trial, merged
from bench.measure import Pair, judge
from bench.memory import resident
from bench.openloop import Outcome
from bench.programs import BenchError, Missing, find, two_cores
from bench.report import bullets, columns
from bench.results import Delay, Settings
from bench.run import programs, say
from bench.scenarios import EDGE, scenarios

GOAL_KIB, HARMED = 12, 1.1
_PASSES = 3
_SPARE_FILES = 512
_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """Bytes of the gateway before and while it holds `count` connections, and the delays of the active ones."""

    count: int
    before: int
    held: int
    without: Delay
    beside: Delay
    again: Delay


def run(count: int) -> str:
    """Measure with `count` idle connections. Raises BenchError or Missing."""
    _allow_files(count)
    nginx, wrk_path = find("nginx", "nginx-light"), find("wrk", "wrk")
    settings = Settings(1, 1, 32, *two_cores())
    with programs(settings.core, settings.other_core) as field:
        room = {"limits": f"{{max_connections: {count + _SPARE_FILES}, idle_timeout: 1h}}"}
        field.start_gateway(nginx, room)
        relay = next(one for one in scenarios(field.credentials) if one.name == "relay")
        pair = Pair(relay, field.contenders[EDGE])
        size = relay.asks[EDGE].verify(pair.contender.url)
        result, _ = wrk.run(wrk_path, pair.shot(), seconds=2, connections=32, cores=settings.other_core)
        judge(result, size)
        trial = Trial(pair, HALF, EDGE, HALF * result.rate)
        without = _passes(trial, settings, "without")
        pids = pair.contender.programs[0].pids()
        before = resident(pids)
        with _connections(count, trial):
            held = resident(pids)
            beside = _passes(trial, settings, f"beside {count} idle connections")
        again = _passes(trial, settings, "without them again")
    return report(Finding(count, before, held, without, beside, again))


def _allow_files(count: int) -> None:
    """Let this process, and the gateway after it, open as many files. Raises Missing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Missing(f"{count} connections need {wanted} open files, {hard} are allowed: raise the hard ulimit -n")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _passes(trial: Trial, settings: Settings, what: str) -> Delay:
    outcomes: list[Outcome] = []
    for number in range(_PASSES):
        outcomes.append(latency.run(trial, settings, seed=number + 1))
        say(f"pass {number + 1}/{_PASSES} at {trial.rate:.0f} req/s, {what}")
    return merged(trial, outcomes)


@contextlib.contextmanager
def _connections(count: int, trial: Trial) -> Iterator[None]:
    """Hold connections that have each had an answer, and see at the end that all of them are still open."""
    port = trial.pair.contender.programs[0].port
    request = latency.request_bytes(trial.pair.shot()).encode("latin-1")
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT))
            _ask(held[-1], request)
        say(f"{count} connections are open, and idle after an answer each")
        yield
        for one in (held[0], held[count // 2], held[-1]):
            _ask(one, request)
        closed = sum(_closed(one) for one in held)
        if closed:
            raise BenchError(f"the gateway has closed {closed} of {count} idle connections")
    finally:
        for one in held:
            one.close()


def _ask(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    head = connection.recv(65536)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"an idle connection was answered {head[:40]!r}")
    # The body may come by itself: the answer ends with the outer brace.
    while not head.endswith(b"}}"):
        more = connection.recv(65536)
        if not more:
            raise BenchError("an idle connection was closed in the middle of an answer")
        head += more


def _closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def report(found: Finding) -> str:
    """What they cost, and whether it keeps the promise."""
    each = (found.held - found.before) / found.count / 1024
    calm = [*found.without.p99_passes_ms, *found.again.p99_passes_ms]
    harmed = min(found.beside.p99_passes_ms) > HARMED * max(calm)
    memory = [
        ["", "memory before", "with them", "for each", f"goal: < {GOAL_KIB} KiB"],
        [
            f"{found.count} idle connections", f"{found.before / 2**20:.1f} MiB", f"{found.held / 2**20:.1f} MiB",
            f"{each:.2f} KiB", "met" if each < GOAL_KIB else "not met",
        ],
    ]  # fmt: skip
    delays = [["active connections", "req/s", "p50 ms", "p99 ms", "p99 by pass", "goal: p99 unharmed"]]
    phases = ("without", found.without), ("beside them", found.beside), ("without again", found.again)
    for name, delay in phases:
        verdict = ("not met" if harmed else "met") if delay is found.beside else ""
        delays.append([
            name, f"{delay.rate:.0f}", f"{delay.at(50):.2f}", f"{delay.at(99):.2f}",
            f"{min(delay.p99_passes_ms):.2f}-{max(delay.p99_passes_ms):.2f}", verdict,
        ])  # fmt: skip
    how = (
        "memory is the gateway's resident set; what the kernel holds for a socket is not in it",
        "each idle connection has had an answer to an authenticated relay request; at the end all were still open",
        "active: 32 connections, open loop, half of the peak measured before",
        f"harmed means that every pass beside them is over {HARMED:g} times the slowest pass without them",
    )
    return "\n\n".join((columns(memory), columns(delays), bullets(how)))
