"""YAML of other people, loaded only once its events show that this is harmless. Pure, and slow for large texts.

The parser in C recurses without a limit: a text that is nested deeply enough would end the process. Aliases and merge
keys let a short text stand for a very large document. The events are read without recursion.
"""

from __future__ import annotations

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


def load_yaml(text: str) -> Any:
    """Return the document that a text is. Raises YamlProblem."""
    try:
        _Scan().read(text)
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        raise YamlProblem(error.problem or error.context or "not YAML", error.problem_mark) from None
    except YamlProblem:
        raise
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise YamlProblem(" ".join(str(error).split()) or "not YAML") from None


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
