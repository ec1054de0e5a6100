"""Masks of credentials in a journal or a recording.

A mask is the start of a digest with a key, which is random or follows from a seed. Two equal credentials have equal
masks, so that a test can still compare them; without the key, nobody can find out a weak password by trying.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

from .matching import body_members
from .messages import Request, to_json

EXACT = frozenset({
    "code", "code_verifier", "co_verifier", "oauth_verifier", "key", "sig", "dpop", "otp", "pin", "pwd", "jwt",
    "assertion", "client_assertion", "auth_req_id", "samlresponse",
})  # fmt: skip
PARTS = (
    "authorization", "cookie", "token", "secret", "passw", "passcode", "passphrase", "apikey", "api_key", "api-key",
    "private_key", "signature", "credential", "device_code", "user_code", "oob_code", "binding_code", "recovery_code",
    "login_ticket",
)  # fmt: skip
NO_CREDENTIALS = frozenset({
    "token_type", "token_type_hint", "subject_token_type", "actor_token_type", "requested_token_type",
})  # fmt: skip
IN_RESPONSES = frozenset({
    "password", "client_secret", "refresh_token", "access_token", "id_token", "session_token", "auth0_token",
    "device_code", "user_code", "api_key", "apikey", "secret", "login_ticket", "co_verifier", "mfa_token", "oob_code",
    "recovery_code", "logout_token", "registration_access_token", "private_key", "auth_req_id",
})  # fmt: skip
_START = r"(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f]{2}))"  # a token anywhere would take quadratic time
_TOKEN = re.compile(_START + r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_INPUT = re.compile(r"""(\bname=["']([^"'<>]{1,100})["'][^<>]{0,200}?\bvalue=["'])([^"'<>]+)""")
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?/\S*")
_USER_INFO = re.compile(r"(?<=//)([^/?#@\s:]*):([^/?#@\s]+)@")
MAX_DEPTH = 32
MIN_CREDENTIAL = 8


class Masks:
    """The masks of one journal or recording."""

    def __init__(self, key: bytes | None) -> None:
        """`key` is that of the digests; None: all credentials have the same mask."""
        self._key = key

    @classmethod
    def of_seed(cls, seed: str | None) -> Masks:
        """Return masks that are the same in all runs with a seed; without one they are random."""
        key = (
            secrets.token_bytes(32) if seed is None else hashlib.blake2b(f"mock_server masks {seed}".encode()).digest()
        )
        return cls(key)

    def mask(self, value: str | bytes) -> str:
        """Return the mask of a credential."""
        if self._key is None:
            return "<masked>"
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return f"<masked:{hashlib.blake2b(data, digest_size=6, key=self._key).hexdigest()}>"

    def headers(self, fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
        """Return header fields as text, with their credentials masked; a scheme such as `Bearer` stays."""
        found = []
        for raw_name, raw_value in fields:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if _is_secret(name):
                scheme, blank, rest = value.partition(" ")
                with_scheme = blank and name.endswith("authorization")
                value = f"{scheme} {self.mask(rest)}" if with_scheme else self.mask(value)
            else:
                value = self.text(value)
            found.append((name, value))
        return found

    def query(self, query: str, depth: int = 0) -> str:
        """Return a query with its credentials masked, also those in URLs that are values of parameters."""
        pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")  # other bytes than UTF-8 stay
        masked = [(n, self.mask(v) if _is_secret(n.lower()) else self.text(v, depth + 1)) for n, v in pairs]
        if masked == pairs:  # otherwise the text stays as it is
            return query
        return urlencode(masked, safe="<>:", errors="surrogateescape")

    def text(self, text: str, depth: int = 0) -> str:
        """Return a text with the tokens in it masked, or, if it is a URL, the credentials in its parts."""
        if not _URL.fullmatch(text) or depth > MAX_DEPTH:
            return _TOKEN.sub(lambda found: self.mask(found[0]), text)
        before, mark, fragment = text.partition("#")
        path, question, query = before.partition("?")
        path = _USER_INFO.sub(lambda found: f"{found[1]}:{self.mask(found[2])}@", path)
        return f"{path}{question}{self.query(query, depth)}{mark}{self.query(fragment, depth)}"

    def body(self, body: bytes, content_type: str, members: frozenset[str] | None = None) -> str:
        """Return a body as text, with the credentials in JSON members, form parameters and texts masked."""
        if content_type == "application/x-www-form-urlencoded":
            return self.query(body.decode("utf-8", "replace"))
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            if members is None and _unreadable_secret(body):
                return self.mask(body)
        else:
            changed = self._value(parsed, members)
            if changed != parsed:  # otherwise the bytes stay as they are
                body = to_json(changed)
        text = _INPUT.sub(self._input, body.decode("utf-8", "replace"))
        return _TOKEN.sub(lambda found: self.mask(found[0]), text)

    def _input(self, found: re.Match[str]) -> str:
        """Return a field of a form in HTML with its credential masked, such as a code that a page posts."""
        return found[1] + self.mask(found[3]) if _is_secret(found[2].lower()) else found[0]

    def _value(self, value: Any, members: frozenset[str] | None, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            return "…"
        if isinstance(value, dict):
            return {
                name: self.mask(item)
                if isinstance(item, str) and _is_secret(name.lower(), members)
                else self._value(item, members, depth + 1)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self._value(item, members, depth + 1) for item in value]
        return self.text(value) if isinstance(value, str) else value


def credentials(request: Request) -> set[str]:
    """Return the credentials in a request, as far as they are long enough to be found again in a response."""
    found = {
        v.decode("latin-1").rpartition(" ")[2] for n, v in request.fields if _is_secret(n.decode("latin-1").lower())
    }
    found |= {value for name, value in request.query_pairs if _is_secret(name.lower())}
    found |= set(_secret_values(body_members(request)))
    return {value for value in found if len(value) >= MIN_CREDENTIAL}


def _secret_values(value: Any, depth: int = 0) -> Iterator[str]:
    if depth > MAX_DEPTH:
        return
    for name, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, str) and _is_secret(name.lower()):
            yield item
        yield from _secret_values(item, depth + 1)
    for item in value if isinstance(value, list) else ():
        yield from _secret_values(item, depth + 1)


def _is_secret(name: str, members: frozenset[str] | None = None) -> bool:
    """Return whether a name in lower case is that of a credential: one of a set, or, for requests, a likely one."""
    if members is not None:
        return name in members
    return name in EXACT or (name not in NO_CREDENTIALS and any(part in name for part in PARTS))


def _unreadable_secret(body: bytes) -> bool:
    """Return whether a body that is neither JSON nor a form may contain a credential."""
    lower = body.lower()
    return any(part.encode() in lower for part in PARTS)
