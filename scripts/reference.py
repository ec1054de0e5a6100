"""Generate docs/reference.md, docs/mock-auth0-reference.md and docs/gateway.schema.json.

`make docs` runs this script. With --check it writes nothing, and the exit status is 1 if a file is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxy.cli import cli
from proxy.config.block import RELAYED
from proxy.config.builtin import BUILTIN_ROUTES, HANDLERS, RELAYED_SUMMARY
from proxy.config.environment import block_of, fields, variables
from proxy.config.jsonschema import gateway_schema
from proxy.config.later import Later
from proxy.config.model import Gateway
from proxy.config.problems import Path as Key
from proxy.config.types import Claims, Duration, Flag, Integer, Number, Size, Text, Texts, spell
from proxy.errors import known_errors
from proxy.observe.metrics import BRIDGED, DECISIONS, FAMILIES, LOGINS, SESSION_CHECKS, Family
from proxy.upstream.receiver import FaultKind
from scripts import mock_auth0_reference
from scripts.markdown import about, options, row, table

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
SCHEMA = ROOT / "docs" / "gateway.schema.json"
MOCK_AUTH0 = ROOT / "docs" / "mock-auth0-reference.md"
_TYPES = (
    (Duration, "duration"),
    (Size, "size"),
    (Flag, "true or false"),
    (Integer, "whole number"),
    (Number, "number"),
    (Texts, "list of texts"),
    (Claims, "claims"),
    (Text, "text"),
)
_VALUES: dict[str, tuple[str, ...]] = {
    "noetl_gateway_login": LOGINS,
    "noetl_gateway_session_check": SESSION_CHECKS,
    "noetl_gateway_authz": DECISIONS,
    "noetl_gateway_bridge": BRIDGED,
    "noetl_gateway_upstream_faults": tuple(FaultKind),
}
_METRICS = """\
The metrics of `/metrics`, if `metrics.enabled` is true. The label `route` is a pattern of the route table, or `none`
if no route matched. With several workers, counters, histograms and most gauges are the sum over all workers. A metric
with `[worker]` then has one series per worker, with the label `worker`: its number, or `supervisor`.
[operations.md](operations.md) describes a dashboard and alerts.
"""
_INTRODUCTION = """\
# Reference

All settings, endpoints, metrics, commands and errors of noetl-edge. `make docs` generates this page from the code, so
edit the descriptions in the code; a test fails if the page is out of date.

