"""The program behind the listener: it chooses the tenant by the host of a request, and the handler by its path.

A log line contains the endpoint, the method, the status and the duration. It never contains a query, a body or a
header, because those contain codes, tokens and passwords.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from mock_server.messages import Request, Response
from mock_server.operations import Operation
from mock_server.overrides import Overrides
from mock_server.service import Errors

from . import account, auth0_api, device, everywhere, logout, rendering, sign_in, start_page, token_endpoint
from .admin import ProviderOperations
from .broken import MintError
from .browser import check_origin
from .directory import Directory
from .keys import SigningKey
from .messages import OAuthError, PageError, error_response, with_headers
from .overrides import OVERRIDES
from .rendering import error_page
from .settings import TenantFile
from .settings_file import tenant_entries
from .state import Clock
from .tenant import Tenant

Handler = Callable[[Tenant, Request], Response | Awaitable[Response]]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
_LOCAL_ORIGIN = re.compile(r"https?://(localhost|[a-z0-9.-]{1,200}\.localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
_ALLOWED_HEADERS = "Authorization, Content-Type, Auth0-Client, DPoP"
_ERRORS = Errors(
    malformed=error_response(OAuthError(400, "invalid_request", "The request is malformed.")),
    head_too_large=error_response(OAuthError(431, "invalid_request", "The header fields are too large.")),
    body_too_large=error_response(OAuthError(413, "invalid_request", "The body is too large.")),
    failed=error_response(OAuthError(500, "server_error", "Something went wrong.")),
)
_log = structlog.get_logger("mock_auth0")


@dataclass(frozen=True, slots=True)
class Route:
    """One path.

    Args:
        methods: its handler per method.
        cors: pages of other origins may call it.
        form: POST is a form of a page of this server, which no page of another origin may post.
    """

    methods: Mapping[str, Handler]
    cors: bool = False
    form: bool = False

    @property
    def allowed(self) -> str:
        """The value of the Allow header."""
        return ", ".join([*self.methods, *(["HEAD"] if "GET" in self.methods else []), "OPTIONS"])


def health(tenant: Tenant, request: Request) -> Response:
    """Serve `/health`."""
    return Response(200, b"ok", "text/plain; charset=utf-8", (("Cache-Control", "no-store"),))


ROUTES: Mapping[str, Route] = {
    "/": Route({"GET": start_page.show}),
    "/.well-known/openid-configuration": Route({"GET": account.discovery}, cors=True),
    "/.well-known/oauth-authorization-server": Route({"GET": account.discovery}, cors=True),
    "/.well-known/jwks.json": Route({"GET": account.jwks}, cors=True),
    "/authorize": Route({"GET": sign_in.authorize}),
    "/u/login": Route({"POST": sign_in.login}, form=True),
    "/u/consent": Route({"POST": sign_in.decide}, form=True),
    "/oauth/token": Route({"POST": token_endpoint.token}, cors=True),
    "/oauth/revoke": Route({"POST": token_endpoint.revoke}, cors=True),
    "/oauth/device/code": Route({"POST": device.begin}, cors=True),
    "/activate": Route({"GET": device.show, "POST": device.activate}, form=True),
    "/userinfo": Route({"GET": account.userinfo, "POST": account.userinfo}, cors=True),
    "/v2/logout": Route({"GET": logout.logout}),
    "/oidc/logout": Route({"GET": logout.oidc_logout, "POST": logout.oidc_logout}),
    "/dbconnections/signup": Route({"POST": auth0_api.sign_up}, cors=True),
    "/dbconnections/change_password": Route({"POST": auth0_api.change_password}, cors=True),
    "/co/authenticate": Route({"POST": auth0_api.authenticate}, cors=True),
    everywhere.PATH: Route({"GET": everywhere.show, "POST": everywhere.log_out}, form=True),
    "/health": Route({"GET": health}),
    "/u/picture.svg": Route({"GET": rendering.picture}, cors=True),
    **{path: Route({"GET": rendering.asset}) for path in rendering.ASSETS},
}


class IdentityProvider:
    """The tenants of a process.

    Args:
        settings: the content of the tenant file.
        clock: the time.
        source: the random source.
        seed: the seed of the keys; None: they are random.
        issuer: the issuer of the default tenant, in place of the one of the file.
        logout_uri: a `backchannel_logout_uri`, in place of those of the file.
        key: the first key of the default tenant; None: a new one.
    """

    def __init__(
        self,
        settings: TenantFile,
        clock: Clock,
        source: random.Random,
        *,
        seed: str | None = None,
        issuer: str | None = None,
        logout_uri: str | None = None,
        key: SigningKey | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._source = source
        self._seed = seed
        self._issuer = issuer
        self._logout_uri = logout_uri
        self._keys = {"": key} if key is not None else {}
        self._origin = ("http", 0)
        self._tenants: dict[str, Tenant] = {}
        self._default: Tenant | None = None

    @property
    def name(self) -> str:
        """The name of the program."""
        return "mock_auth0"

    @property
    def server(self) -> str:
        """The value of the `server` header."""
        return "mock_auth0"

    @property
    def errors(self) -> Errors:
        """The responses to requests that are malformed or too large."""
        return _ERRORS

    @property
    def overrides(self) -> Overrides:
        """The overrides of rules that this program understands."""
        return OVERRIDES

    @property
    def operations(self) -> list[Operation]:
        """The operations that this program adds to the control plane."""
        return ProviderOperations(lambda host: self._tenants[host], lambda: list(self._tenants.items())).all()

    @property
    def default(self) -> Tenant:
        """The tenant of all hosts that no other tenant has. Raises RuntimeError before `bind`."""
        if self._default is None:
            raise RuntimeError("the address is not known yet")
        return self._default

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        """The tenants by host name; the default one has the empty name."""
        return self._tenants

    def bind(self, scheme: str, port: int) -> None:
        """Create the tenants, whose issuers follow from the scheme and the port. It takes up to a second per tenant."""
        self._origin = (scheme, port)
        self.use(self._settings)

    def use(self, settings: TenantFile) -> None:
        """Replace the content.

        The keys, sessions and tokens of tenants that stay are kept. A tenant with another issuer is a new one, with the
        users that were added to the old one.
        """
        self._settings = settings
        found: dict[str, Tenant] = {}
        for host, entry in tenant_entries(settings).items():
            directory = Directory.of_entry(entry)
            if self._logout_uri is not None:
                directory = directory.with_logout_uri(self._logout_uri)
            issuer = self._issuer_of(host, entry.issuer)
            tenant = self._tenants.get(host)
            if tenant is None or tenant.issuer != issuer:
                key, clock, source = self._keys.get(host), self._clock, self._source
                before, tenant = (
                    tenant,
                    Tenant.seeded(directory, issuer, clock, source, seed=self._seed, name=host, key=key),
                )
                if before is not None:
                    tenant.keep_users(before)
            else:
                tenant.replace_directory(directory)
            tenant.discovery = account.discovery_document(issuer)
            found[host] = tenant
        for tenant in found.values():
            tenant.issuers = tuple(each.issuer for each in found.values())
        self._tenants, self._default = found, found[""]

    def _issuer_of(self, host: str, given: str | None) -> str:
        if not host and self._issuer is not None:
            return self._issuer
        scheme, port = self._origin
        return given or f"{scheme}://{host or 'localhost'}:{port}/"

    def tenant_of(self, host: str) -> Tenant:
        """Return the tenant of a Host header."""
        name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
        return self._tenants.get(name.lower().rstrip(".")) or self.default

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """Return the response to a request."""
        started = time.monotonic()
        tenant = self._by_host(request)
        route = ROUTES.get(request.path)
        try:
            answer = _answer(tenant, route, request)
        except Exception as error:
            answer = _failure(request, error)
        if isinstance(answer, Response):
            return _finished(tenant, route, request, answer, started)
        return _awaited(tenant, route, request, answer, started)

    def _by_host(self, request: Request) -> Tenant:
        return self.tenant_of(request.host) if len(self._tenants) > 1 else self.default

    def streamed(self, request: Request) -> bool:
        """Return False: every body is read whole."""
        return False

    async def reset(self) -> None:
        """Return to the state at the start: without logins, sessions, tokens and added users, with the first keys."""
        if self._seed is None:  # else the same keys follow from the seed again
            self._keys = {host: tenant.ring.first for host, tenant in self._tenants.items()}
        self._tenants = {}
        await asyncio.to_thread(self.use, self._settings)

    async def close(self) -> None:
        """Do nothing: no work goes on between requests."""


async def _awaited(
    tenant: Tenant, route: Route | None, request: Request, answer: Awaitable[Response], started: float
) -> Response:
    try:
        response = await answer
    except Exception as error:
        response = _failure(request, error)
    return _finished(tenant, route, request, response, started)


def _finished(tenant: Tenant, route: Route | None, request: Request, response: Response, started: float) -> Response:
    """Add the CORS headers, and write the log line."""
    if route is not None and route.cors:
        response = _allow_origin(tenant, request, response, route)
    _log.info(
        "request",
        method=request.method if request.method in METHODS else "other",
        path=request.path if route else "unknown",
        status=response.status,
        milliseconds=round((time.monotonic() - started) * 1000, 1),
    )
    return response


def _answer(tenant: Tenant, route: Route | None, request: Request) -> Response | Awaitable[Response]:
    if route is None:
        return error_response(OAuthError(404, "not_found", "Not found."))
    handler = route.methods.get("GET" if request.method == "HEAD" else request.method)
    if handler is not None:
        if route.form and request.method == "POST":
            check_origin(tenant, request)
        return handler(tenant, request)
    if request.method == "OPTIONS":
        return Response(204, b"", None, (("Allow", route.allowed),))
    return error_response(
        OAuthError(405, "invalid_request", "Method not allowed.", headers=(("Allow", route.allowed),))
    )


def _failure(request: Request, error: Exception) -> Response:
    if isinstance(error, OAuthError):
        return error_response(error)
    if isinstance(error, PageError):
        return error_page(str(error), error.status)
    if isinstance(error, MintError):
        return error_response(OAuthError(500, "server_error", f"A rule of the control plane: {error}"))
    # Only the class: the message could contain a part of the request.
    _log.error("failure", path=request.path if request.path in ROUTES else "unknown", error=type(error).__name__)
    return error_response(OAuthError(500, "server_error", "Something went wrong."))


def _allow_origin(tenant: Tenant, request: Request, response: Response, route: Route) -> Response:
    origin = request.headers.get("origin")
    vary = ("Vary", "Origin")
    if origin is None or not (_LOCAL_ORIGIN.fullmatch(origin) or tenant.directory.allows_origin(origin)):
        return with_headers(response, vary)
    allowed = [
        vary,
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate"),
    ]
    if request.method == "OPTIONS":
        allowed += [
            ("Access-Control-Allow-Methods", route.allowed),
            ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
            ("Access-Control-Max-Age", "600"),
        ]
    return with_headers(response, *allowed)


def domain_of(issuer: str) -> str:
    """Return host and port of an issuer."""
    return urlsplit(issuer).netloc
