"""Logout of a user everywhere: end the browser sessions, and send a logout token to every registered application.

A logout token (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.5) is posted to the `backchannel_logout_uri`. Refresh
tokens stay valid. As in the dashboard of a tenant, any user can be named, without authentication: this is a sandbox.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from mock_server.messages import Request, Response

from .directory import Client, User
from .messages import PageError, json_response, page_parameters
from .rendering import SHOWN_GENERATED, SHOWN_USERS, page
from .tenant import Tenant

PATH = "/u/logout-everywhere"
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LogoutResult:
    """The response of an application to a logout token; status 0 means that it could not be reached."""

    client_id: str
    uri: str
    status: int


def show(tenant: Tenant, request: Request) -> Response:
    """Serve `GET`: a page with a button for each user."""
    users = list(tenant.directory.shown_users(SHOWN_USERS, SHOWN_GENERATED))
    return page("everywhere.html", form_action="'self'", users=users, action=PATH)


async def log_out(tenant: Tenant, request: Request) -> Response:
    """Serve `POST` with `email`: a page for browsers, JSON for other clients."""
    parameters = page_parameters(request)
    user = tenant.directory.by_email(parameters.get("email", ""))
    if user is None:
        raise PageError("There is no user with this email address.", 404)
    ended = tenant.sessions.remove(lambda session: session.subject == user.subject)
    results = await _notify(tenant, user)
    if "text/html" in request.headers.get("accept", ""):
        return page("logged_out_everywhere.html", email=user.email, ended=ended, results=results)
    answers = [{"client_id": one.client_id, "uri": one.uri, "status": one.status} for one in results]
    return json_response({"email": user.email, "ended": ended, "notified": answers})


async def _notify(tenant: Tenant, user: User) -> list[LogoutResult]:
    clients = [client for client in tenant.directory.clients.values() if client.backchannel_logout_uri]
    async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as http:
        return list(await asyncio.gather(*(_post(http, tenant, user, client) for client in clients)))


async def _post(http: httpx.AsyncClient, tenant: Tenant, user: User, client: Client) -> LogoutResult:
    uri = client.backchannel_logout_uri or ""
    form = {"logout_token": tenant.minter.logout_token(tenant.directory, user.subject, client.client_id)}
    try:
        async with asyncio.timeout(_SECONDS):
            answer = await http.post(uri, data=form)
        return LogoutResult(client.client_id, uri, answer.status_code)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return LogoutResult(client.client_id, uri, 0)
