"""Checks before the users start: that given URLs are those of a gateway and an identity provider, and that the
operations of the control planes that the schedule calls exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx

from load.processes import Programs, StackError
from load.sampler import METRICS_PREFIX
from load.scenario import Call, Scenario
from load.settings import Settings
from mock_server.mistakes import suggest

CHECK_SECONDS = 10.0
_NOT_ALLOWED = (401, 403, 404)


def check(settings: Settings) -> list[str]:
    """Check the gateways and the identity provider of a run that does not start them.

    Returns:
        What can't be measured, one line each.

    Raises:
        StackError: a URL is not that of a gateway or of an identity provider, or does not answer.
    """
    notes = [note for gateway in settings.gateways if (note := _check_gateway(gateway))]
    keys = f"{settings.auth0}/.well-known/jwks.json"
    response = _get(keys)
    if not response.is_success or '"keys"' not in response.text:
        raise StackError(f"{keys} has no key set ({response.status_code}): correct --auth0")
    return notes


def _check_gateway(url: str) -> str:
    health = _get(f"{url}/health")
    if health.status_code != 200 or health.text != "ok":
        raise StackError(f"{url} is not a gateway: /health has the response {_shown(health)}, not ok; correct --url")
    metrics = _get(f"{url}/metrics")
    if metrics.is_success and METRICS_PREFIX in metrics.text:
        return ""
    if metrics.status_code in _NOT_ALLOWED and _get(f"{url}/api/auth/me").status_code == 401:
        allowed = "allow this machine to read it, by allow_from of the metrics"
        return f"{url}/metrics can't be read ({metrics.status_code}): its metrics are not in the report; {allowed}"
    raise StackError(f"{url} is not a gateway: /metrics has the response {_shown(metrics)}; correct --url")


def _get(url: str) -> httpx.Response:
    try:
        return httpx.get(url, timeout=CHECK_SECONDS, trust_env=False)
    except httpx.InvalidURL as error:
        raise StackError(f"{url} is not a URL: {error}") from None
    except httpx.HTTPError as error:
        raise StackError(f"{url} does not answer ({type(error).__name__}): is it running?") from None


def _shown(response: httpx.Response) -> str:
    text = " ".join(response.text.split())[:60]
    return f"{response.status_code} {text}".strip()


def check_calls(scenario: Scenario, programs: Programs) -> None:
    """Check the calls of the schedule against the OpenAPI documents of the control planes, as far as there are any.

    Raises:
        StackError: an operation does not exist.
    """
    documents: dict[str, Mapping[str, Any]] = {}
    for number, fault in enumerate(scenario.faults):
        if fault.call is None:
            continue
        if fault.target not in documents:
            documents[fault.target] = _operations(f"{programs.named(fault.target).url}/__admin/openapi.json")
        if problem := problem_of_call(fault.call, documents[fault.target]):
            place = f"faults[{number}].call"
            raise StackError(f"{place}: fault {fault.name}: the control plane of {fault.target} has no {problem}")


def problem_of_call(call: Call, paths: Mapping[str, Any]) -> str:
    """Return which operation does not exist, with the known ones; empty if it exists, or if no operation is known."""
    path = call.path.partition("?")[0]
    found = [methods for template, methods in paths.items() if _matches(template, path)]
    if not paths or any(call.method.lower() in methods for methods in found):
        return ""
    if found:
        return f"{call.method} {path}" + suggest(call.method, {name.upper() for each in found for name in each})
    return f"{path}{suggest(path, paths)}"


def _matches(template: str, path: str) -> bool:
    parts = [".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]*\})", template)]
    return re.fullmatch("".join(parts), path) is not None


def _operations(url: str) -> Mapping[str, Any]:
    """Return the paths of an OpenAPI document; none if it is not available."""
    with suppress(httpx.HTTPError, ValueError):
        document = httpx.get(url, timeout=CHECK_SECONDS, trust_env=False).json()
        paths = document.get("paths") if isinstance(document, dict) else None
        return paths if isinstance(paths, dict) else {}
    return {}
