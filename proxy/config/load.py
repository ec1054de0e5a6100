"""Load gateway.yaml with its includes and the environment, and report all mistakes at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from proxy.config.builtin import BUILTIN_LIMITS, builtin_routes
from proxy.config.checks import cross_checks
from proxy.config.environment import apply_environment, apply_options, block_of
from proxy.config.files import is_pattern, matching_files
from proxy.config.messages import describe
from proxy.config.model import Gateway
from proxy.config.problems import ConfigError, Path, Place, Problem, hide_secrets, key_of, key_of_unknown, suggest
from proxy.config.profile import apply_profile, profile_problems
from proxy.config.types import spell
from proxy.config.yamlfile import Document, read_yaml

_INCLUDABLE = {"routes": (), "acl": ("rules",)}
_MAX_REPAIRS = 100
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration.

    Args:
        gateway: the settings.
        document: the place of every key and value.
        file: the configuration file.
        overrides: the environment variables that took effect.
    """

    gateway: Gateway
    document: Document = field(repr=False)
    file: FilePath
    overrides: tuple[str, ...]


def load(file: FilePath, environ: Mapping[str, str], options: Mapping[str, Any] | None = None) -> Loaded:
    """Read and check a file.

    Args:
        file: the configuration file.
        environ: the environment variables.
        options: settings of `server` that were given on the command line.

    Raises:
        ConfigError: with every problem.
    """
    document = _read(file, environ)
    if document.problems and not document.data:
        raise ConfigError(hide_secrets(document.secrets, document.problems))
    foreign = _is_no_configuration(document.data)
    if foreign:
        raise ConfigError([Problem(Place(str(file), 1, 1), "", foreign)])
    _include(document, file, environ)
    overrides = apply_environment(document, environ)
    apply_options(document, options or {})
    _add_builtin_routes(document)
    overrides += apply_profile(document, environ)
    problems = list(document.problems)
    gateway = _validate(document, problems)
    problems += cross_checks(gateway, document)
    problems += profile_problems(gateway, environ)
    if problems:
        raise ConfigError(hide_secrets(document.secrets, problems))
    return Loaded(gateway, document, file, overrides)


def _is_no_configuration(data: Any) -> str:
    """Return why a file can't be a gateway's at all, or an empty text. The text shows nothing of the file."""
    if data is None or data == {}:
        return "the file is empty; remove it, and write an example in its place with noetl-edge init"
    if not isinstance(data, dict):
        return "the file must be a mapping of blocks, such as server: …"
    blocks = _siblings(("",))
    if not any(key in blocks or suggest(key, blocks) for key in data):
        return f"the file has no block of a gateway's configuration, such as {', '.join(blocks[:3])}"
    return ""


def _read(file: FilePath, environ: Mapping[str, str]) -> Document:
    try:
        return read_yaml(file, environ)
    except OSError as error:
        text = f"can't be read: {error.strerror}; give the file with --config"
        raise ConfigError([Problem(Place(str(file)), "", text)]) from None


def _add_builtin_routes(document: Document) -> None:
    """Add the built-in routes behind those of the file, which win where both have the same path and method."""
    wanted, own = document.data.get("builtin_routes"), document.data.get("routes")
    if wanted is False or str(wanted).lower() == "false" or not isinstance(own, list | None):
        return
    document.data["routes"] = [*(own or ()), *builtin_routes(document.data.get("upstreams"))]
    limits = document.data.setdefault("rate_limits", {})
    if limits is None:
        limits = document.data["rate_limits"] = {}
    if isinstance(limits, dict):
        document.data["rate_limits"] = {**{name: dict(block) for name, block in BUILTIN_LIMITS.items()}, **limits}


def _include(document: Document, file: FilePath, environ: Mapping[str, str]) -> None:
    wanted = document.data.get("include") or []
    if not isinstance(wanted, list):
        return
    patterns = [pattern for pattern in wanted if isinstance(pattern, str)]
    for pattern in patterns:
        if not matching_files(file.parent, [pattern]):
            path: Path = ("include", wanted.index(pattern))
            remedy = "" if is_pattern(pattern) else "; write a pattern relative to the folder of this file"
            document.problems.append(document.problem(path, f'no file matches "{pattern}"{remedy}'))
    for part in matching_files(file.parent, patterns):
        _merge(document, _read(part, environ))


def _merge(document: Document, part: Document) -> None:
    document.problems += part.problems
    document.secrets |= part.secrets
    document.files |= part.files
    data = part.data or {}
    if not isinstance(data, dict):
        document.problems.append(Problem(part.place(()), "", "an included file may contain routes and acl.rules only"))
        return
    for key, inner in data.items():
        if key not in _INCLUDABLE:
            text = "an included file may contain routes and acl.rules only" + suggest(key, _INCLUDABLE)
            document.problems.append(Problem(part.place((key,), key=True), key_of_unknown((key,)), text))
        elif key == "acl" and isinstance(inner, dict):
            for name in inner.keys() - {"rules"}:
                text = "an included file may contain routes and acl.rules only"
                where: Path = ("acl", name)
                document.problems.append(Problem(part.place(where, key=True), key_of_unknown(where), text))
    _append(document, part, ("routes",), data.get("routes"))
    acl = data.get("acl")
    _append(document, part, ("acl", "rules"), acl.get("rules") if isinstance(acl, dict) else None)


