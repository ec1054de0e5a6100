"""`noetl-edge check`: the mistakes and warnings of a configuration, and a summary of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from proxy.commands.common import all_warnings, configuration_loader, exit_with
from proxy.commands.names import unresolved_names
from proxy.commands.output import CONFIG, Failed, printed
from proxy.config.compile import Compiled
from proxy.config.model import Gateway
from proxy.config.model_identity import issuer_of
from proxy.config.plain import shown_settings
from proxy.config.problems import ConfigError, Problem
from proxy.graphql.build import check_trusted
from proxy.http.origin import is_loopback
from proxy.sessions.redis.address import read_address

_DEFAULT = Path("gateway.yaml")


@click.command(epilog="Example: noetl-edge check gateway.yaml")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print mistakes and warnings as JSON, for programs.")
@click.option("--show", is_flag=True, help="Print all settings in force as YAML, with defaults and without secrets.")
def check(file: Path | None, config: Path, as_json: bool, show: bool) -> None:
    """Check a configuration and run its acl.tests. The exit status is 0, or 2 if there is a mistake.

    FILE is the configuration, like --config. Mistakes are printed to stderr, one per line, with line and column.
    Warnings do not change the exit status.
    """
    if file is not None and config not in (_DEFAULT, file):
        raise Failed(f"give the configuration once: {file} or --config {config}")
    config = file or config
    try:
        compiled = configuration_loader(config)()
    except ConfigError as error:
        if not as_json:
            exit_with(error.problems)
        click.echo(json.dumps({"valid": False, "problems": _records(error.problems), "warnings": []}, indent=2))
        sys.exit(2)
    warnings = tuple(sorted({*all_warnings(compiled), *unresolved_names(compiled)}))
    if as_json:
        click.echo(json.dumps({"valid": True, "problems": [], "warnings": _records(warnings)}, indent=2))
        return
    for line in printed([f"{w.place}: warning: {w.key}: {w.text}" for w in warnings], "warnings"):
        click.echo(line, err=True)
    if show:
        settings = shown_settings(compiled.loaded)
        click.echo(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), nl=False)
        return
    ending = f"valid, with {len(warnings)} warning{'s' * (len(warnings) != 1)}" if warnings else "valid"
    click.echo(f"{config}: {ending}")
    for name, text in _summary(compiled):
        click.echo(f"  {name:<10} {text}")


def _records(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    found = ((problem, problem.place) for problem in problems)
    return [
        {"file": at.file, "line": at.line or None, "column": at.column or None, "key": p.key, "text": p.text}
        for p, at in found
    ]


def _summary(compiled: Compiled) -> Iterator[tuple[str, str]]:
    gateway = compiled.loaded.gateway
    yield "listen", _listen(gateway)
    for name, upstream in gateway.upstreams.items():
        yield "upstream", f"{name} at {', '.join(upstream.urls)}"
    for tenant in gateway.auth.tenants:
        sandbox = " (a sandbox: plain http)" if issuer_of(tenant).startswith("http:") else ""
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
    where = {
        "file": f"in the folder {sessions.path}",
        "memory": "in memory, lost on restart",
        "redis": f"in Redis at {read_address(sessions.url)}" if sessions.url else "",
    }[sessions.store]
    if gateway.auth.provider == "playbook":
        return (
            f"of NoETL, believed for {sessions.cache_for:g} s, then asked for again; at most {sessions.max_hours:g} h"
        )
    return f"{where}; {sessions.default_hours:g} h, at most {sessions.max_hours:g} h"
