"""Relays a request to an upstream: judged first, then streamed both ways."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from proxy.access import AccessJudge, Asked, Kind, Principal, classify
from proxy.config.compile import RouteSpec
from proxy.errors import BadRequest, Forbidden, PayloadTooLarge
from proxy.exchange import Exchange, read_ahead, rejoined, require_json
from proxy.handlers.fields import forwarding_fields, user_fields
from proxy.handlers.streams import Drain, is_event_stream
from proxy.handlers.websocket import Tunnel, asks_for_websocket, check_handshake, client_side
from proxy.policy.acl import Action
from proxy.routing import PathError, normalise_path
from proxy.sessions.store import SessionStore
from proxy.upstream.client import UpstreamClient
from proxy.upstream.headers import request_headers, response_headers
from proxy.upstream.noetl import OnBehalf
from proxy.upstream.response import BodyBroken, Response

Headers = list[tuple[str, str]]
_MAX_STARTED = 1024 * 1024
_ADDED = ("content-type", "date", "server")
_READ_AHEAD = 64 * 1024


def identity_headers(exchange: Exchange) -> OnBehalf:
    """The fields that only the gateway sets: who is asking, from where, and the request's id."""
    who = exchange.principal
    host = exchange.request.headers.get("host", "")
    fields = (
        *(user_fields(who) if who is not None else ()),
        *forwarding_fields(exchange.client_ip, exchange.scheme, host),
        ("x-request-id", exchange.request_id),
        ("traceparent", exchange.traceparent),
    )
    return OnBehalf(fields, who.key if who is not None else b"")


