"""Signing in: the login page, the consent page, and what comes after them."""

from __future__ import annotations

from typing import Any

from mock_server.messages import Request, Response

from .authorize import complete, parse_request, refuse
from .browser import COOKIE, browser_of, check_browser, session_of, with_browser, with_session
from .directory import Directory, User
from .messages import PageError, page_parameters, query_parameters
from .rendering import SHOWN_GENERATED, SHOWN_USERS, message_page, origin_of, page
from .state import Session
from .tenant import AuthorizeRequest, Decision, DeviceGrant, Login, Tenant, Transaction

SCOPES = {
    "openid": "your user id",
    "profile": "your name",
    "email": "your e-mail address",
    "offline_access": "access while you are away",
}


def authorize(tenant: Tenant, request: Request) -> Response:
    """Serve `GET /authorize`."""
    parsed = parse_request(tenant, request)
    if isinstance(parsed, Response):
        return parsed
    ticket = query_parameters(request).get("login_ticket")
    if ticket is not None:
        return _with_ticket(tenant, request, parsed, ticket)
    session = session_of(tenant, request)
    if session is not None and parsed.max_age is not None and tenant.clock.now() - session.auth_time >= parsed.max_age:
        session = None
    if session is not None and parsed.hinted not in {None, session.subject}:
        session = None
    if "none" in parsed.prompt:
        if session is None:
            return refuse(parsed, "login_required", "Login required")
        if _needs_consent(tenant, parsed, session):
            return refuse(parsed, "consent_required", "Consent required")
        return complete(tenant, parsed, session)
    if session is None or parsed.prompt & {"login", "select_account"}:
        return ask_to_sign_in(tenant, request, parsed)
    return proceed(tenant, parsed, session)


def ask_to_sign_in(tenant: Tenant, request: Request, transaction: Transaction) -> Response:
    """Return the login page for a request, which only this browser can send."""
    browser = browser_of(tenant, request)
    state = tenant.logins.add(Login(transaction, browser), tenant.directory.lifetimes.login)
    hint = transaction.login_hint if isinstance(transaction, AuthorizeRequest) else ""
    return with_browser(tenant, _login_page(tenant, state, transaction, username=hint), browser)


def login(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /u/login`: the form with `state`, `username` and `password`."""
    parameters = page_parameters(request)
    state = parameters.get("state", "")
    found = tenant.logins.get(state)
    if found is None:
        raise PageError("This sign-in has expired or is already done. Go back to the application and start again.")
    check_browser(request, found.browser)
    transaction = found.request
    username = parameters.get("username", "")
    user = tenant.directory.authenticate(username, parameters.get("password", ""))
    if user is None or user.blocked:
        problem = "Wrong email or password." if user is None else "Your account has been blocked."
        return _login_page(tenant, state, transaction, username=username, error=problem)
    tenant.logins.pop(state)
    return sign_in(tenant, request, transaction, user)


def sign_in(tenant: Tenant, request: Request, transaction: Transaction, user: User) -> Response:
    """Begin a session for a user, in place of the browser's old one, and return what comes next."""
    tenant.sessions.pop(request.cookies.get(COOKIE, ""))
    cookie, session = tenant.open_session(user)
    return with_session(tenant, proceed(tenant, transaction, session), cookie)


def proceed(tenant: Tenant, transaction: Transaction, session: Session) -> Response:
    """Return what comes after a login: a page that asks for a decision, or the result."""
    if isinstance(transaction, DeviceGrant) or _needs_consent(tenant, transaction, session):
        return _decision_page(tenant, Decision(transaction, session))
    return complete(tenant, transaction, session)


def decide(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /u/consent`: the form with `state` and `action`, which is `accept` or `deny`."""
    parameters = page_parameters(request)
    decision = tenant.decisions.pop(parameters.get("state", ""))
    session = session_of(tenant, request)
    if decision is None or session is None or session.sid != decision.session.sid:
        raise PageError("This page has expired. Go back to the application and start again.")
    accepted = parameters.get("action") == "accept"
    if isinstance(decision.request, DeviceGrant):
        return _decide_on_device(decision.request, session if accepted else None)
    wanted = decision.request
    if not accepted:
        return refuse(wanted, "access_denied", "User did not authorize the request")
    name = _consent_name(wanted, session)
    allowed = (tenant.consents.get(name) or frozenset()) | frozenset(wanted.scope)
    tenant.consents.put(name, allowed, tenant.directory.lifetimes.refresh_token)
    return complete(tenant, wanted, session)


def _decide_on_device(grant: DeviceGrant, session: Session | None) -> Response:
    if session is None:
        grant.denied = True
        return message_page("Device not connected", "The device was refused. You can close this window.")
    grant.session = session
    return message_page("Device connected", "Congratulations, you're all set! You can close this window.")


def _with_ticket(tenant: Tenant, request: Request, parsed: AuthorizeRequest, ticket: str) -> Response:
    """Sign in the user of a ticket of cross-origin authentication."""
    found = tenant.login_tickets.pop(ticket)
    user = tenant.directory.user(found[1]) if found is not None and found[0] == parsed.client.client_id else None
    if user is None:
        return refuse(parsed, "access_denied", "Unknown or invalid login ticket.")
    return sign_in(tenant, request, parsed, user)


def _needs_consent(tenant: Tenant, request: AuthorizeRequest, session: Session) -> bool:
    if "consent" in request.prompt:
        return True
    allowed = tenant.consents.get(_consent_name(request, session)) or frozenset()
    return request.client.entry.consent and not frozenset(request.scope) <= allowed


def _consent_name(request: AuthorizeRequest, session: Session) -> str:
    return f"{session.subject} {request.client.client_id} {request.audience}"


def _form_targets(transaction: Transaction) -> str:
    # Browsers apply form-action to the redirect after the form too, so it must allow the application's origin.
    own = "'self'"
    return f"{own} {origin_of(transaction.redirect_uri)}" if isinstance(transaction, AuthorizeRequest) else own


def _login_page(tenant: Tenant, state: str, transaction: Transaction, *, username: str, error: str = "") -> Response:
    return page(
        "login.html",
        status=400 if error else 200,
        form_action=_form_targets(transaction),
        application=transaction.client.name,
        state=state,
        username=username,
        error=error,
        **people(tenant.directory),
    )


def people(directory: Directory) -> dict[str, Any]:
    """Return the users that pages show, and how many more there are."""
    shown = list(directory.shown_users(SHOWN_USERS, SHOWN_GENERATED))
    return {
        "users": shown,
        "more": directory.user_count - len(shown),
        "generated": directory.generated,
        "generated_password": directory.generated_password,
    }


def _api_name(directory: Directory, audience: str | None) -> str | None:
    api = (directory.apis or {}).get(audience or "")
    return api.name if api is not None else audience


def _decision_page(tenant: Tenant, decision: Decision) -> Response:
    wanted = decision.request
    user = tenant.directory.user(decision.session.subject)
    if user is None:
        raise PageError("The user no longer exists. Sign in again.")
    return page(
        "consent.html",
        form_action=_form_targets(wanted),
        application=wanted.client.name,
        email=user.email,
        scopes=[(scope, SCOPES.get(scope, "")) for scope in wanted.scope],
        audience=_api_name(tenant.directory, wanted.audience),
        user_code=wanted.user_code if isinstance(wanted, DeviceGrant) else None,
        state=tenant.decisions.add(decision, tenant.directory.lifetimes.login),
    )
