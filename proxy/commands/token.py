"""`noetl-edge token`: why a token is accepted or rejected."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from proxy.commands.common import load_configuration
from proxy.commands.output import CONFIG, Failed
from proxy.config.compile import Compiled
from proxy.config.model_identity import Tenant
from proxy.identity.explain import Explained, explain_token
from proxy.identity.principal import subject_of_identity
from proxy.identity.tenants import KeySetClients, make_tenants, trust_in, used_claims
from proxy.identity.tokens import MAX_TOKEN, shown, unverified_claims
from proxy.sessions.store import Identity

_MOST = 4 * MAX_TOKEN
_LONGEST_NAME = 200


@click.group(epilog='Example: noetl-edge token explain - <<< "${ID_TOKEN:-}"')
def token() -> None:
    """Explain why a token of the identity provider is accepted or rejected."""


@token.command(epilog='Example: noetl-edge token explain - <<< "${ID_TOKEN:-}"')
@CONFIG
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--tenant", "domain", metavar="DOMAIN", help="Tenant of the token; that of a login without a domain.")
def explain(config: Path, file: Path, domain: str | None) -> None:
    """Print every check of the token in FILE (- is stdin) with its result, and the roles of its user.

    The key set is fetched as at a login. The token itself is never printed. The exit status is 0 if a login with the
    token succeeds, otherwise 1.
    """
    text = _read(file)
    compiled = load_configuration(config)
    block = _tenant(compiled, domain, text)
    explained, issuer = asyncio.run(_explain(compiled, block, text))
    click.echo(f"tenant       {block.domain}, issuer {issuer}")
    for check in explained.checks:
        verdict = f"FAILED: {check.problem}" if check.problem else "ok"
        click.echo(f"{check.name:<12} {verdict}" + (f" ({check.about})" if check.about else ""))
    if explained.identity is not None:
        for name, about in _user(compiled, explained.identity):
            click.echo(f"{name:<12} {about}")
    click.echo("decision     " + ("accepted" if explained.accepted else "rejected"))
    click.get_current_context().exit(0 if explained.accepted else 1)


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(_MOST)
        else:
            with file.open("rb") as stream:
                data = stream.read(_MOST)
    except OSError as error:
        if str(file).startswith("eyJ") or len(str(file)) > _LONGEST_NAME:
            text = "give a file with the token, or - for stdin: other users of this machine see the command line"
            raise Failed(text) from None
        raise Failed(f"{file}: {error.strerror}") from None
    return data.decode("ascii", "replace").strip()


def _tenant(compiled: Compiled, domain: str | None, text: str) -> Tenant:
    """Return the tenant that is named, else the default one, else the one that issued the token."""
    auth = compiled.loaded.gateway.auth
    by_domain = {block.domain.lower(): block for block in auth.tenants}
    wanted = domain or auth.default_tenant or (auth.tenants[0].domain if len(auth.tenants) == 1 else None)
    if wanted is None:
        issuer = unverified_claims(text).get("iss")
        names = [block.domain for block in auth.tenants]
        raise Failed(f"give --tenant DOMAIN, one of {', '.join(names) or 'none'}; the token says iss {shown(issuer)}")
    found = by_domain.get(wanted.lower())
    if found is None:
        raise Failed(f'no tenant is called "{wanted}"; configured: {", ".join(by_domain) or "none"}')
    return found


async def _explain(compiled: Compiled, block: Tenant, text: str) -> tuple[Explained, str]:
    auth, folder = compiled.loaded.gateway.auth, compiled.loaded.file.parent
    clients = KeySetClients(auth.jwks.timeout)
    try:
        tenant, keys = make_tenants(auth, folder, clients)[block.domain.lower()]
        used = used_claims(compiled.access, auth.tenants)
        return await explain_token(text, tenant, keys, used), tenant.issuer
    finally:
        await clients.close()


def _user(compiled: Compiled, who: Identity) -> Iterator[tuple[str, str]]:
    trust = trust_in(compiled.loaded.gateway.auth.tenants)[who.tenant.lower()]
    if not who.email:
        counts = "none"
    elif who.email_verified:
        counts = f"{shown(who.email)} counts for roles and rules: the token says that it is verified"
    elif trust.email_assumed:
        counts = f"{shown(who.email)} counts for roles and rules: email_verified: assumed"
    else:
        counts = f"{shown(who.email)} does not count for roles and rules: the token does not say email_verified: true"
    yield "e-mail", counts
    subject = subject_of_identity(compiled.access, who, trust)
    yield "roles", ", ".join(sorted(map(ascii, subject.roles))).replace("'", "") or "none"
