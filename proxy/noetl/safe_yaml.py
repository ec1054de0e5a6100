"""YAML of other people, loaded only once its events show that this is harmless. Pure, and slow for large texts.

The parser in C recurses without a limit: a text that is nested deeply enough would end the process. Aliases and merge
keys let a short text stand for a very large document. The events are read without recursion.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

MAX_DEPTH = 100
MAX_NODES = 200_000
"""The most nodes of a document, with each alias counted as what it stands for."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlProblem(ValueError):
    """A text can't be loaded. `line` and `column` count from 1."""

    def __init__(self, text: str, mark: Any = None) -> None:
        super().__init__(text)
        self.text = text
        self.line = mark.line + 1 if mark is not None else 1
        self.column = mark.column + 1 if mark is not None else 1


def load_yaml(text: str, *, core: bool = False) -> Any:
    """Return the document that a text is.

    Args:
        text: the text.
        core: read plain scalars by the core schema of YAML 1.2 (10.3.2), as the Rust server does; by default as YAML
            1.1 has them, and the Python server.

    Raises:
        YamlProblem: it can't be loaded.
    """
    try:
        _Scan().read(text)
        return yaml.load(text, Loader=_CoreLoader if core else _LOADER)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        raise YamlProblem(error.problem or error.context or "not YAML", error.problem_mark) from None
    except YamlProblem:
        raise
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise YamlProblem(" ".join(str(error).split()) or "not YAML") from None


class _CoreLoader(_LOADER):  # type: ignore[misc]
    """A loader with the core schema of YAML 1.2: `no`, `1:30`, `012` and dates are texts.

    Numbers that JSON does not have are None. There are no merge keys, and no bytes.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own place for them


def _core_int(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.lstrip("+-")[:1] == "0" else int(text)


def _core_float(loader: Any, node: Any) -> float | None:
    found = float(str(loader.construct_scalar(node)).lower().replace(".inf", "inf").replace(".nan", "nan"))
    return found if math.isfinite(found) else None


_PREFIX = "tag:yaml.org,2002:"
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _CoreLoader.add_implicit_resolver(_PREFIX + _kind, re.compile(f"(?:{_pattern})$"), _first)
_CoreLoader.add_constructor(_PREFIX + "int", _core_int)
_CoreLoader.add_constructor(_PREFIX + "float", _core_float)
for _kind in ("binary", "timestamp"):
    _CoreLoader.add_constructor(_PREFIX + _kind, _LOADER.construct_yaml_str)


class _Scan:
    """Reads the events of a document, and adds up the sizes of its collections."""

    def __init__(self) -> None:
        self._open: list[tuple[str | None, int]] = []
        self._sizes: dict[str, int] = {}
        self._total = 0

    def read(self, text: str) -> None:
        """Read all events. Raises YamlProblem or YAMLError."""
        for event in yaml.parse(text, _LOADER):
            mark = event.start_mark
            if isinstance(event, yaml.CollectionStartEvent):
                self._open.append((event.anchor, self._total))
                self._add(1, mark)
                if len(self._open) > MAX_DEPTH:
                    raise YamlProblem("nested too deeply", mark)
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = self._open.pop()
                if anchor is not None:
                    self._sizes[anchor] = self._total - before
            elif isinstance(event, yaml.ScalarEvent):
                self._add(1, mark)
                if event.anchor is not None:
                    self._sizes[event.anchor] = 1
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self._sizes:  # of a collection that is still open, or of none
                    raise YamlProblem("an alias without an anchor before it", mark)
                self._add(self._sizes[event.anchor], mark)

    def _add(self, size: int, mark: Any) -> None:
        self._total += size
        if self._total > MAX_NODES:
            raise YamlProblem("too large", mark)
