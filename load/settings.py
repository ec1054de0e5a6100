"""Settings that the runner hands to Locust's processes, by environment variables, so that they work on any machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "NOETL_EDGE_LOAD_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a run.

    Args:
        scenario: the name or the file of the scenario.
        users: the number of users.
        duration: the duration in seconds.
        gateways: the base URLs of the gateways.
        auth0: the base URL of the identity provider.
        client_id: the client that signs in there.
        user_pattern: the e-mail address of a user, with `{number}`.
        password: the password of every user.
        known_users: how many users the identity provider has.
        output: the file to which the measurements are written; empty: none.
    """

    scenario: str
    users: int
    duration: float
    gateways: tuple[str, ...]
    auth0: str
    client_id: str = "noetl-gateway"
    user_pattern: str = "user{number:05d}@example.com"
    password: str = "password"
    known_users: int = 10_000
    output: str = ""

    def environment(self) -> dict[str, str]:
        """Return the settings as environment variables."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["gateways"] = ",".join(self.gateways)
        return {PREFIX + name.upper(): str(value) for name, value in values.items()}

    @classmethod
    def from_environment(cls) -> Settings:
        """Return the settings of this process. Raises KeyError for one that is missing."""
        value = {name: os.environ[PREFIX + name.upper()] for name in cls.__slots__}
        return cls(
            value["scenario"],
            int(value["users"]),
            float(value["duration"]),
            tuple(value["gateways"].split(",")),
            value["auth0"],
            value["client_id"],
            value["user_pattern"],
            value["password"],
            int(value["known_users"]),
            value["output"],
        )
