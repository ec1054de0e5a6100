"""What a sandbox server keeps beside its executions, alike in both dialects."""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mock_noetl.accounts import Accounts, load_accounts
from mock_noetl.callbacks import Callbacks
from mock_noetl.catalog import SHIPPED, Catalog
from mock_noetl.engine import Engine
from mock_noetl.errors import FullError
from mock_noetl.postgres import Database
from mock_noetl.remembered import MAX_KEPT
from mock_noetl.values import IdSource
from mock_server.clock import Clock
from mock_server.overrides import Overrides
from mock_server.randomness import random_source

OVERRIDES = Overrides("mock_noetl")
MAX_CREDENTIALS = 1_000
MAX_VARIABLES = 10_000


@dataclass(slots=True)
class Credential:
    """A credential."""

    credential_id: int
    name: str
    kind: str
    data: Any
    meta: Any
    tags: list[str] | None
    description: str | None
    created: float
    updated: float


@dataclass(slots=True)
class Variable:
    """A variable of an execution, set through the API."""

    name: str
    kind: str
    value: Any
    source_step: str | None
    created: float
    accessed: float
    count: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sandbox is started.

    Args:
        playbooks: a folder with YAML files; None: the shipped ones.
        accounts: a YAML file with users and permissions; None: the shipped one.
        internal_token: what callbacks to the gateway carry, if it wants one.
        python_steps: code of Python steps is run; otherwise it is refused at registration.
        keep: how many executions are remembered; ended ones go first, in the order of their starts.
        callback_to: base URLs of gateways elsewhere to which callbacks may go.
    """

    playbooks: Path | None = None
    accounts: Path | None = None
    internal_token: str = ""
    python_steps: bool = True
    keep: int = MAX_KEPT
    callback_to: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class State:
    """The state of a server. `style` is its dialect."""

    style: str
    settings: Settings = Settings()
    clock: Clock = field(default_factory=Clock)
    source: random.Random = field(default_factory=lambda: random_source(None))
    ids: IdSource = field(init=False)
    catalog: Catalog = field(init=False)
    accounts: Accounts = field(init=False)
    engine: Engine = field(init=False)
    database: Database = field(init=False)
    credentials: dict[str, Credential] = field(default_factory=dict)
    variables: OrderedDict[tuple[int, str], Variable] = field(default_factory=OrderedDict)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock.now()
        self.ids = IdSource(self.clock, self.source)
        self.accounts = load_accounts(self.settings.accounts, self.clock, self.source)
        self.database = Database()
        self.catalog = self._new_catalog()
        callbacks = Callbacks(self.settings.internal_token, self.settings.callback_to)
        self.engine = Engine(
            self.style,
            self.ids,
            self.clock,
            self.source,
            self.accounts,
            callbacks,
            lambda path: self.catalog.find(path),
            max_kept=self.settings.keep,
        )

    def _new_catalog(self) -> Catalog:
        catalog = Catalog(self.ids, self.clock)
        catalog.load_folder(self.settings.playbooks or SHIPPED)
        return catalog

    def reset(self) -> None:
        """Forget everything since the start, but for the accounts."""
        self.engine.clear()
        self.credentials.clear()
        self.variables.clear()
        self.database.close()
        self.database = Database()
        self.catalog = self._new_catalog()

    def save(self, name: str, kind: str, data: Any, meta: Any, tags: Any, description: str | None) -> Credential:
        """Save a credential. Raises FullError."""
        now = self.clock.now()
        known = self.credentials.get(name)
        if known is None and len(self.credentials) >= MAX_CREDENTIALS:
            raise FullError("Too many credentials")
        identity, created = (known.credential_id, known.created) if known else (self.ids.next(), now)
        saved = Credential(identity, name, kind, data, meta, tags, description, created, now)
        self.credentials.pop(name, None)
        self.credentials[name] = saved
        return saved

    def credential(self, identifier: str) -> Credential | None:
        """Return the credential with a name or an id."""
        found = self.credentials.get(identifier)
        if found is None and identifier.isdigit():
            wanted = int(identifier)
            return next((item for item in self.credentials.values() if item.credential_id == wanted), None)
        return found

    def variables_of(self, run_id: int) -> list[Variable]:
        """Return the variables of an execution, by name."""
        return sorted((item for (owner, _), item in self.variables.items() if owner == run_id), key=lambda v: v.name)

    def set_variable(self, run_id: int, name: str, kind: str, value: Any, source_step: str | None) -> None:
        """Set a variable; the oldest of all makes room."""
        now = self.clock.now()
        known = self.variables.get((run_id, name))
        created = known.created if known else now
        self.variables[run_id, name] = Variable(name, kind, value, source_step, created, now)
        if len(self.variables) > MAX_VARIABLES:
            self.variables.popitem(last=False)

    def delete_variables(self, run_id: int) -> int:
        """Delete the variables of an execution, and return how many there were."""
        keys = [key for key in self.variables if key[0] == run_id]
        for key in keys:
            del self.variables[key]
        return len(keys)

    async def close(self) -> None:
        """Stop what runs."""
        await self.engine.close()
        self.database.close()
