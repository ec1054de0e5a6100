"""`/authorize` and the login form: check the request, sign the user in, and redirect to the application.

A request with an invalid client or redirect URI gets an error page. All other errors are sent to the application by a
redirect, because its redirect URI is then known to be valid (RFC 6749, 4.1.2.1).
"""

from __future__ import annotations

import re
import secrets
import time
from urllib.parse import urlencode

from aiohttp import web

from .messages import OAuthError, PageError, Parameters, form_parameters, read_parameters, redirect, with_query
from .pages import form_post_page, login_page, web_message_page
from .state import SESSION_SECONDS, Authorization, Code, Session
from .tenant import AuthorizeRequest, Tenant
from .tokens import IMPLICIT_ACCESS_TOKEN_SECONDS
from .users import Client, Grant

COOKIE = "auth0"
DEFAULT_SCOPE = ("openid", "profile", "email")
RESPONSE_TYPES = frozenset(frozenset(kind.split()) for kind in ("code", "id_token", "token", "id_token token"))
RESPONSE_MODES = frozenset({"query", "fragment", "form_post", "web_message"})
PROMPTS = frozenset({"none", "login", "consent", "select_account"})
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class RedirectError(Exception):
    """An error that is sent to the application by a redirect of the browser."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


def parse_scope(text: str | None) -> tuple[str, ...]:
    """Return the requested scopes without duplicates, in order; without any, the default scopes."""
    return tuple(dict.fromkeys(text.split())) if text and text.strip() else DEFAULT_SCOPE


async def authorize(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `GET /authorize`."""
    try:
        parameters = form_parameters(request.rel_url.raw_query_string)
    except OAuthError as error:
        raise PageError(error.description) from None
    client, redirect_uri = _destination(tenant, parameters)
    try:
        authorization = _validate(client, redirect_uri, parameters)
        session = _usable_session(tenant, request, authorization)
    except RedirectError as error:
        result = {"error": error.error, "error_description": error.description}
        mode = _mode_for_errors(parameters)
        return _deliver(mode, redirect_uri, result, parameters.get("state"))
    if session is None:
        transaction = tenant.transactions.add(authorization)
        return _login_form(tenant, transaction, authorization, username=authorization.login_hint)
    return _complete(tenant, authorization, session)