def _append(document: Document, part: Document, path: Path, items: Any) -> None:
    if items is None:
        return
    if not isinstance(items, list):
        document.problems.append(Problem(part.place(path), key_of(path), "must be a list"))
        return
    target = document.data
    for name in path[:-1]:
        target = target.setdefault(name, {})
        if not isinstance(target, dict):
            return
    if path == ("routes",) and target.get("routes") is None:
        target["routes"] = []
    mine = target.setdefault(path[-1], [])
    if not isinstance(mine, list):
        return
    offset = len(mine)
    document.keys |= _with_offset(part.keys, path, offset)
    document.values |= _with_offset(part.values, path, offset)
    document.sources |= _with_offset(part.sources, path, offset)
    document.interpolated |= _with_offset(dict.fromkeys(part.interpolated), path, offset).keys()
    document.indexes |= {(*path, offset + index): index for index in range(len(items))}
    mine.extend(items)


def _with_offset(places: Mapping[Path, T], path: Path, offset: int) -> dict[Path, T]:
    """Return what belongs to the entries of the list at `path`, for entries whose numbers grow by `offset`."""
    depth, moved = len(path), {}
    for where, what in places.items():
        index = where[depth] if where[:depth] == path and len(where) > depth else None
        if isinstance(index, int):
            moved[(*path, index + offset, *where[depth + 1 :])] = what
    return moved


def _validate(document: Document, problems: list[Problem]) -> Gateway:
    """Return the model. Invalid entries are added to `problems` and left out, so that the rest can be checked too."""
    data, first = document.data, True
    reported = {problem.place for problem in problems}
    for _ in range(_MAX_REPAIRS):
        try:
            return Gateway.model_validate(data)
        except ValidationError as error:
            removals: set[Path] = set()
            items = [(item, _in_file(item["loc"], data)) for item in error.errors(include_url=False)]
            for item, path in items:
                if item["type"] == "missing" and any(_is_misspelt(other, path) for other in items):
                    removals.add(path[:-1])
                    continue  # one mistake: the key is there, with another spelling
                if item["type"] == "too_short" and any(below[: len(path)] == path != below for _, below in items):
                    continue  # there are entries, and their mistakes are reported
                text = describe(item, _siblings(path), is_secret=_is_secret(path), spelled=_spelling_at(path))
                problem = document.problem(path, text, key=item["type"] in ("extra_forbidden", "missing"))
                if item["type"] == "extra_forbidden":
                    problem = replace(problem, key=key_of_unknown(document.in_its_file(path)))
                if first and problem.place not in reported:
                    problems.append(problem)
                removals.add(path[:-1] if item["type"] == "missing" else path)
            document.removed |= removals if first else set()
            data, first = _without(data, removals, document), False
    return Gateway()


def _is_misspelt(other: tuple[Any, Path], missing: Path) -> bool:
    """Return whether another mistake is an unknown key for which the missing one would be suggested."""
    item, path = other
    beside = item["type"] == "extra_forbidden" and path[:-1] == missing[:-1]
    return beside and suggest(str(path[-1]), _siblings(path)) == suggest(str(missing[-1]), [str(missing[-1])])


def _in_file(loc: tuple[str | int, ...], data: Any) -> Path:
    """Return the part of pydantic's location that is in the file; a missing key is the last part."""
    path: Path = ()
    for part in loc:
        path = (*path, part)
        if not _has(data, part):
            break
        data = data[part]
    return path


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _siblings(path: Path) -> tuple[str, ...]:
    """Return the keys that are known beside the last key of a path."""
    fields = _fields_on(path[:-1])
    block = block_of(fields[-1].annotation) if fields else Gateway
    return tuple(f.alias or n for n, f in block.model_fields.items()) if block and fields is not None else ()


def _is_secret(path: Path) -> bool:
    """Return True if the value at a path may be a secret, because of the field that it belongs to."""
    extras = [info.json_schema_extra for info in _fields_on(path) or ()]
    return any(isinstance(extra, dict) and extra.get("secret") is True for extra in extras)


def _spelling_at(path: Path) -> Callable[[Any], Any]:
    """Return what writes a value of the field at a path in the spelling of the file."""
    fields = _fields_on(path)
    return (lambda value: spell(fields[-1], value)) if fields else (lambda value: value)


def _fields_on(path: Path) -> list[FieldInfo] | None:
    """Return the fields of the model from the root to a path; None if the path leads out of the model."""
    fields: list[FieldInfo] = []
    block: type[BaseModel] | None = Gateway
    skip_name = False
    for part in path:
        if isinstance(part, int) or skip_name:
            skip_name = False
            continue
        info = next((f for n, f in block.model_fields.items() if (f.alias or n) == part), None) if block else None
        if info is None:
            return None
        fields.append(info)
        block = block_of(info.annotation)
        skip_name = "dict[" in str(info.annotation)
    return fields


def _without(data: Any, removals: set[Path], document: Document, path: Path = ()) -> Any:
    if isinstance(data, dict):
        kept = {key: value for key, value in data.items() if (*path, key) not in removals}
        return {key: _without(value, removals, document, (*path, key)) for key, value in kept.items()}
    if isinstance(data, list):
        numbers = document.remaining.get(path, range(len(data)))
        left = [i for i in range(len(data)) if (*path, i) not in removals]
        document.remaining[path] = [numbers[i] for i in left]
        return [_without(data[i], removals, document, (*path, i)) for i in left]
    return data
