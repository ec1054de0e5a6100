"""A table of routes: exact paths, and patterns with variable segments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mock_server.messages import Request, Response

Names = Mapping[str, str]
Handler = Callable[[Request, Names], Response | Awaitable[Response]]
_KEY = 2
"""The segment by which patterns are found: `executions` of `/api/executions/{id}`."""


@dataclass(slots=True)
class _Pattern:
    """A pattern: its segments, and of those the fixed ones and the variable ones by their places."""

    segments: tuple[str, ...]
    fixed: tuple[tuple[int, str], ...]
    variable: tuple[tuple[int, str], ...]
    methods: dict[str, Handler] = field(default_factory=dict)

    def match(self, segments: Sequence[str]) -> Names | None:
        """Return the variable parts; None if a path does not belong here."""
        for place, wanted in self.fixed:
            if segments[place] != wanted:
                return None
        names = {name: segments[place] for place, name in self.variable}
        return names if all(names.values()) else None


@dataclass(slots=True)
class Routes:
    """Routes by path. A pattern has segments such as `{id}`; several methods of one path are added one by one."""

    exact: dict[str, dict[str, Handler]] = field(default_factory=dict)
    patterns: dict[tuple[int, str], list[_Pattern]] = field(default_factory=dict)

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Add a route. The first segments of a pattern are fixed."""
        if "{" not in path:
            self.exact.setdefault(path, {})[method] = handler
            return
        segments = tuple(path.split("/"))
        known = self.patterns.setdefault((len(segments), segments[_KEY]), [])
        pattern = next((found for found in known if found.segments == segments), None)
        if pattern is None:
            fixed = tuple((place, part) for place, part in enumerate(segments) if not part.startswith("{"))
            variable = tuple((place, part[1:-1]) for place, part in enumerate(segments) if part.startswith("{"))
            pattern = _Pattern(segments, fixed, variable)
            known.append(pattern)
        pattern.methods[method] = handler

    def find(self, path: str, segments: Sequence[str]) -> list[tuple[dict[str, Handler], Names]]:
        """Return the methods and the variable parts of each route that a path belongs to, exact ones first."""
        found: list[tuple[dict[str, Handler], Names]] = []
        exact = self.exact.get(path)
        if exact is not None:
            found.append((exact, {}))
        if len(segments) > _KEY:
            for pattern in self.patterns.get((len(segments), segments[_KEY]), ()):
                names = pattern.match(segments)
                if names is not None:
                    found.append((pattern.methods, names))
        return found
