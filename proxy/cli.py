"""The command line. An error is one line on stderr; a traceback is never shown."""

from __future__ import annotations

import difflib
import importlib
import os
import sys

import click

from proxy import __version__

COMMANDS = (
    "serve", "check", "reload", "doctor", "routes", "explain", "token", "sessions", "audit", "schema", "init", "dev",
)  # fmt: skip
"""Each is a function of the module of its name in `proxy.commands`."""


class Commands(click.Group):
    """The commands; the module of one is imported when it is used, since some take a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(f"proxy.commands.{cmd_name}"), cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the arguments. Raises UsageError, which names the nearest command if there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: noetl-edge init && noetl-edge check && noetl-edge serve",
)
@click.version_option(__version__, prog_name="noetl-edge")
def cli() -> None:
    """An API gateway that puts a NoETL server on the internet with one YAML file."""


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
