"""A sandbox: a program with its listener, its clock and, if wanted, rules, a journal and a control plane.

A request passes, in this order: the control plane's own paths, the rules, the program (or the real server whose
responses are recorded). Without rules and control plane the program is called directly.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from .body_stream import close_stream
from .clock import Clock
from .faults import MAX_BODY
from .filler import filler
from .journal import MAX_ENTRIES, Entry, Journal
from .listener import Listener
from .listener_faults import ListenerFaults
from .messages import Handler, Request, Response, to_json
from .operations import Operation
from .overrides import Overrides
from .randomness import random_source
from .rules import Rule, Scripted
from .selection import Rules
from .service import Errors, Limits, Service, never

ADMIN = "/__admin"
_log = logging.getLogger("mock_server")


class Program(Protocol):
    """What answers requests: the identity provider or the NoETL server."""

    @property
    def name(self) -> str:
        """The name of the program."""

    @property
    def server(self) -> str:
        """The value of the `server` header; empty: no such header."""

    @property
    def errors(self) -> Errors:
        """The responses to requests that are malformed or too large."""

    @property
    def overrides(self) -> Overrides:
        """The overrides of rules that this program understands."""

    @property
    def operations(self) -> Sequence[Operation]:
        """The operations of the control plane that this program adds."""

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """Return the response to a request."""

    def streamed(self, request: Request) -> bool:
        """Return whether the program reads the body of this request itself, part by part."""

    async def reset(self) -> None:
        """Forget everything since the start."""

    async def close(self) -> None:
        """Stop what is running."""


@dataclass(frozen=True, slots=True)
class Control:
    """What of the control plane is on.

    Args:
        admin: `/__admin` is served.
        remote: also to addresses other than loopback.
        rules: the rules at the start.
        listener: the faults of the listening socket.
        journal: the size of the journal; 0: none.
    """

    admin: bool = False
    remote: bool = False
    rules: tuple[Rule, ...] = ()
    listener: ListenerFaults = field(default_factory=ListenerFaults)
    journal: int = MAX_ENTRIES


@dataclass(slots=True, eq=False)
class Sandbox:
    """A running program.

    Args:
        program: the program.
        control: what of the control plane is on.
        clock: the clock.
        source: the random source.
        seed: the seed of `source`, if it has one.
        tls: the TLS context, for https.
        backend: answers in place of the program: a recorder or a player of recordings.
    """

    program: Program
    control: Control = Control()
    clock: Clock = field(default_factory=Clock)
    source: random.Random = field(default_factory=lambda: random_source(None))
    seed: str | None = None
    tls: ssl.SSLContext | None = None
    backend: Handler | None = None
    rules: Rules = field(init=False)
    journal: Journal = field(init=False)
    listener: Listener = field(init=False)
    _faults: asyncio.Task[None] | None = field(init=False, default=None)
    _admin: Callable[[Request], Awaitable[Response]] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.rules = Rules(self.source, self.control.rules)
        self.journal = Journal(self.control.journal, seed=self.seed)
        plain = not self.control.admin and not self.control.rules
        service = Service(
            (self.backend or self.program.respond) if plain else self._respond,
            self.clock,
            self.program.server,
            "https" if self.tls else "http",
            Limits(),
            self.program.errors,
            self.program.streamed if self.backend is None else never,
        )
        self.listener = Listener(service, self.tls)

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return self.listener.url

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, prepare: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Listen; `prepare` runs once the port is known, before a request. Raises OSError for a bad address."""
        if self.control.admin:
            from .admin import Admin  # the page and the document are only read if they are served

            self._admin = Admin(self).respond
        self.listener.accept_seconds = self.control.listener.accept
        await self.listener.start(host, port, prepare)
        self._faults = asyncio.create_task(self.control.listener.restart_by_schedule(self.listener))

    async def stop(self) -> None:
        """Finish the current requests, and stop."""
        if self._faults is not None:
            self._faults.cancel()
        await self.listener.stop()
        await self.program.close()

    def _respond(self, request: Request) -> Response | Awaitable[Response]:
        if self._admin is not None and (request.path == ADMIN or request.path.startswith(f"{ADMIN}/")):
            return self._admin(request)
        rule = self.rules.select(request) if self.rules else None
        entry = None
        if self.control.admin and self.control.journal:
            kept = request if request.stream is None else replace(request, stream=None)
            entry = self.journal.add(self.clock.now(), kept, rule.name if rule else "")
        if rule is None and entry is None:
            return self._program(request)
        if rule is not None:
            return self._noted(self._by_rule(rule, request), entry)
        return self._noted_now(request, entry)

    def _program(self, request: Request) -> Response | Awaitable[Response]:
        return (self.backend or self.program.respond)(request)

    def _noted_now(self, request: Request, entry: Entry | None) -> Response | Awaitable[Response]:
        try:
            answer = self._program(request)
        except Exception:
            if entry is not None:
                entry.answer(self.program.errors.failed)
            raise
        if not isinstance(answer, Response):
            return self._noted(answer, entry)
        if entry is not None:
            entry.answer(answer)
        return answer

    async def _noted(self, answer: Awaitable[Response], entry: Entry | None) -> Response:
        started = time.monotonic()
        response = self.program.errors.failed
        try:
            response = await answer
        finally:
            if entry is not None:
                entry.answer(response, time.monotonic() - started)
        return response

    async def _by_rule(self, rule: Rule, request: Request) -> Response:
        if rule.delay is not None:
            await asyncio.sleep(rule.delay.draw(self.source))
        if rule.response is not None:
            response = scripted(rule.response)
        else:
            if rule.overrides:
                request = replace(request, overrides=rule.overrides)
            answer = self._program(request)
            response = answer if isinstance(answer, Response) else await answer
        if rule.merge is not None:
            is_json = "json" in (response.content_type or "")
            response = merged(await _whole(response) if is_json else response, rule.merge)
        return response if rule.fault is None else await with_fault(response, rule, self.source)


