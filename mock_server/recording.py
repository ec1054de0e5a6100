"""Record the responses of a real server, and replay them.

A recording is a file with one JSON object a line. Credentials of requests, and tokens in JSON responses, are masked in
it, so that a recording can be committed. A replayed request is compared by its method, its target and its body.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import IO, Any

import httpx

from .codings import KNOWN, CodingError, accepted, accepts, decoded, encoded
from .filler import filler
from .masking import IN_RESPONSES, Masks, credentials
from .messages import Handler, Request, Response, json_response, to_json
from .recorded_stream import RecordedStream
from .wire import has_body

MAX_RECORDED_BODY = 10 * 1024 * 1024
MAX_FILE = 256 * 1024 * 1024
TIMEOUT_SECONDS = 60.0
SILENCE_SECONDS = 600.0
_log = logging.getLogger("mock_server")
_HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length",
    "host", "date", "server", "accept-encoding",
})  # fmt: skip


class RecordingError(Exception):
    """A recording can't be read; the text names the file and the line."""


_SAME = Masks(None)


def key(request: Request) -> tuple[str, str, str]:
    """Return what two requests that get the same response have in common: all but their headers and credentials."""
    query = _SAME.query(request.query_string)
    return request.method, f"{request.path}?{query}" if query else request.path, _canonical(request)


def _canonical(request: Request) -> str:
    """Return the body as it is compared: with its credentials masked, or the digest of one that is not UTF-8."""
    try:
        request.body.decode()
    except UnicodeDecodeError:
        return f"<sha256:{hashlib.sha256(request.body).hexdigest()}>"
    return _text(request)


def _text(request: Request) -> str:
    text = _SAME.body(request.body, request.content_type)
    try:
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return text


