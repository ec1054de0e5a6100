"""Loading of the YAML file; a mistake is one line that names the file, the line, the key, and what is expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mock_server.mistakes import Location, Mistake, mistakes
from mock_server.yaml_file import YamlFile

from .settings import ClientEntry, TenantEntry, TenantFile, UserEntry, UsersFile

DEFAULT_FILE = Path(__file__).with_name("users.yaml")
MAX_SIZE = 32 * 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)


def load_file(path: Path) -> TenantFile:
    """Return the content of a tenant file. Raises YamlFileError."""
    return _read(path, TenantFile)


def load_users(path: Path) -> UsersFile:
    """Return the content of a file of `--users`. Raises YamlFileError."""
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
    file = YamlFile.read(path, MAX_SIZE)
    try:
        found = model.model_validate(file.data)
    except ValidationError as error:
        raise file.error(mistakes(error, model)[0]) from None
    _check_duplicates(file, found)
    return found


def _check_duplicates(file: YamlFile, found: BaseModel) -> None:
    """Raise YamlFileError for tenants, users or clients of the same name."""
    parts: list[tuple[Location, Any]] = [((), found)]
    if isinstance(found, TenantFile):
        parts += [(("tenants", host), entry) for host, entry in found.tenants.items()]
        _unique(file, ("tenants",), list(found.tenants), lambda host: [host.lower()])
    for place, entry in parts:
        _unique(file, (*place, "users"), entry.users, _names_of_user)
        _unique(file, (*place, "clients"), entry.clients, lambda client: [client.client_id])


def _names_of_user(user: UserEntry) -> list[str]:
    return [user.email.lower(), f"id {user.id}"] if user.id else [user.email.lower()]


def _unique(
    file: YamlFile,
    place: Location,
    entries: list[Any],
    names: Callable[[Any], list[str]],
) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        for name in names(entry):
            if name in seen:
                problem = f"{_shown(entry)} is a duplicate (same name or id); remove one"
                raise file.error(Mistake((*place, entry if isinstance(entry, str) else index), problem))
            seen.add(name)


def _shown(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    return entry.client_id if isinstance(entry, ClientEntry) else str(entry.email)
