"""The path that a relayed request has upstream, compiled per route. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.errors import BadRequest
from proxy.http.location import Mount
from proxy.http.target import PathError, is_normal, normalise_path
from proxy.routing import Pattern


class Rewrite:
    """A route's `rewrite`: a template with the path's parameters; None leaves the path as it is."""

    __slots__ = ("_constant", "_pattern", "_prefix", "_rest", "_template")

    def __init__(self, template: str | None, pattern: Pattern) -> None:
        self._template = template
        self._pattern = pattern
        self._constant = template if template is not None and "{" not in template and is_normal(template) else None
        self._rest = pattern.rest or ""
        prefix, braces, after = (template or "").partition(f"{{{self._rest}}}")
        simple = braces and not after and prefix.endswith("/") and "{" not in prefix and is_normal(f"{prefix}x")
        self._prefix = prefix if simple else None

    def apply(self, path: str, params: Mapping[str, str]) -> str:
        """Return the path to send for a normalised request path. Raises BadRequest."""
        if self._prefix is not None:
            return self._prefix + params[self._rest]
        if self._template is None:
            return path
        if self._constant is not None:
            return self._constant
        try:
            return normalise_path(self._template.format_map(params))
        except PathError as error:
            raise BadRequest(str(error)) from None

    @property
    def mount(self) -> Mount | None:
        """Where the gateway has the upstream's paths, if the route relays everything below a path."""
        before = self._pattern.text.partition("{")[0]
        plain = self._pattern.rest is not None and self._pattern.names == (self._pattern.rest,)
        if not plain:
            return None
        if self._template is None:
            return Mount(before, before)
        return None if self._prefix is None else Mount(self._prefix, before)
