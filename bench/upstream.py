"""The responses of the upstream: those of a NoETL server, from upstream.json, served by nginx from memory.

They are those of the Python server. `rust_` begins the names of those that the Rust server gives instead.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

FIRST_ID = 478775660589000000
PATH = "data_pipeline/transform_data"
VARIABLES = {"input_file": "gs://bucket/input.csv", "factor": 3}
_DOCUMENTS = json.loads(Path(__file__).with_name("upstream.json").read_text())
_EXECUTION, _NEW = "EXECUTION_ID", "NEW_ID"
_NUMBER = '"EXECUTION_NUMBER"'
_RUST = "rust_"
# nginx refuses a word of its configuration with 4,096 bytes or more.
_PIECE = 2000


def execution_id(number: int) -> str:
    """Return the id of an execution: 18 digits, as the server's ids have."""
    return str(FIRST_ID + number * 7919)


@functools.cache
def document(name: str, execution: str = "") -> Any:
    """Return the JSON of a response, with the id of its execution."""
    return json.loads(json_text(_DOCUMENTS[name]).replace(_EXECUTION, execution).replace(_NUMBER, execution))


def json_text(value: Any) -> str:
    """Return JSON as the NoETL server writes it."""
    return json.dumps(value, separators=(",", ":"))


def pieces(name: str) -> list[str]:
    """Return a response cut into pieces that nginx accepts, with nginx's variables in place of ids."""
    # One character while it is cut, so that no variable is cut in two.
    text = json_text(_DOCUMENTS[name]).replace(_NUMBER, "\0").replace(_EXECUTION, "\0")
    text = text.replace(_NEW, "47877$milliseconds")
    return [text[at : at + _PIECE].replace("\0", "${execution_id}") for at in range(0, len(text), _PIECE)]


def responses(*, rust: bool = False) -> dict[str, list[str]]:
    """Return the pieces of each response of one server by its name."""
    found = {name: pieces(name) for name in _DOCUMENTS if not name.startswith(_RUST)}
    if rust:
        found |= {name.removeprefix(_RUST): pieces(name) for name in _DOCUMENTS if name.startswith(_RUST)}
    return found