async def login(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `POST /u/login`: the form with `state`, `username` and `password`."""
    try:
        parameters = await read_parameters(request)
    except OAuthError as error:
        raise PageError(error.description, error.status) from None
    transaction = parameters.get("state", "")
    authorization = tenant.transactions.get(transaction)
    if authorization is None:
        raise PageError("This sign-in has expired or is already done. Go back to the application and start again.")
    username = parameters.get("username", "")
    user = tenant.directory.authenticate(username, parameters.get("password", ""))
    if user is None:
        return _login_form(tenant, transaction, authorization, username=username, error="Wrong email or password.")
    tenant.transactions.pop(transaction)
    tenant.sessions.pop(request.cookies.get(COOKIE, ""))
    cookie, session = tenant.open_session(user)
    response = _complete(tenant, authorization, session)
    response.set_cookie(COOKIE, cookie, max_age=int(SESSION_SECONDS), path="/", httponly=True, samesite="Lax")
    return response


def _login_form(
    tenant: Tenant, transaction: str, authorization: AuthorizeRequest, *, username: str, error: str = ""
) -> web.Response:
    emails = [user.email for user in tenant.directory.users.values()]
    return login_page(
        transaction, authorization.client.name, authorization.redirect_uri, emails, username=username, error=error
    )


def _destination(tenant: Tenant, parameters: Parameters) -> tuple[Client, str]:
    client = tenant.directory.clients.get(parameters.get("client_id", ""))
    if client is None:
        raise PageError("Unknown client: the application is not registered here.")
    redirect_uri = parameters.get("redirect_uri", "")
    if not redirect_uri:
        raise PageError("The redirect_uri is missing.")
    if not client.accepts_redirect(redirect_uri):
        raise PageError(f"Callback URL mismatch: {redirect_uri} is not on the application's list.")
    return client, redirect_uri


def _mode_for_errors(parameters: Parameters) -> str:
    implicit = bool({"token", "id_token"} & set(parameters.get("response_type", "").split()))
    mode = parameters.get("response_mode", "")
    if mode not in RESPONSE_MODES or (implicit and mode == "query"):
        return "fragment" if implicit else "query"
    return mode


def _validate(client: Client, redirect_uri: str, parameters: Parameters) -> AuthorizeRequest:
    types = frozenset(parameters.get("response_type", "").split())
    if not types:
        raise RedirectError("invalid_request", "Missing required parameter: response_type")
    if types not in RESPONSE_TYPES:
        raise RedirectError("unsupported_response_type", "Unsupported response type")
    if (Grant.CODE if "code" in types else Grant.IMPLICIT) not in client.grants:
        raise RedirectError("unauthorized_client", "The client may not use this response type")
    scope = parse_scope(parameters.get("scope"))
    nonce = parameters.get("nonce")
    if "id_token" in types and not nonce:
        raise RedirectError("invalid_request", "Missing required parameter: nonce")
    if "id_token" in types and "openid" not in scope:
        raise RedirectError("invalid_scope", "An id_token needs the scope openid")
    return AuthorizeRequest(
        client=client,
        redirect_uri=redirect_uri,
        response_types=types,
        response_mode=_response_mode(types, parameters.get("response_mode")),
        scope=scope,
        prompt=_prompt(parameters.get("prompt", "")),
        audience=parameters.get("audience"),
        state=parameters.get("state"),
        nonce=nonce,
        challenge=_challenge(client, types, parameters),
        max_age=_max_age(parameters.get("max_age")),
        login_hint=parameters.get("login_hint", ""),
    )


def _response_mode(types: frozenset[str], mode: str | None) -> str:
    if mode is None:
        return "query" if types == {"code"} else "fragment"
    if mode not in RESPONSE_MODES:
        raise RedirectError("invalid_request", "Unknown response_mode")
    if mode == "query" and types != {"code"}:
        raise RedirectError("invalid_request", "response_mode query may not carry tokens")
    return mode


def _prompt(text: str) -> frozenset[str]:
    prompt = frozenset(text.split())
    if not prompt <= PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise RedirectError("invalid_request", "Unknown or contradictory prompt")
    return prompt


def _max_age(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise RedirectError("invalid_request", "max_age must be a number of seconds")
    return int(text)


def _challenge(client: Client, types: frozenset[str], parameters: Parameters) -> str | None:
    challenge = parameters.get("code_challenge")
    if "code" not in types:
        return None
    if challenge is None:
        if client.public or "code_challenge_method" in parameters:
            raise RedirectError("invalid_request", "Missing required parameter: code_challenge")
        return None
    if parameters.get("code_challenge_method") != "S256":
        raise RedirectError("invalid_request", "code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(challenge):
        raise RedirectError("invalid_request", "code_challenge must be a SHA-256 in base64url")
    return challenge


def _usable_session(tenant: Tenant, request: web.BaseRequest, authorization: AuthorizeRequest) -> Session | None:
    session = tenant.sessions.get(request.cookies.get(COOKIE, ""))
    if session and authorization.max_age is not None and time.time() - session.auth_time >= authorization.max_age:
        session = None
    if "none" in authorization.prompt and session is None:
        raise RedirectError("login_required", "Login required")
    return None if authorization.prompt & {"login", "select_account"} else session


def _complete(tenant: Tenant, authorization: AuthorizeRequest, session: Session) -> web.Response:
    grant = Authorization(
        client_id=authorization.client.client_id,
        subject=session.subject,
        scope=authorization.scope,
        audience=authorization.audience,
        nonce=authorization.nonce,
        sid=session.sid,
        auth_time=session.auth_time if authorization.max_age is not None else None,
    )
    result: dict[str, str] = {}
    access_token: str | None = None
    if "code" in authorization.response_types:
        code = Code(grant, authorization.redirect_uri, authorization.challenge, family=secrets.token_urlsafe(16))
        result["code"] = tenant.codes.add(code)
    if "token" in authorization.response_types:
        access_token = tenant.minter.access_token(grant, IMPLICIT_ACCESS_TOKEN_SECONDS)
        result |= {
            "access_token": access_token,
            "scope": " ".join(grant.scope),
            "expires_in": str(IMPLICIT_ACCESS_TOKEN_SECONDS),
            "token_type": "Bearer",
        }
    if "id_token" in authorization.response_types:
        result["id_token"] = tenant.minter.id_token(tenant.user_of(grant), grant, access_token)
    return _deliver(authorization.response_mode, authorization.redirect_uri, result, authorization.state)


def _deliver(mode: str, redirect_uri: str, result: dict[str, str], state: str | None) -> web.Response:
    parameters = result if state is None else {**result, "state": state}
    match mode:
        case "form_post":
            return form_post_page(redirect_uri, parameters)
        case "web_message":
            return web_message_page(redirect_uri, parameters)
        case "fragment":
            return redirect(f"{redirect_uri}#{urlencode(parameters)}")
        case _:
            return redirect(with_query(redirect_uri, parameters))
