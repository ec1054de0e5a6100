"""The `overrides` of rules: what is changed in the tokens of a response of `/oauth/token`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mock_server.overrides import Overrides

from .broken import MintError, variant_named
from .minting import MAX_SECONDS


class TokenOverrides(BaseModel):
    """Changes of tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    claims: dict[str, Any] = Field({}, description="Claims that are added or replaced.")
    lifetime: Annotated[int, Field(ge=-MAX_SECONDS, le=MAX_SECONDS)] | None = Field(None, description="In seconds.")
    broken: str | None = Field(None, description="A name of the lists of broken and of unusual tokens.")

    @field_validator("broken")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                variant_named(value)
            except MintError as error:
                raise ValueError(str(error).removeprefix("broken: ")) from None
        return value


OVERRIDES = Overrides("mock_auth0", TokenOverrides, "/oauth/token")
