"""The command line. An error is one line on stderr; a traceback is never shown."""

from __future__ import annotations

import os
import sys

import click

from proxy import __version__
from proxy.commands.audit import audit
from proxy.commands.check import check
from proxy.commands.dev import dev
from proxy.commands.doctor import doctor
from proxy.commands.explain import explain
from proxy.commands.init import init
from proxy.commands.reload import reload
from proxy.commands.routes import routes
from proxy.commands.schema import schema
from proxy.commands.serve import serve
from proxy.commands.sessions import sessions
from proxy.commands.token import token


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: noetl-edge init && noetl-edge check && noetl-edge serve",
)
@click.version_option(__version__, prog_name="noetl-edge")
def cli() -> None:
    """An API gateway that puts a NoETL server on the internet with one YAML file."""


for _command in (serve, check, reload, doctor, routes, explain, token, sessions, audit, schema, init, dev):
    cli.add_command(_command)


def main() -> None:
    """Run the command line. `NOETL_EDGE_TRACEBACK=1` shows the traceback of an unexpected error, for a bug report."""
    try:
        sys.exit(cli(standalone_mode=False, prog_name="noetl-edge") or 0)
    except click.ClickException as error:
        click.echo(f"noetl-edge: {error.format_message()}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("NOETL_EDGE_TRACEBACK"):
            raise
        text = str(error).splitlines()[0] if str(error) else ""
        click.echo(f"noetl-edge: unexpected {type(error).__name__}: {text} (a bug; please report it)", err=True)
        sys.exit(70)
