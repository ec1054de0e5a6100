"""Whether large bodies arrive intact, both ways, and how much memory the gateway takes for them."""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
import time
from dataclasses import dataclass

from bench.bulk import MIB, blocks, digest
from bench.memory import forget_peak, peak, resident
from bench.programs import BenchError, Program, WrongAnswer, free_port, two_cores
from bench.report import bullets, columns
from bench.run import programs
from bench.scenarios import Credentials

GOAL_MIB = 20
_TIMEOUT = 120
_LIMITS = {"limits": "{max_body_size: 1024GiB}"}


@dataclass(frozen=True, slots=True)
class Transfer:
    """A body that has arrived intact. `growth` is the most memory at any instant less that before, in bytes."""

    way: str
    mebibytes: int
    seconds: float
    before: int
    growth: int


def run(mebibytes: int) -> str:
    """Send a body each way, and say what it took. Raises BenchError, also if one is not what was sent."""
    core, other = two_cores()
    expected = digest(mebibytes)
    with programs(core, other) as field:
        port = free_port()
        command = (sys.executable, "-m", "bench.bulk", str(port))
        url = f"http://127.0.0.1:{port}/api/health"
        upstream = field.run(Program("upstream", command, url, field.folder / "bulk.log", other))
        gateway, who = field.gateway(upstream, server=_LIMITS)
        down = _measured("download", gateway, who, mebibytes, expected)
        up = _measured("chunked upload", gateway, who, mebibytes, expected)
    return report([down, up])


def _measured(way: str, gateway: Program, who: Credentials, mebibytes: int, expected: str) -> Transfer:
    pids = gateway.pids()
    before, begun = resident(pids), time.perf_counter()
    forget_peak(pids)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=_TIMEOUT)
    headers = {"authorization": f"Bearer {who.session_token}"}
    try:
        got = (_down if way == "download" else _up)(connection, headers, mebibytes)
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise WrongAnswer(f"{way}: {type(error).__name__}: {error}\n{gateway.tail()}") from None
    finally:
        connection.close()
    seconds = time.perf_counter() - begun
    if got != expected:
        raise WrongAnswer(f"{way}: what arrived is not what was sent: {got} instead of {expected}")
    return Transfer(way, mebibytes, seconds, before, peak(pids) - before)


def _down(connection: http.client.HTTPConnection, headers: dict[str, str], mebibytes: int) -> str:
    connection.request("GET", f"/noetl/bulk/{mebibytes}", headers=headers)
    answer = connection.getresponse()
    _expect_200(answer.status)
    found = hashlib.sha256()
    while data := answer.read(MIB):
        found.update(data)
    return found.hexdigest()


def _up(connection: http.client.HTTPConnection, headers: dict[str, str], mebibytes: int) -> str:
    sent = {**headers, "transfer-encoding": "chunked"}
    connection.request("POST", "/noetl/bulk", body=blocks(mebibytes), headers=sent, encode_chunked=True)
    answer = connection.getresponse()
    _expect_200(answer.status)
    told = json.loads(answer.read())
    if not told["chunked"]:
        raise ValueError("it reached the upstream in another form than in chunks")
    return str(told["sha256"])


def _expect_200(status: int) -> None:
    if status != 200:
        raise BenchError(f"the gateway answered {status}")


def report(transfers: list[Transfer]) -> str:
    """What it took, and whether it keeps the promise."""
    rows = [["", "size", "hash", "seconds", "MiB/s", "memory before", "growth", f"goal: < {GOAL_MIB} MiB"]]
    for one in transfers:
        rows.append([
            one.way,
            f"{one.mebibytes} MiB",
            "same",
            f"{one.seconds:.1f}",
            f"{one.mebibytes / one.seconds:.0f}",
            f"{one.before / MIB:.1f} MiB",
            f"{one.growth / MIB:.1f} MiB",
            "met" if one.growth < GOAL_MIB * MIB else "not met",
        ])  # fmt: skip
    how = (
        "growth is the resident set's highest mark during the transfer (VmHWM, kept by the kernel, so no sample can "
        "miss it) less the resident set before; the gateway had served a login only",
        "the speed is limited by the Python programs at both ends, which hash what they send and get",
    )
    return columns(rows) + "\n\n" + bullets(how)
