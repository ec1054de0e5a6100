"""What NoETL's sign-in says about users, sessions and access, in any of its forms. Pure.

Releases differ: a user id is a number or a text, roles are a list, JSON or PostgreSQL's `{a,b}`, and the answer is the
data of a callback or stands below it. What can't be read is an error; it never counts as a valid session.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.http.credentials import NOETL_TOKENS
from proxy.http.json import read_json
from proxy.noetl.needs import MAX_ID

_ENVELOPES = ("context", "result", "data", "response", "output")
_MAX_DEPTH = 4
_MAX_ROLES = 200
_MAX_TEXT = 1000
_MAX_REASON = 200
_SHORT_OFFSET = re.compile(r"([+-]\d\d)$")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f]")


class UnreadableAnswer(ValueError):
    """An answer can't be used. The text says what is missing or malformed, without a value of the answer."""


@dataclass(frozen=True, slots=True)
class NoetlUser:
    """A user of NoETL."""

    user_id: int
    email: str
    display_name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoetlSession:
    """A valid session of a user; `expires_at` in seconds since 1970, or None if the answer does not say it."""

    user: NoetlUser
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class NoetlLogin:
    """A new session with its token."""

    token: str
    session: NoetlSession

    def __repr__(self) -> str:
        return f"NoetlLogin({self.session})"


class Refused(Exception):
    """NoETL refuses a login. The text is its reason, which may be sent to the client."""


def find_answer(data: Any, members: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the object in `data` that has one of the members: `data` itself, or what an envelope in it holds.

    Raises UnreadableAnswer.
    """
    level = [data]
    for _ in range(_MAX_DEPTH):
        found = next((each for each in level if isinstance(each, dict) and not each.keys().isdisjoint(members)), None)
        if found is not None:
            return found
        level = [
            inner
            for each in level
            if isinstance(each, dict)
            for name in _ENVELOPES
            if isinstance(inner := each.get(name), dict)
        ]
    raise UnreadableAnswer(f"the answer has none of {', '.join(members)}")


def read_login(data: Any) -> NoetlLogin:
    """Return the session that a login has made.

    Raises:
        Refused: the login was refused.
        UnreadableAnswer: it succeeded, but the answer can't be used.
    """
    answer = find_answer(data, ("status", "session_token"))
    if answer.get("status") != "authenticated":
        raise Refused(reason_of(answer))
    token = answer.get("session_token")
    if not isinstance(token, str) or not NOETL_TOKENS.fullmatch(token):
        raise UnreadableAnswer("session_token is missing or malformed")
    return NoetlLogin(token, NoetlSession(read_user(answer.get("user")), _time(answer.get("expires_at"))))


def read_validation(data: Any) -> NoetlSession | None:
    """Return the session that was validated, or None if it is not valid. Raises UnreadableAnswer."""
    answer = find_answer(data, ("valid",))
    if answer["valid"] is not True:
        if answer["valid"] is not False:
            raise UnreadableAnswer("valid is not true or false")
        return None
    return NoetlSession(read_user(answer.get("user")), _time(answer.get("expires_at")))


def read_access(data: Any) -> tuple[bool, str]:
    """Return whether access is allowed, and NoETL's message. What is malformed does not allow it."""
    try:
        answer = find_answer(data, ("allowed",))
    except UnreadableAnswer:
        return False, "NoETL has sent no decision"
    return answer["allowed"] is True, reason_of(answer, without="")


def reason_of(answer: Any, without: str = "Authentication failed") -> str:
    """Return the reason in an answer, as clients know it: `message: error`."""
    parts = [answer.get(name) for name in ("message", "error")] if isinstance(answer, dict) else []
    texts = [" ".join(_UNUSABLE.sub(" ", part).split()) for part in parts if isinstance(part, str) and part.strip()]
    return ": ".join(dict.fromkeys(texts))[:_MAX_REASON] or without


def read_user(value: Any) -> NoetlUser:
    """Return a user. Raises UnreadableAnswer."""
    if not isinstance(value, dict):
        raise UnreadableAnswer("user is missing")
    user_id = value.get("user_id", value.get("id"))
    if isinstance(user_id, str) and user_id.isascii() and user_id.isdigit():
        user_id = int(user_id)
    if type(user_id) is not int or not 0 < user_id <= MAX_ID:
        raise UnreadableAnswer("user.user_id is not a positive number")
    email = value.get("email")
    if email is not None and not isinstance(email, str):
        raise UnreadableAnswer("user.email is not a text")
    email = _text(email)
    name = _text(value.get("display_name")) or _text(value.get("name")) or email or str(user_id)
    return NoetlUser(user_id, email, name, read_roles(value.get("roles")))


def read_roles(value: Any) -> tuple[str, ...]:
    """Return roles given as a list, as JSON, as PostgreSQL's array or as one name. Raises UnreadableAnswer."""
    if isinstance(value, str):
        value = _listed_roles(value.strip())
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_ROLES or not all(isinstance(role, str) for role in value):
        raise UnreadableAnswer("user.roles is not a list of names")
    return tuple(dict.fromkeys(_text(role) for role in value if role.strip()))


def _listed_roles(text: str) -> Any:
    if text.startswith("{"):
        if not text.endswith("}"):
            raise UnreadableAnswer("user.roles is a malformed array")
        try:
            rows = list(csv.reader([text[1:-1]], escapechar="\\", strict=True))
        except csv.Error:
            raise UnreadableAnswer("user.roles is a malformed array") from None
        return [name.strip() for row in rows for name in row if name != "NULL"]
    if text.startswith("["):
        try:
            return read_json(text.encode())
        except (ValueError, RecursionError):
            raise UnreadableAnswer("user.roles is malformed JSON") from None
    return [text]


def _text(value: Any) -> str:
    return _UNUSABLE.sub(" ", value).strip()[:_MAX_TEXT] if isinstance(value, str) else ""


def _time(value: Any) -> float | None:
    """Return a time as seconds since 1970; one without offset is UTC. Raises UnreadableAnswer."""
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11:
        return float(value)
    if not isinstance(value, str):
        raise UnreadableAnswer("expires_at is not a time")
    try:
        found = datetime.fromisoformat(_SHORT_OFFSET.sub(r"\1:00", value.strip()) if " " in value.strip() else value)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise UnreadableAnswer("expires_at is not a time") from None
