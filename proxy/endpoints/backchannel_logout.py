"""The identity provider says that somebody has logged out (OpenID Connect Back-Channel Logout 1.0, 2.5 to 2.8).

Whatever is wrong is 400 with the same text, as the standard wants it; the log says what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from proxy.errors import BadRequest, PayloadTooLarge
from proxy.exchange import RequestContext
from proxy.http.response import Response, json_response
from proxy.identity.jwks import KeySetUnavailable
from proxy.identity.local import LocalProvider
from proxy.identity.logout import read_logout_token
from proxy.identity.tokens import InvalidToken
from proxy.sessions.store import Session, SessionStore

_FORM = "application/x-www-form-urlencoded"
_LIMIT = 64 * 1024
_MAX_FIELDS = 20


@dataclass(frozen=True, slots=True)
class BackchannelLogout:
    """`auth.backchannel_logout`."""

    provider: LocalProvider
    store: SessionStore

    async def handle(self, context: RequestContext) -> Response:
        """End the sessions that a verified logout token is about. Raises BadRequest, or StoreError."""
        token = await _logout_token(context)
        try:
            logout = await read_logout_token(token, self.provider.tenants.values())
        except (InvalidToken, KeySetUnavailable) as error:
            raise _refused(str(error)) from None
        ended = await self.store.end_by_logout(logout)
        if ended is None:
            raise _refused("the token was used before")
        context.detail = _told(ended)
        return json_response({"status": "logged_out"})


async def _logout_token(context: RequestContext) -> str:
    fields_of = context.head.fields
    kind = (fields_of.value(b"content-type") or "").partition(";")[0].strip().lower()
    if kind != _FORM or fields_of.value(b"content-encoding") is not None:
        raise _refused(f"content-type {kind!r}, and not a plain form")
    try:
        text = (await context.body.read(_LIMIT)).decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except (ValueError, PayloadTooLarge) as error:
        raise _refused(f"not a form: {error}") from None
    found = [value for name, value in fields if name == "logout_token"]
    if len(found) != 1:
        raise _refused(f"{len(found)} fields logout_token")
    return found[0]


def _refused(why: str) -> BadRequest:
    return BadRequest("Logout token not accepted", detail=f"back-channel logout: {why}")


def _told(ended: Sequence[Session]) -> str:
    users = ", ".join(sorted({str(session.user_id) for session in ended})) or "nobody"
    return f"back-channel logout ended {len(ended)} session{'s' * (len(ended) != 1)} of user {users}"