def scripted(script: Scripted) -> Response:
    """Return the response that a rule describes."""
    headers = tuple((name, value) for name, value in script.headers.items() if name.lower() != "content-type")
    given = [value for name, value in script.headers.items() if name.lower() == "content-type"]
    kind = given[0] if given else script.content_type
    if script.size is not None:
        return Response(script.status, b"", kind, headers, filler(script.size), script.size)
    return Response(script.status, script.body, kind, headers)


def merged(response: Response, patch: dict[str, Any]) -> Response:
    """Return a response whose JSON body has some members replaced (RFC 7396); another body stays as it is."""
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        return response
    return replace(response, body=to_json(_patched(found, patch)))


def _patched(found: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(found) if isinstance(found, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _patched(result.get(name), value)
    return result


async def with_fault(response: Response, rule: Rule, source: random.Random) -> Response:
    """Return a response that is sent with the fault of a rule; a streamed body is read first, up to a limit."""
    fault = rule.fault
    if fault is None:
        return response
    response = await _whole(response)
    return replace(response, fault=lambda encode, body: fault.steps(encode, body, source))


async def _whole(response: Response) -> Response:
    """Return a response with the body of its stream, which is cut at a limit, with a log line."""
    if response.stream is None:
        return response
    parts: list[bytes] = []  # those of a filler are one object, so that the body takes no more than its size
    size = 0
    try:
        async for part in response.stream:
            if size + len(part) > MAX_BODY:
                parts.append(part[: MAX_BODY - size])
                _log.warning("a body was cut at %s bytes, for a rule with fault or merge", MAX_BODY)
                break
            parts.append(part)
            size += len(part)
    finally:
        await close_stream(response.stream)
    return replace(response, body=b"".join(parts), stream=None, length=None)
