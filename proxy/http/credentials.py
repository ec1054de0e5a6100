"""Which session token a request carries: bearer, then header, then cookie. Pure.

The first carrier with a well-formed token counts; an empty or malformed one counts as absent. A session cookie may come
several times, in one field or in several; then each of its values is tried. The gateway's own tokens are 32 lower-case
hexadecimal characters; those that NoETL makes may have another form.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

OWN_TOKENS = re.compile(r"[0-9a-f]{32}")
NOETL_TOKENS = re.compile(r"[A-Za-z0-9_~+/=-]{16,256}")
"""The forms of session tokens: those of the gateway, and those of NoETL. Neither form fits a JSON Web Token."""
TokenForm = re.Pattern[str]
_MAX_COOKIES = 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """The session tokens of a request, as keys of the session store.

    `keys` are tried in order; `tokens` has the token of each. `cookie_keys` are those of its session cookies, also if
    another carrier counts; `has_cookie`: a session cookie is there, whatever its value. `presented`: some carrier is
    there, also if no token in it is well formed.
    """

    keys: tuple[bytes, ...]
    cookie_keys: tuple[bytes, ...]
    has_cookie: bool
    presented: bool
    tokens: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @property
    def by_cookie(self) -> bool:
        """Whether a cookie signs the request in, which a browser sends for any page."""
        return bool(self.keys) and self.keys is self.cookie_keys


def credentials_of(key: bytes | None) -> Credentials:
    """Return the credentials of a request that names one session by its key; None if there is no such session."""
    return NOBODY if key is None else Credentials((key,), (), has_cookie=False, presented=True, tokens=("",))


def named_session(token: str, form: TokenForm) -> Credentials:
    """Return the credentials of a request that names one session by its token, outside the usual carriers."""
    key = key_of(token, form)
    return NOBODY if key is None else Credentials((key,), (), has_cookie=False, presented=True, tokens=(token,))


def ticket_key(ticket: str) -> bytes:
    """Return the key under which a ticket is stored: its SHA-256."""
    return hashlib.sha256(ticket.encode()).digest()


def bearers(authorization: Sequence[str]) -> list[str]:
    """Return the tokens in the values of `Authorization` fields (RFC 6750, 2.1)."""
    return [value[7:] for value in authorization if value[:7].lower() == "bearer "]


NO_CREDENTIALS = Credentials((), (), has_cookie=False, presented=False)
NOBODY = Credentials((), (), has_cookie=False, presented=True)
"""No carrier, and only malformed ones."""


def key_of(token: str, form: TokenForm = OWN_TOKENS) -> bytes | None:
    """Return the key under which the session of a token is stored: its SHA-256; None if the text is not a token."""
    return hashlib.sha256(token.encode("ascii")).digest() if form.fullmatch(token) else None


def read_credentials(
    authorization: Sequence[str],
    session_token: Sequence[str],
    cookies: Sequence[str],
    cookie_name: str | None,
    form: TokenForm = OWN_TOKENS,
) -> Credentials:
    """Return the session tokens in the values of `Authorization`, `X-Session-Token` and `Cookie` fields.

    `cookie_name` is None where session cookies are not enabled.
    """
    carried = [text for value in (*bearers(authorization), *session_token) if (text := value.strip())]
    values = [] if cookie_name is None else cookie_values(cookies, cookie_name)
    by_cookie = {key: value for value in values[:_MAX_COOKIES] if (key := key_of(value, form)) is not None}
    cookie_keys = tuple(by_cookie)
    first = next(((key, text) for text in carried if (key := key_of(text, form)) is not None), None)
    keys, tokens = (cookie_keys, tuple(by_cookie.values())) if first is None else ((first[0],), (first[1],))
    return Credentials(keys, cookie_keys, has_cookie=bool(values), presented=bool(carried or values), tokens=tokens)


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
