"""Parser for one YAML file: plain values, and the place of every key and value.

Booleans are `true` and `false` only (YAML 1.2), so `get: off` is a text. Duplicate keys, tags and documents that expand
without limit are rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, TypeVar

import yaml

from proxy.config.interpolate import FROM_FILE, InterpolationError, interpolate
from proxy.config.problems import Path, Place, Problem, key_of, key_of_unknown
from proxy.config.types import FromEnvironment, SecretFromEnvironment
from proxy.config.yaml_errors import encoding_problem, other_problem, syntax_problem

_MAX_NODES = 50_000
_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset(
    _TAG + name for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)
T = TypeVar("T")


@dataclass(slots=True)
class Document:
    """The plain values of a file, with the place of each key and value.

    Args:
        data: the values.
        keys: the place of each key.
        values: the place of each value.
        interpolated: the paths of the values that had a reference, as `${NAME}`.
        sources: where such a value came from, as `environment variable NAME`.
        problems: the mistakes that were found.
        remaining: for a list that lost invalid entries, the indexes in the file of the others.
        removed: the paths of the invalid entries.
        secrets: the values that no text may show.
        files: the files whose content is a value, by `${file:PATH}`.
        indexes: the index that an entry has in the included file that it comes from.
    """

    data: Any = field(default=None, repr=False)
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    interpolated: set[Path] = field(default_factory=set)
    sources: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    remaining: dict[Path, list[int]] = field(default_factory=dict)
    removed: set[Path] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set, repr=False)
    indexes: dict[Path, int] = field(default_factory=dict)
    files: set[FilePath] = field(default_factory=set)

    def is_in_file(self, path: Path) -> bool:
        """Return True if a value is in a file; False if it is built in or from the environment."""
        return path in self.values

    def with_index(self, path: Path, items: Sequence[T]) -> Iterator[tuple[int, T]]:
        """Return the entries of a list of the model, each with its index in the file."""
        return zip(self.remaining.get(path, range(len(items))), items, strict=False)

    def problem(self, path: Path, text: str, *, key: bool = False) -> Problem:
        """Return a problem at a value, or at its key; a value from the environment names its variable."""
        sources = () if key else self.sources.get(path, ())
        ending = f" (from {', '.join(sources)})" if sources else ""
        return Problem(self.place(path, key=key), key_of(self.in_its_file(path)), text + ending)

    def in_its_file(self, path: Path) -> Path:
        """Return a path as it is in the file that contains the value: an included file has its own indexes."""
        for depth in range(1, len(path) + 1):
            index = self.indexes.get(path[:depth])
            if index is not None:
                return (*path[: depth - 1], index, *path[depth:])
        return path

    def override(self, path: Path, place: Place) -> None:
        """Set the place of a value that replaces the one in the file, with everything below it."""
        for places in (self.keys, self.values, self.sources):
            for below in [one for one in places if one[: len(path)] == path]:
                del places[below]
        self.keys[path] = self.values[path] = place
        self.interpolated.add(path)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Return the place of a value, or of its key, or of the nearest parent that is in the file."""
        while path:
            found = (self.keys if key else self.values).get(path) or self.keys.get(path) or self.values.get(path)
            if found:
                return found
            path, key = path[:-1], True
        return self.values.get((), Place("built-in"))


def read_yaml(path: FilePath, environ: Mapping[str, str]) -> Document:
    """Parse a file; mistakes are in `problems` of the document. Raises OSError if the file can't be read."""
    reader = _Reader(str(path), path.parent, environ)
    return reader.read(path.read_bytes())


class _Reader:
    def __init__(self, name: str, folder: FilePath, environ: Mapping[str, str]) -> None:
        self._name = name
        self._folder = folder
        self._environ = environ
        self._nodes = 0
        self._out = Document()

    def read(self, content: bytes) -> Document:
        out = self._out
        out.values[()] = Place(self._name, 1, 1)
        try:
            loader = yaml.SafeLoader(content.decode("utf-8-sig"))
            try:
                node = loader.get_single_node()
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            out.problems.append(syntax_problem(self._name, error))
            return out
        except UnicodeDecodeError as error:
            out.problems.append(encoding_problem(self._name, content, error))
            return out
        except (yaml.YAMLError, RecursionError) as error:
            out.problems.append(other_problem(self._name, content, error))
            return out
        if node is not None:
            out.data = self._build(node, (), frozenset())
        return out

    def _at(self, node: yaml.Node) -> Place:
        return Place(self._name, node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, node: yaml.Node, path: Path, text: str) -> None:
        self._out.problems.append(Problem(self._at(node), key_of(path), text))

    def _build(self, node: yaml.Node, path: Path, above: frozenset[int]) -> Any:
        self._out.values[path] = self._at(node)
        self._nodes += 1
        if self._nodes == _MAX_NODES:
            self._problem(node, path, "the file expands to too many values")
        if self._nodes >= _MAX_NODES:
            return None
        if id(node) in above:
            self._problem(node, path, "an alias refers to a value that contains it")
            return None
        if node.tag not in _TAGS:
            self._problem(node, path, _tag_problem(node.tag))
        inside = above | {id(node)}
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*path, index), inside) for index, item in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(self, node: yaml.MappingNode, path: Path, above: frozenset[int]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in self._pairs(node, path):
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, path, "a key must be a text")
                continue
            here = (*path, key.value)
            if key.value in result:
                text = "the key is a duplicate; remove one of them"
                self._out.problems.append(Problem(self._at(key), key_of_unknown(here), text))
                continue
            self._out.keys[here] = self._at(key)
            result[key.value] = self._build(value, here, above)
        return result

    def _pairs(self, node: yaml.MappingNode, path: Path) -> list[tuple[yaml.Node, yaml.Node]]:
        merges = [(k, v) for k, v in node.value if k.tag == _TAG + "merge"]
        own = [(k, v) for k, v in node.value if k.tag != _TAG + "merge"]
        names = {k.value for k, _ in own if isinstance(k, yaml.ScalarNode)}
        for key, value in merges:
            if not isinstance(value, yaml.MappingNode):
                self._problem(key, path, "<< needs one mapping, given as *alias")
                continue
            if any(k.tag == _TAG + "merge" for k, _ in value.value):
                self._problem(key, path, "<< can't merge a mapping that contains a << itself")
                continue
            own.extend((k, v) for k, v in value.value if not isinstance(k, yaml.ScalarNode) or k.value not in names)
        return own

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text: str = node.value
        if "${" in text:
            try:
                replaced, used, secrets, sources = interpolate(text, self._environ, self._folder)
            except InterpolationError as error:
                self._problem(node, path, str(error))
                self._out.interpolated.add(path)
                return None
            self._out.secrets |= secrets
            self._out.files |= {FilePath(s.removeprefix(FROM_FILE)) for s in sources if s.startswith(FROM_FILE)}
            if used:
                self._out.interpolated.add(path)
                self._out.sources[path] = sources
                return SecretFromEnvironment(replaced) if secrets else FromEnvironment(replaced)
            return replaced
        return _plain(node.tag.removeprefix(_TAG), text)


def _tag_problem(tag: str) -> str:
    """Describe an unknown tag; one of the file's own may be a value without its quotes, and is not shown."""
    if tag.startswith(_TAG):
        return f"the tag {tag} is not supported"
    return "a tag is not supported; put quotes around a text that starts with !"


def _plain(tag: str, text: str) -> Any:
    if tag == "null":
        return None
    if tag == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    convert = {"int": int, "float": float}.get(tag)
    if convert is None:
        return text
    try:
        return convert(text)
    except ValueError:
        return text
