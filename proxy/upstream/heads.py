"""Heads of upstreams' answers, and those that came before, which need not be parsed again."""

from __future__ import annotations

from dataclasses import dataclass, replace

RawHeaders = list[tuple[bytes, bytes]]
_MAX_HEADS = 256
_MAX_KEPT = 4096
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The head of an answer, raw. `length` is its content-length; None if there is none.

    `known`: the same object comes again with each answer whose head is the same, byte for byte.
    """

    status: int
    reason: bytes
    headers: RawHeaders
    length: int | None
    chunked: bool
    known: bool = False


class KnownHeads:
    """The heads of whole answers, by their bytes. Those of one upstream are much the same within a second."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """Head and body of an answer, if its head is known and the rest of the bytes is its body, no more and no less.

        The bytes must begin where an answer begins.
        """
        end = data.find(_END) + len(_END)
        head = self._heads.get(data[:end])
        return (head, data[end:]) if head is not None and head.length == len(data) - end else None

    def keep(self, data: bytes, head: Head) -> None:
        """Keep the head of an answer that came at once and whole, and was these bytes."""
        end = data.find(_END) + len(_END)
        if head.chunked or end > _MAX_KEPT or head.length != len(data) - end:
            return
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        self._heads[data[:end]] = replace(head, known=True)
