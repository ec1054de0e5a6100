"""Checks before the users start: that a given URL is that of a gateway, and that its metrics can be read."""

from __future__ import annotations

import httpx

from load.processes import StackError
from load.sampler import METRICS_PREFIX
from load.settings import Settings

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
