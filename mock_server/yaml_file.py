"""YAML files of the command line: read once, with the number of the line of each mistake."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from .mistakes import MAX_SHOWN, Location, Mistake

MAX_NODES = 2_000_000
MAX_DEPTH = 50
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlFileError(ValueError):
    """A file can't be used; the text is one line with the file and, if it is known, the number of the line."""


class YamlFile:
    """A YAML document with the places of its parts.

    Args:
        path: the file, for messages.
        text: its content.

    Raises:
        YamlFileError: the text is not YAML, has a key twice, or is nested too deeply.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        loader = _LOADER(text)
        try:
            self.node: yaml.Node | None = loader.get_single_node()
            self._check_keys()
            self.data: Any = loader.construct_document(self.node) if self.node is not None else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            raise YamlFileError(f"{path}: {where}not YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError) as error:
            if isinstance(error, YamlFileError):
                raise
            raise YamlFileError(f"{path}: {' '.join(str(error).split())}") from None
        except RecursionError:
            raise YamlFileError(f"{path}: is nested too deeply, or refers to itself") from None
        finally:
            loader.dispose()

    @classmethod
    def read(cls, path: Path, most: int) -> YamlFile:
        """Return the document of a file of at most `most` bytes. Raises YamlFileError."""
        try:
            if path.stat().st_size > most:
                raise YamlFileError(f"{path}: is larger than {most} bytes")
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise YamlFileError(f"{path}: {error.strerror or 'cannot be read'}") from None
        except UnicodeDecodeError:
            raise YamlFileError(f"{path}: is not UTF-8 text") from None
        return cls(path, text)

    def error(self, *found: Mistake) -> YamlFileError:
        """Return the error for mistakes, each with its line."""
        return YamlFileError(f"{self.path}: {'; '.join(self._shown(found))}")

    def _shown(self, found: Iterable[Mistake]) -> list[str]:
        lines = [(self.line(mistake.location), mistake) for mistake in found]
        return [f"line {line}: {mistake}" if line else str(mistake) for line, mistake in lines][:MAX_SHOWN]

    def line(self, location: Location) -> int:
        """Return the number of the line of a location, or of its nearest part that is there; 0 for an empty file."""
        node = self.node
        line = node.start_mark.line + 1 if node is not None else 0
        for part in location:
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            elif isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
                if pair is None:
                    return line
                line, node = pair[0].start_mark.line + 1, pair[1]
            else:
                return line
        return line

    def _check_keys(self) -> None:
        """Raise YamlFileError for a key that is there twice, and for aliases that multiply the content."""
        waiting: list[tuple[yaml.Node | None, int]] = [(self.node, 0)]
        count = 0
        while waiting:
            node, depth = waiting.pop()
            count += 1
            if depth > MAX_DEPTH or count > MAX_NODES:
                raise YamlFileError(f"{self.path}: is nested too deeply, or refers to itself")
            if isinstance(node, yaml.SequenceNode):
                waiting += [(item, depth + 1) for item in node.value]
            elif isinstance(node, yaml.MappingNode):
                self._check_mapping(node)
                waiting += [(value, depth + 1) for _, value in node.value]

    def _check_mapping(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                line = key.start_mark.line + 1
                raise YamlFileError(f"{self.path}: line {line}: {key.value}: is there twice; remove one")
            seen.add(key.value)
