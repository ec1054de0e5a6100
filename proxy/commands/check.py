"""`noetl-edge check`: the mistakes and warnings of a configuration, and a summary of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from proxy.commands.common import CONFIG, all_warnings, load_configuration
from proxy.config.compile import Compiled
from proxy.config.model import Gateway
from proxy.graphql.build import check_trusted
from proxy.http.origin import is_loopback


@click.command(epilog="Example: noetl-edge check --config gateway.yaml")
@CONFIG
def check(config: Path) -> None:
    """Check a configuration and run its acl.tests. The exit status is 0, or 2 if there is a mistake.

    Mistakes are printed to stderr, one per line, with line and column. Warnings do not change the exit status.
    """
    compiled = load_configuration(config)
    warnings = all_warnings(compiled)
    for warning in warnings:
        place, text = str(warning.place), f"{warning.key}: {warning.text}"
        click.echo(f"{place}: warning: {text}", err=True)
    ending = f"valid, with {len(warnings)} warning{'s' * (len(warnings) != 1)}" if warnings else "valid"
    click.echo(f"{config}: {ending}")
    for name, text in _summary(compiled):
        click.echo(f"  {name:<10} {text}")


def _summary(compiled: Compiled) -> Iterator[tuple[str, str]]:
    gateway = compiled.loaded.gateway
    yield "listen", _listen(gateway)
    for name, upstream in gateway.upstreams.items():
        yield "upstream", f"{name} at {', '.join(upstream.urls)}"
    for tenant in gateway.auth.tenants:
        sandbox = " (a sandbox: plain http)" if (tenant.issuer or "").startswith("http:") else ""
        yield "tenant", f"{tenant.domain}, audience {', '.join(tenant.audience)}{sandbox}"
    yield "sessions", _sessions(gateway)
    origins = gateway.cors.allowed_origins if gateway.corsAllowedOrigins is None else gateway.corsAllowedOrigins
    yield "origins", ", ".join(origins) or "none: pages of other origins can't read responses"
    written = sum(("routes", i) in compiled.loaded.document.values for i in range(len(compiled.routes.entries)))
    built_in = "" if written else ", the built-in table"
    yield "routes", f"{len(compiled.routes.entries)}{built_in}"
    if gateway.graphql.trusted_documents is not None:
        count = check_trusted(gateway.graphql, compiled.loaded.file.parent).count
        yield "documents", f"{count} trusted in {gateway.graphql.trusted_documents}; no other document runs"
    acl = gateway.acl
    yield "access", f"{len(acl.rules)} rules for {len(acl.roles)} roles, {acl.default} by default"
    yield "acl.tests", f"{len(acl.tests)} of {len(acl.tests)} as expected" if acl.tests else "none: add some"
    if compiled.loaded.overrides:
        yield "from env", ", ".join(compiled.loaded.overrides)


def _listen(gateway: Gateway) -> str:
    where = "this machine only" if is_loopback(gateway.server.host) else "reachable from other machines"
    return f"{gateway.server.host}:{gateway.server.port}, {where}"


def _sessions(gateway: Gateway) -> str:
    sessions = gateway.sessions
    where = f"in the folder {sessions.path}" if sessions.store == "file" else "in memory, lost on restart"
    return f"{where}; {sessions.default_hours:g} h, at most {sessions.max_hours:g} h"
