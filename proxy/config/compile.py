"""Compiler from the model to runtime objects: access policy, origin policies, route table. It runs once, at load."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from proxy.config.block import RELAYED
from proxy.config.builtin import CALLBACKS, HANDLERS
from proxy.config.load import Loaded
from proxy.config.model import Cors, RateLimitBlock, RouteBlock
from proxy.config.model_acl import RuleBlock
from proxy.config.model_upstreams import noetl_upstreams
from proxy.config.problems import Place
from proxy.policy.acl import AccessPolicy, Action, ClaimTest, Role, Rule
from proxy.policy.cors import CorsPolicy, compile_cors
from proxy.policy.glob import path_glob, text_glob
from proxy.policy.ratelimit import LimitKey, LimitSettings
from proxy.routing import Entry, RouteTable, parse_pattern

BUILT_IN = Place("built-in")
"""The place of a route that is not in the file."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A compiled route: all that a request on it needs.

    Args:
        pattern: the path pattern, as in the file.
        place: the place of the route in the file, or `BUILT_IN`.
        block: the route's settings.
        methods: the methods that the route accepts.
        cors: the origin policy.
        allow_from: the networks of clients that may use the route; empty means all.
        max_body_size: the largest request body, in bytes.
        action: the action that the access rules decide on; None means that the method gives it.
        require_roles: the roles of which the user must have one; empty means no requirement.
        limit: the rate limit, if there is one.
        noetl: True for a route to an upstream of kind `noetl`.
    """

    pattern: str
    place: Place
    block: RouteBlock
    methods: tuple[str, ...]
    cors: CorsPolicy
    allow_from: tuple[Network, ...]
    max_body_size: int
    action: Action | None
    require_roles: frozenset[str]
    limit: LimitSettings | None
    noetl: bool

    @property
    def target(self) -> str:
        """The handler or upstream that serves the route, as a short text for logs and tables."""
        return self.block.handler or f"-> {self.block.upstream}"


@dataclass(frozen=True, slots=True)
class Compiled:
    """The runtime objects of one configuration.

    Args:
        loaded: the settings that they were compiled from.
        access: the access rules.
        cors: the origin policy for routes without their own.
        routes: the route table.
        trusted_proxies: the networks of trusted proxies.
    """

    loaded: Loaded
    access: AccessPolicy
    cors: CorsPolicy
    routes: RouteTable[RouteSpec]
    trusted_proxies: tuple[Network, ...]


def compile_config(loaded: Loaded) -> Compiled:
    """Return the runtime objects of a valid configuration."""
    gateway = loaded.gateway
    short = gateway.corsAllowedOrigins
    cors = _cors(gateway.cors, gateway.cors.allowed_origins if short is None else short)
    return Compiled(
        loaded=loaded,
        access=compile_access(loaded),
        cors=cors,
        routes=RouteTable(_without_replaced(_entries(loaded, cors))),
        trusted_proxies=networks(gateway.server.trusted_proxies),
    )


def _without_replaced(entries: Iterable[Entry[RouteSpec]]) -> Iterator[Entry[RouteSpec]]:
    """Leave out the built-in routes all of whose requests the routes of the file serve, which come first."""
    taken: set[tuple[tuple[str | None, ...], bool, str]] = set()
    for entry in entries:
        wanted = {(entry.pattern.segments, entry.pattern.rest is not None, method) for method in entry.methods}
        if entry.route.place != BUILT_IN or not wanted <= taken:
            yield entry
        if not entry.hosts:
            taken |= wanted


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return parsed networks; the texts have passed the checks."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def compile_access(loaded: Loaded) -> AccessPolicy:
    """Return the access policy; each rule has its file and line."""
    acl = loaded.gateway.acl
    roles = tuple(
        Role(
            name,
            block.everyone,
            tuple(text_glob(glob) for glob in block.emails),
            frozenset(block.subjects),
            _claims(block.claims),
            _domains(block.tenants),
        )
        for name, block in acl.roles.items()
    )
    rules = tuple(_rule(block, loaded.document.place(("acl", "rules", i))) for i, block in enumerate(acl.rules))
    return AccessPolicy(roles, rules, default_allow=acl.default == "allow")


def _claims(claims: dict[str, tuple[Any, ...]]) -> tuple[ClaimTest, ...]:
    return tuple(claims.items())


def _rule(block: RuleBlock, place: Place) -> Rule:
    verbs = block.allow or block.deny
    actions = frozenset(Action) if "*" in verbs else frozenset(Action("modify" if v == "edit" else v) for v in verbs)
    return Rule(
        source=f"{place.file}:{place.line}",
        effect="allow" if block.allow else "deny",
        actions=actions,
        roles=frozenset(block.roles),
        emails=tuple(text_glob(glob) for glob in block.emails),
        claims=_claims(block.claims),
        playbooks=tuple(path_glob(glob) for glob in block.playbooks),
        paths=tuple(path_glob(glob) for glob in block.paths),
        methods=frozenset(block.methods),
        tenants=_domains(block.tenants),
    )


def _domains(names: Iterable[str]) -> frozenset[str]:
    """Return domains of tenants as they are compared: in lower case."""
    return frozenset(name.lower() for name in names)


def _cors(block: Cors, origins: tuple[str, ...]) -> CorsPolicy:
    return compile_cors(
        origins=origins,
        allow_credentials=block.allow_credentials,
        methods=block.allowed_methods,
        headers=block.allowed_headers,
        exposed=block.exposed_headers,
        max_age=block.max_age,
        allow_private_network=block.allow_private_network,
    )


_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


def _limit(name: str, block: RateLimitBlock) -> LimitSettings:
    number, _, period = block.limit.partition("/")
    burst = block.burst if block.burst is not None else int(number)
    return LimitSettings(name, int(number), _PERIODS[period], burst, LimitKey(block.key))


def _entries(loaded: Loaded, cors: CorsPolicy) -> Iterable[Entry[RouteSpec]]:
    gateway = loaded.gateway
    noetl = noetl_upstreams(gateway.upstreams)
    for index, block in enumerate(gateway.routes or ()):
        facts = HANDLERS.get(block.handler or "")
        methods = block.methods or (facts.methods if facts else RELAYED)
        limit = gateway.graphql.max_body_size if block.handler == "graphql" else gateway.server.limits.max_body_size
        builtin = not loaded.document.is_in_file(("routes", index))
        allowed = gateway.metrics.allow_from if builtin and block.handler == "metrics" else block.allow_from
        if block.handler in CALLBACKS:
            allowed = allowed or gateway.live.internal_allow_from
        spec = RouteSpec(
            pattern=block.path,
            place=BUILT_IN if builtin else loaded.document.place(("routes", index)),
            block=block,
            methods=tuple(methods),
            cors=_cors(block.cors, block.cors.allowed_origins) if block.cors else cors,
            allow_from=networks(allowed),
            max_body_size=limit if block.max_body_size is None else block.max_body_size,
            action=Action(block.action) if block.action else None,
            require_roles=frozenset(block.require.roles),
            limit=_limit(block.rate_limit, gateway.rate_limits[block.rate_limit]) if block.rate_limit else None,
            noetl=block.upstream in noetl,
        )
        yield Entry(block.host, spec.methods, parse_pattern(block.path), spec)
