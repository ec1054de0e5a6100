"""Whether large bodies arrive intact, both ways, and how much memory the gateway takes for them.

`python -m bench.large PORT` is the upstream. Every MiB differs, so that a lost, doubled or misplaced one changes the
hash.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import httpx
from aiohttp import web

from bench import report
from bench.contenders import testbed
from bench.programs import Program, WrongResponse, free_port, peak_bytes, reset_peak, resident_bytes, two_cores

MIB, GOAL_MIB, _TIMEOUT = 1024 * 1024, 20, 120
_NOISE = random.Random(7).randbytes(MIB - 8)
_OVERRIDES = {"server": {"limits": {"max_body_size": "1024GiB"}}}
_NOTES = (
    "growth is the peak of the resident set as the kernel recorded it (VmHWM), less the resident set before",
    "the speed is limited by the Python programs at both ends, which hash every byte",
)


def blocks(mebibytes: int) -> Iterator[bytes]:
    """Return a body of so many MiB, piece by piece."""
    return (number.to_bytes(8, "big") + _NOISE for number in range(mebibytes))


def sha256(pieces: Iterable[bytes]) -> str:
    """Return the hash of a body."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def run(mebibytes: int) -> str:
    """Send a body each way and return the report. Raises BenchError, also if a body was changed."""
    core, other = two_cores()
    expected = sha256(blocks(mebibytes))
    with testbed(core, other) as running:
        command = (sys.executable, "-m", "bench.large", str(port := free_port()))
        upstream = Program("upstream", command, port, running.folder / "large.log", other, "/api/health")
        gateway = running.start_gateway(running.run(upstream), overrides=_OVERRIDES)
        running.sign_in(gateway)
        headers = running.who.fields()
        with httpx.Client(base_url=gateway.url, headers=headers, timeout=_TIMEOUT, trust_env=False) as client:

            def download() -> str:
                with client.stream("GET", f"/noetl/bulk/{mebibytes}") as response:
                    return sha256(response.raise_for_status().iter_bytes())

            def upload() -> str:
                return client.post("/noetl/bulk", content=blocks(mebibytes)).raise_for_status().text

            rows = [
                _measured(gateway, "download", mebibytes, expected, download),
                _measured(gateway, "chunked upload", mebibytes, f"chunked {expected}", upload),
            ]
    heads = ["", "size", "seconds", "MiB/s", "memory before", "growth", f"goal: < {GOAL_MIB} MiB"]
    return f"{report.grid(heads, rows)}\n\n{report.bullets(_NOTES)}"


def _measured(gateway: Program, way: str, mebibytes: int, expected: str, transfer: Callable[[], str]) -> list[str]:
    pids = gateway.pids()
    before, begun = resident_bytes(pids), time.perf_counter()
    reset_peak(pids)
    received = transfer()
    seconds, growth = time.perf_counter() - begun, (peak_bytes(pids) - before) / MIB
    if received != expected:
        raise WrongResponse(f"{way}: the body was changed: {received} instead of {expected}")
    return [
        way, f"{mebibytes} MiB", f"{seconds:.1f}", f"{mebibytes / seconds:.0f}", f"{before / MIB:.1f} MiB",
        f"{growth:.1f} MiB", report.met(growth < GOAL_MIB),
    ]  # fmt: skip


async def serve(request: web.Request) -> web.StreamResponse:
    """Respond as the upstream: with a body, or with the hash of the one received and its framing."""
    if request.method == "POST":
        digest = hashlib.sha256()
        async for data in request.content.iter_any():
            digest.update(data)
        return web.Response(text=f"{request.headers.get('transfer-encoding')} {digest.hexdigest()}")
    response = web.StreamResponse()
    size = request.path.rpartition("/")[2]
    mebibytes = int(size) if size.isdecimal() else 0
    response.content_length = mebibytes * MIB
    await response.prepare(request)
    for block in blocks(mebibytes):
        await response.write(block)
    return response


if __name__ == "__main__":
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
