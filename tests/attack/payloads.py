"""What an attack on the framing of requests is made of: bytes to send, and what must become of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

AUTH = b"authorization: Bearer TOKEN"
HOST = b"host: gateway.test"
SMUGGLED = b"GET /api/smuggled HTTP/1.1\r\nhost: gateway.test\r\nx-user-id: 666\r\n\r\n"
"""What an attacker wants the upstream to take for a request of its own."""


class Must(StrEnum):
    """What must become of a payload, whatever the corpus says besides."""

    REFUSED = "refused"
    ONE = "one request, as it was read"
    ANY = "refused, or one request for each that was read"


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes of one client; `TOKEN` stands for the session."""

    group: str
    name: str
    data: bytes
    must: Must = Must.REFUSED


def head(
    start: bytes = b"POST /noetl/things HTTP/1.1",
    *lines: bytes,
    host: bytes = HOST,
    auth: bytes = AUTH,
    end: bytes = b"\r\n",
) -> bytes:
    """A request's head."""
    return b"".join(line + end for line in (start, *filter(None, (host, auth)), *lines)) + end


def chunked(*parts: bytes, trailers: bytes = b"") -> bytes:
    """A body in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return body + b"0\r\n" + trailers + b"\r\n"


def framed(*lines: bytes, body: bytes = b"") -> bytes:
    """A POST with these framing fields and this body."""
    return head(b"POST /noetl/things HTTP/1.1", *lines) + body


CL = b"content-length: %d"
TE = b"transfer-encoding: chunked"
INNER_CHUNKED = b"0\r\n\r\n" + SMUGGLED
