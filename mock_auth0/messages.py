"""Parsing of requests and building of responses: bodies, parameters, and the JSON and redirects of OAuth."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus, urlencode

from aiohttp import web

MAX_BODY = 64 * 1024
MAX_PARAMETERS = 64
BODY_SECONDS = 10.0
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

Parameters = Mapping[str, str]


class OAuthError(Exception):
    """An error response (RFC 6749, 5.2); its `str()` contains no secret."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status, self.error, self.description = status, error, description


class PageError(Exception):
    """An error that is shown to the user and never redirected (RFC 6749, 4.1.2.1)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


async def read_body(request: web.BaseRequest) -> bytes:
    """Return the whole body.

    Raises:
        OAuthError: it is larger than `MAX_BODY` (413), compressed (415), or does not arrive in `BODY_SECONDS` (408).
    """
    if "Content-Encoding" in request.headers:
        raise OAuthError(415, "invalid_request", "Send the body without a content encoding.")
    too_large = OAuthError(413, "invalid_request", f"The body is larger than {MAX_BODY} bytes.")
    if (request.content_length or 0) > MAX_BODY:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise too_large
    except TimeoutError:
        raise OAuthError(408, "invalid_request", "The body did not arrive in time.") from None
    except web.RequestPayloadError:
        raise OAuthError(400, "invalid_request", "The body is malformed.") from None
    return bytes(body)


async def read_parameters(request: web.BaseRequest) -> Parameters:
    """Return the parameters of a form or a JSON body.

    Raises:
        OAuthError: the body has another type or is malformed, or a parameter is a duplicate.
    """
    body = await read_body(request)
    if request.content_type == "application/json":
        return _json_parameters(body)
    if request.content_type == "application/x-www-form-urlencoded" or not body:
        return form_parameters(body.decode("utf-8", "replace"))
    raise OAuthError(400, "invalid_request", "Send application/x-www-form-urlencoded or application/json.")


def form_parameters(encoded: str) -> Parameters:
    """Return the parameters of a query or a form, without empty ones (RFC 6749, 3.1).

    Raises:
        OAuthError: a parameter is a duplicate or not UTF-8, or there are too many.
    """
    try:
        pairs = parse_qsl(encoded, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise OAuthError(400, "invalid_request", "The parameters cannot be decoded.") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise OAuthError(400, "invalid_request", "A parameter is given twice.")
    return parameters


def _json_parameters(body: bytes) -> Parameters:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise OAuthError(400, "invalid_request", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise OAuthError(400, "invalid_request", "The body must be a JSON object.")
    given = {name: value for name, value in document.items() if value not in (None, "")}
    for value in given.values():
        if not isinstance(value, str) or not _encodable(value):
            raise OAuthError(400, "invalid_request", "Every parameter must be a string.")
    return given


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def basic_credentials(header: str | None) -> tuple[str, str] | None:
    """Return client id and secret from a Basic Authorization header (RFC 6749, 2.3.1), or None for another scheme."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode()
    except ValueError:
        raise OAuthError(401, "access_denied", "Unauthorized") from None
    client_id, _, secret = decoded.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


def bearer_token(header: str | None) -> str | None:
    """Return the token of an Authorization header (RFC 6750, 2.1)."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" and token.isascii() else None


def json_response(document: object, status: int = 200, headers: Mapping[str, str] = NO_STORE) -> web.Response:
    """Return a JSON response; by default it must not be cached."""
    return web.json_response(document, status=status, headers=headers)


def error_response(error: OAuthError) -> web.Response:
    """Return the JSON response for an OAuth error."""
    response = json_response({"error": error.error, "error_description": error.description}, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = f'Bearer error="{error.error}"'
    return response


def redirect(uri: str) -> web.Response:
    """Return a redirect to `uri`."""
    return web.Response(status=302, headers={"Location": uri, **NO_STORE})


def with_query(uri: str, parameters: Parameters) -> str:
    """Return `uri` with `parameters` added to its query."""
    if not parameters:
        return uri
    joint = "" if uri.endswith(("?", "&")) else "&" if "?" in uri else "?"
    return f"{uri}{joint}{urlencode(parameters)}"
