"""What is likely a mistake in the playbooks of a folder, for a warning at the start.

The servers accept all of it, so registration does, too: it says what they say. Nothing here refuses a playbook.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from mock_noetl.catalog import KINDS, files_of
from mock_noetl.playbook import load
from mock_noetl.python.playbook_models import ToolSpec
from mock_server.mistakes import Location, Mistake, suggest
from mock_server.yaml_file import YamlFile, YamlFileError

KEYS = ("apiVersion", "kind", "metadata", "executor", "workload", "keychain", "workbook", "workflow")
STEP_KEYS = ("step", "desc", "spec", "input", "loop", "tool", "next", "set")
TOOLS = ("sandbox", *get_args(ToolSpec.model_fields["kind"].annotation))
MANY_SECONDS = 10
"""From here on, a number without a unit is more likely one of milliseconds."""


def warnings(folder: Path, most: int = 100) -> list[str]:
    """Return a line for each likely mistake in the files of a folder, which must be valid playbooks."""
    documents = [(file, load(file.read_text(encoding="utf-8"))) for file in files_of(folder)]
    paths = {_path(document) for _, document in documents}
    found: list[str] = []
    for path, document in documents:
        try:
            file = YamlFile(path, path.read_text(encoding="utf-8"))
        except YamlFileError as error:
            found.append(str(error))
            continue
        found += [str(file.error(mistake)) for mistake in mistakes(document, paths)]
    return found[:most]


def mistakes(document: dict[str, Any], paths: Collection[str] = ()) -> Iterator[Mistake]:
    """Yield likely mistakes in a playbook; `paths` are those of the playbooks that there are."""
    kind = document.get("kind", "Playbook")
    if str(kind).lower() not in KINDS:
        yield Mistake(("kind",), f"unknown kind {kind}{suggest(str(kind).lower(), KINDS)}")
    yield from _misspelt(document, KEYS, ())
    workflow = document.get("workflow")
    if not isinstance(workflow, list):
        return
    names = [str(step.get("step")) for step in workflow if isinstance(step, dict)]
    for number, step in enumerate(workflow):
        if isinstance(step, dict):
            yield from _of_step(step, ("workflow", number), names, paths)


def _of_step(
    step: dict[str, Any], place: Location, names: Collection[str], paths: Collection[str]
) -> Iterator[Mistake]:
    yield from _misspelt(step, STEP_KEYS, place)
    if list(names).count(str(step.get("step"))) > 1:
        yield Mistake((*place, "step"), f"several steps have the name {step.get('step')}; the first one is used")
    for location, name in _targets(step.get("next"), (*place, "next")):
        if name not in names and name.lower() != "end":
            yield Mistake(location, f"there is no step {name}{suggest(name, names)}; the execution ends there")
    tool = step.get("tool")
    if isinstance(tool, dict):
        yield from _of_tool(tool, (*place, "tool"), paths)


def _of_tool(tool: dict[str, Any], place: Location, paths: Collection[str]) -> Iterator[Mistake]:
    kind = str(tool.get("kind", "noop"))
    if kind not in TOOLS and (near := get_close_matches(kind.lower(), TOOLS, n=1, cutoff=0.75)):
        yield Mistake((*place, "kind"), f'unknown kind {kind}; did you mean "{near[0]}"?')
    path = tool.get("path")
    if kind == "playbook" and isinstance(path, str) and "{{" not in path and path not in paths:
        yield Mistake((*place, "path"), f"there is no playbook {path}{suggest(path, paths)}")
    if kind == "sandbox":
        for name in ("duration", "late"):
            if name in tool:
                yield from _of_duration(tool[name], (*place, name))


def _of_duration(value: Any, place: Location) -> Iterator[Mistake]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name != "sigma":
                yield from _of_duration(item, (*place, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _of_duration(item, (*place, number))
    elif _is_number(value) and float(value) >= MANY_SECONDS:
        yield Mistake(
            place, f"{value} without a unit is {value} seconds: write {value}s, or {value}ms for milliseconds"
        )


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    return str(value).replace(".", "", 1).isdecimal()


def _targets(following: Any, place: Location) -> Iterator[tuple[Location, str]]:
    """Yield the places and the names of the next steps, in each form that the engine accepts."""
    if isinstance(following, dict) and "arcs" in following:
        following, place = following["arcs"], (*place, "arcs")
    if isinstance(following, list):
        for number, item in enumerate(following):
            yield from _target(item, (*place, number))
    else:
        yield from _target(following, place)


def _target(item: Any, place: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(item, str):
        yield place, item
    elif isinstance(item, dict) and item.get("step") is not None:
        yield (*place, "step"), str(item["step"])


def _misspelt(found: dict[str, Any], known: Collection[str], place: Location) -> Iterator[Mistake]:
    """Yield keys that are nearly known ones; others may be something that a server knows."""
    for name in map(str, found):
        if name not in known and (near := get_close_matches(name, known, n=1, cutoff=0.75)):
            yield Mistake((*place, name), f'unknown key; did you mean "{near[0]}"?')


def _path(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    return str(found.get("path") or found.get("name") or "")
