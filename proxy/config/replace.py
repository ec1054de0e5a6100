"""Whether a configuration may take the place of the one in use."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.load import Loaded
from proxy.config.problems import ConfigError, Problem


def check_replacement(before: Loaded, after: Loaded) -> None:
    """Refuse a reload that leaves a working gateway without any tenant, or without any upstream.

    Raises:
        ConfigError: with each problem. A start with such a file is allowed.
    """
    problems = list(_losses(before, after))
    if problems:
        raise ConfigError(problems)


def _losses(before: Loaded, after: Loaded) -> Iterator[Problem]:
    text = "a reload can't remove the last {}: {}; add one, or restart the gateway with this file"
    if before.gateway.auth.tenants and not after.gateway.auth.tenants:
        yield after.document.problem(("auth", "tenants"), text.format("tenant", "nobody could sign in"))
    if before.gateway.upstreams and not after.gateway.upstreams:
        yield after.document.problem(("upstreams",), text.format("upstream", "nothing could be relayed"))
