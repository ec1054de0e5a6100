"""Heads of upstreams' responses, and those that are known by their bytes, which need not be parsed again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from proxy.bounded import BoundedCache

RawHeaders = list[tuple[bytes, bytes]]
_MAX_HEADS = 256
_MAX_HEAD = 4096
_MAX_BYTES = 512 * 1024
_END = b"\r\n\r\n"
_SPACED_NAME = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:", re.MULTILINE)
_UNCLEAR_END = re.compile(rb"(?<=\n)[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]+)\Z")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d")


@dataclass(frozen=True, slots=True, eq=False)
class ResponseHead:
    """The head of a response, with lower-case field names. `length` is its content-length; None if there is none.

    `derived` caches what compiled routes make of the head, by part.
    """

    status: int
    reason: bytes
    headers: RawHeaders
    length: int | None
    chunked: bool
    derived: dict[object, Any] = field(default_factory=dict)


class KnownHeads:
    """Heads of whole responses by their bytes. Those of one upstream are much the same within a second."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: BoundedCache[bytes, ResponseHead] = BoundedCache(_MAX_HEADS, _MAX_BYTES)

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Return a known head and the bytes that follow it. `data` must begin where a response begins."""
        end = data.find(_END) + 4
        head = self._heads[data[:end]]
        return None if head is None else (head, data[end:])

    def keep(self, data: bytes, head: ResponseHead) -> None:
        """Keep the head of a response that came at once and whole, and was these bytes.

        Its connection can be used again, as its head says.
        """
        end = data.find(_END) + 4
        if head.chunked or end > _MAX_HEAD or head.length != len(data) - end:
            return
        self._heads.put(data[:end], head, end)


def without_spaces(data: bytes) -> tuple[bytes, bytes]:
    """Return what has arrived of a response without the spaces before the colons of its heads (RFC 9112, 5.1).

    Its parser refuses them. Interim responses (1xx) have heads of their own. The second part are spaces at
    the very end, behind a name: whether a colon follows them is not known before more arrives.
    """
    done, at = [], 0
    while True:
        end = data.find(b"\r\n\r\n", at)
        head = data[at:] if end < 0 else data[at : end + 2]
        unclear = _UNCLEAR_END.search(head) if end < 0 else None
        if unclear is not None and not head[: unclear.start()].strip(b"\r\n"):
            unclear = None  # the status line
        if unclear is not None:
            head = head[: unclear.start(1)]
        done.append(_SPACED_NAME.sub(rb"\1:", head))
        if end < 0:
            return b"".join(done), unclear[1] if unclear is not None else b""
        done.append(b"\r\n")
        at = end + 4
        if not _INTERIM.match(head):
            return b"".join((*done, data[at:])), b""
