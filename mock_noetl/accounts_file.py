"""The YAML file of `--accounts`: its model, and its loading with the line of each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mock_noetl.errors import AccountsError
from mock_server.mistakes import mistakes
from mock_server.yaml_file import YamlFile, YamlFileError

MAX_SIZE = 32 * 1024 * 1024
Action = Literal["execute", "view", "modify", "delete"]


def _listed(value: Any) -> Any:
    return [] if value is None else value


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UserEntry(_Entry):
    """A user; the id is by default the number of the entry."""

    email: str
    user_id: int | None = None
    display_name: str | None = None
    roles: Annotated[list[str], BeforeValidator(_listed)] = []
    active: bool = True


class PermissionEntry(_Entry):
    """What a role may do with which playbooks."""

    role: str
    allow: list[Action]
    playbooks: list[str]
    exceptions: Annotated[list[str], BeforeValidator(_listed)] = Field([], alias="except")


class AccountsFile(_Entry):
    """The content of the file."""

    users: Annotated[list[UserEntry], BeforeValidator(_listed)] = []
    permissions: Annotated[list[PermissionEntry], BeforeValidator(_listed)] = []


def read_accounts(path: Path) -> AccountsFile:
    """Return the content of a file. Raises AccountsError, which names the file and the lines."""
    try:
        file = YamlFile.read(path, MAX_SIZE)
        return AccountsFile.model_validate(file.data)
    except YamlFileError as error:
        raise AccountsError(str(error)) from None
    except ValidationError as error:
        raise AccountsError(str(file.error(*mistakes(error, AccountsFile)))) from None
