"""What a hostile upstream answers can't split the client's answers, nor reach the next client."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack.battle import battle
from tests.attack.table import Tally

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"content-length: 2\r\n\r\nok"
SECOND = b"HTTP/1.1 200 OK\r\nx-injected: 1\r\ncontent-length: 6\r\n\r\nforged"
ASK = b"GET /noetl/things HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer TOKEN\r\n\r\n"
REFUSED = {
    "cr in a value": OK + b"x-a: 1\rx-injected: 1\r\n" + BODY,
    "cr lf cr lf in a value": OK + b"x-a: 1\r\r\n\r\n" + SECOND,
    "nul in a value": OK + b"x-a: 1\x00\r\n" + BODY,
    "escape in a name": OK + b"x\x1b[31m: 1\r\n" + BODY,
    "space in a name": OK + b"x a: 1\r\n" + BODY,
    "no colon": OK + b"x-a\r\n" + BODY,
    "no name": OK + b": 1\r\n" + BODY,
    "both framings": OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 6\r\n\r\nok",
    "a signed length": OK + b"content-length: +2\r\n\r\nok",
    "a list of lengths": OK + b"content-length: 2, 2\r\n\r\nok",
    "a huge length": OK + b"content-length: 99999999999999999999\r\n\r\nok",
    "no version": b"200 OK\r\n" + BODY,
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n" + BODY,
    "two digits": b"HTTP/1.1 20 OK\r\n" + BODY,
    "a word for a status": b"HTTP/1.1 abc OK\r\n" + BODY,
    "cr in the reason": b"HTTP/1.1 200 OK\rx-injected: 1\r\n" + BODY,
    "nul in the reason": b"HTTP/1.1 200 O\x00K\r\n" + BODY,
    "escape in the reason": b"HTTP/1.1 200 \x1b[31m\r\n" + BODY,
    "an upgrade that nobody asked for": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + SECOND,
    "many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + OK + BODY,
    "a head without end": OK + b"x-a: " + b"a" * 200_000,
    "many fields": OK + b"".join(b"x-%d: 1\r\n" % n for n in range(500)) + BODY,
    "gzip, chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "nothing": b"\r\n",
}
"""What is no answer, by the strict reading: 502."""
EITHER = {
    "space before the colon": OK + b"x-a : 1\r\n" + BODY,
    "space before the colon of a length": OK + b"content-length : 2\r\n\r\nok",
    "space before the colon of another length": OK + b"content-length : 6\r\n" + BODY,
    "version 2": b"HTTP/2.0 200 OK\r\n" + BODY,
    "version 0.9": b"HTTP/0.9 200 OK\r\n" + BODY,
    "lf for a line end": OK + b"x-a: 1\nx-injected: 1\r\n" + BODY,
    "all lf": (OK + b"x-a: 1\r\n" + BODY).replace(b"\r\n", b"\n"),
    "obs-fold": OK + b"x-a: 1\r\n x-injected: 1\r\n" + BODY,
    "non-ascii in a value": OK + b"x-a: \xe9\xff\r\n" + BODY,
    "control characters in a value": OK + b"x-a: \x01\x1b[31m\r\n" + BODY,
    "no reason": b"HTTP/1.1 200\r\n" + BODY,
    "status 600": b"HTTP/1.1 600 Odd\r\n" + BODY,
    "status 199": b"HTTP/1.1 199 Odd\r\n" + BODY,
    "status 000": b"HTTP/1.1 000 Odd\r\n" + BODY,
    "a second answer": OK + BODY + SECOND,
    "more than its length": OK + BODY + b"more",
    "204 with a body": b"HTTP/1.1 204 No Content\r\n\r\n" + SECOND,
    "204 with a length": b"HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nforged",
    "304 with a body": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\nforged",
    "our fields": OK + b"server: x\r\nx-request-id: forged\r\naccess-control-allow-origin: *\r\n" + BODY,
    "hop-by-hop fields": OK
    + b"connection: x-hop\r\nx-hop: forged\r\nkeep-alive: 1\r\nproxy-authenticate: Basic\r\n"
    + BODY,
    "a chunked answer with trailers": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-injected: 1\r\n\r\n",
    "chunks after which more comes": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + SECOND,
    "an interim answer": b"HTTP/1.1 103 Early Hints\r\nx-injected: 1\r\n\r\n" + OK + BODY,
}
"""What may be passed on, in our own strict form and with nothing injected."""
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t\x20-\x7e\x80-\xff]*")


def wrong(came: bytes) -> str:
    """What is wrong with the bytes that a client got for one request; empty if nothing is."""
    head, _, body = came.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not re.fullmatch(r"HTTP/1\.1 [2-6][0-9]{2} [\t\x20-\x7e\x80-\xff]*", first):
        return f"first line {first!r}"
    for line in lines:
        if not _FIELD.fullmatch(line):
            return f"not a field: {line!r}"
        name = line.partition(":")[0].lower()
        if name in ("x-injected", "x-hop", "proxy-authenticate", "keep-alive", "access-control-allow-origin"):
            return f"{line!r} came through"
    if "forged" in head.decode("latin-1") or b"forged" in body or b"HTTP/1.1" in body or b"x-injected" in body:
        return f"the second answer came through: {came[-200:]!r}"
    return ""


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_an_upstream_can_not_split_an_answer(warm: bool, tmp_path: Path, tally: Callable[[str], Tally]) -> None:
    upstreams = (
        "\nupstreams: {noetl: {urls: ['UPSTREAM'], response_timeout: 0.4s, idle_timeout: 0.4s, retries: false}}\n"
    )
    with tally("response splitting") as counts:
        async with battle(tmp_path, more=upstreams) as field:
            close = ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n").replace(
                b"TOKEN", field.attacker.encode()
            )
            for name, answer in (REFUSED | EITHER).items():
                field.upstream.answer = b""
                if warm:
                    await field.warm()
                else:
                    field.upstream.hang_up()
                field.upstream.answer = answer
                came = await field.gateway.raw(close)
                status = came[9:12].decode("latin-1")
                why = wrong(came) if came else "" if name in EITHER else "closed"
                if name in REFUSED and status not in ("502", "504"):
                    why = f"{status}, but it is no answer"
                field.upstream.answer = b""
                after = await field.gateway.raw(close.replace(b"things", b"after"))
                if b"x-arrived: GET /api/after\r\n" not in after or not after.endswith(b"\r\n\r\nok"):
                    why = f"the next request got {after[:300]!r}"
                counts.count(name, refused=status[:1] == "5", surprise=why)


async def test_the_answer_to_a_head_request_with_a_body_in_chunks_is_its_head(tmp_path: Path) -> None:
    async with battle(tmp_path) as field:
        field.upstream.answer = OK + b"x-arrived: HEAD /api/things\r\ncontent-length: 6\r\n\r\n"
        body = b"2\r\nok\r\n0\r\n\r\n"
        head = ASK.replace(b"GET", b"HEAD").replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")
        outcome = await field.send(head + body, victim=False)
    assert (outcome.statuses, outcome.rest) == ("200", b"")
    assert [line.detail for line in field.told.lines] == [""]
