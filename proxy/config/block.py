"""The base class of all blocks of gateway.yaml, and types that several blocks use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

from proxy.config.types import ListOf

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
Methods = Annotated[tuple[Method, ...], ListOf]
Verb = Literal["execute", "view", "modify", "edit", "delete", "admin", "*"]
RELAYED: tuple[Method, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Block(BaseModel):
    """A block of the file: immutable, with strict types and without unknown keys. Its `repr` hides secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            facts = fields[name].json_schema_extra if name in fields else None
            secret = isinstance(facts, dict) and facts.get("secret") is True and value is not None
            yield name, _HIDDEN if secret else value


class _Hidden:
    def __repr__(self) -> str:
        return "[hidden]"


_HIDDEN = _Hidden()


def env(*names: str, secret: bool = False) -> dict[str, Any]:
    """Return metadata for a field: the environment variables that override it, and whether its value is a secret."""
    return {"environment": list(names), "secret": secret}
