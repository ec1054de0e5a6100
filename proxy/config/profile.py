"""Profiles: `NOETL_EDGE_PROFILE=load` prepares a gateway for load tests on this machine.

Load tests have many users at one address, which the rate limits by address would refuse. The profile raises these
limits and nothing else, and it is refused for a gateway that others could reach, or that accepts tokens of a real
identity provider.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.config.model import Gateway
from proxy.config.model_identity import issuer_of
from proxy.config.problems import Place, Problem
from proxy.config.yamlfile import Document
from proxy.http.origin import is_loopback

VARIABLE = "NOETL_EDGE_PROFILE"
LOAD = "load"
_RAISED = {"limit": "1000000/second", "burst": 1_000_000}


def apply_profile(document: Document, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Put the settings of the profile into the document, and return the variable if it took effect."""
    profile = environ.get(VARIABLE, "")
    if not profile:
        return ()
    place = Place(f"environment variable {VARIABLE}")
    if profile != LOAD:
        document.problems.append(Problem(place, "", f'"{profile}" is not a profile; there is "{LOAD}"'))
        return ()
    limits = document.data.get("rate_limits")
    for name, block in limits.items() if isinstance(limits, dict) else ():
        if isinstance(block, dict) and block.get("key", "ip") == "ip":
            block.update(_RAISED)
            for key in _RAISED:
                document.override(("rate_limits", str(name), key), place)
    return (VARIABLE,)


def profile_problems(gateway: Gateway, environ: Mapping[str, str]) -> list[Problem]:
    """Return why the profile is refused for this configuration."""
    if environ.get(VARIABLE) != LOAD:
        return []
    place = Place(f"environment variable {VARIABLE}")
    remedy = f"the profile {LOAD} is for load tests on this machine: remove the variable"
    problems = []
    if not is_loopback(gateway.server.host):
        problems.append(
            Problem(place, "", f"server.host is {gateway.server.host}, but {remedy}, or listen on 127.0.0.1")
        )
    real = [tenant.domain for tenant in gateway.auth.tenants if not issuer_of(tenant).startswith("http:")]
    if real:
        problems.append(Problem(place, "", f"tenant {real[0]} is not a sandbox, but {remedy}"))
    return problems
