"""The targets by name, and where their inputs are.

A target is a module with `run`, which raises on a broken promise, `seeds`, `MAX_SIZE`, and `WORDS` for the fuzzer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("heads", "connections", "documents", "configuration", "tokens", "events", "answers")


@dataclass(frozen=True, slots=True)
class Target:
    """One target, loaded."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    max_size: int
    words: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Its committed inputs: those that found something, and those that reach far."""
        return CORPUS / self.name


def load(name: str) -> Target:
    """The target of this name; what it needs is imported now."""
    module = import_module(f"tests.fuzz.targets.{name}")
    return Target(name, module.run, module.seeds, module.MAX_SIZE, module.WORDS)


def inputs(target: Target) -> Iterator[tuple[str, bytes]]:
    """Every committed input by its file's name, then every seed by its number."""
    for file in sorted(target.folder.glob("*")):
        yield file.name, file.read_bytes()
    for number, data in enumerate(target.seeds()):
        yield f"seed {number}", data


def name_of(data: bytes) -> str:
    """The name of an input's file."""
    return sha1(data, usedforsecurity=False).hexdigest()[:16]
