"""The bodies of requests, as the Rust server 3.54 defines them."""

from __future__ import annotations

from mock_noetl.rust.reader import Anything
from mock_noetl.rust.serde import (
    Boolean,
    Default,
    Identity,
    Integer,
    Mapping,
    Optional,
    Sequence,
    Struct,
    Text,
)

_TEXT, _ID = Text(), Integer()
_MAYBE_TEXT, _MAYBE_ID, _MAYBE_ANY = Optional(_TEXT), Optional(_ID), Optional(Anything())


def _or(value: object) -> Default:
    return Default(_TEXT, lambda: value)


def _default_none(inner: Optional) -> Default:
    return Default(inner, lambda: None)


DEDUP = Struct("DedupSpec", {"key": _TEXT, "window_secs": Default(Integer("u64", 0, 2**64 - 1), lambda: 300)})
EXECUTE = Struct(
    "ExecuteRequest",
    {
        "path": _MAYBE_TEXT,
        "catalog_id": _MAYBE_ID,
        "payload": Default(Mapping(), dict),
        "parent_execution_id": _MAYBE_ID,
        "execution_pool": _MAYBE_TEXT,
        "trace": _MAYBE_ANY,
        "dedup": Optional(DEDUP),
    },
    {"workload": "payload"},
)
BATCH_EXECUTE = Struct("BatchExecuteRequest", {"executions": Sequence(EXECUTE)})
REGISTER = Struct("CatalogRegisterRequest", {"content": _TEXT, "resource_type": _or("Playbook")})
CATALOG_LIST = Struct("CatalogEntriesRequest", {"resource_type": _default_none(_MAYBE_TEXT)})
CATALOG_ENTRY = Struct(
    "CatalogEntryRequest",
    {name: _default_none(_MAYBE_TEXT) for name in ("catalog_id", "path", "version")},
)
FINALIZE = Struct("FinalizeRequest", {"status": _TEXT, "error": _MAYBE_TEXT})
SET_VARIABLE = Struct(
    "SetVariableRequest",
    {"var_name": _TEXT, "var_value": Anything(), "var_type": _or("user_defined"), "source_step": _MAYBE_TEXT},
)
SET_VARIABLES = Struct("SetVariablesRequest", {"variables": Sequence(SET_VARIABLE)})
POSTGRES = Struct(
    "PostgresExecuteRequest",
    {
        "query": _MAYBE_TEXT,
        "query_base64": _MAYBE_TEXT,
        "procedure": _MAYBE_TEXT,
        "parameters": Optional(Sequence(Anything())),
        "db_schema": _MAYBE_TEXT,
        "database": _MAYBE_TEXT,
        "credential": _MAYBE_TEXT,
        "connection_string": _MAYBE_TEXT,
    },
    {"schema": "db_schema"},
)
VALIDATE_SESSION = Struct("ValidateSessionRequest", {"session_token": _TEXT, "credential": _or("pg_auth")})
LOGIN = Struct(
    "LoginRequest",
    {"auth0_token": _TEXT, "auth0_domain": _or(""), "client_ip": _or("0.0.0.0"), "credential": _or("pg_auth")},  # noqa: S104
)
CHECK_ACCESS = Struct(
    "CheckAccessRequest",
    {"session_token": _TEXT, "playbook_path": _TEXT, "action": _or("execute"), "credential": _or("pg_auth")},
)
SAVE_CREDENTIAL = Struct(
    "CredentialCreateRequest",
    {
        "name": _TEXT,
        "type": _TEXT,
        "data": Anything(),
        "meta": _default_none(_MAYBE_ANY),
        "tags": _default_none(Optional(Sequence(_TEXT))),
        "description": _default_none(_MAYBE_TEXT),
    },
)
SET_KEYCHAIN = Struct(
    "KeychainSetRequest",
    {
        "data": Anything(),
        "scope_type": _or("global"),
        "execution_id": _default_none(_MAYBE_ID),
        "expires_at": _default_none(_MAYBE_TEXT),
        "expires_in": _default_none(_MAYBE_ID),
        "auto_renew": Default(Boolean(), lambda: False),
        "renew_config": _default_none(_MAYBE_ANY),
    },
)
SUBSCRIBE = Struct("RegisterRequest", {"path": _TEXT})
EVENT = Struct(
    "EventRequest",
    {
        "execution_id": Identity(),
        "step": _TEXT,
        "event_type": _TEXT,
        "payload": Default(Anything(), lambda: None),
        "meta": _MAYBE_ANY,
        "worker_id": _MAYBE_TEXT,
        "result_kind": _or("data"),
        "result_uri": _MAYBE_TEXT,
        "event_ids": Optional(Sequence(_ID)),
        "actionable": Default(Boolean(), lambda: True),
        "informative": Default(Boolean(), lambda: True),
        "event_id": _default_none(Optional(Identity())),
        "status": _default_none(_MAYBE_TEXT),
        "created_at": _default_none(_MAYBE_TEXT),
    },
    {"name": "event_type", "context": "payload"},
)
BATCH_ITEM = Struct(
    "BatchEventItem",
    {
        "step": _TEXT,
        "event_type": _TEXT,
        "payload": Default(Anything(), lambda: None),
        "actionable": Default(Boolean(), lambda: False),
        "informative": Default(Boolean(), lambda: True),
    },
    {"name": "event_type", "context": "payload"},
)
BATCH = Struct(
    "BatchEventRequest",
    {"execution_id": Identity(), "worker_id": _MAYBE_TEXT, "events": Sequence(BATCH_ITEM)},
)
CLAIM = Struct("ClaimRequest", {"worker_id": _TEXT})
WORKER_POOL = Struct(
    "RegisterRuntimeRequest",
    {
        "name": _TEXT,
        "kind": _or("worker_pool"),
        "uri": _MAYBE_TEXT,
        "status": _or("active"),
        "labels": _MAYBE_ANY,
        "capabilities": _MAYBE_ANY,
        "capacity": Optional(Integer("i32", -(2**31), 2**31 - 1)),
        "runtime": _MAYBE_ANY,
        "hostname": _default_none(_MAYBE_TEXT),
    },
    {"component_type": "kind"},
)
NAMED_POOL = Struct("HeartbeatRequest", {"kind": _or("worker_pool"), "name": _TEXT}, {"component_type": "kind"})
