"""All errors that clients receive, with their status and public text.

    GatewayError
    ├── BadRequest            400
    ├── Unauthorized          401   carries `www-authenticate: Bearer`
    ├── Forbidden             403
    ├── NotFound              404
    ├── MethodNotAllowed      405   carries `allow`
    ├── NotAcceptable         406
    ├── RequestTimeout        408
    ├── Conflict              409
    ├── PayloadTooLarge       413
    ├── UriTooLong            414
    ├── UnsupportedMediaType  415
    ├── UpgradeRequired       426   carries `sec-websocket-version`
    ├── TooManyRequests       429   carries `retry-after`
    ├── HeadTooLarge          431
    ├── InternalError         500
    ├── BadGateway            502
    ├── Unavailable           503   carries `retry-after`
    └── GatewayTimeout        504

The public text never contains internal details. `detail` is for the log line with the same request id only.
"""

from __future__ import annotations

from typing import ClassVar


class GatewayError(Exception):
    """An error response. `status`, `code` (GraphQL's `extensions.code`) and `text` are public."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL"
    default_text: ClassVar[str] = "Internal server error"
    denied: ClassVar[bool] = False
    """Whether access rules, or what a session is bound to, refused the request: an entry of the audit log."""

    def __init__(self, text: str | None = None, *, detail: str = "", headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.text = text or self.default_text
        self.detail = detail
        self.headers = headers
        self.user_id: int | None = None
        """The user whom a guard refused, for the log."""
        super().__init__(self.text)


class BadRequest(GatewayError):
    """The request is malformed: invalid JSON, a wrong type, a missing field or an invalid path."""

    status = 400
    code = "BAD_USER_INPUT"
    default_text = "Bad request"


class Unauthorized(GatewayError):
    """There is no valid session, or the verification of the token failed (RFC 6750, 3)."""

    status = 401
    code = "UNAUTHENTICATED"
    default_text = "Invalid or expired session"

    def __init__(self, text: str | None = None, *, detail: str = "") -> None:
        super().__init__(text, detail=detail, headers=(("www-authenticate", "Bearer"),))


class Forbidden(GatewayError):
    """The user is signed in, but no access rule allows the request."""

    status = 403
    code = "FORBIDDEN"
    denied = True
    default_text = "Forbidden"


class NotFound(GatewayError):
    """The route, playbook or execution does not exist."""

    status = 404
    code = "NOT_FOUND"
    default_text = "Not found"


class MethodNotAllowed(GatewayError):
    """The path exists, but does not accept the method (RFC 9110, 15.5.6)."""

    status = 405
    code = "BAD_USER_INPUT"
    default_text = "Method not allowed"

    def __init__(self, allow: tuple[str, ...], *, detail: str = "") -> None:
        super().__init__(detail=detail, headers=(("allow", ", ".join(allow)),))


class NotAcceptable(GatewayError):
    """The client accepts none of the media types of GraphQL responses (RFC 9110, 15.5.7)."""

    status = 406
    code = "BAD_USER_INPUT"
    default_text = "Answers are application/json or application/graphql-response+json"


class RequestTimeout(GatewayError):
    """The request head or the body did not arrive in time."""

    status = 408
    code = "BAD_USER_INPUT"
    default_text = "Request too slow"


class Conflict(GatewayError):
    """There is a stream, or an operation on it, of this name already (RFC 9110, 15.5.10)."""

    status = 409
    code = "BAD_USER_INPUT"
    default_text = "There is one already"


class PayloadTooLarge(GatewayError):
    """The request body is larger than the route allows."""

    status = 413
    code = "LIMIT_EXCEEDED"
    default_text = "Request body too large"


class UriTooLong(GatewayError):
    """The request target is longer than the limit on the request head."""

    status = 414
    code = "LIMIT_EXCEEDED"
    default_text = "Request target too long"


class UnsupportedMediaType(GatewayError):
    """The body must be JSON, but has another media type."""

    status = 415
    code = "BAD_USER_INPUT"
    default_text = "Send the body as content-type: application/json"


class UpgradeRequired(GatewayError):
    """A WebSocket handshake of a version that is not served (RFC 6455, 4.4)."""

    status = 426
    code = "BAD_USER_INPUT"
    default_text = "WebSocket version 13 is needed"

    def __init__(self, text: str | None = None, *, detail: str = "") -> None:
        fields = (("sec-websocket-version", "13"), ("upgrade", "websocket"), ("connection", "upgrade"))
        super().__init__(text, detail=detail, headers=fields)


class TooManyRequests(GatewayError):
    """A rate limit or a login delay applies to the request."""

    status = 429
    code = "LIMIT_EXCEEDED"
    default_text = "Too many requests"

    def __init__(
        self,
        retry_after: int,
        *,
        text: str | None = None,
        detail: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(text, detail=detail, headers=(("retry-after", str(retry_after)), *headers))


class HeadTooLarge(GatewayError):
    """The request head is larger, or has more header fields, than the configuration allows."""

    status = 431
    code = "LIMIT_EXCEEDED"
    default_text = "Request head too large"


class InternalError(GatewayError):
    """An unexpected error of the gateway; the log contains the traceback under the request id."""


class BadGateway(GatewayError):
    """The upstream is unreachable, closed the connection, or sent an invalid response."""

    status = 502
    code = "UPSTREAM_UNAVAILABLE"
    default_text = "NoETL server unreachable"

    def __init__(self, text: str | None = None, *, detail: str = "", cause: str = "invalid response") -> None:
        """Make the error; `cause` says in a few words, without an address, why: for the readiness check."""
        self.cause = cause
        super().__init__(text, detail=detail)


class Unavailable(GatewayError):
    """A limit on connections or waiting requests was reached, or a service that the response needs is unavailable."""

    status = 503
    code = "UPSTREAM_UNAVAILABLE"
    default_text = "Service unavailable"

    def __init__(self, text: str | None = None, *, retry_after: int = 5, detail: str = "") -> None:
        super().__init__(text, detail=detail, headers=(("retry-after", str(retry_after)),))


class GatewayTimeout(GatewayError):
    """The upstream did not respond within the deadline."""

    status = 504
    code = "UPSTREAM_TIMEOUT"
    default_text = "NoETL server did not answer in time"


def known_errors() -> tuple[type[GatewayError], ...]:
    """Return every error class, by status, for the reference page."""
    return tuple(sorted(GatewayError.__subclasses__(), key=lambda kind: kind.status))
