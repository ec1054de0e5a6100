"""Loading of the YAML file; a mistake is one line that names the file, the line, the key, and what is expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .settings import ClientEntry, TenantEntry, TenantFile, UserEntry, UsersFile

DEFAULT_FILE = Path(__file__).with_name("users.yaml")
MAX_SIZE = 32 * 1024 * 1024
MAX_NODES = 2_000_000
MAX_DEPTH = 50
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


class UsersFileError(ValueError):
    """The file is invalid; the message is one line with the file, the line and the key."""


def load_file(path: Path) -> TenantFile:
    """Return the content of a tenant file. Raises UsersFileError."""
    return _read(path, TenantFile)


def load_users(path: Path) -> UsersFile:
    """Return the content of a file of `--users`. Raises UsersFileError."""
    return _read(path, UsersFile)


def with_users(settings: TenantFile, more: UsersFile) -> TenantFile:
    """Return the settings with further users and clients, which replace those of the same e-mail address or id."""
    given = {user.email.lower() for user in more.users}
    users = [user for user in settings.users if user.email.lower() not in given]
    named = {client.client_id for client in more.clients}
    clients = [client for client in settings.clients if client.client_id not in named]
    return settings.model_copy(update={"users": [*users, *more.users], "clients": [*clients, *more.clients]})


def tenant_entries(settings: TenantFile) -> Mapping[str, TenantEntry]:
    """Return the tenants by host name, the default one under the empty name, each with all that it has."""
    base = {name: getattr(settings, name) for name in TenantEntry.model_fields if name != "issuer"}
    found: dict[str, TenantEntry] = {"": settings}
    for host, entry in settings.tenants.items():
        own = {name: getattr(entry, name) for name in entry.model_fields_set}
        found[host.lower()] = TenantEntry.model_construct(**({"issuer": None} | base | own))
    return found


def _read(path: Path, model: type[Model]) -> Model:
    try:
        if path.stat().st_size > MAX_SIZE:
            raise UsersFileError(f"{path}: is larger than {MAX_SIZE} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsersFileError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise UsersFileError(f"{path}: is not UTF-8 text") from None
    node, document = _parse(path, text)
    try:
        found = model.model_validate(document)
    except ValidationError as error:
        # An unknown key is often the misspelled one that is missing.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise _mistake(path, node, first, model) from None
    _check_duplicates(path, node, found)
    return found


def _parse(path: Path, text: str) -> tuple[yaml.Node | None, Any]:
    loader = _LOADER(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        _check_keys(path, node)
        return node, loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UsersFileError(f"{path}: {where}{error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, UsersFileError):
            raise
        raise UsersFileError(f"{path}: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()


def _check_keys(path: Path, root: yaml.Node | None) -> None:
    """Raise UsersFileError for a key that stands twice in a mapping, and for aliases that multiply the content."""
    waiting: list[tuple[yaml.Node | None, int]] = [(root, 0)]
    count = 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_NODES:
            raise UsersFileError(f"{path}: is nested too deeply, or refers to itself")
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, depth + 1) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            _check_mapping(path, node)
            waiting += [(value, depth + 1) for _, value in node.value]


def _check_mapping(path: Path, node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            raise UsersFileError(f"{path}: line {key.start_mark.line + 1}: {key.value}: is there twice; remove one")
        seen.add(key.value)


def _mistake(path: Path, node: yaml.Node | None, error: ErrorDetails, model: type[BaseModel]) -> UsersFileError:
    location = tuple(part for part in error["loc"] if part != "[key]")
    problem = _problem(error, location, model)
    if error["type"] == "value_error" and (claim := problem.partition(": ")[0]) and ": " in problem:
        location, problem = (*location, claim), problem.partition(": ")[2]
    return _at(path, node, location, problem)


def _at(path: Path, node: yaml.Node | None, location: Location, problem: str) -> UsersFileError:
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    line = _line(node, location)
    place = ": ".join(part for part in (f"line {line}" if line else "", key) if part)
    return UsersFileError(f"{path}: {place}: {problem}" if place else f"{path}: {problem}")


def _line(node: yaml.Node | None, location: Location) -> int:
    """Return the number of the line of a location, or of its nearest part that is there; 0 for an empty file."""
    line = node.start_mark.line + 1 if node is not None else 0
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == part), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        else:
            return line
    return line


def _problem(error: ErrorDetails, location: Location, model: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    plain = {
        "missing": "is missing",
        "string_type": "must be a non-empty string (quote it)",
        "string_too_short": "must be a non-empty string",
        "bool_type": "must be true or false",
        "int_type": "must be a whole number",
        "list_type": "must be a list",
        "dict_type": "must be a mapping",
        "model_type": "must be a mapping",
    }
    if kind in plain:
        return plain[kind]
    if kind == "extra_forbidden":
        return f"unknown key (known: {', '.join(sorted(_fields(model, location)))})"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "value_error":
        return str(context["error"])
    return error["msg"][0].lower() + error["msg"][1:]


def _fields(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys that are known beside the last part of a location."""
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        inner = field.annotation if field is not None else None
        for candidate in (inner, *getattr(inner, "__args__", ())):
            for one in (candidate, *getattr(candidate, "__args__", ())):
                if isinstance(one, type) and issubclass(one, BaseModel):
                    model = one
    return list(model.model_fields)


def _check_duplicates(path: Path, node: yaml.Node | None, found: BaseModel) -> None:
    """Raise UsersFileError for users or clients of the same name."""
    parts: list[tuple[Location, Any]] = [((), found)]
    if isinstance(found, TenantFile):
        parts += [(("tenants", host), entry) for host, entry in found.tenants.items()]
    for place, entry in parts:
        _unique(path, node, (*place, "users"), entry.users, _names_of_user)
        _unique(path, node, (*place, "clients"), entry.clients, lambda client: [client.client_id])


def _names_of_user(user: UserEntry) -> list[str]:
    return [user.email.lower(), f"id {user.id}"] if user.id else [user.email.lower()]


def _unique(
    path: Path,
    node: yaml.Node | None,
    place: Location,
    entries: list[Any],
    names: Callable[[Any], list[str]],
) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        for name in names(entry):
            if name in seen:
                shown = entry.client_id if isinstance(entry, ClientEntry) else entry.email
                raise _at(path, node, (*place, index), f"{shown} is a duplicate (same name or id); remove one")
            seen.add(name)
