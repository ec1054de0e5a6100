"""The settings of a configuration as plain data, in the spelling of the file, with every secret marked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.config.load import Loaded
from proxy.config.model import Gateway, HeaderEdit
from proxy.config.types import spell
from proxy.http.secret_names import is_secret_name

HIDDEN = "(a secret)"
Plain = dict[str, Any]


class Secret:
    """A secret value, which can be compared and is never shown."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return 0


def plain_settings(gateway: Gateway) -> Plain:
    """Return all settings: blocks as mappings, durations and sizes with their unit, secrets as `Secret`."""
    return _block(gateway, short=False)


def shown_settings(loaded: Loaded) -> Plain:
    """Return the settings in force as one valid file, with `HIDDEN` for each secret.

    Of an entry of a list, such as a route, only what was given is shown. The built-in routes are left out.
    """
    gateway = loaded.gateway
    shown: Plain = _shown(_block(gateway, short=True))
    shown["routes"] = [r for i, r in enumerate(shown.get("routes", ())) if loaded.document.is_in_file(("routes", i))]
    shown.pop("include")
    origins = shown.pop("corsAllowedOrigins", None)
    if origins is not None:
        shown["cors"]["allowed_origins"] = origins
    if not gateway.graphql.apq:
        del shown["graphql"]["apq_size"]
    return shown


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return HIDDEN if isinstance(value, Secret) else value


def _block(block: BaseModel, *, short: bool, entry: bool = False) -> Plain:
    """Return a block; with `short`, only what was given of an `entry` of a list."""
    found: Plain = {}
    for name, info in type(block).model_fields.items():
        if short and entry and name not in block.model_fields_set:
            continue
        value = getattr(block, name)
        if isinstance(block, HeaderEdit) and name == "set":
            value = {key: Secret(text) if key in block.secret_names else text for key, text in value.items()}
        found[info.alias or name] = _value(value, info.alias or name, info, short=short, entry=entry)
    return found


def _value(value: Any, name: str, info: FieldInfo | None, *, short: bool, entry: bool) -> Any:
    if isinstance(value, BaseModel):
        return _block(value, short=short, entry=entry)
    if isinstance(value, dict):
        return {key: _value(inner, str(key), None, short=short, entry=entry) for key, inner in value.items()}
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return [_block(inner, short=short, entry=True) for inner in value]
    if value is None or isinstance(value, Secret):
        return value
    if _is_secret(name, info):
        return Secret(value)
    return spell(info, value) if info is not None else value


def _is_secret(name: str, info: FieldInfo | None) -> bool:
    if info is not None:
        extra = info.json_schema_extra
        return isinstance(extra, dict) and extra.get("secret") is True
    return is_secret_name(name)
