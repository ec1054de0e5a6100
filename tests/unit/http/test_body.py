"""A request's body: its limits, its deadline, 100 Continue, and JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from proxy.errors import BadRequest, GatewayError, PayloadTooLarge, RequestTimeout, UnsupportedMediaType
from proxy.http.body import RequestBody, read_ahead, read_object, rejoined
from proxy.http.request import RequestFields
from proxy.http.response import CONTINUE

MIB = 1024 * 1024
JSON = (b"content-type", b"application/json")
EXPECT = (b"expect", b"100-continue")


class Parts:
    """A body that arrives in parts; after the last one it ends, or with `stalls` nothing more arrives."""

    def __init__(self, *parts: bytes, stalls: bool = False, arrived: int = 0) -> None:
        self._parts, self._stalls = list(parts), stalls
        self.total_bytes = arrived

    async def readany(self) -> bytes:
        if self._parts:
            part = self._parts.pop(0)
            self.total_bytes += len(part)
            return part
        if self._stalls:
            await asyncio.Event().wait()
        return b""

    def is_eof(self) -> bool:
        return not self._parts and not self._stalls


def fields(*more: tuple[bytes, bytes]) -> RequestFields:
    return RequestFields(((b"host", b"a"), *more), None)


def body(
    content: Parts | None,
    *more: tuple[bytes, bytes],
    length: int | None = None,
    pause: float = 10.0,
    min_rate: int = 0,
) -> tuple[RequestBody, list[bytes]]:
    """Return a body and a list of what is sent to the client."""
    sent: list[bytes] = []
    return RequestBody(content, fields(*more), length, pause, min_rate, sent.append), sent


@pytest.mark.parametrize(
    ("parts", "length", "limit", "expected"),
    [
        ([b"abc", b"de"], 5, 5, b"abcde"),
        ([b"abc", b"de"], None, 5, b"abcde"),
        ([], 0, 5, b""),
        ([], None, 0, b""),
    ],
)
async def test_body_up_to_the_limit_is_read(
    parts: list[bytes], length: int | None, limit: int, expected: bytes
) -> None:
    read, sent = body(Parts(*parts), length=length)
    assert (await read.read(limit), read.exists, sent) == (expected, True, [])


@pytest.mark.parametrize(("length", "detail"), [(6, "6 bytes announced, 5 allowed"), (None, "more than 5 bytes")])
async def test_larger_body_is_413_and_an_announced_one_is_not_read(length: int | None, detail: str) -> None:
    parts = Parts(b"abc", b"def")
    with pytest.raises(PayloadTooLarge) as raised:
        await body(parts, length=length)[0].read(5)
    assert raised.value.detail == detail
    assert parts.total_bytes == (0 if length else 6)


async def test_request_without_a_body_has_none() -> None:
    read, sent = body(None, EXPECT)
    assert (read.exists, read.awaits_continue, read.rest_is_unwanted) == (False, False, False)
    assert (await read.read(0), await read.json_object(5), sent) == (b"", {}, [])


async def test_pause_in_a_body_is_408() -> None:
    read, _ = body(Parts(b"abc", stalls=True), pause=0.02)
    with pytest.raises(RequestTimeout) as raised:
        await read.read(5)
    assert raised.value.detail == "no part of the body for 0.02 s"


@pytest.mark.parametrize(("min_rate", "accepted"), [(0, True), (100, True), (1000, False)])
async def test_body_below_the_minimum_rate_is_408(
    monkeypatch: pytest.MonkeyPatch, min_rate: int, accepted: bool
) -> None:
    # Each part of 100 bytes takes 0.9 s; the first second is free.
    clock = iter([0.0, 0.9, 1.0, 1.9, 2.0, 2.0])
    monkeypatch.setattr("proxy.http.body.time", SimpleNamespace(monotonic=lambda: next(clock)))
    read, _ = body(Parts(b"x" * 100, b"x" * 100), pause=1.0, min_rate=min_rate)
    if accepted:
        assert len(await read.read(1000)) == 200
    else:
        with pytest.raises(RequestTimeout) as raised:
            await read.read(1000)
        assert raised.value.detail == "200 bytes of the body in 1.8 s"


@pytest.mark.parametrize(("arrived", "expected"), [(0, [CONTINUE]), (1, [])])
async def test_client_that_waits_for_100_gets_it_once_before_its_first_byte(
    arrived: int, expected: list[bytes]
) -> None:
    read, sent = body(Parts(b"abc", arrived=arrived), EXPECT, length=3)
    assert (read.awaits_continue, sent) == (True, [])
    assert (await read.read(5), sent) == (b"abc", expected)
    assert (await read.read(5), sent) == (b"", expected)


@pytest.mark.parametrize(
    ("content", "length", "expect", "unwanted"),
    [
        (Parts(), 5, False, False),
        (Parts(b"x"), MIB, False, False),
        (Parts(b"x"), MIB + 1, False, True),
        (Parts(b"x", arrived=2), MIB + 2, False, False),
        (Parts(b"x"), None, False, True),
        (Parts(b"x"), 1, True, True),
        (Parts(), 1, True, False),
    ],
)
def test_rest_is_unwanted_if_it_is_long_or_never_sent(
    content: Parts, length: int | None, expect: bool, unwanted: bool
) -> None:
    read, _ = body(content, *([EXPECT] if expect else []), length=length)
    assert read.rest_is_unwanted is unwanted


@pytest.mark.parametrize(
    ("data", "more", "expected"),
    [
        (b'{"a": [1]}', JSON, {"a": [1]}),
        (b"{}", (b"content-type", b"Application/JSON; charset=UTF-8"), {}),
        (b"", (b"content-type", b"text/plain"), {}),
        (b"{}", (b"content-type", b"text/plain"), UnsupportedMediaType),
        (b"{}", (b"x-other", b""), UnsupportedMediaType),
        (b"[]", JSON, BadRequest),
        (b"null", JSON, BadRequest),
        (b'"a"', JSON, BadRequest),
        (b"{", JSON, BadRequest),
        (b'{"a":1,"a":2}', JSON, BadRequest),
        (b'{"a":NaN}', JSON, BadRequest),
    ],
)
async def test_json_object_is_the_same_whether_it_is_read_or_has_arrived(
    data: bytes, more: tuple[bytes, bytes], expected: dict[str, object] | type[GatewayError]
) -> None:
    read, _ = body(Parts(data) if data else None, more, length=len(data))
    if isinstance(expected, dict):
        assert read_object(fields(more), data) == expected
        assert await read.json_object(100) == expected
    else:
        with pytest.raises(expected):
            read_object(fields(more), data)
        with pytest.raises(expected):
            await read.json_object(100)


async def test_body_of_another_media_type_is_415_before_it_is_read() -> None:
    parts = Parts(b"[1]")
    with pytest.raises(UnsupportedMediaType):
        await body(parts, length=3)[0].json(100)
    assert parts.total_bytes == 0
    assert await body(parts, JSON, length=3)[0].json(100) == [1]


async def arriving(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize(
    ("parts", "enough", "first", "all_of_it"),
    [
        ([b"ab", b"cd", b"ef"], 3, b"abcd", False),
        ([b"ab", b"cd", b"ef"], 7, b"abcdef", True),
        ([b"abcdef"], 6, b"abcdef", False),
        ([], 1, b"", True),
    ],
)
async def test_body_read_ahead_is_rejoined_unchanged(
    parts: list[bytes], enough: int, first: bytes, all_of_it: bool
) -> None:
    rest = arriving(*parts)
    assert await read_ahead(rest, enough) == (first, all_of_it)
    assert b"".join([part async for part in rejoined(first, rest)]) == b"".join(parts)
