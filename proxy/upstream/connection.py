"""One HTTP/1.1 connection to an upstream: writes a request, parses the response, gives it to a receiver.

Events in, events out: it knows no route and no retry. It refuses responses that are not HTTP, heads without end, and
bodies beyond their length. One response at a time; it is used again only if the last one ended cleanly.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

import httptools

from proxy.upstream.heads import RawHeaders, ResponseHead, without_spaces
from proxy.upstream.receiver import Fault, FaultKind, ResponseReceiver
from proxy.upstream.retry import NEVER

if TYPE_CHECKING:
    from proxy.upstream.pool import EndpointObserver, Pool
    from proxy.upstream.shares import Load

MAX_HEAD = 64 * 1024
MAX_FIELDS = 200
MAX_INTERIM = 8
_BY_PARSER = -1
_VERSIONS = ("1.1", "1.0")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class UpstreamConnection(asyncio.Protocol):
    """A connection of a pool. While it is in use, it counts for the `load` of a user."""

    __slots__ = (
        "_arrived", "_chunked", "_complete", "_drained", "_field_bytes", "_fields", "_head", "_head_bytes", "_headers",
        "_interim", "_keep", "_length", "_may_upgrade", "_missing", "_parser", "_pool", "_probe", "_reading_paused",
        "_reason", "_received", "_sent", "_status", "_transport", "_unclear", "_upgraded", "authority", "deadline",
        "head_done", "head_only", "idle_since", "load", "receiver", "served", "write_paused",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._drained: asyncio.Future[None] | None = None
        self.authority = pool.authority.encode("latin-1")
        self.receiver: ResponseReceiver | None = None
        self.served, self.idle_since = 0, 0.0
        self.load: Load[UpstreamConnection] | None = None
        self.deadline = NEVER
        self.write_paused = self.head_done = self.head_only = self._upgraded = self._reading_paused = False
        self._received = self._complete = self._may_upgrade = self._probe = False
        self._sent = True
        self._missing = _BY_PARSER
        self._reset()

    def _reset(self) -> None:
        """Forget the last response as the parser saw it."""
        self._status = self._fields = self._field_bytes = self._head_bytes = self._interim = 0
        self._reason = b""
        self._headers: RawHeaders = []
        self._length: int | None = None
        self._chunked = False
        self._keep = False
        self._head: ResponseHead | None = None
        self._arrived = self._unclear = b""

    @property
    def observer(self) -> EndpointObserver | None:
        """The observer of the results of its url's requests."""
        return self._pool.observer

    @property
    def usable(self) -> bool:
        """Whether a request can be sent on the connection."""
        return self.receiver is None and self._transport is not None and not self._transport.is_closing()

    def begin(
        self,
        receiver: ResponseReceiver,
        head: bytes,
        *,
        head_only: bool,
        deadline: float,
        sent: bool = True,
        upgrade: bool = False,
        probe: bool = False,
    ) -> None:
        """Send a request's head, with its body if it is small.

        `sent=False`: more of the body follows by `write`. `upgrade`: the answer may be 101, and a tunnel follows.
        `probe`: it is a health check, which has a judge of its own.
        """
        self.head_done = self._received = self._complete = False
        self._missing = _BY_PARSER
        self._may_upgrade = upgrade
        self.receiver = receiver
        self.head_only = head_only
        self.deadline = deadline
        self._sent = sent
        self.served += 1
        self._pool.requests += 1
        if probe:
            self._pool.probes += 1
        self._probe = probe
        cast(asyncio.Transport, self._transport).write(head)

    def write(self, data: bytes) -> None:
        """Send more of the request's body."""
        if self._transport is not None:
            self._transport.write(data)

    def now(self) -> float:
        """Return the time of the event loop's clock, in which deadlines are."""
        return self._pool.now()

    def extend(self, seconds: float) -> None:
        """The deadline is `seconds` from now."""
        self.deadline = self._pool.now() + seconds

    def finish_sending(self) -> None:
        """The request is sent in full."""
        self._sent = True

    async def drain(self) -> None:
        """Wait until the upstream takes more."""
        if self.write_paused and self._transport is not None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def pause(self) -> None:
        """Read no more for now; the deadline rests meanwhile."""
        if not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self.deadline = NEVER
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self.deadline = self._pool.now() + self._pool.idle_timeout
            self._transport.resume_reading()

    def abandon(self, receiver: ResponseReceiver) -> None:
        """Give an exchange up, and the connection with it; nothing, if the exchange has ended: another may be on it."""
        if self.receiver is receiver:
            self.receiver = None
            self.close()

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def overdue(self) -> None:
        """The deadline has passed."""
        if self.head_done:
            self._fail(FaultKind.IDLE_TIMEOUT, "the body stalled")
        else:
            self._fail(FaultKind.HEAD_TIMEOUT, "no answer in time")

    def _fail(self, kind: FaultKind, text: str) -> None:
        receiver, self.receiver = self.receiver, None
        self.deadline = NEVER
        self.close()
        if receiver is not None:
            self._give(receiver, kind, text)

    def _give(self, receiver: ResponseReceiver, kind: FaultKind, text: str) -> None:
        self._pool.faulted(kind, probe=self._probe)
        receiver.on_fault(Fault(kind, text))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._transport = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        receiver, self.receiver = self.receiver, None
        self._pool.lost(self)
        if receiver is None:
            return
        if self.head_done and exc is None and self._length is None and not self._chunked:
            receiver.on_end()
            return
        text = str(exc) or type(exc).__name__ if exc else "closed by the upstream"
        if self.head_done:
            self._give(receiver, FaultKind.BROKEN, text)
        elif not self._received and self.served > 1:
            self._give(receiver, FaultKind.STALE, text)
        else:
            self._give(receiver, FaultKind.RESET, text)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        receiver, fresh = self.receiver, not self._received
        if receiver is None:
            self.close()
            return
        if fresh:
            self._received = True
            if not self.head_only:
                known = self._pool.heads.find(data)
                if known is not None:
                    self._begin_known(receiver, *known)
                    return
            self._reset()
        if self._upgraded:
            receiver.on_body(data)
            return
        if self._missing >= 0:
            self._count_body(receiver, data)
            return
        if not self.head_done:
            self._head_bytes += len(data)
        self._parse(receiver, data)
        if self.receiver is not None and not self._upgraded:
            self._parsed(receiver, data if fresh else b"")

    def _begin_known(self, receiver: ResponseReceiver, head: ResponseHead, body: bytes) -> None:
        """Give a response whose head is known by its bytes; the parser, between two responses, need not see it."""
        length = head.length or 0
        self._pool.answered(head.status, probe=self._probe)
        if len(body) == length and self._sent and not self._reading_paused:
            self.receiver = None
            self.deadline = NEVER
            self._pool.release(self)
            receiver.on_whole(head, body)
            return
        self.head_done = self._keep = True
        self._chunked, self._length = False, head.length
        self._missing = length
        receiver.on_head(head)
        if self.receiver is not None:
            self._count_body(receiver, body)

    def _count_body(self, receiver: ResponseReceiver, data: bytes) -> None:
        """Give a part of a body whose length is known. Bytes beyond it belong to no response."""
        missing = self._missing = self._missing - len(data)
        if missing < 0:
            self._keep = False
            data, self._missing = data[:missing], 0
        if data:
            receiver.on_body(data)
        if self.receiver is None:
            return
        if missing <= 0:
            self._complete = True
            self._finish(receiver)
            return
        if not self._reading_paused:
            self.deadline = self._pool.now() + self._pool.idle_timeout
        receiver.on_batch()

    def _parse(self, receiver: ResponseReceiver, data: bytes) -> None:
        if not self.head_done:
            data, self._unclear = self._unclear + data, b""
            self._arrived += data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._complete and self._status != 101 and self.receiver is receiver:
                self._keep = False  # the answer is whole; what follows it is nobody's
            elif isinstance(error, httptools.HttpParserUpgrade):
                self._upgrade(receiver, data[error.args[0] :])
            elif not self.head_done and (tidied := without_spaces(self._arrived)) != (self._arrived, b""):
                self._reset()
                self._parser = httptools.HttpResponseParser(self)
                self._head_bytes = len(tidied[0]) + len(tidied[1])
                self._parse(receiver, tidied[0])
                self._unclear = tidied[1]
            else:
                self._fail(FaultKind.BROKEN if self.head_done else FaultKind.GARBAGE, f"not HTTP: {error}")

    def _parsed(self, receiver: ResponseReceiver, whole: bytes) -> None:
        """Act on what was parsed. `whole` is all that has arrived, if it began with the head of this response."""
        if self.head_done:
            self._arrived = b""
        if self._complete:
            if whole and self._keep and not self.head_only and self._head is not None and not self._interim:
                self._pool.heads.keep(whole, self._head)
            self._finish(receiver)
        elif self.head_done:
            if not self._reading_paused:
                self.deadline = self._pool.now() + self._pool.idle_timeout
            receiver.on_batch()
        elif self._head_bytes > MAX_HEAD:
            self._fail(FaultKind.GARBAGE, "the head is too large")

    def _upgrade(self, receiver: ResponseReceiver, rest: bytes) -> None:
        if self._status != 101 or not self.head_done:
            self._fail(FaultKind.GARBAGE, "an upgrade that was not requested")
            return
        self._upgraded = True
        self.deadline = NEVER
        if rest:
            receiver.on_body(rest)
        receiver.on_batch()

    def _finish(self, receiver: ResponseReceiver) -> None:
        self.receiver = None
        self.deadline = NEVER
        keep = self._keep and self._sent and not self._reading_paused
        if self.head_only:
            self._parser = httptools.HttpResponseParser(self)
        if keep:
            self._pool.release(self)
        else:
            self.close()
        receiver.on_end()

    # httptools

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep = False

    def on_status(self, status: bytes) -> None:
        if not self._complete:
            self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._complete:
            return
        self._fields += 1
        self._field_bytes += len(name) + len(value)
        if self._fields > MAX_FIELDS:
            raise ValueError("too many header fields")
        if self.head_done:
            return  # a trailer; hop-by-hop, not passed on
        lowered = name.rstrip(b" \t").lower()
        if lowered == b"content-length":
            self._length = int(value)
        elif lowered == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise ValueError("a transfer coding that we don't speak")
            self._chunked = True
        self._headers.append((lowered, value))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        self._check_head(status)
        if status < 200 and status != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise ValueError("too many interim answers")
            return
        if status == 101 and not self._may_upgrade:
            raise ValueError("an upgrade that was not requested")
        if status == 101 and not self._parser.should_upgrade():
            raise ValueError("an upgrade to nothing")
        self.head_done = True
        self._status = status
        self._keep = self._parser.should_keep_alive()
        if status in (204, 304):
            self._length = 0
        if self.head_only:
            self._complete = True
        self._pool.answered(status, probe=self._probe)
        if self.receiver is not None:
            self._head = ResponseHead(status, self._reason, self._headers, self._length, self._chunked)
            self.receiver.on_head(self._head)

    def _check_head(self, status: int) -> None:
        """Raise ValueError for a head that is no response of HTTP/1."""
        if self._parser.get_http_version() not in _VERSIONS:
            raise ValueError("a version that we don't speak")
        if self._field_bytes > MAX_HEAD:
            raise ValueError("the head is too large")
        if not self._reason.isalpha() and _CONTROL.search(self._reason):
            raise ValueError("control characters in the reason")
        if status < 100:
            raise ValueError("a status below 100")

    def on_body(self, data: bytes) -> None:
        if self._complete:
            self._keep = False
        elif self.receiver is not None:
            self.receiver.on_body(data)

    def on_message_complete(self) -> None:
        if self.head_done:
            self._complete = True
            # A trailer may say `connection: close`, and the parser would believe it.
            self._keep = self._keep and self._parser.should_keep_alive()
        else:
            self._headers, self._reason, self._length, self._chunked = [], b"", None, False
