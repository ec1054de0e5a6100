"""What the checks of a configuration share: problems with their places, references, globs, networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from proxy.config.later import Later
from proxy.config.problems import Path, Problem, suggest
from proxy.config.yamlfile import Document
from proxy.http.target import PathError
from proxy.policy.cors import OriginError
from proxy.policy.glob import GlobError
from proxy.routing import PatternError


def _network_like(text: str) -> str:
    """Return the network that a text probably means, or examples."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return "127.0.0.0/8 for this machine" if text == "localhost" else "it as 10.0.0.0/8 or ::1/128"


class Checker:
    """Collects the problems of one configuration."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def add(self, path: Path, text: str, *, key: bool = False) -> None:
        self.problems.append(self.document.problem(path, text, key=key))

    def whole_entry(self, path: Path, text: str) -> None:
        """Add a problem of a whole entry, unless a part of the entry is invalid already."""
        if self.is_valid(path):
            self.add(path, text)

    def is_valid(self, *paths: Path) -> bool:
        """Return False if a value at one of the paths, above or below it is invalid: the default stands in for it."""
        removed = self.document.removed
        return not any(gone[: len(path)] == path[: len(gone)] for path in paths for gone in removed)

    def value(self, path: Path, function: Callable[[Any], Any], value: Any) -> None:
        try:
            function(value)
        except (GlobError, OriginError, PatternError, PathError) as error:
            self.add(path, str(error))

    def globs(self, path: Path, globs: Iterable[str], function: Callable[[str], Any]) -> None:
        for index, glob in enumerate(globs):
            self.value((*path, index), function, glob)

    def networks(self, path: Path, networks: Iterable[str]) -> None:
        for index, text in enumerate(networks):
            try:
                ipaddress.ip_network(text)
            except ValueError:
                self.add((*path, index), f'"{text}" is not a network: write {_network_like(text)}')

    def reference(self, path: Path, name: str, names: Iterable[str], what: str) -> None:
        names = list(names)
        if name not in names:
            self.add(path, f'no {what} is called "{name}"' + suggest(name, names))

    def reference_to_block(self, path: Path, name: str, block: str, what: str) -> None:
        """Check a reference to an entry of a block. An entry with a mistake has its name nevertheless."""
        if (block,) not in self.document.removed:
            self.reference(path, name, names_in(self.document, block), what)

    def availability(self, block: BaseModel, path: Path) -> None:
        for name, info in type(block).model_fields.items():
            value, here = getattr(block, name), (*path, info.alias or name)
            if name not in block.model_fields_set:
                continue
            for mark in info.metadata:
                if isinstance(mark, Later) and not mark.accepts(value):
                    text = f"is not available yet: {mark.what} will come with a later version; remove it"
                    self.add(here, text, key=True)
            for below, inner in self._blocks(value, here):
                self.availability(inner, below)

    def _blocks(self, value: Any, path: Path) -> Iterator[tuple[Path, BaseModel]]:
        if isinstance(value, BaseModel):
            yield path, value
        elif isinstance(value, dict):
            yield from (((*path, key), item) for key, item in value.items() if isinstance(item, BaseModel))
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            yield from (((*path, index), item) for index, item in self.document.with_index(path, value))


def names_in(document: Document, *path: str) -> list[str]:
    """Return the keys of a mapping in the file, including those with an invalid value."""
    data = document.data
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return [str(name) for name in data] if isinstance(data, dict) else []
