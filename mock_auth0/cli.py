"""The commands: run the sandbox, print a token, list the broken tokens."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click
import structlog

from mock_server.clock import Clock
from mock_server.loop import run
from mock_server.options import Options, OptionsError, common_options, not_empty
from mock_server.yaml_file import YamlFileError

from .checks import issuer, uri
from .overrides import OVERRIDES
from .reload import Files, Stamp, watch
from .server import Server
from .settings import MAX_GENERATED, TenantFile
from .settings_file import DEFAULT_FILE, tenant_entries
from .tls import TlsError, given_certificate, names_of, own_authority
from .token_command import broken, token

LEVELS = ("debug", "info", "warning", "error")
CA_FILE = Path("mock_auth0-ca.pem")


@dataclass(frozen=True, slots=True)
class Start:
    """What the command line says.

    Args:
        port: the port.
        host: the address.
        files: the files.
        issuer: the issuer, or None.
        logout_uri: the url for logout tokens, or None.
        tls: True for https.
        tls_ca: where the certificate of the authority is written.
        certificate: a certificate and its key, or None.
        reload: True if changed files are used.
        common: the options that both sandboxes have.
    """

    port: int
    host: str
    files: Files
    issuer: str | None
    logout_uri: str | None
    tls: bool
    tls_ca: Path
    certificate: tuple[Path, Path] | None
    reload: bool
    common: Options


def _checked(check: Callable[[str], str]) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback of click, which reports what a check finds wrong."""

    def checked(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        try:
            return check(value) if value is not None else None
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return checked


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8085,
    show_default=True,
    help="Port to listen on; 0 selects a free port.",
)
@click.option("--host", default="127.0.0.1", show_default=True, callback=not_empty, help="Address to listen on.")
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    help="YAML file with users, clients, APIs and tenants, instead of the built-in one.",
)
@click.option("--users", type=click.Path(path_type=Path), help="YAML file with users and clients to add.")
@click.option(
    "--generate-users",
    type=click.IntRange(0, MAX_GENERATED),
    metavar="N",
    help="Add N users: user00001@example.com and so on.",
)
@click.option(
    "--issuer",
    "issuer_url",
    metavar="URL",
    callback=_checked(issuer),
    help="Issuer, if clients reach this server by another address.",
)
@click.option("--tls", is_flag=True, help="Serve https, with a certificate of an authority of its own.")
@click.option(
    "--tls-ca",
    type=click.Path(path_type=Path),
    default=CA_FILE,
    show_default=True,
    help="File to write the certificate of that authority to; its folder must exist.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate for --tls, instead of a new one.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Key of --tls-cert.")
@click.option("--reload/--no-reload", default=True, show_default=True, help="Use changed files while running.")
@click.option(
    "--backchannel-logout-uri",
    metavar="URI",
    callback=_checked(uri),
    help="URL for logout tokens, instead of the one in the file.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@common_options
@click.pass_context
def main(
    context: click.Context,
    /,
    **given: Any,
) -> None:
    """Run a sandbox identity provider that behaves like an Auth0 tenant."""
    if context.invoked_subcommand is not None:
        return
    start = _start(**given)
    _configure_logs(given["log_level"])
    try:
        since = start.files.stamp()
        settings = start.files.load()
        server = _server(start, settings)
        run(_serve(start, server, since))
    except (YamlFileError, TlsError, OptionsError) as error:
        _give_up(str(error))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        _give_up(f"cannot listen on {start.host}:{start.port}: {reason}")


def server_of(arguments: Sequence[str]) -> Server:
    """Return a server for arguments of this command line, not started yet; `--port` and `--host` are not used.

    Raises:
        click.ClickException: an argument is wrong.
        YamlFileError, TlsError, OptionsError: a file or an option is wrong.
    """
    start = _start(**main.make_context("mock_auth0", list(arguments)).params)
    return _server(start, start.files.load())


def _start(
    *,
    port: int,
    host: str,
    config: Path,
    users: Path | None,
    generate_users: int | None,
    issuer_url: str | None,
    tls: bool,
    tls_ca: Path,
    tls_cert: Path | None,
    tls_key: Path | None,
    reload: bool,
    backchannel_logout_uri: str | None,
    log_level: str,
    **common: Any,
) -> Start:
    if (tls_cert is None) != (tls_key is None) or (tls_cert is not None and not tls):
        raise click.UsageError("--tls-cert and --tls-key need each other, and --tls.")
    return Start(
        port=port,
        host=host,
        files=Files(config, users, generate_users),
        issuer=issuer_url,
        logout_uri=backchannel_logout_uri,
        tls=tls,
        tls_ca=tls_ca,
        certificate=(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None,
        reload=reload,
        common=Options(**common),
    )


def _server(start: Start, settings: TenantFile) -> Server:
    """Return the server. Raises TlsError or OptionsError."""
    clock = Clock()
    start.common.set_clock(clock)
    return Server(
        settings,
        clock=clock,
        seed=start.common.seed,
        issuer=start.issuer,
        logout_uri=start.logout_uri,
        tls=_certificate(start, settings),
        control=start.common.control(OVERRIDES),
        backend=start.common.backend,
    )


def _certificate(start: Start, settings: TenantFile) -> ssl.SSLContext | None:
    if not start.tls:
        return None
    if start.certificate is not None:
        return given_certificate(*start.certificate)
    entries = tenant_entries(settings)
    issuers = [each for each in (start.issuer, *(entry.issuer for entry in entries.values())) if each]
    return own_authority(start.tls_ca, names_of(entries, issuers))


async def _serve(start: Start, server: Server, since: Stamp) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await server.start(start.host, start.port)
    _announce(start, server)
    watching = asyncio.create_task(watch(start.files, server.program, since)) if start.reload else None
    await stopping.wait()
    if watching is not None:
        watching.cancel()
    await server.stop()


def _announce(start: Start, server: Server) -> None:
    click.echo(f"mock_auth0 listening on {server.url}")
    for host, tenant in server.program.tenants.items():
        if host or tenant.issuer != server.url:
            click.echo(f"  issuer {tenant.issuer}" + (f" for the host {host}" if host else ""))
    if start.tls and start.certificate is None:
        click.echo(f"  certificate authority: {start.tls_ca.resolve()}")
    if server.sandbox.control.admin:
        click.echo(f"  control plane: {server.url}__admin")
    sys.stdout.flush()


def _configure_logs(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _give_up(problem: str) -> NoReturn:
    click.echo(f"mock_auth0: {problem}", err=True)
    sys.exit(2)


main.add_command(token)
main.add_command(broken)
