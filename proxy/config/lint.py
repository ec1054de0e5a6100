"""What `check` warns about: a file that works, but not as its author will have meant.

Warnings never keep the gateway from starting; what must not start is an error, in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from proxy.config.checks import is_loopback
from proxy.config.compile import Compiled, RouteSpec
from proxy.config.model import Gateway, RoleBlock
from proxy.config.problems import Path, Problem, key_of
from proxy.config.secret_names import is_secret_name
from proxy.policy.acl import Action, Rule
from proxy.policy.glob import Glob, covers, intersects
from proxy.routing import Entry, Pattern, normalise_path


def lint(compiled: Compiled) -> tuple[Problem, ...]:
    """Every warning, in the order of the file."""
    parts = (_public, _cookies, _tenants, _open_routes, _dead_routes, _rules, _secrets)
    return tuple(sorted({warning for part in parts for warning in part(compiled)}))


def _at(compiled: Compiled, path: Path, text: str) -> Problem:
    return Problem(compiled.loaded.document.place(path), key_of(path), text)


def _public(compiled: Compiled) -> Iterator[Problem]:
    server = compiled.loaded.gateway.server
    if not is_loopback(server.host) and server.tls is None and not server.trusted_proxies:
        text = "listens beyond this machine without TLS, and no trusted_proxies that could have ended it: tokens travel"
        yield _at(compiled, ("server", "host"), f"{text} in clear")


def _cookies(compiled: Compiled) -> Iterator[Problem]:
    cookie = compiled.loaded.gateway.sessions.cookie
    path: Path = ("sessions", "cookie")
    if cookie.enabled and not cookie.secure and not is_loopback(compiled.loaded.gateway.server.host):
        yield _at(compiled, (*path, "secure"), "session cookies travel over plain http; leave secure: true")
    if cookie.enabled and cookie.same_site == "none" and not cookie.secure:
        yield _at(compiled, (*path, "same_site"), "browsers drop a same_site: none cookie that is not secure")


def _tenants(compiled: Compiled) -> Iterator[Problem]:
    gateway = compiled.loaded.gateway
    logins = any(entry.route.block.handler == "auth.login" for entry in compiled.routes.entries)
    if logins and not gateway.auth.tenants:
        yield _at(compiled, ("auth", "tenants"), "there is no tenant, so nobody can sign in")
    if not gateway.acl.rules and gateway.acl.default == "deny":
        yield _at(compiled, ("acl", "rules"), "there is no rule, so nobody may do anything")
    if gateway.acl.default == "allow":
        yield _at(compiled, ("acl", "default"), "every signed-in user may do whatever no rule denies")


def _open_routes(compiled: Compiled) -> Iterator[Problem]:
    for index, block in enumerate(compiled.loaded.gateway.routes or ()):
        if block.upstream is not None and block.auth != "session" and not block.allow_from:
            text = "lets requests without a session through to the upstream, judged by no rule"
            yield _at(compiled, ("routes", index, "auth"), f"auth: {block.auth} {text}")


def _dead_routes(compiled: Compiled) -> Iterator[Problem]:
    taken: dict[tuple[str, tuple[str | None, ...], bool, str], RouteSpec] = {}
    for index, entry in enumerate(compiled.routes.entries):
        path: Path = ("routes", index)
        literal = next((s for s in entry.pattern.segments if s and normalise_path(f"/{s}") != f"/{s}"), None)
        if literal is not None:
            yield _at(compiled, path, f'can never match: "{literal}" arrives as "{normalise_path("/" + literal)[1:]}"')
            continue
        wanted = [(h, entry.pattern.segments, entry.pattern.rest is not None, m) for h, m in _asked(entry)]
        before = [taken[key] for key in wanted if key in taken]
        if wanted and len(before) == len(wanted):
            yield _at(compiled, path, f"can never match: the route at {before[0].place} takes all its requests")
        for key in wanted:
            taken.setdefault(key, entry.route)


def _asked(entry: Entry[RouteSpec]) -> Iterator[tuple[str, str]]:
    return ((host.lower(), method) for host in entry.hosts or ("",) for method in entry.methods)


def _rules(compiled: Compiled) -> Iterator[Problem]:
    gateway, rules = compiled.loaded.gateway, compiled.access.rules
    for index, rule in enumerate(rules):
        because = (
            _nobody(rule, gateway)
            or _nothing(rule)
            or _no_route(rule, compiled)
            or _covered(rule, index, rules)
        )  # fmt: skip
        if because:
            yield _at(compiled, ("acl", "rules", index), f"can never decide: {because}")
    for name, role in gateway.acl.roles.items():
        if not _has_members(role) and not _claimed(gateway):
            yield _at(compiled, ("acl", "roles", name), "nobody has this role: name emails, subjects or claims")


def _claimed(gateway: Gateway) -> bool:
    return any(tenant.roles_claim for tenant in gateway.auth.tenants)


def _has_members(role: RoleBlock) -> bool:
    return bool(role.everyone or role.emails or role.subjects or role.claims)


def _nobody(rule: Rule, gateway: Gateway) -> str:
    if not rule.roles or _claimed(gateway):
        return ""
    held = {name for name, role in gateway.acl.roles.items() if _has_members(role)}
    return "" if rule.roles & held else f"nobody has role {', '.join(sorted(rule.roles))}"


def _nothing(rule: Rule) -> str:
    bad = [glob.text for glob in rule.playbooks if glob.text.startswith("/") or "//" in glob.text]
    return f'no playbook\'s path is like "{bad[0]}"' if bad and len(bad) == len(rule.playbooks) else ""


def _no_route(rule: Rule, compiled: Compiled) -> str:
    if not rule.paths:
        return ""
    served = [e for e in compiled.routes.entries if e.route.block.upstream and e.route.block.auth != "none"]
    near = [e for e in served if any(intersects(glob.text, _as_glob(e.pattern)) for glob in rule.paths)]
    if not near:
        return "no route with an upstream serves these paths"
    for entry in near:
        for method in entry.methods:
            action = entry.route.action or Action.of_method(method)
            if action in rule.actions and (not rule.methods or method in rule.methods):
                return ""
    return "no method of the routes that serve these paths asks for these actions"


def _as_glob(pattern: Pattern) -> str:
    segments = ["*" if segment is None else segment for segment in pattern.segments]
    return "/" + "/".join([*segments, "**"] if pattern.rest is not None else segments)


def _covered(rule: Rule, index: int, rules: tuple[Rule, ...]) -> str:
    for number, other in enumerate(rules):
        stronger = other.effect == "deny" and rule.effect == "allow"
        if (stronger or (other.effect == rule.effect and number < index)) and _covers(other, rule):
            word = "denies all of it" if stronger else "says the same, and more"
            return f"the rule at {other.source} {word}"
    return ""


def _covers(wide: Rule, narrow: Rule) -> bool:
    return (
        narrow.actions <= wide.actions
        and (not wide.roles or (bool(narrow.roles) and narrow.roles <= wide.roles))
        and (not wide.emails or (_texts(narrow.emails) <= _texts(wide.emails) and bool(narrow.emails)))
        and (not wide.claims or set(map(str, wide.claims)) <= set(map(str, narrow.claims)))
        and (not wide.methods or (bool(narrow.methods) and narrow.methods <= wide.methods))
        and bool(wide.playbooks) == bool(narrow.playbooks)
        and _all_covered(narrow.playbooks or narrow.paths, wide.playbooks or wide.paths)
    )


def _texts(globs: Iterable[Glob]) -> set[str]:
    return {glob.text for glob in globs}


def _all_covered(narrow: tuple[Glob, ...], wide: tuple[Glob, ...]) -> bool:
    return all(any(covers(w.text, n.text) for w in wide) for n in narrow)


def _secrets(compiled: Compiled) -> Iterator[Problem]:
    document = compiled.loaded.document
    text = "a secret in plain text; take it from ${VARIABLE} or ${file:PATH}"
    for index, block in enumerate(compiled.loaded.gateway.routes or ()):
        for side in ("request", "response"):
            for name in getattr(block.headers, side).set:
                path: Path = ("routes", index, "headers", side, "set", name)
                if is_secret_name(name) and path not in document.interpolated:
                    yield _at(compiled, path, text)
    gateway = compiled.loaded.gateway
    given = {("sessions", "url"): gateway.sessions.url}
    given |= {("live", "internal_token"): gateway.live.internal_token} if gateway.live else {}
    given |= {("audit", "key"): gateway.audit.key} if gateway.audit else {}
    for where, value in given.items():
        if value is not None and where not in document.interpolated:
            yield _at(compiled, where, text)
