"""Faults in the sending of a response, as pure functions from its bytes to the steps in which they are sent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .delivery import Close, Pause, Reset, Step, Write
from .durations import seconds

MAX_HANG_SECONDS = 600.0
MAX_BODY = 64 * 1024 * 1024
"""The bytes of a body that can be sent with a fault, which needs it whole."""
BLOCK = 64 * 1024
Encode = Callable[..., bytes]
Seconds = Annotated[float, BeforeValidator(seconds)]


def _parts(head: bytes, body: bytes, size: int = BLOCK, end: int = MAX_BODY) -> Iterator[bytes]:
    """Yield a head and the first `end` bytes of a body in parts of `size` bytes, without a copy of the whole body."""
    end = min(end, len(body))
    beside = min(-len(head) % size, end)
    first = head + body[:beside]
    yield from (first[start : start + size] for start in range(0, len(first), size))
    yield from (body[start : min(start + size, end)] for start in range(beside, end, size))


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps. `encode` returns the head, also with another framing field."""
        raise NotImplementedError


class ResetBefore(_Fault):
    """Reset the connection in place of a response."""

    kind: Literal["reset_before"]

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        yield Reset()


class ResetInHead(_Fault):
    """Reset the connection in the middle of the head."""

    kind: Literal["reset_in_head"]

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        head = encode()
        yield Write(head[: max(1, len(head) // 2)])
        yield Reset()


class ResetInBody(_Fault):
    """Reset the connection in the middle of the body; a response without a body is reset after its head."""

    kind: Literal["reset_in_body"]
    after: Annotated[int, Field(ge=0)] | None = Field(None, description="Bytes of the body that are sent: half of it.")

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        length = len(body) // 2 if self.after is None else min(self.after, max(0, len(body) - 1))
        yield from map(Write, _parts(encode(), body, end=length))
        yield Reset()


class Empty(_Fault):
    """Close the connection without a response."""

    kind: Literal["empty"]

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        yield Close()


class MalformedChunk(_Fault):
    """Send the body in chunks, the second of which has no valid size."""

    kind: Literal["malformed_chunk"]

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        half = body[: len(body) // 2] or b"{"
        yield from map(Write, _parts(encode("transfer-encoding: chunked\r\n") + b"%x\r\n" % len(half), half))
        yield Write(b"\r\n")
        yield from map(Write, _parts(b"not a size\r\n", body[len(half) :]))
        yield Write(b"\r\n0\r\n\r\n")
        yield Close()


class WrongLength(_Fault):
    """Send another number of bytes than `content-length` says; more of them stay in front of the next response."""

    kind: Literal["wrong_length"]
    difference: int = Field(-10, description="Bytes that are sent too many, or too few if it is negative.")

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        yield from map(Write, _parts(encode(f"content-length: {max(0, len(body) - self.difference)}\r\n"), body))
        if self.difference < 0:
            yield Close()


class Garbage(_Fault):
    """Send random bytes in place of a response, and close the connection."""

    kind: Literal["garbage"]
    size: Annotated[int, Field(ge=1, le=1024 * 1024)] = Field(256, description="Bytes.")

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        yield Write(source.randbytes(self.size))
        yield Close()


class Dribble(_Fault):
    """Send the head and the body a few bytes at a time."""

    kind: Literal["dribble"]
    size: Annotated[int, Field(ge=1, le=65_536)] = Field(1, description="Bytes at a time.")
    every: Seconds = Field(0.1, description="Duration between two writes.")

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        for part in _parts(encode(), body, self.size):
            yield Write(part)
            yield Pause(self.every)


class Bandwidth(_Fault):
    """Limit the rate of a response."""

    kind: Literal["bandwidth"]
    bytes_per_second: Annotated[int, Field(ge=1, le=10**9)]

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        for part in _parts(encode(), body, max(1, self.bytes_per_second // 20)):
            yield Write(part)
            yield Pause(len(part) / self.bytes_per_second)


class Hang(_Fault):
    """Send nothing, or only a part, and keep the connection open; it is reset after `max`."""

    kind: Literal["hang"]
    where: Literal["before", "in_head", "in_body"] = Field("before", description="What is sent before.")
    max: Seconds = Field(MAX_HANG_SECONDS, description="Duration after which the connection is reset.")

    def steps(self, encode: Encode, body: bytes, source: random.Random) -> Iterator[Step]:
        """Return the steps."""
        head = encode()
        if self.where == "in_head":
            yield Write(head[: len(head) // 2])
        elif self.where == "in_body":
            yield from map(Write, _parts(head, body, end=len(body) // 2))
        yield Pause(min(self.max, MAX_HANG_SECONDS))
        yield Reset()


_MODELS = (
    ResetBefore, ResetInHead, ResetInBody, Empty, MalformedChunk, WrongLength, Garbage, Dribble, Bandwidth, Hang,
)  # fmt: skip
KINDS: Mapping[str, type[_Fault]] = {get_args(model.model_fields["kind"].annotation)[0]: model for model in _MODELS}
Fault = Annotated[
    ResetBefore
    | ResetInHead
    | ResetInBody
    | Empty
    | MalformedChunk
    | WrongLength
    | Garbage
    | Dribble
    | Bandwidth
    | Hang,
    Field(discriminator="kind"),
]


def parse_fault(value: Any) -> Any:
    """Return the mapping of a fault; `reset_before` is short for `{kind: reset_before}`."""
    return {"kind": value} if isinstance(value, str) else value
