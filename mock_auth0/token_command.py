"""`python -m mock_auth0 token`: print a token, good or broken, without a server; `broken`: list what can be broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mock_server.clock import Clock
from mock_server.options import not_empty
from mock_server.randomness import random_source

from .broken import BROKEN, UNUSUAL, MintError
from .checks import issuer as as_issuer
from .directory import Directory
from .minting import KINDS
from .settings_file import DEFAULT_FILE, load_file, tenant_entries
from .tenant import Tenant

DEFAULT_SEED = "noetl-edge"
DEFAULT_ISSUER = "http://localhost:8085/"


@click.command(epilog="Example: python -m mock_auth0 token --user dev@example.com --expired")
@click.option("--user", metavar="EMAIL", help="User; default: the first one.")
@click.option("--client", metavar="ID", help="Client; default: the first one.")
@click.option("--kind", type=click.Choice(KINDS), default="id_token", show_default=True)
@click.option("--audience", metavar="API", help="API of an access token.")
@click.option("--scope", metavar="SCOPES", help="Scopes; default: openid profile email.")
@click.option("--lifetime", type=int, metavar="SECONDS", help="Lifetime, which may be negative.")
@click.option("--expired", is_flag=True, help="The same as --broken expired.")
@click.option("--broken", metavar="NAME", help="One of the names that `python -m mock_auth0 broken` lists.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=JSON", help="Claim to add or replace; null removes it.")
@click.option("--header", "headers", multiple=True, metavar="NAME=JSON", help="Member of the header, in the same way.")
@click.option("--issuer", default=DEFAULT_ISSUER, show_default=True, help="Issuer.")
@click.option(
    "--seed",
    default=DEFAULT_SEED,
    callback=not_empty,
    show_default=True,
    help="Seed of the key: a server that was started with the same --seed has it in its key set.",
)
@click.option("--config", "-c", type=click.Path(path_type=Path), default=DEFAULT_FILE, help="YAML file of the tenant.")
@click.option("--json", "as_json", is_flag=True, help="Print the token with its header and claims, as JSON.")
def token(
    *,
    claims: tuple[str, ...],
    headers: tuple[str, ...],
    issuer: str,
    seed: str,
    config: Path,
    expired: bool,
    as_json: bool,
    client: str | None,
    **given: Any,
) -> None:
    """Print a token, without a server.

    It is signed by the key of the seed, which a server has that runs with the same --seed.
    """
    fields = {name: value for name, value in {**given, "client_id": client}.items() if value is not None}
    if expired:
        fields.setdefault("broken", "expired")
    try:
        fields |= {"claims": _members("--claim", claims), "header": _members("--header", headers)}
        directory = Directory.of_entry(tenant_entries(load_file(config))[""])
        source = random_source(None)
        tenant = Tenant.seeded(directory, as_issuer(issuer), Clock(), source, seed=seed)
        minted = tenant.mint(fields)
    except (MintError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(minted, indent=2) if as_json else minted["token"])


@click.command()
def broken() -> None:
    """List the broken tokens, and the unusual ones, each with a sentence."""
    width = max(map(len, [*BROKEN, *UNUSUAL]))
    for title, variants in (("To be refused:", BROKEN), ("To be accepted, with caution:", UNUSUAL)):
        click.echo(title)
        for name, variant in variants.items():
            click.echo(f"  {name:<{width}}  {variant.sentence}")


def _members(option: str, texts: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
        if not name or not equals:
            raise MintError(f"{option} {text}: must be NAME=JSON")
    return found
