"""What auth0-js calls besides OAuth: sign-up, change of password, and cross-origin authentication."""

from __future__ import annotations

import hashlib

from mock_server.messages import Request, Response
from mock_server.randomness import handle

from .directory import User
from .messages import OAuthError, Parameters, form_of, json_object, json_response, read_body
from .tenant import Tenant

CONNECTION = "Username-Password-Authentication"
_TICKET_SECONDS = 60.0
_MIN_PASSWORD = 8


def sign_up(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /dbconnections/signup`: add a user, until the program ends."""
    parameters = _parameters(request)
    _check_client(tenant, parameters)
    email, password = parameters.get("email", ""), parameters.get("password", "")
    if "@" not in email or len(email) > 254:
        raise OAuthError(400, "", "invalid email address", code="bad_request")
    if len(password) < _MIN_PASSWORD:
        raise OAuthError(400, "", "Password is too weak", code="invalid_password")
    if tenant.directory.by_email(email) is not None:
        raise OAuthError(400, "", "Invalid sign up", code="invalid_signup")
    identifier = hashlib.sha256(email.lower().encode()).hexdigest()[:24]
    name = parameters.get("name") or email
    tenant.add_user(User(f"auth0|{identifier}", email, password, name, email.partition("@")[0], email_verified=False))
    return json_response({"_id": identifier, "email": email, "email_verified": False})


def change_password(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /dbconnections/change_password`: as for a tenant, the response is the same for unknown addresses.

    No e-mail is sent.
    """
    parameters = _parameters(request)
    _check_client(tenant, parameters)
    if "@" not in parameters.get("email", ""):
        raise OAuthError(400, "", "email is required", code="bad_request")
    return Response(200, b"We've just sent you an email to reset your password.", "text/html; charset=utf-8")


def authenticate(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /co/authenticate`: a ticket for `/authorize`, for the password of a user."""
    parameters = _parameters(request)
    client = _check_client(tenant, parameters)
    user = tenant.directory.authenticate(parameters.get("username", ""), parameters.get("password", ""))
    if user is None or user.blocked:
        text = "Wrong email or password." if user is None else "user is blocked"
        raise OAuthError(403, "access_denied", text)
    ticket = tenant.login_tickets.add((client, user.subject), _TICKET_SECONDS)
    return json_response(
        {"login_ticket": ticket, "co_verifier": handle(tenant.source, 24), "co_id": handle(tenant.source, 9)}
    )


def _parameters(request: Request) -> Parameters:
    """Return the parameters that are texts; others, such as `user_metadata`, are ignored."""
    body = read_body(request)
    if request.content_type != "application/json":
        return form_of(body, request.content_type)
    return {name: value for name, value in json_object(body).items() if isinstance(value, str)}


def _check_client(tenant: Tenant, parameters: Parameters) -> str:
    client_id = parameters.get("client_id", "")
    if client_id not in tenant.directory.clients:
        raise OAuthError(400, "invalid_request", f"Client not found: {client_id}")
    return client_id