@dataclass(frozen=True, slots=True)
class RelayHandler:
    """One relayed route. `judge` is there for the NoETL upstream, whose requests have playbooks behind them."""

    spec: RouteSpec
    upstream: UpstreamClient
    noetl: bool
    judge: AccessJudge
    store: SessionStore
    session_cookie: str | None
    drain: Drain
    idle_timeout: float

    async def handle(self, exchange: Exchange) -> web.StreamResponse:
        """Judge and relay."""
        path = self.target(exchange)
        if self.spec.block.websocket and asks_for_websocket(exchange):
            return await self._websocket(exchange, path)
        body = await self._judge(exchange, path)
        target = f"{path}?{exchange.query}" if exchange.query else path
        headers = self._request_headers(exchange)
        started = body is not None and exchange.request.method == "POST" and exchange.principal is not None
        content, length = (body, len(body)) if body is not None else await self._stream(exchange)
        if length is not None and not isinstance(content, bytes):
            headers.append(("content-length", str(length)))
        async with exchange.stopwatch.until_answered(
            self.upstream.request(
                exchange.request.method,
                target,
                headers,
                content,
                timeout=self.spec.block.timeout,
                session=exchange.principal.key if exchange.principal is not None else b"",
                spent=exchange.left.spent if exchange.left is not None else 0,
                tried=exchange.left.tried if exchange.left is not None else None,
            )
        ) as answer:
            if started:
                return await self._answer_started(exchange, answer)
            return await self._answer(exchange, answer)

    async def _websocket(self, exchange: Exchange, path: str) -> web.StreamResponse:
        """Judge the handshake, pass it on, and open the tunnel if the upstream agrees."""
        check_handshake(exchange, self.spec.cors.allows)
        await self._judge(exchange, path)
        target = f"{path}?{exchange.query}" if exchange.query else path
        headers = [*self._request_headers(exchange), ("connection", "upgrade"), ("upgrade", "websocket")]
        start, who = time.perf_counter(), exchange.principal
        async with exchange.stopwatch.until_answered(
            self.upstream.request(
                "GET",
                target,
                headers,
                timeout=self.spec.block.timeout,
                session=who.key if who is not None else b"",
                upgrade=True,
            )
        ) as answer:
            if answer.status != 101:
                return await self._answer(exchange, answer)
            response = PlainResponse(status=101, reason=answer.reason)
            response.headers.extend(self._response_headers(exchange, answer))
            response.headers["connection"] = "upgrade"
            response.headers["upgrade"] = "websocket"
            await response.prepare(exchange.request)
            client = client_side(exchange.request)
            tunnel = Tunnel(client, answer.connection, self.upstream.pool.settings.idle_timeout, self.drain)
            for early in answer.take_arrived():
                client.send(early)
            waiting = client.open_tunnel(tunnel)
            if waiting:
                tunnel.from_client(waiting)
            exchange.detail = await tunnel.run(lambda: self._alive(who))
            exchange.stopwatch.seconds = time.perf_counter() - start
            response.force_close()
            return response

    async def _alive(self, who: Principal | None) -> bool:
        """Whether the session that opened a tunnel still is."""
        if who is None:
            return True
        session = await self.store.get(who.key)
        return session is not None and session.alive(time.time(), self.idle_timeout)

    def target(self, exchange: Exchange) -> str:
        """The path to send, normalised."""
        rewrite = self.spec.block.rewrite
        if rewrite is None:
            return exchange.path
        try:
            return normalise_path(rewrite.format_map(exchange.params))
        except PathError as error:
            raise BadRequest(str(error)) from None

    async def _judge(self, exchange: Exchange, path: str) -> bytes | None:
        """Raise unless the request may go on; the body, where it had to be read for that."""
        method, who = exchange.request.method, exchange.principal
        if self.spec.require_roles and not (who and self.spec.require_roles & who.subject.roles):
            raise Forbidden(detail=f"route {self.spec.pattern} requires a role")
        if who is None:
            return None
        asked = classify(method, path, self.spec.action) if self.noetl else None
        if asked is None or asked.kind is Kind.PATH:
            action = asked.action if asked else self.spec.action or Action.of_method(method)
            self.judge.path(who, action, method, exchange.path)
            return None
        body = await self._read(exchange, asked)
        await self.judge.asked(who, asked, body or b"", identity_headers(exchange))
        return body

    async def _read(self, exchange: Exchange, asked: Asked) -> bytes | None:
        if asked.kind not in (Kind.EXECUTE, Kind.RESOURCE, Kind.RERUN):
            return None
        if exchange.request.body_exists or asked.kind is not Kind.RERUN:
            require_json(exchange.request)
        return await exchange.body(self.spec.max_body_size)

    def _request_headers(self, exchange: Exchange) -> Headers:
        given = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in exchange.request.raw_headers]
        edit = self.spec.block.headers.request
        removed = {name.lower() for name in (*edit.remove, *edit.set)}
        kept = [
            (name, value) for name, value in request_headers(given, self.session_cookie) if name.lower() not in removed
        ]
        return [*kept, *identity_headers(exchange), *edit.set.items()]

    async def _stream(self, exchange: Exchange) -> tuple[AsyncIterator[bytes] | bytes | None, int | None]:
        """The body to send, and its length if that is known.

        Where the client has told the length, no upstream connection is taken before a small body is there in whole,
        or a good part of a large one. A body in chunks is passed on as it comes.
        """
        request = exchange.request
        if not request.body_exists:
            return None, 0 if request.method in ("POST", "PUT", "PATCH") else None
        length = request.content_length
        if length is not None and length > self.spec.max_body_size:
            raise PayloadTooLarge(detail=f"{length} bytes announced, {self.spec.max_body_size} allowed")
        chunks = exchange.chunks(self.spec.max_body_size)
        if length is None:
            return chunks, None
        first, whole = await read_ahead(chunks, _READ_AHEAD)
        return (first, len(first)) if whole else (rejoined(first, chunks), length)

    def _response_headers(self, exchange: Exchange, answer: Response) -> Headers:
        edit = self.spec.block.headers.response
        removed = {name.lower() for name in (*edit.remove, *edit.set)}
        kept = [(name, value) for name, value in response_headers(answer.headers) if name.lower() not in removed]
        if self.spec.block.server_timing:
            kept.append(("server-timing", exchange.server_timing()))
        return [*kept, *edit.set.items(), ("x-request-id", exchange.request_id), *exchange.origin_headers]

    async def _answer(self, exchange: Exchange, answer: Response) -> web.StreamResponse:
        response = PlainResponse(status=answer.status, reason=answer.reason)
        response.headers.extend(self._response_headers(exchange, answer))
        if self.drain.started or exchange.request._message.upgrade:
            response.force_close()
        await response.prepare(exchange.request)
        start = time.perf_counter()
        try:
            if is_event_stream(answer.raw_headers):
                who = exchange.principal
                await self._pass_events(response, answer, who.key if who is not None else b"")
            else:
                async for chunk in answer.chunks():
                    await response.write(chunk)
        except BodyBroken as error:
            exchange.detail = f"upstream broke off: {error}"
            if exchange.request.transport is not None:
                exchange.request.transport.abort()
            return response
        finally:
            exchange.stopwatch.seconds += time.perf_counter() - start
        await response.write_eof()
        return response

    async def _pass_events(self, response: web.StreamResponse, answer: Response, session: bytes) -> None:
        """Events as they come, until the upstream ends, a drain begins or the session is over."""
        stream = self.drain.open(answer.nudge, session)
        try:
            async for chunk in answer.chunks():
                if chunk:
                    await response.write(chunk)
                    stream.passed(chunk)
                if stream.should_end:
                    farewell = stream.farewell()
                    if farewell:
                        await response.write(farewell)
                    return
        finally:
            stream.close()

    async def _answer_started(self, exchange: Exchange, answer: Response) -> web.StreamResponse:
        """The answer to execute and rerun: noted, so that who started an execution may see it."""
        data = await answer.read(_MAX_STARTED)
        execution_id = _execution_id(data) if answer.status < 300 else None
        if execution_id is not None:
            self.store.remember_execution(execution_id, exchange.who.user_id, time.time())
        response = PlainResponse(status=answer.status, reason=answer.reason)
        headers = self._response_headers(exchange, answer)
        response.headers.extend([(name, value) for name, value in headers if name.lower() != "content-length"])
        response.headers["content-length"] = str(len(data))
        if self.drain.started:
            response.force_close()
        await response.prepare(exchange.request)
        await response.write_eof(data)
        return response


class PlainResponse(web.StreamResponse):
    """A response with the upstream's headers only: aiohttp adds no content type, date or server of its own."""

    async def _prepare_headers(self) -> None:
        missing = [name for name in _ADDED if name not in self.headers]
        await super()._prepare_headers()
        for name in missing:
            self.headers.pop(name, None)


def _execution_id(data: bytes) -> str | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    found = document.get("execution_id") if isinstance(document, dict) else None
    return str(found) if isinstance(found, str | int) else None
