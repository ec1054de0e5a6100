"""A table of routes: exact paths, patterns with variable segments, and paths with a tail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mock_server.messages import Request, Response

Names = Mapping[str, str]
Handler = Callable[[Request, Names], Response | Awaitable[Response]]


@dataclass(slots=True)
class Routes:
    """Routes by path. A pattern has segments such as `{id}`; several methods of one path are added one by one."""

    exact: dict[str, dict[str, Handler]] = field(default_factory=dict)
    patterns: dict[int, list[tuple[tuple[str, ...], dict[str, Handler]]]] = field(default_factory=dict)

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Add a route."""
        if "{" not in path:
            self.exact.setdefault(path, {})[method] = handler
            return
        segments = tuple(path.split("/"))
        known = self.patterns.setdefault(len(segments), [])
        methods = next((found for pattern, found in known if pattern == segments), None)
        if methods is None:
            methods = {}
            known.append((segments, methods))
        methods[method] = handler

    def find(self, path: str, segments: Sequence[str]) -> list[tuple[dict[str, Handler], Names]]:
        """Return the methods and the variable parts of each route that a path belongs to, exact ones first."""
        found: list[tuple[dict[str, Handler], Names]] = []
        exact = self.exact.get(path)
        if exact is not None:
            found.append((exact, {}))
        for pattern, methods in self.patterns.get(len(segments), ()):
            names = _match(pattern, segments)
            if names is not None:
                found.append((methods, names))
        return found


def _match(pattern: tuple[str, ...], segments: Sequence[str]) -> Names | None:
    names = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not segment:
                return None
            names[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return names
