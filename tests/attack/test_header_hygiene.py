# ruff: noqa: E501 - data in lines
"""What a client writes into its header can't speak for the gateway: forged, doubled, hidden and hop-by-hop fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack.battle import LIMITS, Battle, battle
from tests.attack.recorder import Arrived
from tests.attack.table import Tally

OURS = (
    "x-user-id", "x-user-email", "x-user-roles", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via",
    "x-request-id", "traceparent",
)  # fmt: skip
NEVER = (
    "authorization", "x-session-token", "x-forwarded-port", "x-forwarded-server", "x-forwarded-uri", "x-forwarded-user",
    "x-forwarded-email", "x-forwarded-groups", "x-forwarded-prefix", "x-forwarded-access-token", "x-real-ip", "x-client-ip",
    "cf-connecting-ip", "true-client-ip", "x-original-url", "x-original-uri", "x-original-method", "x-rewrite-url",
    "x-http-method", "x-http-method-override", "x-method-override", "remote-user", "x-remote-user",
)  # fmt: skip
HOP_BY_HOP = (
    "keep-alive", "proxy-authorization", "proxy-authenticate", "proxy-connection", "proxy-status", "te", "trailer", "upgrade",
)  # fmt: skip


def look_alikes(name: str) -> list[str]:
    """Spellings that a server might take for the field."""
    parts = name.split("-")
    spellings = [name, name.upper(), name.title(), "_".join(parts), "_".join(parts).upper(), name.swapcase()]
    if len(parts) > 2:
        spellings += [f"{parts[0]}_{'-'.join(parts[1:])}", f"{'-'.join(parts[:-1])}_{parts[-1]}"]
    return list(dict.fromkeys(spellings))


def request(*lines: str, method: str = "GET", target: str = "/noetl/things") -> bytes:
    """A request of the attacker's."""
    head = [f"{method} {target} HTTP/1.1", "host: gateway.test", "authorization: Bearer TOKEN", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


async def arrived(field: Battle, data: bytes, *, warm: bool) -> Arrived | None:
    """What upstream got for a request; None if it was refused."""
    field.upstream.keep = warm
    await field.warm()
    outcome = await field.send(data, victim=False) if b"connection: close" in data else await field.send(data)
    assert not field.upstream.violations, field.upstream.violations
    found = [one for one in field.upstream.arrived if one.target != "/api/victim"]
    assert len(found) == sum(answer.status == 200 and "victim" not in answer.arrived for answer in outcome.answers)
    return found[0] if found else None


def true_to_us(seen: Arrived) -> str:
    """What is wrong with the fields that only the gateway sets; empty if nothing is."""
    for name in OURS:
        if len(seen.values(name)) != 1:
            return f"{name}: {seen.values(name)}"
    expected = {"x-user-id": "1", "x-user-email": "attacker@staff.test", "x-user-roles": "staff", "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": "http", "x-forwarded-host": "gateway.test", "via": "1.1 noetl-edge"}  # fmt: skip
    for name, value in expected.items():
        if seen.values(name) != [value]:
            return f"{name}: {seen.values(name)}"
    return "forged arrived" if b"forged" in seen.raw else ""


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_fields_that_only_the_gateway_sets_can_not_be_forged(
    warm: bool, tmp_path: Path, tally: Callable[[str], Tally]
) -> None:
    with tally("forged fields and look-alikes") as counts:
        async with battle(tmp_path) as field:
            for name in (*OURS, *NEVER):
                if name in ("authorization", "x-request-id"):
                    continue
                for spelling in look_alikes(name):
                    for lines in ([f"{spelling}: forged"], [f"{spelling}: forged", f"{name}: forged"]):
                        seen = await arrived(field, request(*lines), warm=warm)
                        why = "refused" if seen is None else true_to_us(seen)
                        counts.count(" / ".join(lines), refused=False, surprise=why)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_what_connection_names_is_dropped_and_ours_stays(
    warm: bool, tmp_path: Path, tally: Callable[[str], Tally]
) -> None:
    """The hop-by-hop attack of CVE-2025-48865 (Fabio): `Connection` must not take a field away from the gateway."""
    with tally("hop-by-hop and Connection") as counts:
        async with battle(tmp_path) as field:
            for name in (*OURS, "host", "content-length"):
                for lines in (
                    [f"connection: {name}"],
                    [f"connection: keep-alive, {name.upper()}"],
                    [f"connection: ,{name},"],
                ):
                    seen = await arrived(field, request(*lines), warm=warm)
                    counts.count(lines[0], refused=False, surprise="refused" if seen is None else true_to_us(seen))
            for name in HOP_BY_HOP:
                seen = await arrived(field, request(f"{name}: forged"), warm=warm)
                counts.count(name, refused=False, surprise="refused" if seen is None else true_to_us(seen))
            for named in ("x-mine", "X-Mine", "x-mine, x-other", "x-other,x-mine"):
                seen = await arrived(field, request(f"connection: {named}", "X-Mine: forged"), warm=warm)
                counts.count(named, refused=False, surprise="refused" if seen is None else true_to_us(seen))


TRUSTED = {  # what a trusted proxy sends: the address and the scheme that are believed
    ("x-forwarded-for: 203.0.113.7",): ("203.0.113.7", "http"),
    ("x-forwarded-for: 6.6.6.6, 203.0.113.7",): ("203.0.113.7", "http"),
    ("x-forwarded-for: 6.6.6.6", "x-forwarded-for: 203.0.113.7"): ("203.0.113.7", "http"),
    ("x-forwarded-for: 203.0.113.7, 127.0.0.9",): ("203.0.113.7", "http"),
    ("x-forwarded-for: 203.0.113.7", "x-forwarded-for: 127.0.0.9"): ("203.0.113.7", "http"),
    ("x-forwarded-for: 6.6.6.6, nonsense",): ("unknown", "http"),
    ("x-forwarded-for: 203.0.113.7:80",): ("203.0.113.7", "http"),
    ("x-forwarded-for: [2001:db8::7]:443",): ("2001:db8::7", "http"),
    ("x-forwarded-for: 203.0.113.7, , 127.0.0.9,",): ("203.0.113.7", "http"),
    ("x-forwarded-for:",): ("127.0.0.1", "http"),
    ('x-forwarded-for: fe80::1%";host="evil',): ("unknown", "http"),
    ("x-forwarded-for: fe80::1%\x85",): ("unknown", "http"),
    ("x-forwarded-for: 2001:db8::7",): ("2001:db8::7", "http"),
    ("cf-connecting-ip: 203.0.113.7",): ("203.0.113.7", "http"),
    ("cf-connecting-ip: 6.6.6.6", "cf-connecting-ip: 203.0.113.7"): ("unknown", "http"),
    ("cf-connecting-ip: 6.6.6.6", "x-forwarded-for: 203.0.113.7"): ("203.0.113.7", "http"),
    ("cf-connecting-ip: 203.0.113.7", "x-forwarded-for:"): ("203.0.113.7", "http"),
    ("x_forwarded_for: 6.6.6.6",): ("127.0.0.1", "http"),
    ("forwarded: for=6.6.6.6;proto=https",): ("127.0.0.1", "http"),
    ("x-real-ip: 6.6.6.6",): ("127.0.0.1", "http"),
    ("x-forwarded-proto: https",): ("127.0.0.1", "https"),
    ("x-forwarded-proto: HTTPS",): ("127.0.0.1", "https"),
    ("x-forwarded-proto: wss",): ("127.0.0.1", "https"),
    ("x-forwarded-proto: https, https",): ("127.0.0.1", "https"),
    ("x-forwarded-proto: https", "x-forwarded-proto: http"): ("127.0.0.1", "http"),
    ("x-forwarded-proto: https, http",): ("127.0.0.1", "http"),
    ("x-forwarded-proto: javascript",): ("127.0.0.1", "http"),
    ("x-forwarded-host: evil.test",): ("127.0.0.1", "http"),
}


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("trusted", [False, True], ids=["untrusted peer", "trusted peer"])
async def test_forwarding_fields_are_believed_of_trusted_proxies_only(
    warm: bool, trusted: bool, tmp_path: Path, tally: Callable[[str], Tally]
) -> None:
    server = LIMITS + (", trusted_proxies: [127.0.0.0/8]" if trusted else "")
    with tally("X-Forwarded-* and peers") as counts:
        async with battle(tmp_path, server=server) as field:
            for lines, (address, scheme) in TRUSTED.items():
                believed = (address, scheme) if trusted else ("127.0.0.1", "http")
                seen = await arrived(field, request(*lines), warm=warm)
                got = seen and (
                    seen.values("x-forwarded-for"),
                    seen.values("x-forwarded-proto"),
                    seen.values("forwarded"),
                )
                node = f'"[{believed[0]}]"' if ":" in believed[0] else believed[0]
                stands = f'for={node};host="gateway.test";proto={believed[1]}'
                expected = ([believed[0]], [believed[1]], [stands])
                counts.check(" / ".join(lines), got == expected, got, refused=False)
                told = [line.ip for line in field.told.lines if line.path == "/noetl/things"]
                counts.check(f"log: {lines}", told == [believed[0]], told, refused=False)
