"""`/authorize`: check the request, and send its result to the application.

A request with an invalid client or redirect URI gets an error page. All other errors are sent to the application by a
redirect, because its redirect URI is then known to be valid (RFC 6749, 4.1.2.1).
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

import jwt

from mock_server.messages import Request, Response
from mock_server.randomness import handle

from .directory import Client, Grant
from .messages import OAuthError, PageError, Parameters, query_parameters, redirect, with_query
from .rendering import form_post_page, web_message_page
from .scopes import parse_scope
from .state import Authorization, Code, Session
from .tenant import AuthorizeRequest, Tenant

RESPONSE_TYPES = frozenset(
    frozenset(kind.split())
    for kind in ("code", "id_token", "token", "id_token token", "code id_token", "code token", "code id_token token")
)
RESPONSE_MODES = frozenset({"query", "fragment", "form_post", "web_message"})
PROMPTS = frozenset({"none", "login", "consent", "select_account"})
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}")


class RedirectError(Exception):
    """An error that is sent to the application by a redirect of the browser."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


def parse_request(tenant: Tenant, request: Request) -> AuthorizeRequest | Response:
    """Return a valid request, or the response that tells the application its error. Raises PageError."""
    parameters = query_parameters(request)
    client, redirect_uri = _destination(tenant, parameters)
    try:
        return _validate(tenant, client, redirect_uri, parameters)
    except RedirectError as error:
        result = {"error": error.error, "error_description": error.description}
        return _deliver(_mode_for_errors(parameters), redirect_uri, result, parameters.get("state"))


def refuse(request: AuthorizeRequest, error: str, description: str) -> Response:
    """Return the response that tells the application an error of a valid request."""
    result = {"error": error, "error_description": description}
    return _deliver(request.response_mode, request.redirect_uri, result, request.state)


def complete(tenant: Tenant, request: AuthorizeRequest, session: Session) -> Response:
    """Return the response with the code and the tokens that the application requested.

    It is an error if another user was expected (OpenID Connect Core, 3.1.2.1: id_token_hint).
    """
    if request.hinted not in {None, session.subject}:
        return refuse(request, "login_required", "Another user is signed in than the one of the id_token_hint")
    directory, lifetimes = tenant.directory, tenant.directory.lifetimes
    grant = Authorization(
        client_id=request.client.client_id,
        subject=session.subject,
        scope=request.scope,
        audience=request.audience,
        nonce=request.nonce,
        sid=session.sid,
        auth_time=session.auth_time if request.max_age is not None else None,
        jkt=request.jkt,
    )
    result: dict[str, str] = {}
    if "code" in request.response_types:
        code = Code(grant, request.redirect_uri, request.challenge, family=handle(tenant.source, 16))
        result["code"] = tenant.codes.add(code, lifetimes.code)
    if "token" in request.response_types:
        lifetime = tenant.minter.access_lifetime(directory, grant, implicit=True)
        result |= {
            "access_token": tenant.minter.access_token(directory, grant, implicit=True),
            "scope": " ".join(grant.scope),
            "expires_in": str(lifetime),
            "token_type": "Bearer",
        }
    if "id_token" in request.response_types:
        user, access_token, given_code = tenant.user_of(grant), result.get("access_token"), result.get("code")
        result["id_token"] = tenant.minter.id_token(directory, user, grant, access_token, given_code)
    return _deliver(request.response_mode, request.redirect_uri, result, request.state)


def _destination(tenant: Tenant, parameters: Parameters) -> tuple[Client, str]:
    client = tenant.directory.clients.get(parameters.get("client_id", ""))
    if client is None:
        raise PageError("Unknown client: the application is not registered here.", 403)
    redirect_uri = parameters.get("redirect_uri", "")
    if not redirect_uri:
        in_object = " The parameters request and request_uri are not supported." if "request_uri" in parameters else ""
        raise PageError(f"The redirect_uri is missing.{in_object}")
    if not client.accepts_redirect(redirect_uri):
        raise PageError(f"Callback URL mismatch: {redirect_uri} is not on the application's list.", 403)
    return client, redirect_uri


def _mode_for_errors(parameters: Parameters) -> str:
    front_channel = bool({"token", "id_token"} & set(parameters.get("response_type", "").split()))
    mode = parameters.get("response_mode", "")
    if mode not in RESPONSE_MODES or (front_channel and mode == "query"):
        return "fragment" if front_channel else "query"
    return mode


def _validate(tenant: Tenant, client: Client, redirect_uri: str, parameters: Parameters) -> AuthorizeRequest:
    _refuse_request_objects(parameters)
    types = _response_types(client, parameters)
    scope = parse_scope(parameters.get("scope"))
    nonce = parameters.get("nonce")
    if "id_token" in types and not nonce:
        raise RedirectError("invalid_request", "Missing required parameter: nonce")
    if "id_token" in types and "openid" not in scope:
        raise RedirectError("invalid_scope", "An id_token needs the scope openid")
    audience = parameters.get("audience")
    try:
        scope = tenant.granted_scope(client, scope, audience)
    except OAuthError as error:
        raise RedirectError(error.error, error.description) from None
    return AuthorizeRequest(
        client=client,
        redirect_uri=redirect_uri,
        response_types=types,
        response_mode=_response_mode(types, parameters.get("response_mode")),
        scope=scope,
        prompt=_prompt(parameters.get("prompt", "")),
        audience=audience,
        state=parameters.get("state"),
        nonce=nonce,
        challenge=_challenge(client, types, parameters),
        max_age=_max_age(parameters.get("max_age")),
        login_hint=parameters.get("login_hint", ""),
        jkt=_key_of_proofs(parameters.get("dpop_jkt")),
        hinted=_hinted_user(tenant, parameters.get("id_token_hint")),
    )


def _refuse_request_objects(parameters: Parameters) -> None:
    """Raise RedirectError for parameters in a signed object, which would count instead (OpenID Connect Core, 6)."""
    for name in ("request", "request_uri"):
        if name in parameters:
            raise RedirectError(
                f"{name}_not_supported", f"The parameter {name} is not supported: send all in the query"
            )


def _hinted_user(tenant: Tenant, hint: str | None) -> str | None:
    if hint is None:
        return None
    try:
        return str(tenant.minter.read_id_token_hint(hint)["sub"])
    except (jwt.PyJWTError, ValueError, KeyError, RecursionError):
        raise RedirectError("invalid_request", "The id_token_hint is not a token issued here") from None


def _response_types(client: Client, parameters: Parameters) -> frozenset[str]:
    types = frozenset(parameters.get("response_type", "").split())
    if not types:
        raise RedirectError("invalid_request", "Missing required parameter: response_type")
    if types not in RESPONSE_TYPES:
        raise RedirectError("unsupported_response_type", "Unsupported response type")
    needed = ({Grant.CODE} if "code" in types else set()) | ({Grant.IMPLICIT} if types != {"code"} else set())
    if not needed <= client.grants:
        raise RedirectError("unauthorized_client", "The client may not use this response type")
    return types


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


def _key_of_proofs(text: str | None) -> str | None:
    if text is not None and not _BASE64URL.fullmatch(text):
        raise RedirectError("invalid_request", "dpop_jkt must be a SHA-256 in base64url")
    return text


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
    if not _BASE64URL.fullmatch(challenge):
        raise RedirectError("invalid_request", "code_challenge must be a SHA-256 in base64url")
    return challenge


def _deliver(mode: str, redirect_uri: str, result: dict[str, str], state: str | None) -> Response:
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
