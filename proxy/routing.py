"""The compiled route table: host, method and path -> route. Pure, no I/O.

A path pattern is literal segments, `{name}` for one segment, and, only at the end, `{name:**}` for any number of
segments, also none. The most specific pattern wins, segment by segment from the left: a literal before `{name}`,
the end of the pattern before `{name:**}`. It refuses ambiguous tables rather than guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:\*\*)?\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%-]*")


class PatternError(ValueError):
    """A path pattern in the configuration that is not well formed."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed path pattern. `segments` holds literals as text and parameters as None; `names` the parameters'."""

    text: str
    segments: tuple[str | None, ...]
    names: tuple[str, ...]
    rest: str | None

    @property
    def specificity(self) -> tuple[int, ...]:
        """Compares as the table does: per segment 3 literal, 2 parameter, then 1 end of pattern, 0 rest."""
        return (*(2 if s is None else 3 for s in self.segments), 0 if self.rest is not None else 1)


def parse_pattern(text: str) -> Pattern:
    """Parse `/a/{b}/{rest:**}`. Raises PatternError with what is wrong."""
    if not text.startswith("/"):
        raise PatternError("a path starts with /")
    segments: list[str | None] = []
    names: list[str] = []
    rest: str | None = None
    parts = text[1:].split("/")
    for index, part in enumerate(parts):
        found = _NAME.fullmatch(part)
        if found is None:
            if not _LITERAL.fullmatch(part):
                raise PatternError(f'"{part}" is neither a plain segment nor {{name}} nor {{name:**}}')
            if part in (".", "..") or (part == "" and index < len(parts) - 1):
                raise PatternError("a path has no empty, . or .. segment")
            segments.append(part)
            continue
        if found[1] in names:
            raise PatternError(f"the parameter {found[1]} is there twice")
        names.append(found[1])
        if not found[2]:
            segments.append(None)
        elif index == len(parts) - 1:
            rest = found[1]
        else:
            raise PatternError(f"{part} can only stand at the end")
    return Pattern(text, tuple(segments), tuple(names), rest)


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """The route that serves a request, with the values of the path's parameters."""

    route: T
    params: Mapping[str, str]


class Missing(NamedTuple):
    """No route serves the request: `no-path`, or the path is known and `allow` lists its methods."""

    because: Literal["no-path", "no-method"]
    allow: tuple[str, ...] = ()


@dataclass(slots=True)
class _Leaf(Generic[T]):
    methods: dict[str, tuple[tuple[str, ...], T]] = field(default_factory=dict)


@dataclass(slots=True)
class _Node(Generic[T]):
    """What may follow a part of a path. `exact` of a root are the leaves of patterns without parameters, by path: a
    path that equals one has no more specific pattern."""

    exact: dict[str, _Leaf[T]] = field(default_factory=dict)
    literals: dict[str, _Node[T]] = field(default_factory=dict)
    parameter: _Node[T] | None = None
    end: _Leaf[T] | None = None
    rest: _Leaf[T] | None = None


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One line of the table: hosts (none: any; `*.example.com` for one label), methods, a pattern, what serves it."""

    hosts: tuple[str, ...]
    methods: tuple[str, ...]
    pattern: Pattern
    route: T


class RouteTable(Generic[T]):
    """Finds the route of a request. Of two entries that serve the very same requests the first one wins."""

    __slots__ = ("_any", "_hosts", "_roots", "_wildcards", "entries")

    def __init__(self, entries: Iterable[Entry[T]]) -> None:
        self.entries = tuple(entries)
        self._any: _Node[T] = _Node()
        self._hosts: dict[str, _Node[T]] = {}
        self._wildcards: dict[str, _Node[T]] = {}
        for entry in self.entries:
            for host in entry.hosts or ("",):
                _insert(self._root(host), entry)
        self._roots = () if self._hosts or self._wildcards else (self._any,)

    def _root(self, host: str) -> _Node[T]:
        if not host:
            return self._any
        if host.startswith("*."):
            return self._wildcards.setdefault(host[2:].lower(), _Node())
        return self._hosts.setdefault(host.lower(), _Node())

    def find(self, host: str, method: str, path: str) -> Found[T] | Missing:
        """Return the route for a host (without port, lower case), a method and a normalised path."""
        for root in self._roots if self._roots else self._candidates(host):
            leaf = root.exact.get(path)
            if leaf is not None:
                return _pick(leaf, method, ())
            found = _walk(root, path, 1, ())
            if found is not None:
                return _pick(found[0], method, found[1])
        return Missing("no-path")

    @property
    def by_host(self) -> bool:
        """Whether the route of a request depends on its host."""
        return not self._roots

    def _candidates(self, host: str) -> tuple[_Node[T], ...]:
        exact = self._hosts.get(host)
        label, _, domain = host.partition(".")
        parent = self._wildcards.get(domain) if label else None
        return tuple(node for node in (exact, parent, self._any) if node is not None)


def _insert(node: _Node[T], entry: Entry[T]) -> None:
    root = node
    for segment in entry.pattern.segments:
        if segment is None:
            if node.parameter is None:
                node.parameter = _Node()
            node = node.parameter
        else:
            node = node.literals.setdefault(segment, _Node())
    if entry.pattern.rest is None:
        node.end = leaf = node.end or _Leaf()
        if None not in entry.pattern.segments:
            root.exact[entry.pattern.text] = leaf
    else:
        node.rest = leaf = node.rest or _Leaf()
    for method in entry.methods:
        leaf.methods.setdefault(method, (entry.pattern.names, entry.route))


def _walk(node: _Node[T], path: str, at: int, values: tuple[str, ...]) -> tuple[_Leaf[T], tuple[str, ...]] | None:
    """Return the leaf for the part of a path that begins at `at`, behind a slash, with the parameters' values."""
    fallback, fallback_at, size = None, 0, len(path)
    while at <= size:
        if node.rest is not None:
            fallback, fallback_at = node.rest, at
        if not node.literals and node.parameter is None:
            break
        cut = path.find("/", at)
        end = size if cut < 0 else cut
        segment = path[at:end]
        child = node.literals.get(segment)
        if node.parameter is not None and segment:
            found = _walk(child, path, end + 1, values) if child is not None else None
            found = found or _walk(node.parameter, path, end + 1, (*values, segment))
            if found is not None:
                return found
            break
        if child is None:
            break
        node, at = child, end + 1
    else:
        if node.end is not None:
            return node.end, values
        if node.rest is not None:
            return node.rest, (*values, "")
    return None if fallback is None else (fallback, (*values, path[fallback_at:]))


_NO_PARAMS: Mapping[str, str] = {}


def _pick(leaf: _Leaf[T], method: str, values: tuple[str, ...]) -> Found[T] | Missing:
    chosen = leaf.methods.get(method)
    if chosen is None and method == "HEAD":
        chosen = leaf.methods.get("GET")
    if chosen is None:
        return Missing("no-method", _allow(leaf.methods))
    names, route = chosen
    if not values:
        return Found(route, _NO_PARAMS)
    return Found(route, {names[0]: values[0]} if len(values) == 1 else dict(zip(names, values, strict=True)))


def _allow(methods: Iterable[str]) -> tuple[str, ...]:
    names = set(methods)
    if "GET" in names:
        names.add("HEAD")
    return tuple(sorted(names | {"OPTIONS"}))
