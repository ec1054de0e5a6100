"""Generate docs/mock-auth0-reference.md from the code: options, YAML, endpoints, control plane, tokens."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mock_auth0.admin import ProviderOperations
from mock_auth0.broken import BROKEN, UNUSUAL, Variant
from mock_auth0.cli import main
from mock_auth0.minting import FIELDS
from mock_auth0.program import ROUTES
from mock_auth0.settings import ApiEntry, ClientEntry, Lifetimes, TenantFile, UserEntry, UsersFile
from scripts.markdown import about, options, row, table

_INTRODUCTION = """\
# Reference of mock_auth0

All options, settings, endpoints and tokens of the [sandbox Auth0](mock-auth0.md). `make docs` generates this page from
the code, so edit the descriptions in the code; a test fails if the page is out of date.
"""
_BLOCKS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file of `--config`", TenantFile),
    ("A user, in `users`", UserEntry),
    ("A client, in `clients`", ClientEntry),
    ("An API, in `apis`", ApiEntry),
    ("`lifetimes`", Lifetimes),
    ("The file of `--users`", UsersFile),
)
_KINDS = {"str": "text", "bool": "flag", "int": "number", "float": "number"}


def page() -> str:
    """Return the page."""
    parts = (_INTRODUCTION, *_commands(), *_settings(), *_endpoints(), *_operations(), *_minting())
    return "\n".join(parts).rstrip() + "\n"


def _commands() -> Iterator[str]:
    yield "## Command line\n"
    yield from _command("python -m mock_auth0", main)
    for command in main.commands.values():
        yield from _command(f"python -m mock_auth0 {command.name}", command)


def _command(name: str, command: click.Command) -> Iterator[str]:
    yield from about(name, command)
    yield from options(name, command)


def _settings() -> Iterator[str]:
    yield "## The YAML file\n"
    for title, model in _BLOCKS:
        yield f"### {title}\n"
        if model.__doc__:
            yield f"{inspect.cleandoc(model.__doc__)}\n"
        yield from table("key", "type", "default", "meaning")
        for name, info in model.model_fields.items():
            yield row(f"`{name}`", _type(info.annotation), _default(info), info.description or "")
        yield ""


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    arguments = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is list:
        return f"list of {_type(arguments[0]).removesuffix('s')}s" if arguments else "list"
    if get_origin(annotation) is dict:
        return "mapping"
    if arguments:
        return _type(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {"UserEntry": "user", "ClientEntry": "client", "ApiEntry": "API"}.get(annotation.__name__, "mapping")
    return _KINDS.get(getattr(annotation, "__name__", ""), "text")


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "see below" if info.default_factory is not None else "required"
    if info.default is None or info.default in ([], {}):
        return "none"
    return f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`"


def _endpoints() -> Iterator[str]:
    yield "## Endpoints\n"
    yield "Cross-origin: pages of this machine and of the origins of the clients may read the responses.\n"
    yield from table("path", "methods", "cross-origin", "what it does")
    for path, route in ROUTES.items():
        first = next(iter(route.methods.values()))
        text = " ".join((inspect.getdoc(first) or "").partition("\n\n")[0].split())
        yield row(f"`{path}`", ", ".join(route.methods), "yes" if route.cors else "no", text)
    yield ""


def _operations() -> Iterator[str]:
    yield "## Control plane\n"
    yield "With `--admin`, below `/__admin`, besides the operations that both sandboxes have.\n"
    yield from table("operation", "what it does", "body", "query")
    for operation in ProviderOperations(_no_tenant, list).all():
        body = _members(operation.body)
        yield row(f"`{operation.method} {operation.path}`", operation.summary, body, _members(operation.query))
    yield "\nThe members of a body of `POST /tokens`:\n"
    yield from table("member", "meaning")
    for name, text in FIELDS.items():
        yield row(f"`{name}`", text)
    yield ""


def _no_tenant(host: str) -> Any:
    raise KeyError(host)


def _members(model: type[BaseModel] | None) -> str:
    return ", ".join(f"`{name}`" for name in model.model_fields) if model is not None else ""


def _minting() -> Iterator[str]:
    yield "## Broken tokens\n"
    yield "A verifier of ID tokens must refuse each of these.\n"
    yield from _variants(BROKEN)
    yield "## Unusual tokens\n"
    yield "A verifier of ID tokens must accept each of these, with caution about their claims.\n"
    yield from _variants(UNUSUAL)


def _variants(variants: dict[str, Variant] | Any) -> Iterator[str]:
    yield from table("name", "what it is")
    for name, variant in variants.items():
        yield row(f"`{name}`", variant.sentence)
    yield ""
