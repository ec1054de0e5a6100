"""Loading a configuration for a command, with everything that can be wrong about it."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, NoReturn

import click

from proxy.commands.output import printed
from proxy.config.compile import Compiled, compile_config
from proxy.config.lint import lint
from proxy.config.load import load
from proxy.config.model_identity import RedisTls, TenantTls
from proxy.config.model_upstreams import UpstreamTls
from proxy.config.problems import ConfigError, Path, Problem
from proxy.graphql.build import check_trusted
from proxy.noetl.lint import lint_noetl
from proxy.noetl.whatif import failing_tests
from proxy.server.certificate import Certificate, CertificateError
from proxy.server.pem_files import pem_problems


def load_configuration(config: FilePath, options: Mapping[str, Any] | None = None) -> Compiled:
    """Return the compiled configuration after its `acl.tests` ran; or print every mistake and exit with status 2.

    `options` are those of `configuration_loader`.
    """
    try:
        return configuration_loader(config, options)()
    except ConfigError as error:
        exit_with(error.problems)


def configuration_loader(config: FilePath, options: Mapping[str, Any] | None = None) -> Callable[[], Compiled]:
    """Return a function that does what `load_configuration` does, but raises ConfigError with every mistake.

    `options` are settings of `server` that were given on the command line.
    """

    def load_and_test() -> Compiled:
        compiled = compile_config(load(config, os.environ, options))
        problems = [*failing_tests(compiled), *file_problems(compiled), *document_problems(compiled)]
        if problems:
            raise ConfigError(problems)
        return compiled

    return load_and_test


def all_warnings(compiled: Compiled) -> tuple[Problem, ...]:
    """Return every warning, in the order of the file; one for each place."""
    found = sorted({*lint(compiled), *lint_noetl(compiled)})
    return tuple({(warning.place, warning.key): warning for warning in found}.values())


def file_problems(compiled: Compiled) -> Iterator[Problem]:
    """Yield a problem for each file in the configuration that can't be used: certificates, authorities, audit log."""
    gateway, folder = compiled.loaded.gateway, compiled.loaded.file.parent
    yield from _certificate_problems(compiled, folder)
    if gateway.audit is not None:
        wanted = (folder / gateway.audit.file).resolve().parent
        there = next(path for path in (wanted, *wanted.parents) if path.exists())
        if (folder / gateway.audit.file).is_dir():
            yield _at(compiled, ("audit", "file"), "is a folder: name a file in it, such as audit.log")
        elif not there.is_dir() or not os.access(there, os.W_OK):
            yield _at(compiled, ("audit", "file"), f"{there} is not a writable folder")
    if gateway.sessions.store == "file" and (folder / gateway.sessions.path).is_file():
        yield _at(compiled, ("sessions", "path"), "is a file: name a folder, which is made if it does not exist")
    with_tls: list[tuple[Path, UpstreamTls | TenantTls | RedisTls | None]] = [
        *((("upstreams", name), upstream.tls) for name, upstream in gateway.upstreams.items()),
        *((("auth", "tenants", index), tenant.tls) for index, tenant in enumerate(gateway.auth.tenants)),
        (("sessions", "redis"), gateway.sessions.redis.tls),
    ]
    for path, tls in with_tls:
        if tls is not None and tls.ca is not None:
            try:
                ssl.create_default_context(cafile=str(folder / tls.ca))
            except ssl.SSLError:
                yield _at(compiled, (*path, "tls", "ca"), f"{folder / tls.ca} contains no certificate in PEM form")
            except OSError as error:
                text = f"{folder / tls.ca} can't be read: {(error.strerror or str(error)).lower()}"
                yield _at(compiled, (*path, "tls", "ca"), text)


def _certificate_problems(compiled: Compiled, folder: FilePath) -> Iterator[Problem]:
    block = compiled.loaded.gateway.server.tls
    if block is None:
        return
    found = list(pem_problems(folder / block.certificate, folder / block.key))
    for key, text in found:
        yield _at(compiled, ("server", "tls", key), text)
    if not found:
        try:
            Certificate(block, folder)
        except CertificateError as error:
            yield _at(compiled, ("server", "tls"), str(error).removeprefix("server.tls: "))


def document_problems(compiled: Compiled) -> Iterator[Problem]:
    """Yield the problems of the trusted documents; that there are none is a problem too."""
    settings, folder = compiled.loaded.gateway.graphql, compiled.loaded.file.parent
    if settings.trusted_documents is None:
        return
    found = check_trusted(settings, folder)
    yield from found.problems
    if not found.count and not found.problems:
        named = folder / settings.trusted_documents
        text = f"{named} contains neither *.graphql files nor JSON manifests: no document could run"
        yield _at(compiled, ("graphql", "trusted_documents"), text)


def _at(compiled: Compiled, path: Path, text: str) -> Problem:
    return compiled.loaded.document.problem(path, text)


def exit_with(problems: Iterable[Problem]) -> NoReturn:
    """Print the problems, one line each and 50 at most, and exit with status 2."""
    for line in printed([str(problem) for problem in problems], "problems"):
        click.echo(line, err=True)
    sys.exit(2)
