"""Parsing of requests and building of responses: bodies, parameters, and the JSON and redirects of OAuth."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from mock_server.messages import Request, Response

from .jws import to_json

MAX_BODY = 64 * 1024
MAX_QUERY = 8 * 1024
MAX_PARAMETERS = 64
_PORTS = {"http": 80, "https": 443}
NO_STORE = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))

Headers = tuple[tuple[str, str], ...]
Parameters = Mapping[str, str]


class OAuthError(Exception):
    """An error response (RFC 6749, 5.2); its `str()` contains no secret.

    Args:
        status: the status code.
        error: the code of the error.
        description: the text for developers.
        headers: further header fields.
        code: the member `code` that some endpoints of Auth0 have in place of `error`.
    """

    def __init__(
        self, status: int, error: str, description: str, *, headers: Headers = (), code: str | None = None
    ) -> None:
        super().__init__(description)
        self.status, self.error, self.description = status, error, description
        self.headers, self.code = headers, code


class PageError(Exception):
    """An error that is shown to the user and never redirected (RFC 6749, 4.1.2.1)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def read_parameters(request: Request) -> Parameters:
    """Return the parameters of a form or a JSON body.

    Raises:
        OAuthError: the body is too large (413) or compressed (415), has another type or is malformed, or a parameter is
            a duplicate.
    """
    return form_of(read_body(request), request.content_type)


def read_body(request: Request) -> bytes:
    """Return the body. Raises OAuthError if it is too large (413) or compressed (415)."""
    if "content-encoding" in request.headers:
        raise OAuthError(415, "invalid_request", "Send the body without a content encoding.")
    if len(request.body) > MAX_BODY:
        raise OAuthError(413, "invalid_request", f"The body is larger than {MAX_BODY} bytes.")
    return request.body


def form_of(body: bytes, content_type: str) -> Parameters:
    """Return the parameters of a form or a JSON object. Raises OAuthError."""
    if content_type == "application/json":
        return _strings(json_object(body))
    if content_type == "application/x-www-form-urlencoded" or not body:
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


def query_parameters(request: Request) -> Parameters:
    """Return the parameters of the query, for a page. Raises PageError, also for one that is too long."""
    if len(request.query_string) > MAX_QUERY:
        raise PageError(f"The query is longer than {MAX_QUERY} bytes.", 414)
    try:
        return form_parameters(request.query_string)
    except OAuthError as error:
        raise PageError(error.description) from None


def page_parameters(request: Request) -> Parameters:
    """Return the parameters of a form of a page. Raises PageError."""
    try:
        return read_parameters(request)
    except OAuthError as error:
        raise PageError(error.description, error.status) from None


def json_object(body: bytes) -> dict[str, object]:
    """Return a JSON object. Raises OAuthError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise OAuthError(400, "invalid_request", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise OAuthError(400, "invalid_request", "The body must be a JSON object.")
    return document


def _strings(document: dict[str, object]) -> Parameters:
    given = {name: value for name, value in document.items() if value not in (None, "")}
    for value in given.values():
        if not isinstance(value, str) or not encodable(value):
            raise OAuthError(400, "invalid_request", "Every parameter must be a string.")
    return {name: str(value) for name, value in given.items()}


def encodable(text: str) -> bool:
    """Return True if a text can be encoded as UTF-8, which lone surrogates can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def required(parameters: Parameters, name: str) -> str:
    """Return a parameter. Raises OAuthError if it is missing."""
    value = parameters.get(name)
    if value is None:
        raise OAuthError(400, "invalid_request", f"Missing required parameter: {name}")
    return value


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


def json_response(document: object, status: int = 200, headers: Headers = NO_STORE) -> Response:
    """Return a JSON response; by default it must not be cached."""
    return Response(status, to_json(document), "application/json", headers)


def error_response(error: OAuthError) -> Response:
    """Return the JSON response for an OAuth error."""
    name = "error" if error.code is None else "code"
    key = "error_description" if error.code is None else "description"
    response = json_response({name: error.code or error.error, key: error.description}, error.status)
    authenticate = (("WWW-Authenticate", f'Bearer error="{error.error}"'),) if error.status == 401 else ()
    if any(name == "WWW-Authenticate" for name, _ in error.headers):
        authenticate = ()
    return with_headers(response, *authenticate, *error.headers)


def redirect(uri: str) -> Response:
    """Return a redirect to `uri`."""
    return Response(302, b"", None, (("Location", uri), *NO_STORE))


def with_headers(response: Response, *headers: tuple[str, str]) -> Response:
    """Return a response with further header fields."""
    return Response(response.status, response.body, response.content_type, (*response.headers, *headers))


def with_query(uri: str, parameters: Parameters) -> str:
    """Return `uri` with `parameters` added to its query."""
    if not parameters:
        return uri
    joint = "" if uri.endswith(("?", "&")) else "&" if "?" in uri else "?"
    return f"{uri}{joint}{urlencode(parameters)}"


def origin(uri: str) -> tuple[str, str, int] | None:
    """Return the scheme, the host and the port of a URI (RFC 6454, 4); None for another scheme or with a user."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port
