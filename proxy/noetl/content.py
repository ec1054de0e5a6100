"""Which playbooks the content of a registration names: YAML, or base64 of it. Pure, and slow for large content.

A server registers under `path` of the metadata. If there is none, servers differ (a `path` beside the metadata, or a
name), so that every one of these counts. Content that two YAML parsers could read in two ways is refused: with keys
that are there twice, merge keys, tags, or numbers that only some take for text. It is read as events, without
recursion.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

from proxy.errors import BadRequest
from proxy.noetl.needs import playbook_name

MAX_NODES = 200_000
"""The most nodes of a document, with each alias counted as what it stands for."""
_MAX_DEPTH = 100
_BOTH_PARSERS = 64 * 1024
_LIKE_NUMBER = re.compile(r"[-+.]?[0-9.]|[-+.~]")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n\t "
_NAMES = {(): ("path", "name"), ("metadata",): ("path", "name")}
_AROUND_RUNS = frozenset({("spec",), ("spec", "lifecycle"), ("spec", "discovery")})
_PLAIN_COLLECTIONS = ("!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_PURE: Any = yaml.SafeLoader
_QUICK: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.resolver.Resolver()
_Place = tuple[str, ...]


class Registered(NamedTuple):
    """What content names: the paths that it may be registered under, and the playbooks that the resource will run."""

    names: tuple[str, ...]
    runs: tuple[str, ...]


def registered(content: Any) -> Registered:
    """Return what content names, in any server that accepts it; at least one path to register it under.

    Raises:
        BadRequest: it can't be read, or it names nothing.
    """
    if not isinstance(content, str) or not content.strip():
        raise BadRequest("content is required: YAML, or base64 of it")
    found = [_names(text) for text in _readings(content)]
    names = _playbooks((name for part in found for name in part.names), "metadata.path of content")
    if not names:
        raise BadRequest("content has no metadata.path and no metadata.name")
    return Registered(
        names, _playbooks((name for part in found for name in part.runs), "a playbook in spec of content")
    )


def _playbooks(names: Iterable[str], what: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(playbook_name(name, what) for name in names))


def _readings(content: str) -> list[str]:
    """Return the texts that servers may take content for.

    The Python server tries base64 first and skips every character that is not of its alphabet.
    """
    try:
        decoded = base64.b64decode(content).decode()
    except (binascii.Error, ValueError):
        return [content]
    return [content, decoded] if content.encode().translate(None, _BASE64) else [decoded]


def _names(text: str) -> Registered:
    """Return what a YAML document names; nothing if it is not a mapping."""
    document = _Document(text, _QUICK)
    found, runs = document.names, tuple(document.runs)
    if len(text) <= _BOTH_PARSERS and _QUICK is not _PURE:
        other = _Document(text, _PURE)
        if (found, runs) != (other.names, tuple(other.runs)):
            raise BadRequest("content can be read in two ways")
    path = found.get(("metadata", "path"))
    others = (("path",), ("metadata", "name"), ("name",))
    return Registered((path,) if path else tuple(found[place] for place in others if found.get(place)), runs)


class _Collection:
    """A mapping or a sequence that is being read.

    Args:
        place: the keys that lead to it.
        is_mapping: whether it has keys.
        anchor: its anchor, if it has one.
    """

    def __init__(self, place: _Place, *, is_mapping: bool, anchor: str | None) -> None:
        self.place = place
        self.is_mapping = is_mapping
        self.anchor = anchor
        self.keys: set[str] = set()
        self.key: str | None = None
        self.size = 1

    def child(self) -> _Place:
        """Return the place of the next value."""
        return (*self.place, self.key if self.key is not None else "[]")


class _Document:
    """Reads one document. `names` are the texts of paths and names in it, by their place; `runs` the playbooks in it
    that an MCP server runs for its users."""

    def __init__(self, text: str, loader: Any) -> None:
        self.names: dict[_Place, str] = {}
        self.runs: list[str] = []
        self._open: list[_Collection] = []
        self._sizes: dict[str, int] = {}
        self._documents = 0
        try:
            for event in yaml.parse(text, loader):
                self._read(event)
        except (yaml.YAMLError, RecursionError, ValueError):
            raise BadRequest("content is not one YAML document") from None

    def _read(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise BadRequest("content is not one YAML document")
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "")
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._open.pop()
            self._add(done.size, done.anchor)

    @property
    def _wants_key(self) -> bool:
        return bool(self._open) and self._open[-1].is_mapping and self._open[-1].key is None

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._wants_key:
            around = self._open[-1]
            if event.tag is not None:
                raise BadRequest("content has a key with a tag")
            if event.value in around.keys:
                raise BadRequest("content has the same key twice")
            if event.value == "<<":
                raise BadRequest("content has a merge key")
            around.keys.add(event.value)
            around.key = event.value
            return
        place = self._open[-1].child() if self._open else ()
        if place == ("metadata",) and _resolved(event) != "null":
            raise BadRequest("metadata of content is not a mapping")
        if place and place[-1] in _NAMES.get(place[:-1], ()):
            self.names[place] = _text(event)
        if _is_run(place) and (name := _text(event)):
            self.runs.append(name)
        self._add(1, event.anchor)

    def _alias(self, anchor: str) -> None:
        if self._wants_key:
            raise BadRequest("content has a key that is not a text")
        place = self._open[-1].child() if self._open else ()
        if place == ("metadata",) or (place and place[-1] in _NAMES.get(place[:-1], ())):
            raise BadRequest("metadata, path and name in content must not be aliases")
        if place in _AROUND_RUNS or _is_run(place):
            raise BadRequest("spec, lifecycle and discovery in content must not be aliases")
        if anchor not in self._sizes:
            raise BadRequest("content has an alias without an anchor before it")
        self._add(self._sizes[anchor], None)

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        if self._wants_key:
            raise BadRequest("content has a key that is not a text")
        place = self._open[-1].child() if self._open else ()
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if place == ("metadata",) and not is_mapping:
            raise BadRequest("metadata of content is not a mapping")
        if place and place[-1] in _NAMES.get(place[:-1], ()):
            raise BadRequest("path and name in content must be texts")
        if len(self._open) >= _MAX_DEPTH:
            raise BadRequest("content is nested too deeply")
        self._sizes.pop(event.anchor or "", None)
        if event.tag not in (None, *_PLAIN_COLLECTIONS):
            raise BadRequest("content has a mapping or a list with a tag")
        # Only some places are of interest; deeper ones share one, so that places stay short.
        kept = place if len(place) < 2 or place in _AROUND_RUNS else place[:3] if _is_run(place) else ("", "")
        self._open.append(_Collection(kept, is_mapping=is_mapping, anchor=event.anchor))

    def _add(self, size: int, anchor: str | None) -> None:
        """Note that a value of this size is complete."""
        if anchor:
            self._sizes[anchor] = size
        if not self._open:
            return
        around = self._open[-1]
        around.key = None
        around.size += size
        if around.size > MAX_NODES:
            raise BadRequest("content has too many parts")


def _is_run(place: _Place) -> bool:
    """Return whether a value names a playbook that an MCP server runs: to deploy it, or to find its tools."""
    return len(place) > 2 and (place[:2] == ("spec", "lifecycle") or place[:3] == ("spec", "discovery", "refresh_via"))


def _resolved(event: yaml.ScalarEvent) -> str:
    """Return the last part of the tag of a scalar, such as `str`."""
    if event.tag not in (None, "!"):
        return str(event.tag).rpartition(":")[2]
    return str(_RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)).rpartition(":")[2]


def _text(event: yaml.ScalarEvent) -> str:
    """Return the text of a scalar; empty for null. Raises BadRequest for what only some parsers take for text."""
    kind = _resolved(event)
    if kind == "null":
        return ""
    if kind != "str" or event.tag is not None:
        raise BadRequest("path and name in content must be texts")
    text = str(event.value)
    if event.style in (None, "") and _LIKE_NUMBER.match(text) and "/" not in text:
        raise BadRequest("path and name in content must be in quotes if they look like numbers")
    return text
