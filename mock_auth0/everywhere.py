"""Logout of a user everywhere: end the browser sessions, and send a logout token to every registered application.

A logout token (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.5) is posted to the `backchannel_logout_uri`. Refresh
tokens stay valid. As in the dashboard of a tenant, any user can be named, without authentication: this is a sandbox.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from .messages import OAuthError, PageError, json_response, read_parameters
from .pages import everywhere_page, logout_results_page
from .tenant import Tenant
from .users import Client, User

PATH = "/u/logout-everywhere"
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LogoutResult:
    """The response of an application to a logout token; status 0 means that it could not be reached."""

    client_id: str
    uri: str
    status: int


async def show(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `GET`: a page with a button for each user."""
    return everywhere_page(PATH, [user.email for user in tenant.directory.users.values()])


async def log_out(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `POST` with `email`: a page for browsers, JSON for other clients."""
    html = "text/html" in request.headers.get("Accept", "")
    try:
        parameters = await read_parameters(request)
    except OAuthError as error:
        raise PageError(error.description, error.status) from None
    user = tenant.directory.by_email(parameters.get("email", ""))
    if user is None:
        raise PageError("There is no user with this email address.", 404)
    ended = tenant.sessions.remove(lambda session: session.subject == user.subject)
    results = await _notify(tenant, user)
    if html:
        return logout_results_page(user.email, ended, [(one.client_id, one.uri, one.status) for one in results])
    answers = [{"client_id": one.client_id, "uri": one.uri, "status": one.status} for one in results]
    return json_response({"email": user.email, "ended": ended, "notified": answers})


async def _notify(tenant: Tenant, user: User) -> list[LogoutResult]:
    clients = [client for client in tenant.directory.clients.values() if client.backchannel_logout_uri]
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        return list(await asyncio.gather(*(_post(http, tenant, user, client) for client in clients)))


async def _post(http: aiohttp.ClientSession, tenant: Tenant, user: User, client: Client) -> LogoutResult:
    uri = client.backchannel_logout_uri or ""
    form = {"logout_token": tenant.minter.logout_token(user.subject, client.client_id)}
    try:
        async with http.post(uri, data=form, allow_redirects=False) as answer:
            return LogoutResult(client.client_id, uri, answer.status)
    except (aiohttp.ClientError, TimeoutError):
        return LogoutResult(client.client_id, uri, 0)
