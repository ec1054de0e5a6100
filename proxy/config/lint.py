"""The warnings of `check`: settings that are valid, but probably not intended.

A warning does not prevent the gateway from starting; what must prevent it is an error in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from proxy.config.compile import BUILT_IN, Compiled, RouteSpec
from proxy.config.model import Gateway
from proxy.config.model_acl import RoleBlock
from proxy.config.model_identity import issuer_of
from proxy.config.model_upstreams import noetl_upstreams
from proxy.config.problems import Path, Problem
from proxy.http.origin import is_loopback
from proxy.http.secret_names import is_secret_name
from proxy.http.target import normalise_path
from proxy.policy.acl import Action, Rule, Subject
from proxy.policy.glob import Glob, covers, intersects
from proxy.routing import Entry, Pattern


def lint(compiled: Compiled) -> tuple[Problem, ...]:
    """Return every warning, in the order of the file."""
    parts = (
        _public_host, _everyone_trusted, _sign_in, _accounts, _unused_limits, _cookies, _tenants, _missing_routes,
        _open_routes, _unreachable_routes, _rules, _emails, _secrets,
    )  # fmt: skip
    return tuple(sorted({warning for part in parts for warning in part(compiled)}))


def _at(compiled: Compiled, path: Path, text: str) -> Problem:
    return compiled.loaded.document.problem(path, text)


def _public_host(compiled: Compiled) -> Iterator[Problem]:
    server = compiled.loaded.gateway.server
    if not is_loopback(server.host) and server.tls is None and not server.trusted_proxies:
        text = "is reachable from other machines without TLS, and no trusted_proxies end TLS: tokens are not encrypted"
        yield _at(compiled, ("server", "host"), text)


def _everyone_trusted(compiled: Compiled) -> Iterator[Problem]:
    for index, network in enumerate(compiled.trusted_proxies):
        if network.prefixlen == 0:
            text = "trusts everyone: any client can forge its address, and pass allow_from; name the proxies' networks"
            yield _at(compiled, ("server", "trusted_proxies", index), text)


def _sign_in(compiled: Compiled) -> Iterator[Problem]:
    """Yield a warning for sign-in settings that give clients tokens which the gateway would reject."""
    auth = compiled.loaded.gateway.auth
    application = auth.application
    only = auth.tenants[0].domain if len(auth.tenants) == 1 else None
    domain = application.domain or auth.default_tenant or only
    for index, tenant in enumerate(auth.tenants):
        real = issuer_of(tenant).startswith("https:")
        if real and tenant.audience == (_SANDBOX_CLIENT,):
            text = f"only {_SANDBOX_CLIENT}, which is the sandbox's: set AUTH0_CLIENT_ID, or AUTH0_AUDIENCE"
            yield _at(compiled, ("auth", "tenants", index, "audience"), text)
        given = [name for name in (application.client_id, application.audience) if name]
        if tenant.domain == domain and given and not set(given) & set(tenant.audience):
            text = f"tokens for {' or '.join(given)} are refused: it is no audience of tenant {tenant.domain}"
            yield _at(compiled, ("auth", "application", "client_id"), text)


def _accounts(compiled: Compiled) -> Iterator[Problem]:
    """Yield a warning for what makes `provider: playbook` unsafe, or slow."""
    auth = compiled.loaded.gateway.auth
    if auth.provider == "local":
        return
    if not auth.playbooks.verify_signature:
        text = "a NoETL server only decodes tokens by default: then anyone can sign in as anyone; set true"
        yield _at(compiled, ("auth", "playbooks", "verify_signature"), text)
    if not any(entry.route.block.handler == "live.callback" for entry in compiled.routes.entries):
        text = "no route has handler: live.callback: a NoETL server that runs playbooks to sign in can't answer"
        yield _at(compiled, ("auth", "provider"), text)
    paths = (auth.playbooks.login, auth.playbooks.validate_session, auth.playbooks.check_access)
    for index, rule in enumerate(compiled.access.rules):
        if rule.effect != "allow":
            continue
        users = list(_whom(rule))
        touched = [(who, path) for who, user in users for path in paths if _may_touch(compiled, rule, user, path)]
        if touched:
            who, what = (", ".join(dict.fromkeys(pair[place] for pair in touched)) for place in (0, 1))
            text = f"{who} may see, run or change {what}, whose executions have tokens of users: deny it in a rule"
            yield _at(compiled, ("acl", "rules", index), text)


def _whom(rule: Rule) -> Iterator[tuple[str, Subject]]:
    """Yield users that a rule applies to, each with a name; the role `admin` is left out."""
    tenant = next(iter(sorted(rule.tenants)), "")
    email = rule.emails[0].text.replace("*", "x") if rule.emails else ""
    for role in sorted(rule.roles - {"admin"}):
        yield f"role {role}", Subject(email, "", frozenset({role}), {}, tenant)
    if not rule.roles:
        yield email.replace("x@", "*@") or "every user", Subject(email, "", frozenset(), {}, tenant)


def _may_touch(compiled: Compiled, rule: Rule, who: Subject, path: str) -> bool:
    """Return whether a rule names a playbook, and its users may do anything with it."""
    if not any(glob.matches(path) for glob in rule.playbooks):
        return False
    return any(compiled.access.on_playbook(who, action, path).allowed for action in _TOUCHING & rule.actions)


def _unused_limits(compiled: Compiled) -> Iterator[Problem]:
    used = {entry.route.block.rate_limit for entry in compiled.routes.entries}
    for name in compiled.loaded.gateway.rate_limits:
        if name not in used and compiled.loaded.document.is_in_file(("rate_limits", name)):
            yield _at(compiled, ("rate_limits", name), f"has no effect: no route has rate_limit: {name}")


def _cookies(compiled: Compiled) -> Iterator[Problem]:
    cookie = compiled.loaded.gateway.sessions.cookie
    path: Path = ("sessions", "cookie")
    if cookie.enabled and not cookie.secure and not is_loopback(compiled.loaded.gateway.server.host):
        yield _at(compiled, (*path, "secure"), "session cookies are sent over plain http; set secure: true")
    if cookie.enabled and cookie.same_site == "none" and not cookie.secure:
        yield _at(compiled, (*path, "same_site"), "browsers reject a cookie with same_site: none that is not secure")


def _tenants(compiled: Compiled) -> Iterator[Problem]:
    gateway = compiled.loaded.gateway
    logins = any(entry.route.block.handler == "auth.login" for entry in compiled.routes.entries)
    if logins and not gateway.auth.tenants:
        yield _at(compiled, ("auth", "tenants"), "no tenant is configured: nobody can sign in")
    if not gateway.acl.rules and gateway.acl.default == "deny":
        yield _at(compiled, ("acl", "rules"), "no rule is configured: every request is denied")
    for index, tenant in enumerate(gateway.auth.tenants):
        host = urlsplit(issuer_of(tenant)).netloc
        if host.lower() != tenant.domain.lower():
            text = f"is of another host than the domain, {tenant.domain}: is that intended?"
            yield _at(compiled, ("auth", "tenants", index, "issuer"), text)
    if gateway.acl.default == "allow":
        yield _at(compiled, ("acl", "default"), "every signed-in user may do everything that no rule denies")


_TOUCHING = frozenset({Action.VIEW, Action.EXECUTE, Action.MODIFY})
_SANDBOX_CLIENT = "noetl-gateway"
_HANDLERS_TO_MISS = (("auth.login", "handler: auth.login (nobody can sign in)"), ("health", "handler: health"))


def _missing_routes(compiled: Compiled) -> Iterator[Problem]:
    """Yield a warning for each part of the gateway that no route serves."""
    gateway = compiled.loaded.gateway
    handlers = {entry.route.block.handler for entry in compiled.routes.entries}
    relayed = any(entry.route.noetl for entry in compiled.routes.entries)
    if not noetl_upstreams(gateway.upstreams):
        text = "no upstream is of kind noetl: there is no GraphQL and no /noetl/*; add one, or set kind: noetl"
        yield _at(compiled, ("upstreams",), text)
        relayed = True
    missing = [what for name, what in _HANDLERS_TO_MISS if name not in handlers]
    missing += [] if relayed else ["an upstream of kind noetl"]
    if missing:
        yield _at(compiled, ("builtin_routes",), f"without the built-in routes, no route has {', or '.join(missing)}")


def _open_routes(compiled: Compiled) -> Iterator[Problem]:
    for index, block in enumerate(compiled.loaded.gateway.routes or ()):
        if block.upstream is not None and block.auth != "session" and not block.allow_from:
            text = "forwards requests without a session, and no access rule applies to them"
            yield _at(compiled, ("routes", index, "auth"), f"auth: {block.auth} {text}")


def _unreachable_routes(compiled: Compiled) -> Iterator[Problem]:
    taken: dict[tuple[str, tuple[str | None, ...], bool, str], RouteSpec] = {}
    for index, entry in enumerate(compiled.routes.entries):
        path: Path = ("routes", index)
        literal = next((s for s in entry.pattern.segments if s and normalise_path(f"/{s}") != f"/{s}"), None)
        if literal is not None:
            yield _at(
                compiled, path, f'can never match: "{literal}" is normalised to "{normalise_path("/" + literal)[1:]}"'
            )
            continue
        wanted = [(h, entry.pattern.segments, entry.pattern.rest is not None, m) for h, m in _hosts_and_methods(entry)]
        before = [taken[key] for key in wanted if key in taken]
        if wanted and len(before) == len(wanted) and entry.route.place != BUILT_IN:
            yield _at(compiled, path, f"can never match: the route at {before[0].place} serves all its requests")
        for key in wanted:
            taken.setdefault(key, entry.route)


def _hosts_and_methods(entry: Entry[RouteSpec]) -> Iterator[tuple[str, str]]:
    return ((host.lower(), method) for host in entry.hosts or ("",) for method in entry.methods)


def _rules(compiled: Compiled) -> Iterator[Problem]:
    gateway, rules = compiled.loaded.gateway, compiled.access.rules
    for index, rule in enumerate(rules):
        because = (
            _without_members(rule, gateway)
            or _no_route(rule, compiled)
            or _covered(rule, index, rules)
        )  # fmt: skip
        if because:
            yield _at(compiled, ("acl", "rules", index), f"has no effect: {because}")
    for name, role in gateway.acl.roles.items():
        if not _has_members(role) and not _has_other_roles(gateway):
            yield _at(compiled, ("acl", "roles", name), "nobody has this role: add emails, subjects or claims")


def _has_other_roles(gateway: Gateway) -> bool:
    return gateway.auth.provider == "playbook" or any(tenant.roles_claim for tenant in gateway.auth.tenants)


def _has_members(role: RoleBlock) -> bool:
    return bool(role.everyone or role.emails or role.subjects or role.claims)


def _without_members(rule: Rule, gateway: Gateway) -> str:
    if not rule.roles or _has_other_roles(gateway):
        return ""
    held = {name for name, role in gateway.acl.roles.items() if _has_members(role)}
    return "" if rule.roles & held else f"nobody has role {', '.join(sorted(rule.roles))}"


def _no_route(rule: Rule, compiled: Compiled) -> str:
    if not rule.paths:
        return ""
    served = [e for e in compiled.routes.entries if e.route.block.upstream and e.route.block.auth != "none"]
    near = [e for e in served if any(intersects(glob.text, _as_glob(e.pattern)) for glob in rule.paths)]
    if not near:
        return "no route with an upstream serves these paths"
    for entry in near:
        for method in entry.methods:
            if rule.actions & _needed(entry.route, method) and (not rule.methods or method in rule.methods):
                return ""
    return "no method of the routes that serve these paths needs these actions"


def _needed(spec: RouteSpec, method: str) -> frozenset[Action]:
    """Return the actions that requests on a route may need on their path."""
    if spec.action is not None:
        return frozenset({spec.action})
    if spec.noetl and (spec.block.rewrite or spec.pattern).lower().startswith("/api/"):
        return frozenset({Action.VIEW, Action.ADMIN})
    return frozenset({Action.of_method(method)})


def _as_glob(pattern: Pattern) -> str:
    segments = ["*" if segment is None else segment for segment in pattern.segments]
    return "/" + "/".join([*segments, "**"] if pattern.rest is not None else segments)


def _covered(rule: Rule, index: int, rules: tuple[Rule, ...]) -> str:
    for number, other in enumerate(rules):
        stronger = other.effect == "deny" and rule.effect == "allow"
        if (stronger or (other.effect == rule.effect and number < index)) and _covers(other, rule):
            word = "denies all of it" if stronger else "has the same effect on all of it"
            return f"the rule at {other.source} {word}"
    return ""


def _covers(wide: Rule, narrow: Rule) -> bool:
    return (
        narrow.actions <= wide.actions
        and (not wide.roles or (bool(narrow.roles) and narrow.roles <= wide.roles))
        and (not wide.emails or (_texts(narrow.emails) <= _texts(wide.emails) and bool(narrow.emails)))
        and (not wide.tenants or (bool(narrow.tenants) and narrow.tenants <= wide.tenants))
        and (not wide.claims or set(map(str, wide.claims)) <= set(map(str, narrow.claims)))
        and (not wide.methods or (bool(narrow.methods) and narrow.methods <= wide.methods))
        and bool(wide.playbooks) == bool(narrow.playbooks)
        and _all_covered(narrow.playbooks or narrow.paths, wide.playbooks or wide.paths)
    )


def _texts(globs: Iterable[Glob]) -> set[str]:
    return {glob.text for glob in globs}


def _all_covered(narrow: tuple[Glob, ...], wide: tuple[Glob, ...]) -> bool:
    return all(any(covers(w.text, n.text) for w in wide) for n in narrow)


def _emails(compiled: Compiled) -> Iterator[Problem]:
    """Yield a warning for each glob over e-mail addresses that probably matches none."""
    acl = compiled.loaded.gateway.acl
    lists: list[tuple[Path, tuple[str, ...]]] = [
        (("acl", "roles", name, "emails"), role.emails) for name, role in acl.roles.items()
    ]
    lists += [(("acl", "rules", index, "emails"), rule.emails) for index, rule in enumerate(acl.rules)]
    for path, globs in lists:
        for index, glob in enumerate(globs):
            if glob != glob.lower():
                text = "has upper case: globs are case-sensitive, and most identity providers send lower case"
                yield _at(compiled, (*path, index), text)
            elif "@" not in glob and "*" not in glob:
                yield _at(compiled, (*path, index), f'matches no e-mail address; write "*@{glob}"')


def _secrets(compiled: Compiled) -> Iterator[Problem]:
    document = compiled.loaded.document
    text = "is a secret in plain text; use ${VARIABLE} or ${file:PATH}"
    for index, block in enumerate(compiled.loaded.gateway.routes or ()):
        for side in ("request", "response"):
            for name in getattr(block.headers, side).set:
                path: Path = ("routes", index, "headers", side, "set", name)
                if is_secret_name(name) and path not in document.interpolated:
                    yield _at(compiled, path, text)
    gateway = compiled.loaded.gateway
    url = gateway.sessions.url
    given = {("sessions", "url"): url if url is not None and "@" in url else None}
    given |= {("live", "internal_token"): gateway.live.internal_token}
    given |= {("audit", "key"): gateway.audit.key} if gateway.audit else {}
    for where, value in given.items():
        if value is not None and where not in document.interpolated:
            yield _at(compiled, where, text)
