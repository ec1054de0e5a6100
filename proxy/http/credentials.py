"""Which session token a request carries: bearer, then header, then cookie. Pure.

The first carrier with a well-formed token counts; an empty or malformed one counts as absent. A session cookie may come
several times, in one field or in several; then each of its values is tried.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = re.compile(r"[0-9a-f]{32}")
_MAX_COOKIES = 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """The session tokens of a request, as keys of the session store.

    `keys` are tried in order. `cookie_keys` are those of its session cookies, also if another carrier counts;
    `has_cookie`: a session cookie is there, whatever its value. `presented`: some carrier is there, also if no token in
    it is well formed.
    """

    keys: tuple[bytes, ...]
    cookie_keys: tuple[bytes, ...]
    has_cookie: bool
    presented: bool

    @property
    def by_cookie(self) -> bool:
        """Whether a cookie signs the request in, which a browser sends for any page."""
        return bool(self.keys) and self.keys is self.cookie_keys


def credentials_of(key: bytes | None) -> Credentials:
    """Return the credentials of a request that names one session; `key` is None if there is none of that name."""
    return Credentials(() if key is None else (key,), (), has_cookie=False, presented=True)


def ticket_key(ticket: str) -> bytes:
    """Return the key under which a ticket is stored: its SHA-256."""
    return hashlib.sha256(ticket.encode()).digest()


def bearers(authorization: Sequence[str]) -> list[str]:
    """Return the tokens in the values of `Authorization` fields (RFC 6750, 2.1)."""
    return [value[7:] for value in authorization if value[:7].lower() == "bearer "]


NO_CREDENTIALS = Credentials((), (), has_cookie=False, presented=False)


def key_of(token: str) -> bytes | None:
    """Return the key under which the session of a token is stored; None if the text is not a session token.

    A token is 32 lower-case hexadecimal characters; its key is its SHA-256.
    """
    return hashlib.sha256(token.encode("ascii")).digest() if _TOKEN.fullmatch(token) else None


def read_credentials(
    authorization: Sequence[str], session_token: Sequence[str], cookies: Sequence[str], cookie_name: str | None
) -> Credentials:
    """Return the session tokens in the values of `Authorization`, `X-Session-Token` and `Cookie` fields.

    `cookie_name` is None where session cookies are not enabled.
    """
    carried = [text for value in (*bearers(authorization), *session_token) if (text := value.strip())]
    values = [] if cookie_name is None else cookie_values(cookies, cookie_name)
    cookie_keys = tuple(dict.fromkeys(key for value in values[:_MAX_COOKIES] if (key := key_of(value)) is not None))
    first = next((key for text in carried if (key := key_of(text)) is not None), None)
    keys = cookie_keys if first is None else (first,)
    return Credentials(keys, cookie_keys, has_cookie=bool(values), presented=bool(carried or values))


def cookie_values(cookies: Sequence[str], name: str) -> list[str]:
    """Return the values of one cookie in the values of `Cookie` fields, without quotes (RFC 6265, 5.4)."""
    pairs = (pair.partition("=") for value in cookies for pair in value.split(";"))
    return [value.strip().strip('"') for found, _, value in pairs if found.strip() == name]


def without_cookie(value: bytes, name: bytes) -> bytes:
    """Return the value of a `Cookie` field without one cookie; unchanged if that cookie is not in it."""
    if name not in value:
        return value
    pairs = [pair.strip() for pair in value.split(b";")]
    others = [pair for pair in pairs if pair.partition(b"=")[0].strip() != name]
    return value if len(others) == len(pairs) else b"; ".join(pair for pair in others if pair)


def sets_cookie(value: bytes, name: bytes) -> bool:
    """Return whether the value of a `Set-Cookie` field makes browsers send a cookie of this name (RFC 6265, 5.2).

    A cookie without a name is sent as its value alone, which may look like `name=value` (RFC 6265bis, 5.8.3).
    """
    pair = value.partition(b";")[0].strip(b" \t=")
    return pair.partition(b"=")[0].strip() == name
