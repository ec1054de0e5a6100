"""Devices that sign in by a code on another screen (RFC 8628): `/oauth/device/code` and `/activate`."""

from __future__ import annotations

from mock_server.messages import Request, Response

from . import sign_in
from .browser import session_of
from .client_auth import authenticate
from .directory import Client, Grant
from .messages import OAuthError, json_response, page_parameters, query_parameters, read_parameters
from .rendering import page
from .scopes import parse_scope
from .state import Authorization
from .tenant import DeviceGrant, Tenant

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_HALF = 4


def begin(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /oauth/device/code` (RFC 8628, 3.2)."""
    parameters = read_parameters(request)
    client = authenticate(tenant, request, parameters)
    if Grant.DEVICE not in client.grants:
        raise OAuthError(403, "unauthorized_client", f"Grant type '{Grant.DEVICE}' not allowed for the client.")
    audience = parameters.get("audience")
    scope = tenant.granted_scope(client, parse_scope(parameters.get("scope")), audience)
    lifetimes = tenant.directory.lifetimes
    code = "".join(tenant.source.choice(_LETTERS) for _ in range(2 * _HALF))
    grant = DeviceGrant(
        client, scope, audience, f"{code[:_HALF]}-{code[_HALF:]}", tenant.clock.now() + lifetimes.device_code
    )
    # Kept longer than it is valid, so that the device learns that it has expired.
    device_code = tenant.devices.add(grant, 2 * lifetimes.device_code)
    tenant.user_codes.put(code, grant, lifetimes.device_code)
    address = f"{tenant.issuer}activate"
    return json_response(
        {
            "device_code": device_code,
            "user_code": grant.user_code,
            "verification_uri": address,
            "expires_in": lifetimes.device_code,
            "interval": lifetimes.device_interval,
            "verification_uri_complete": f"{address}?user_code={grant.user_code}",
        }
    )


def grant_of(tenant: Tenant, client: Client, device_code: str) -> Authorization:
    """Return what a user has allowed a device.

    Raises:
        OAuthError: the user has not decided yet or refused, the code has expired, or the device polls too often.
    """
    found = tenant.devices.get(device_code)
    if found is None or found.client.client_id != client.client_id:
        raise OAuthError(403, "invalid_grant", "Invalid or expired device code.")
    now = tenant.clock.now()
    last, found.polled_at = found.polled_at, now
    if now >= found.expires_at:
        raise OAuthError(403, "expired_token", "The device code has expired.")
    if found.denied:
        tenant.devices.pop(device_code)
        raise OAuthError(403, "access_denied", "User cancelled the confirmation prompt.")
    if found.session is None:
        # A little earlier than the interval is accepted, as the network is not even.
        if now - last < 0.8 * tenant.directory.lifetimes.device_interval:
            raise OAuthError(429, "slow_down", "You are polling faster than the specified interval.")
        raise OAuthError(403, "authorization_pending", "User has yet to authorize device code.")
    tenant.devices.pop(device_code)
    return Authorization(
        client_id=client.client_id,
        subject=found.session.subject,
        scope=found.scope,
        audience=found.audience,
        sid=found.session.sid,
    )


def show(tenant: Tenant, request: Request) -> Response:
    """Serve `GET /activate`: the form for the code, or, with `user_code`, what comes after it."""
    code = query_parameters(request).get("user_code", "")
    return _activate(tenant, request, code) if code else page("activate.html", form_action="'self'", error="", code="")


def activate(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /activate`: the form with `user_code`."""
    return _activate(tenant, request, page_parameters(request).get("user_code", ""))


def _activate(tenant: Tenant, request: Request, text: str) -> Response:
    code = "".join(text.upper().replace("-", " ").split())
    grant = tenant.user_codes.get(code)
    if grant is None or grant.session is not None or grant.denied:
        problem = "This code is not valid, or it has expired."
        return page("activate.html", status=400, form_action="'self'", error=problem, code=text)
    session = session_of(tenant, request)
    return (
        sign_in.ask_to_sign_in(tenant, request, grant) if session is None else sign_in.proceed(tenant, grant, session)
    )
