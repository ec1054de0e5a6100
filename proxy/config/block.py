"""What every block of gateway.yaml is, and what several have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

from proxy.config.types import ListOf

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
Methods = Annotated[tuple[Method, ...], ListOf]
Verb = Literal["execute", "view", "modify", "edit", "delete", "*"]
RELAYED: tuple[Method, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Block(BaseModel):
    """A block of the file: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def env(*names: str, secret: bool = False) -> dict[str, Any]:
    """Extra facts about a field: the environment variables that override it, and whether it is a secret."""
    return {"environment": list(names), "secret": secret}