class Recorder:
    """Forwards requests to a real server, and appends what it answers to a file."""

    def __init__(self, url: str, file: IO[str], transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`url` is the base URL of the real server, without a path."""
        self._url = url.rstrip("/")
        self._file = file
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))  # none are kept: each client has its own
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(TIMEOUT_SECONDS, read=SILENCE_SECONDS),
            follow_redirects=False,
            transport=transport,
            cookies=cookies,
        )
        self._lock = asyncio.Lock()
        self._masks = Masks.of_seed(None)

    async def respond(self, request: Request) -> Response:
        """Forward a request. The response is 502, which is not recorded, if the real server can't be reached."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._send(request)
            length = answer.headers.get("content-length", "")
            if has_body(answer.status_code, request.method) and not _is_short(length):
                return self._passed_on(request, answer, int(length) if length.isdigit() else None)
            response = replace(_without_body(answer), body=await _whole(answer))
        except (httpx.HTTPError, TimeoutError) as error:
            return json_response({"error": f"the recorded server does not answer: {type(error).__name__}"}, 502)
        if request.method == "HEAD" and length.isdigit():
            response = _of_head(response, int(length))
        await self._record(request, response)
        return response

    async def _send(self, request: Request) -> httpx.Response:
        headers = [(n, v) for n, v in request.fields if n.decode("latin-1").lower() not in _HOP_BY_HOP]
        headers.append((b"accept-encoding", accepted(request.headers.get("accept-encoding", "")).encode("ascii")))
        url = self._url + request.target
        forwarded = self._client.build_request(request.method, url, headers=headers, content=request.body)
        return await self._client.send(forwarded, stream=True)

    def _passed_on(self, request: Request, answer: httpx.Response, length: int | None) -> Response:
        """Return a response whose parts reach the client as they come."""
        response = _without_body(answer)

        async def record(body: bytes) -> None:
            await self._record(request, replace(response, body=body))

        stream = RecordedStream(answer, MAX_RECORDED_BODY, request.path, record)
        return replace(response, stream=stream, length=length)

    async def _record(self, request: Request, response: Response) -> None:
        try:
            plain = decoded(response.body, _coding(response), MAX_RECORDED_BODY)
        except CodingError as error:
            _log.warning("not recorded, as %s: %s", error, request.path)
            return
        async with self._lock:
            await asyncio.to_thread(self._write, request, replace(response, body=plain))

    def _write(self, request: Request, response: Response) -> None:
        self._file.write(json.dumps(_line(request, response, self._masks), ensure_ascii=False) + "\n")
        self._file.flush()

    async def close(self) -> None:
        """Close the connections and the file."""
        await self._client.aclose()
        self._file.close()


def _is_short(length: str) -> bool:
    """Return whether a body of this `content-length` is read whole; one of unknown length is passed on as it comes."""
    return length.isdigit() and int(length) <= MAX_RECORDED_BODY


async def _whole(answer: httpx.Response) -> bytes:
    try:
        return b"".join([part async for part in answer.aiter_raw()])
    finally:
        await answer.aclose()


def _without_body(answer: httpx.Response) -> Response:
    kept = [(n, v) for n, v in answer.headers.multi_items() if n not in _HOP_BY_HOP and n != "content-type"]
    return Response(answer.status_code, b"", answer.headers.get("content-type"), tuple(kept))


def _line(request: Request, response: Response, masks: Masks) -> dict[str, Any]:
    method, target, body = key(request)
    headers = [
        (n, _masked_cookie(v, masks) if n.lower() == "set-cookie" else masks.text(v)) for n, v in response.headers
    ]
    line: dict[str, Any] = {"method": method, "target": target, "request": body, "status": response.status}
    line |= {"content_type": response.content_type, "headers": headers}
    if response.length is not None:
        line["length"] = response.length
    try:
        text = response.body.decode()
    except UnicodeDecodeError:
        return {**line, "base64": base64.b64encode(response.body).decode()}
    text = masks.body(text.encode(), response.content_type or "", IN_RESPONSES) if text else ""
    for value in credentials(request):
        text = text.replace(value, masks.mask(value))
    return {**line, "body": text}


def _masked_cookie(field: str, masks: Masks) -> str:
    pair, semicolon, attributes = field.partition(";")
    name, sign, value = pair.partition("=")
    return f"{name}{sign}{masks.mask(value.strip()) if value.strip() else value}{semicolon}{attributes}"


def _of_head(response: Response, length: int) -> Response:
    """Return a response to HEAD with the length of the body that GET would get."""
    return replace(response, stream=filler(0), length=length)


def _coding(response: Response) -> str:
    """Return the content coding of a response; empty if it has none."""
    return ", ".join(v.strip().lower() for n, v in response.headers if n.lower() == "content-encoding")


def _for(request: Request, response: Response) -> Response:
    """Return a recorded response with the content coding it had, if the client accepts it."""
    coding = _coding(response)
    if response.length is not None:
        return replace(response, stream=filler(0))  # an iterator can be used once only
    if not coding or not response.body:
        return response
    if accepts(request.headers.get("accept-encoding", ""), coding):
        return replace(response, body=encoded(response.body, coding))
    return replace(response, headers=tuple((n, v) for n, v in response.headers if n.lower() != "content-encoding"))


class Player:
    """Answers from a recording; responses to the same request come in their order, and the last one repeats."""

    def __init__(self, path: Path, otherwise: Handler | None = None) -> None:
        """`otherwise` answers requests that are not in the recording. Raises RecordingError."""
        self._otherwise = otherwise
        self._responses: dict[tuple[str, str, str], list[Response]] = {}
        self._next: dict[tuple[str, str, str], int] = {}
        for line in _lines(path):
            found = (line["method"], line["target"], line["request"])
            self._responses.setdefault(found, []).append(_response(line))

    async def respond(self, request: Request) -> Response:
        """Return the next recorded response."""
        wanted = key(request)
        if wanted not in self._responses:
            wanted = (*wanted[:2], _text(request))  # older recordings have text for every body
        found = self._responses.get(wanted)
        if found is not None:
            number = self._next.get(wanted, 0)
            self._next[wanted] = min(number + 1, len(found) - 1)
            return _for(request, found[number])
        if self._otherwise is None:
            return json_response({"error": f"not in the recording: {request.method} {request.path}"}, 404)
        answer = self._otherwise(request)
        return answer if isinstance(answer, Response) else await answer


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_FILE:
            raise RecordingError(f"{path}: a recording is at most {MAX_FILE} bytes")
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                yield _checked(text, path, number)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RecordingError(f"{path}: {reason}") from None


def _checked(text: str, path: Path, number: int) -> dict[str, Any]:
    try:
        line = json.loads(text)
        if not isinstance(line, dict) or not {"method", "target", "request", "status"} <= set(line):
            raise ValueError
        _response(line)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RecordingError(f"{path}:{number}: not a line of a recording") from None
    return line


def _response(line: dict[str, Any]) -> Response:
    body = base64.b64decode(line["base64"]) if "base64" in line else _encoded(line["body"])
    headers = tuple((str(name), str(value)) for name, value in line.get("headers", []))
    response = Response(int(line["status"]), body, line.get("content_type"), headers)
    if body and _coding(response) not in {"", "identity", *KNOWN}:
        raise ValueError("unknown coding")
    return _of_head(response, int(line["length"])) if "length" in line else response


def _encoded(body: Any) -> bytes:
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else to_json(body)
