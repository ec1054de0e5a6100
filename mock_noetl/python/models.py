"""The bodies of requests, as the Python server 4.26 defines them: the same fields in the same order, with checks."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator


class _Lax(BaseModel):
    """A model that takes numbers for texts."""

    model_config = ConfigDict(from_attributes=True, coerce_numbers_to_str=True)


class Execute(BaseModel):
    """A start."""

    model_config = ConfigDict(populate_by_name=True)

    path: str | None = None
    catalog_id: int | None = None
    version: int | None = None
    resource_kind: str | None = None
    payload: dict[str, Any] = Field(default_factory=dict, alias="workload")
    parent_execution_id: int | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Execute:
        if not self.path and not self.catalog_id:
            raise ValueError("Either 'path' or 'catalog_id' must be provided")
        return self


class Register(_Lax):
    """A registration; base64 is recognized by decoding it."""

    content: str
    resource_type: str = "Playbook"

    @field_validator("content", mode="before")
    @classmethod
    def _decoded(cls, value: Any) -> Any:
        try:
            return base64.b64decode(value).decode("utf-8")
        except Exception:
            return value


class CatalogList(_Lax):
    """A list of the catalog."""

    resource_type: str | None = None
    path: str | None = None
    agent_only: bool = False
    capability: str | None = None
    capabilities: list[str] | None = None


class Agents(_Lax):
    """A list of the agents in the catalog."""

    path: str | None = None
    capability: str | None = None
    capabilities: list[str] | None = None


class CatalogEntry(_Lax):
    """One entry of the catalog."""

    catalog_id: str | None = None
    path: str | None = None
    version: str | int | None = None

    @field_validator("catalog_id", "path", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return value if value is None else str(value)

    @model_validator(mode="after")
    def _names_something(self) -> CatalogEntry:
        if not self.catalog_id and not self.path:
            raise ValueError("At least one identifier must be provided: catalog_id or path")
        return self


class Cancel(BaseModel):
    """A cancel."""

    reason: str | None = "User requested cancellation"
    cascade: bool = True


class Finalize(BaseModel):
    """A forced end."""

    reason: str = "Abandoned or timed out"


class Cleanup(BaseModel):
    """A cancel of all executions that run for long."""

    older_than_minutes: int = Field(default=5, ge=1)
    dry_run: bool = False


class SetVariables(BaseModel):
    """Variables of an execution."""

    variables: dict[str, Any]
    var_type: str = "user_defined"
    source_step: str | None = None


class Postgres(BaseModel):
    """A query."""

    model_config = ConfigDict(populate_by_name=True)

    query: str | None = None
    query_base64: str | None = None
    procedure: str | None = None
    parameters: Any = None
    db_schema: str | None = Field(default=None, alias="schema")
    database: str | None = None
    credential: str | None = None
    connection_string: str | None = None

    @field_validator("query", "procedure", mode="before")
    @classmethod
    def _stripped(cls, value: Any) -> Any:
        return str(value).strip() if value else value


class ValidateSession(BaseModel):
    """A validation of a session."""

    session_token: str = Field(min_length=1)
    credential: str | None = "pg_auth"

    @field_validator("session_token", mode="before")
    @classmethod
    def _stripped(cls, value: Any) -> str:
        return str(value or "").strip()


class SaveCredential(BaseModel):
    """A credential."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(min_length=1)
    type: str = Field(default="generic", alias="credential_type")
    data: dict[str, Any]
    meta: dict[str, Any] | None = None
    tags: str | list[str] | None = None
    description: str | None = None

    @field_validator("name", mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        return str(value).strip() if value else value

    @field_validator("type", mode="before")
    @classmethod
    def _type(cls, value: Any) -> str:
        return str(value).strip() if value else "generic"

    @field_validator("tags", mode="before")
    @classmethod
    def _tags(cls, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, str):
            return [tag.strip() for tag in value.split(",") if tag and tag.strip()]
        return [str(tag) for tag in value] if isinstance(value, list) else [str(value)]


class SetKeychain(BaseModel):
    """An entry of a keychain."""

    token_data: dict[str, Any]
    credential_type: str
    cache_type: str = "token"
    scope_type: str = "global"
    execution_id: int | None = None
    parent_execution_id: int | None = None
    ttl_seconds: int | None = None
    expires_at: datetime | None = None
    auto_renew: bool = False
    renew_config: dict[str, Any] | None = None


class Lifecycle(_Lax):
    """A verb of the life of an MCP server."""

    workload_overrides: dict[str, Any] | None = None
    version: str | int | None = "latest"


class Discover(_Lax):
    """A refresh of the tools of an MCP server."""

    version: str | int | None = "latest"
    force: bool = False


class Event(BaseModel):
    """An event of a worker."""

    model_config = ConfigDict(populate_by_name=True)

    execution_id: str
    step: str = Field(validation_alias=AliasChoices("step", "node_name"))
    name: str = Field(validation_alias=AliasChoices("name", "event_type"))
    payload: dict[str, Any] = Field(default_factory=dict, validation_alias=AliasChoices("payload", "context"))
    meta: dict[str, Any] | None = None
    worker_id: str | None = None
    actionable: bool = True
    informative: bool = True

    @field_validator("execution_id", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return value if value is None else str(value)


class BatchItem(BaseModel):
    """An event of a batch."""

    model_config = ConfigDict(populate_by_name=True)

    step: str = Field(validation_alias=AliasChoices("step", "node_name"))
    name: str = Field(validation_alias=AliasChoices("name", "event_type"))
    payload: dict[str, Any] = Field(default_factory=dict, validation_alias=AliasChoices("payload", "context"))
    actionable: bool = False
    informative: bool = True
    meta: dict[str, Any] | None = None


class Batch(BaseModel):
    """A batch of events of a worker."""

    execution_id: str
    events: list[BatchItem]
    worker_id: str | None = None
    catalog_id: int | None = None


class Claim(BaseModel):
    """A claim of a command."""

    worker_id: str
    locality: dict[str, Any] | None = None


class WorkerPool(BaseModel):
    """A worker pool."""

    model_config = ConfigDict(populate_by_name=True)

    name: str
    kind: Literal["worker_pool"] = "worker_pool"
    runtime: str | None = None
    uri: str | None = Field(default=None, alias="base_url")
    status: str = "ready"
    capacity: int | None = Field(default=None, ge=0)
    labels: dict[str, Any] | None = None
    pid: int | None = None
    hostname: str | None = None
    meta: dict[str, Any] | None = None


EXECUTE: TypeAdapter[Any] = TypeAdapter(Execute)
REGISTER: TypeAdapter[Any] = TypeAdapter(Register)
CATALOG_LIST: TypeAdapter[Any] = TypeAdapter(CatalogList)
AGENTS: TypeAdapter[Any] = TypeAdapter(Agents)
CATALOG_ENTRY: TypeAdapter[Any] = TypeAdapter(CatalogEntry)
CANCEL: TypeAdapter[Any] = TypeAdapter(Cancel)
FINALIZE: TypeAdapter[Any] = TypeAdapter(Finalize)
CLEANUP: TypeAdapter[Any] = TypeAdapter(Cleanup)
SET_VARIABLES: TypeAdapter[Any] = TypeAdapter(SetVariables)
POSTGRES: TypeAdapter[Any] = TypeAdapter(Postgres)
VALIDATE_SESSION: TypeAdapter[Any] = TypeAdapter(ValidateSession)
SAVE_CREDENTIAL: TypeAdapter[Any] = TypeAdapter(SaveCredential)
SET_KEYCHAIN: TypeAdapter[Any] = TypeAdapter(SetKeychain)
LIFECYCLE: TypeAdapter[Any] = TypeAdapter(Lifecycle)
DISCOVER: TypeAdapter[Any] = TypeAdapter(Discover)
EVENT: TypeAdapter[Any] = TypeAdapter(Event)
BATCH: TypeAdapter[Any] = TypeAdapter(Batch)
CLAIM: TypeAdapter[Any] = TypeAdapter(Claim)
WORKER_POOL: TypeAdapter[Any] = TypeAdapter(WorkerPool)
