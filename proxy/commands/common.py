"""What the commands share: the --config option, reading a configuration, and failing in one line."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path as FilePath
from typing import NoReturn

import click

from proxy.config.compile import Compiled, compile_config
from proxy.config.load import load
from proxy.config.problems import ConfigError, Path, Problem, key_of
from proxy.graphql.build import check_trusted
from proxy.noetl.whatif import failing_tests
from proxy.server.certificate import Certificate, CertificateError

CONFIG = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=FilePath),
    default=FilePath("gateway.yaml"),
    show_default=True,
    help="The configuration file.",
)


class Failed(click.ClickException):
    """A failure: one line on stderr, exit status 2."""

    exit_code = 2


def read(config: FilePath) -> Compiled:
    """Load, compile and run `acl.tests`; or print every problem and exit with 2."""
    try:
        return reading(config)()
    except ConfigError as error:
        refuse(error.problems)


def reading(config: FilePath) -> Callable[[], Compiled]:
    """A function that loads and compiles a file and runs its `acl.tests`. It raises ConfigError with every problem."""

    def read_again() -> Compiled:
        compiled = compile_config(load(config, os.environ))
        problems = [*failing_tests(compiled), *unusable_files(compiled), *untrustworthy_documents(compiled)]
        if problems:
            raise ConfigError(problems)
        return compiled

    return read_again


def unusable_files(compiled: Compiled) -> Iterator[Problem]:
    """Certificates and authorities that the configuration names and nobody could use."""
    gateway, folder = compiled.loaded.gateway, compiled.loaded.file.parent
    try:
        Certificate.of(gateway.server, folder)
    except CertificateError as error:
        yield _at(compiled, ("server", "tls"), str(error).removeprefix("server.tls: "))
    if gateway.audit is not None:
        wanted = (folder / gateway.audit.file).resolve().parent
        there = next(path for path in (wanted, *wanted.parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            yield _at(compiled, ("audit", "file"), f"{there} is no folder that can be written to")
    for name, upstream in gateway.upstreams.items():
        authorities = upstream.tls.ca if upstream.tls is not None else None
        if authorities is not None:
            try:
                ssl.create_default_context(cafile=str(folder / authorities))
            except (OSError, ssl.SSLError) as error:
                text = f"{folder / authorities} holds no certificate authorities ({error.strerror or error})"
                yield _at(compiled, ("upstreams", name, "tls", "ca"), text)


def untrustworthy_documents(compiled: Compiled) -> Iterator[Problem]:
    """What is wrong with the trusted documents, or that there are none."""
    settings, folder = compiled.loaded.gateway.graphql, compiled.loaded.file.parent
    if settings.trusted_documents is None:
        return
    found = check_trusted(settings, folder)
    yield from found.problems
    if not found.count and not found.problems:
        text = (
            f"{folder / settings.trusted_documents} holds neither *.graphql files nor JSON manifests: nothing could run"
        )
        yield _at(compiled, ("graphql", "trusted_documents"), text)


def _at(compiled: Compiled, path: Path, text: str) -> Problem:
    return Problem(compiled.loaded.document.place(path), key_of(path), text)


def refuse(problems: Iterable[Problem]) -> NoReturn:
    """Print the problems, one line each, and exit with 2."""
    for problem in problems:
        click.echo(str(problem), err=True)
    sys.exit(2)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first row is the heading."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
