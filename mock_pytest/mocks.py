"""A running sandbox, as a test sees it: its address, and its control plane as methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from mock_server.masking import EXACT, PARTS

from .responses import data_of

TIMEOUT_SECONDS = 30.0
PASSWORD = "password"  # noqa: S105 (that of every user of the sandbox, and no secret)


class VerificationError(AssertionError):
    """A sandbox did not get as many requests as expected."""


class Mock:
    """A running sandbox.

    Args:
        url: its base URL, without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Call an operation of the control plane, and return its JSON data. Raises MockError if it is refused."""
        return data_of(self._http.request(method, f"/__admin{path}", json=body))

    def rule(self, path: str = "**", *, method: str | None = None, **rule: Any) -> str:
        """Add a rule for a path, such as `rule("/oauth/token", times=2, response={"status": 503})`; return its name."""
        match: dict[str, Any] = {"path": path}
        if method is not None:
            match["method"] = method
        given = dict(rule.pop("match", {}))
        return str(self.admin("POST", "/rules", {"match": {**match, **given}, **rule})["name"])

    def fail(self, path: str = "**", status: int = 503, times: int | None = None) -> str:
        """Let requests for a path fail with a status; return the name of the rule."""
        rule: dict[str, Any] = {"response": {"status": status, "json": {"error": "unavailable"}}}
        if times is not None:
            rule["times"] = times
        return self.rule(path, **rule)

    def remove_rules(self) -> None:
        """Remove all rules."""
        self.admin("DELETE", "/rules")

    def move_clock(self, seconds: float) -> None:
        """Move the clock."""
        self.admin("PUT", "/clock", {"move": seconds})

    def requests(self, path: str = "**") -> list[dict[str, Any]]:
        """Return the requests for a path that the sandbox got in this test."""
        return list(self.admin("GET", f"/journal?path={path}&limit=1000")["entries"])

    def verify(
        self,
        path: str = "**",
        *,
        exactly: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        match: Mapping[str, Any] | None = None,
    ) -> int:
        """Return the number of requests for a path. Raises VerificationError if it is not as expected."""
        expected = {"exactly": exactly, "at_least": at_least, "at_most": at_most}
        body = {name: value for name, value in expected.items() if value is not None}
        response = self._http.post("/__admin/journal/verify", json={"match": {"path": path, **(match or {})}, **body})
        if response.status_code == 409:
            raise VerificationError(f"{path}: {response.json()['error']}")
        return int(data_of(response)["count"])

    def reset(self) -> None:
        """Return to the state at the start."""
        self.admin("POST", "/reset", {})

    def close(self) -> None:
        """Close the connections to the sandbox."""
        self._http.close()


class MockAuth0(Mock):
    """A running sandbox Auth0."""

    @property
    def issuer(self) -> str:
        """The issuer of its tokens, and the base of its discovery document."""
        return str(data_of(self._http.get("/.well-known/openid-configuration"))["issuer"])

    @property
    def domain(self) -> str:
        """The domain, as clients of Auth0 want it: the host with its port."""
        return self.issuer.partition("://")[2].rstrip("/")

    def token(self, user: str = "user@example.com", **fields: Any) -> str:
        """Return a token, such as `token("dev@example.com", broken="expired")`; fields are those of `POST /tokens`."""
        return str(self.admin("POST", "/tokens", {"user": user, **fields})["token"])

    def sign_in(self, user: str = "user@example.com", password: str = PASSWORD, **form: str) -> dict[str, Any]:
        """Sign in with a password; return the response of the token endpoint. Raises MockError if it refuses."""
        fields = {"grant_type": "password", "username": user, "password": password, "scope": "openid profile email"}
        response = self._http.post("/oauth/token", data={"client_id": "noetl-gateway", **fields, **form})
        secret = {value for name, value in form.items() if name in EXACT or any(part in name for part in PARTS)}
        return dict(data_of(response, secret | ({password} - {PASSWORD})))


class MockNoetl(Mock):
    """A running sandbox NoETL."""

    def register(self, content: str) -> dict[str, Any]:
        """Register a playbook, given as YAML. Raises MockError if it is refused."""
        body = {"content": content, "resource_type": "Playbook"}
        return dict(data_of(self._http.post("/api/catalog/register", json=body)))

    def execute(self, path: str, workload: Mapping[str, Any] | None = None) -> str:
        """Start a playbook; return the id of the execution. Raises MockError if it is refused."""
        body = {"path": path, "workload": dict(workload or {})}
        return str(data_of(self._http.post("/api/execute", json=body))["execution_id"])

    def status(self, execution_id: str) -> dict[str, Any]:
        """Return the status of an execution. Raises MockError if there is none."""
        return dict(data_of(self._http.get(f"/api/executions/{execution_id}/status")))
