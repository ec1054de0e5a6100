"""Environment variables of existing deployments, which override the file.

The model says which variable belongs to which key; this module converts a variable's text to the key's value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.config.model import Gateway
from proxy.config.model_upstreams import NOETL, noetl_upstreams
from proxy.config.problems import Path, Place, Problem, key_of
from proxy.config.types import FromEnvironment
from proxy.config.yamlfile import Document

_SECONDS = ("_SECS",)


def block_of(annotation: Any) -> type[BaseModel] | None:
    """Return the block class inside an annotation such as `Annotated[Live | None, …]` or `dict[str, Upstream]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = block_of(part)
        if found is not None:
            return found
    return None


def fields(block: type[BaseModel] = Gateway, path: Path = ()) -> Iterator[tuple[Path, FieldInfo]]:
    """Yield every key of the model with its path. `NAME` stands for an upstream or role, `[]` for a list entry."""
    for name, info in block.model_fields.items():
        here = (*path, info.alias or name)
        yield here, info
        inner = block_of(info.annotation)
        if inner is not None:
            yield from fields(inner, (*here, *_between(info.annotation)))


def _between(annotation: Any) -> Path:
    text = str(annotation)
    return ("NAME",) if "dict[" in text else ("[]",) if "tuple[" in text else ()


def variables() -> dict[str, Path]:
    """Return the key that each environment variable overrides; the upstream stands for the one of kind `noetl`."""
    found: dict[str, Path] = {}
    for path, info in fields():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        names = extra.get("environment", [])
        if "[]" in path or not isinstance(names, list):
            continue
        for name in names:
            found.setdefault(str(name), tuple(NOETL if part == "NAME" else part for part in path))
    return found


def apply_environment(document: Document, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Put the variables that are set into the document, and return the names of those that took effect."""
    if not isinstance(document.data, dict):
        return ()
    applied = []
    known = variables()
    for name in sorted(known, key=lambda item: (item != "ROUTER_PORT", item)):
        text = environ.get(name)
        if not text:
            continue
        path = _of_upstream(known[name], document.data)
        place = Place(f"environment variable {name}")
        if name.endswith(_SECONDS) and not _is_number(text):
            document.problems.append(Problem(place, key_of(path), f'"{text}" is not a number of seconds, such as 20'))
            continue
        if name == "CORS_ALLOWED_ORIGINS":
            document.data.pop("corsAllowedOrigins", None)
        if _put(document.data, path, _value(name, text)):
            document.override(path, place)
            applied.append(name)
    return tuple(applied)


def apply_options(document: Document, options: Mapping[str, Any]) -> None:
    """Put settings of `server` that were given on the command line into the document."""
    for name, value in options.items():
        path: Path = ("server", name)
        if value is not None and _put(document.data, path, value):
            document.override(path, Place(f"option --{name}"))


def _of_upstream(path: Path, data: Mapping[str, Any]) -> Path:
    """Return a path of the upstream called `noetl` as one of the upstream of kind `noetl`."""
    names = noetl_upstreams(data.get("upstreams")) or [NOETL]
    return ("upstreams", names[0], *path[2:]) if path[0] == "upstreams" else path


def _value(name: str, text: str) -> Any:
    if name.endswith(_SECONDS):
        return FromEnvironment(f"{text}s")
    if name == "CORS_ALLOWED_ORIGINS":
        return [FromEnvironment(part.strip()) for part in text.split(",") if part.strip()]
    if name == "NOETL_BASE_URL":
        return [FromEnvironment(text)]
    return FromEnvironment(text.lower() if name in ("LOG_LEVEL", "LOG_FORMAT") else text)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _put(data: dict[str, Any], path: Path, value: Any) -> bool:
    for part in path[:-1]:
        inner = data.setdefault(str(part), {})
        if inner is None:
            inner = data[str(part)] = {}
        if not isinstance(inner, dict):
            return False
        data = inner
    data[str(path[-1])] = value
    return True
