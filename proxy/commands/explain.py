"""`noetl-edge explain`: the access decision on a user's request, and the result of every rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from proxy.commands.common import load_configuration
from proxy.commands.output import CONFIG, Failed
from proxy.config.compile import Compiled
from proxy.errors import BadRequest
from proxy.http.json import parse_json
from proxy.noetl.needs import playbook_name
from proxy.noetl.whatif import Outcome, Unclear, bridge_plan, on_playbook, on_request, subject_of
from proxy.policy.acl import Action, Subject, Verdict
from proxy.policy.cors import CorsPolicy


@click.command(epilog="Example: noetl-edge explain --as user@example.com --execute data_pipeline/transform_data")
@CONFIG
@click.option("--as", "email", default="", help="E-mail address of the user.")
@click.option("--tenant", metavar="DOMAIN", help="Tenant of the user; `auth.default_tenant` if not given.")
@click.option("--role", "roles", multiple=True, help="A role in the token; may be repeated.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A claim of the token; may be repeated.")
@click.option("--execute", metavar="PLAYBOOK", help="Decide on running this playbook.")
@click.option("--view", metavar="PLAYBOOK", help="Decide on viewing this playbook.")
@click.option("--modify", metavar="PLAYBOOK", help="Decide on changing this playbook.")
@click.option("--delete", metavar="PLAYBOOK", help="Decide on deleting this playbook.")
@click.option("--method", default="GET", show_default=True, help="Method of the request.")
@click.option("--path", metavar="PATH", help="Path of the request.")
@click.option("--body", metavar="JSON", help="JSON body of the request, if it names a playbook.")
@click.option("--origin", metavar="ORIGIN", help="Decide whether a page of this origin can read the response.")
def explain(
    config: Path,
    email: str,
    tenant: str | None,
    roles: tuple[str, ...],
    claims: tuple[str, ...],
    method: str,
    path: str | None,
    body: str | None,
    origin: str | None,
    **playbooks: str | None,
) -> None:
    """Print whether a user may do something, and the result of every rule. Exit status: 0 if allowed, 1 if denied.

    For a request that the bridge changes, print its row, and what the server gets; on either server if that differs.

    Give one playbook (--execute, --view, --modify, --delete) or one request (--method, --path, --body, --origin).
    """
    compiled = load_configuration(config)
    who = subject_of(compiled, email, roles, _claims(claims), tenant)
    given = [(Action(verb), name) for verb, name in playbooks.items() if name is not None]
    if len(given) + (path is not None) != 1:
        raise Failed("give exactly one of --execute PLAYBOOK, --view, --modify, --delete and --path PATH")
    if path is not None:
        outcome, bridge = _request(compiled, who, method.upper(), path, _body(body))
        about = f"{f'{outcome.action.value} on ' if outcome.action else ''}{method.upper()} {path}"
    else:
        outcome, bridge = _playbook(compiled, who, *given[0]), []
        about = f"{given[0][0].value} on playbook {given[0][1]}"
    click.echo(f"user       {email or '(no e-mail)'}, roles: {', '.join(sorted(who.roles)) or 'none'}")
    click.echo(f"request    {about}")
    if outcome.route is not None:
        click.echo(f"route      {outcome.route.pattern} ({outcome.route.place}), {outcome.route.target}")
    for line in bridge:
        click.echo(line)
    _origin(compiled, outcome, origin)
    for verdict in outcome.verdicts:
        click.echo(_line(verdict))
    click.echo(f"decision   {'allow' if outcome.decision.allowed else 'deny'}: {outcome.decision.because}")
    click.get_current_context().exit(0 if outcome.decision.allowed else 1)


def _claims(given: tuple[str, ...]) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Failed(f"--claim {pair}: write NAME=VALUE")
        try:
            claims[name] = json.loads(text)
        except ValueError:
            claims[name] = text
    return claims


def _playbook(compiled: Compiled, who: Subject, action: Action, name: str) -> Outcome:
    try:
        return on_playbook(compiled, who, action, playbook_name(name, action.value))
    except BadRequest as error:
        raise Failed(error.text) from None


def _body(body: str | None) -> Any:
    try:
        return None if body is None else parse_json(body.encode())
    except BadRequest as error:
        raise Failed(f"--body: {error.text}") from None


def _request(compiled: Compiled, who: Subject, method: str, path: str, body: Any) -> tuple[Outcome, list[str]]:
    """Return the decision, and what the bridge does. Print the latter and raise Failed if only the server can tell."""
    bridge = _bridge(compiled, who, method, path, body)
    try:
        return on_request(compiled, who, method, path, body), bridge
    except Unclear as error:
        for line in bridge:
            click.echo(line)
        raise Failed(f"{method} {path} is {error}") from None


def _bridge(compiled: Compiled, who: Subject, method: str, path: str, body: Any) -> list[str]:
    """Return what the bridge makes of a request: a line, or one for each dialect of the server."""
    plan = bridge_plan(compiled, who, method, path, body)
    if plan is None:
        return []
    name, requests = plan
    lines = []
    for one in requests:
        text = " and ".join(one.requests)
        if one.own:
            text = f"the gateway responds, after {text}" if text else "the gateway responds, without the server"
        server = f", {one.dialects[0].value.capitalize()} server" if len(one.dialects) == 1 else ""
        lines.append(f"bridge     {name}{server}: {text}" + (f", body: {one.body}" if one.body else ""))
    return lines


def _origin(compiled: Compiled, outcome: Outcome, origin: str | None) -> None:
    if origin is None:
        return
    policy: CorsPolicy = outcome.route.cors if outcome.route else compiled.cors
    allowed = policy.allows(origin)
    text = "may read the response" if allowed else "is rejected: it is not in cors.allowed_origins; preflights get 403"
    click.echo(f"origin     {origin} {text}")


def _line(verdict: Verdict) -> str:
    rule = verdict.rule
    globs = ", ".join(glob.text for glob in rule.playbooks or rule.paths)
    actions = ", ".join(sorted(action.value for action in rule.actions))
    said = verdict.because or ("denies" if rule.effect == "deny" else "allows")
    return f"  {rule.source}  {rule.effect} [{actions}] on {globs}: {said}"
