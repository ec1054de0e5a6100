"""`noetl-edge routes`: the route table, or the route that serves a request."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.commands.common import load_configuration
from proxy.commands.output import CONFIG, Failed, table
from proxy.config.builtin import HANDLERS
from proxy.config.compile import Compiled, RouteSpec
from proxy.http.target import PathError, normalise_path
from proxy.routing import Entry, Found, Missing, RouteTable


@click.command(epilog="Example: noetl-edge routes GET /noetl/executions")
@CONFIG
@click.option("--host", default="", help="Host name of the request.")
@click.argument("method", required=False)
@click.argument("path", required=False)
def routes(config: Path, host: str, method: str | None, path: str | None) -> None:
    """Print the route table; with METHOD and PATH, print the route of this request and why. Exit 1 if there is none."""
    compiled = load_configuration(config)
    if method is None:
        click.echo(table([_HEADING, *(_row(entry) for entry in compiled.routes.entries)]))
        return
    if path is None:
        raise Failed("give a method and a path, such as: noetl-edge routes GET /noetl/executions")
    _match(compiled, host, method.upper(), path)


_SESSION = {"needed": "needed", "session": "needed", "own": "needed", "optional": "optional", "none": "none"}
_HEADING = ("HOST", "PATH", "METHODS", "SERVED BY", "SESSION", "FROM")


def _row(entry: Entry[RouteSpec]) -> tuple[str, ...]:
    spec = entry.route
    session = _SESSION[HANDLERS[spec.block.handler].session if spec.block.handler else spec.block.auth]
    where = f"{spec.place.file}:{spec.place.line}" if spec.place.line else str(spec.place)
    return (", ".join(entry.hosts) or "any", spec.pattern, ",".join(spec.methods), _served(spec), session, where)


def _served(spec: RouteSpec) -> str:
    rewrite = f" {spec.block.rewrite}" if spec.block.rewrite else ""
    return f"{spec.target}{rewrite}"


def _match(compiled: Compiled, host: str, method: str, target: str) -> None:
    try:
        path = normalise_path(target.partition("?")[0])
    except PathError as error:
        raise Failed(f"{target} gets 400: {error}") from None
    if path != target:
        click.echo(f"normalised   {path}")
    found = compiled.routes.find(host.lower(), method, path)
    if isinstance(found, Found):
        _print_match(found, path)
    else:
        ending = (
            "no route has this path" if found.because == "no-path" else f"the path accepts {', '.join(found.allow)}"
        )
        click.echo(f"no match     {'404' if found.because == 'no-path' else '405'}: {ending}")
    for entry in compiled.routes.entries:
        if not (isinstance(found, Found) and entry.route is found.route):
            why = _why_not(entry, host.lower(), method, path)
            if why:
                click.echo(f"not          {entry.route.pattern}: {why}")
    if isinstance(found, Missing):
        click.get_current_context().exit(1)


def _print_match(found: Found[RouteSpec], path: str) -> None:
    spec = found.route
    click.echo(f"matches      {spec.pattern}, {','.join(spec.methods)} ({spec.place})")
    click.echo(f"served by    {_served(spec)}")
    for name, value in found.params.items():
        click.echo(f"  {{{name}}} = {value}")
    if spec.block.upstream:
        sent = normalise_path(spec.block.rewrite.format_map(found.params)) if spec.block.rewrite else path
        click.echo(f"sent         {sent}")


def _why_not(entry: Entry[RouteSpec], host: str, method: str, path: str) -> str:
    """Return why a route with a matching path does not serve the request; an empty text if the path does not match."""
    alone = RouteTable([entry])
    if isinstance(alone.find(host, method, path), Found):
        return "its path is less specific, or an earlier route is the same"
    if alone.find(host, method, path) != Missing("no-path"):
        return f"it accepts {', '.join(entry.methods)} only"
    elsewhere = RouteTable([Entry((), entry.methods, entry.pattern, entry.route)])
    return f"it is for host {', '.join(entry.hosts)}" if isinstance(elsewhere.find("", method, path), Found) else ""