A duration is a number and a unit: `250ms`, `10s`, `5m`, `8h`, `30d`. Sizes: `512B`, `16KiB`, `10MiB`, `1GiB`. Any value
may be `${NAME}`, `${NAME:-default}` or `${file:PATH}`.
"""


def reference() -> str:
    """Return the whole page."""
    parts = (_INTRODUCTION, *_settings(), *_environment(), *_endpoints(), *_metrics(), *_commands(), *_errors())
    return "\n".join(parts).rstrip() + "\n"


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    blocks = {(): list(fields())}
    yield from _block((), Gateway, list(blocks[()]))


def _block(path: Key, block: type[BaseModel], everything: list[tuple[Key, FieldInfo]]) -> Iterator[str]:
    here = [(key, info) for key, info in everything if len(key) == len(path) + 1 and key[: len(path)] == path]
    yield f"### {_spelled(path) or 'The file'}\n"
    yield from table("key", "type", "default", "meaning")
    for key, info in here:
        yield row(f"`{key[-1]}`", _type(info), _default(info), _meaning(info))
    yield ""
    for key, info in here:
        inner = block_of(info.annotation)
        if inner is not None:
            below = next((k for k, _ in everything if k[: len(key)] == key and len(k) > len(key)), None)
            step = (below[len(key)],) if below and below[len(key)] in ("NAME", "[]") else ()
            yield from _block((*key, *step), inner, everything)


def _spelled(path: Key) -> str:
    return ".".join(str(part) for part in path).replace(".[]", "[]")


def _type(info: FieldInfo) -> str:
    return _type_of(Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation)


def _type_of(annotation: Any) -> str:
    for kind, name in _TYPES:
        if annotation == kind or _marked(annotation, kind):
            return name
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if get_origin(annotation) is tuple:
        return f"list of {_plural(inner[0])}"
    if get_origin(annotation) is dict:
        return f"names, each with {_plural(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    if get_origin(annotation) is Annotated:
        return _type_of(inner[0])
    names = {bool: "true or false", str: "text", int: "whole number"}
    return names[annotation] if annotation in names else " or ".join(map(_type_of, inner)) or "any value"


def _plural(annotation: Any) -> str:
    name = _type_of(annotation)
    return f"{name}s" if name in ("block", "text") else name


def _marked(annotation: Any, kind: Any) -> bool:
    wanted = [mark for mark in get_args(kind)[1:] if type(mark).__name__ == "BeforeValidator"]
    return bool(wanted) and any(mark is want for mark in get_args(annotation)[1:] for want in wanted)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if block_of(info.annotation) is not None or info.default_factory is not None:
        return ""
    value = spell(info, None if info.default is PydanticUndefined else info.default)
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else f'{value:g}' if isinstance(value, float) else value}`"


def _meaning(info: FieldInfo) -> str:
    later = next((mark.what for mark in info.metadata if isinstance(mark, Later)), None)
    if info.annotation is not None and later is None:
        later = next((m.what for part in get_args(info.annotation) for m in _marks(part)), None)
    ending = f" *Not available yet: {later}.*" if later else ""
    return f"{info.description}{ending}"


def _marks(annotation: Any) -> Iterator[Later]:
    yield from (mark for mark in get_args(annotation) if isinstance(mark, Later))


def _environment() -> Iterator[str]:
    yield "## Environment variables\n"
    yield "These variables override the file. `serve` logs which of them took effect.\n"
    yield from table("variable", "setting")
    for name, path in sorted(variables().items()):
        yield row(f"`{name}`", f"`{_spelled(path)}`")
    yield ""


def _endpoints() -> Iterator[str]:
    yield "## Endpoints\n"
    yield "The built-in route table, which is used if the file has no `routes`.\n"
    yield from table("path", "methods", "served by", "session", "what it does")
    for route in BUILTIN_ROUTES:
        name = route.get("handler")
        facts = HANDLERS[name] if name else None
        methods = route.get("methods") or (facts.methods if facts else RELAYED)
        served = f"`{name}`" if name else f"upstream `{route['upstream']}`, as `{route['rewrite']}`"
        session = facts.session if facts else "needed"
        summary = facts.summary if facts else RELAYED_SUMMARY
        yield row(f"`{route['path']}`", " ".join(methods), served, session, summary)
    yield "\nSession `own`: the session token may also be in the request body, as `session_token`.\n"
    yield "### Handlers\n"
    yield "The values for `handler` of a route.\n"
    yield from table("handler", "methods", "what it does")
    for name, facts in HANDLERS.items():
        ending = f". *Not available yet: {facts.later}.*" if facts.later else ""
        yield row(f"`{name}`", " ".join(facts.methods), facts.summary + ending)
    yield ""


def _metrics() -> Iterator[str]:
    yield "## Metrics\n"
    yield _METRICS
    yield from table("metric", "type", "labels", "meaning")
    for name, family in FAMILIES.items():
        labels = [*family.labels, *(() if family.summed else ("[worker]",))]
        meaning = " ".join((family.help, *_possible(name, family)))
        yield row(_shown(name, family), family.kind, ", ".join(f"`{label}`" for label in labels) or "none", meaning)
    yield ""


def _shown(name: str, family: Family) -> str:
    """Return the name, or names, of a family in Prometheus."""
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}[family.kind]
    first, *others = (f"{name}{ending}" for ending in endings)
    return ", ".join((f"`{first}`", *(f"`…{other.removeprefix(name)}`" for other in others)))


def _possible(name: str, family: Family) -> Iterator[str]:
    if name in _VALUES:
        yield f"`{family.labels[-1]}`: {', '.join(f'`{value}`' for value in _VALUES[name])}."
    if family.bounds:
        yield f"Bounds: {', '.join(f'{bound:g}' for bound in family.bounds)} s."


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield from _command("noetl-edge", cli)


def _command(name: str, command: click.Command) -> Iterator[str]:
    yield from about(name, command)
    if command.epilog:
        yield f"```sh\n{command.epilog.removeprefix('Example: ')}\n```\n"
    if not isinstance(command, click.Group):
        yield from options(name, command)
        return
    with click.Context(command, info_name=name) as context:
        inner = [command.get_command(context, each) for each in command.list_commands(context)]
    for each in filter(None, inner):
        yield from _command(f"{name} {each.name}", each)


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield 'Body: `{"error": "<text>", "request_id": "…"}`. The log contains the details under the same request id.\n'
    yield from table("status", "default text", "`extensions.code` in GraphQL", "when")
    for kind in known_errors():
        when = (kind.__doc__ or "").splitlines()[0]
        yield row(str(kind.status), kind.default_text, f"`{kind.code}`", when)


def files() -> dict[Path, str]:
    """Return the generated files and their content."""
    return {
        REFERENCE: reference(),
        SCHEMA: json.dumps(gateway_schema(), indent=2) + "\n",
        MOCK_AUTH0: mock_auth0_reference.page(),
    }


def main() -> int:
    """Write the files, or print which are out of date; return the exit status."""
    stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in sys.argv[1:]:
            print(f"{path.relative_to(ROOT)} is out of date; run make docs", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files()[path])
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
