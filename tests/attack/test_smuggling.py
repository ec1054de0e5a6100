"""Request smuggling and malformed framing: each payload of the corpus, raw, with a cold and a warm upstream connection.

On the connection of each payload a request of somebody else's follows, as behind a proxy that shares its connections.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack.battle import LIMITS, VICTIM, Battle, Outcome, battle
from tests.attack.payloads import TE, Must, Payload, chunked, framed
from tests.attack.recorder import Arrived
from tests.attack.smuggling import payloads
from tests.attack.table import Tally
from tests.integration.harness import STREAMING

CORPUS = Path(__file__).parent / "corpus" / "smuggling.tsv"
ALL = tuple(payloads())
GROUPS = tuple(dict.fromkeys(payload.group for payload in ALL))
WRITE = os.environ.get("NOETL_EDGE_WRITE_CORPUS") == "1"
_LONG = 400


def shown(data: bytes) -> str:
    """A payload as the corpus shows it."""
    text = data.decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(data)} bytes)"


def stated() -> dict[tuple[str, str], tuple[str, str, str]]:
    """What the corpus says: answers, what arrives upstream, and the payload, by class and name."""
    with CORPUS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    return {(group, name): (answers, arrived, data) for group, name, answers, arrived, data in rows}


def write(found: dict[tuple[str, str], tuple[str, str, str]]) -> None:
    """Write the outcomes of a class into the corpus."""
    rows = (stated() if CORPUS.exists() else {}) | found
    with CORPUS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("class", "name", "answers", "arrives upstream", "payload"))
        for payload in ALL:
            key = (payload.group, payload.name)
            if key in rows:
                writer.writerow((*key, *rows[key]))


def test_the_corpus_has_at_least_300_payloads_and_states_the_outcome_of_each() -> None:
    known = stated()
    assert len(ALL) >= 300
    assert [(p.group, p.name) for p in ALL] == list(known)
    assert {(p.group, p.name): shown(p.data) for p in ALL} == {key: row[2] for key, row in known.items()}


async def outcome_of(field: Battle, payload: Payload) -> tuple[str, str, str]:
    """The answers and what arrived, as the corpus states them, and what is wrong whatever it states."""
    await field.warm()
    outcome = await field.send(payload.data)
    arrived = list(field.upstream.arrived)
    return outcome.statuses, "; ".join(map(str, arrived)), wrong(field, payload, outcome, arrived)


def wrong(field: Battle, payload: Payload, outcome: Outcome, arrived: list[Arrived]) -> str:
    """Which promise is broken; empty if none is."""
    if field.upstream.violations:
        return f"upstream was sent what is not strict: {field.upstream.violations}"
    if outcome.rest:
        return f"something follows the answers: {outcome.rest[:80]!r}"
    passed = [answer.arrived for answer in outcome.answers if answer.status == 200]
    if passed != [f"{request.method} {request.target}" for request in arrived]:
        return f"answers are for {passed}, but upstream got {[str(request) for request in arrived]}"
    decided = [
        (line.method, line.path.replace("/noetl/", "/api/", 1)) for line in field.told.lines if line.status == 200
    ]
    if decided != [(request.method, request.target) for request in arrived]:
        return f"decided on {decided}, but upstream got {[str(request) for request in arrived]}"
    for request in arrived:
        mine = "2" if request.target == "/api/victim" else "1"
        if request.values("x-user-id") != [mine] or "smuggled" in request.target:
            return f"forged: {request} as {request.values('x-user-id')}"
        if any(name in ("authorization", "x-session-token", "x-trailer") for name, _ in request.fields):
            return f"fields that must not arrive: {request.raw!r}"
    attackers = [request for request in arrived if request.target != "/api/victim"]
    if payload.must is Must.REFUSED and attackers:
        return f"{attackers[0]} arrived, but the payload must be refused"
    if payload.must is Must.ONE and len(attackers) != 1:
        return f"{len(attackers)} requests arrived of a payload that is one"
    return ""


WAYS = "streaming", "cold", "warm", "known"
"""On the streaming path only; handed over to it; on the fast path, parsed; and there, with known header fields."""


@pytest.mark.parametrize("group", GROUPS)
async def test_every_payload_is_refused_or_is_what_it_was_read_as(
    group: str, tmp_path: Path, tally: Callable[[str], Tally]
) -> None:
    known = {} if WRITE else stated()
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    with tally(group) as counts:
        async with battle(tmp_path, fast=STREAMING) as streaming, battle(tmp_path) as both:
            for payload in (payload for payload in ALL if payload.group == group):
                seen = set()
                for way in WAYS:
                    field = streaming if way == "streaming" else both
                    field.upstream.keep = way != "cold"
                    for _ in range(2 if way == "known" else 1):
                        answers, arrived, fault = await outcome_of(field, payload)
                    seen.add((answers, arrived))
                    expected = (answers, arrived) if WRITE else known[group, payload.name][:2]
                    if not fault and (answers, arrived) != expected:
                        fault = f"{way}: got {(answers, arrived)}, the corpus says {expected}"
                    refused = not answers.startswith("2")
                    counts.count(f"{payload.name} ({way})", refused=refused, surprise=fault)
                found[group, payload.name] = (answers, arrived, shown(payload.data))
                if len(seen) > 1:
                    counts.count(payload.name, refused=True, surprise=f"the transports differ: {seen}")
    if WRITE:
        write(found)


async def test_the_corpus_meets_the_fast_path(tmp_path: Path) -> None:
    async with battle(tmp_path) as field:
        await field.warm()
        await field.send(b"GET /noetl/things HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer TOKEN\r\n\r\n")
        assert field.served_fast == 2


@pytest.mark.parametrize(
    "field_", ["authorization: Bearer TOKEN", "x-trailer: 1", "x-forwarded-for: 6.6.6.6", "cookie: a=b"]
)
async def test_a_trailer_is_no_field_of_the_next_request(field_: str, tmp_path: Path) -> None:
    """aiohttp's parser (3.14.5) keeps the last trailer for the head that follows, so nothing may follow."""
    data = framed(TE, body=chunked(b"hello", trailers=field_.encode() + b"\r\n"))
    async with battle(tmp_path, server=f"{LIMITS}, trusted_proxies: [127.0.0.0/8]") as field:
        for pipelined in (b"", VICTIM.replace(b"VICTIM", field.victim.encode())):
            field.forget()
            outcome = await field.send(data + pipelined)
            assert outcome.statuses == "200"
            assert ("connection", "close") in outcome.answers[0].fields
            assert [request.target for request in field.upstream.arrived] == ["/api/things"]
