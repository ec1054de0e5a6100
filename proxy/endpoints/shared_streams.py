"""Event streams that carry several operations (graphql-sse, single connection mode), in this process and in others.

A request that starts an operation may reach another process than the stream of its results. Then it is sent to the
other processes; the one that has the stream answers. Without an answer in time there is no such stream.
"""

from __future__ import annotations

import asyncio
import secrets
from enum import IntEnum
from typing import Any

from proxy.endpoints.operations import OperationStream
from proxy.errors import PayloadTooLarge
from proxy.graphql.http import GraphqlRequest
from proxy.http.json import read_json, write_json
from proxy.peer_messages import MAX_MESSAGE, PeerMessages

_ASK, _ANSWER, _OPENED = "graphql", "graphql-answer", "graphql-opened"
OPENED_ELSEWHERE = "the reservation was used again"
_ANSWER_SECONDS = 2.0
_ENVELOPE = 1024
Message = dict[str, Any]


class Outcome(IntEnum):
    """What became of a request about an operation, as a status."""

    STOPPED = 200
    STARTED = 202
    NO_STREAM = 404
    EXISTS = 409
    TOO_MANY = 429


class SharedStreams:
    """The open streams of this process, by their reservation."""

    def __init__(self, messages: PeerMessages) -> None:
        self._messages = messages
        self._open: dict[str, OperationStream] = {}
        self._asked: dict[str, asyncio.Future[Outcome]] = {}
        messages.handle(_ASK, self._on_ask)
        messages.handle(_ANSWER, self._on_answer)
        messages.handle(_OPENED, self._on_opened)

    def add(self, token: str, stream: OperationStream) -> bool:
        """Add an open stream, and return True; False if its reservation is in use. Another process ends its stream."""
        if self._open.setdefault(token, stream) is not stream:
            return False
        self._messages.send(_OPENED, token.encode())
        return True

    def remove(self, token: str) -> None:
        """Remove a stream that has ended."""
        del self._open[token]

    async def start(self, token: str, identity: str, wanted: GraphqlRequest) -> Outcome:
        """Start an operation on a stream. Raises PayloadTooLarge for one that can't be sent to another process."""
        return await self._do({"token": token, "id": identity, "start": wanted._asdict()})

    async def stop(self, token: str, identity: str) -> Outcome:
        """Stop an operation on a stream, if it is running."""
        return await self._do({"token": token, "id": identity})

    async def _do(self, message: Message) -> Outcome:
        here = self._here(message)
        return here if here is not None else await self._elsewhere(message)

    def _here(self, message: Message) -> Outcome | None:
        """Return what became of a request; None if its stream is not in this process."""
        stream, identity = self._open.get(message["token"]), message["id"]
        if stream is None:
            return None
        if "start" not in message:
            stream.stop(identity)
            return Outcome.STOPPED
        if identity in stream.running:
            return Outcome.EXISTS
        return Outcome.STARTED if stream.start(identity, GraphqlRequest(**message["start"])) else Outcome.TOO_MANY

    async def _elsewhere(self, message: Message) -> Outcome:
        if self._messages.alone:
            return Outcome.NO_STREAM
        question = secrets.token_hex(8)
        data = write_json({**message, "question": question})
        if len(data) > MAX_MESSAGE - _ENVELOPE:
            raise PayloadTooLarge(
                "The operation is too large for a stream of another worker; use distinct connections, or a WebSocket",
                detail=f"{len(data)} bytes, a message between workers has {MAX_MESSAGE - _ENVELOPE}",
            )
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._asked[question] = answer
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                self._messages.send(_ASK, data)
                return await answer
        except TimeoutError:
            return Outcome.NO_STREAM
        finally:
            del self._asked[question]

    def _on_ask(self, payload: bytes) -> None:
        message = _parsed(payload)
        outcome = self._here(message) if {"token", "id", "question"} <= message.keys() else None
        if outcome is not None:
            self._messages.send(_ANSWER, write_json({"question": message["question"], "outcome": int(outcome)}))

    def _on_opened(self, payload: bytes) -> None:
        stream = self._open.get(payload.decode("ascii", "replace"))
        if stream is not None:
            stream.end(OPENED_ELSEWHERE)

    def _on_answer(self, payload: bytes) -> None:
        message = _parsed(payload)
        asked = self._asked.get(str(message.get("question")))
        if asked is not None and not asked.done():
            asked.set_result(Outcome(message["outcome"]))


def _parsed(payload: bytes) -> Message:
    """Return a message of another process; an empty one for what is no JSON object."""
    try:
        message = read_json(payload)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
