"""What is wrong with a file that is not YAML, in words and with a remedy. Texts show nothing of the file's values."""

from __future__ import annotations

import yaml

from proxy.config.problems import Place, Problem

_INDENTED = "the indentation does not fit the lines above it"
_CLOSED = "is a bracket or brace before it not closed, or does a text with one of : { } [ ] , need quotes?"
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("found character '\\t'", "a line begins with a tab; indent with spaces"),
    ("but found another document", "a second document begins here; a file has one: remove the --- and what follows"),
    ("expected alphabetic or numeric character, but found '*'", "put quotes around a text that starts with *"),
    ("expected alphabetic or numeric character", "put quotes around a text that starts with * or &"),
    ("found undefined alias", "found undefined alias; put quotes around a text that starts with *"),
    ("found undefined tag handle", "found undefined tag handle; put quotes around a text that starts with !"),
    ("mapping values are not allowed here", f"{_INDENTED}, or a text with a colon needs quotes"),
    ("expected <block end>", f"{_INDENTED}, or a text needs quotes"),
    ("could not find expected ':'", "a key without a colon, or a text over several lines without quotes"),
    ("expected ',' or", _CLOSED),
    ("expected the node content", _CLOSED),
    ("found unknown escape character", "unknown escape in a text in double quotes; use single quotes"),
    ("found character '%'", "put quotes around a text that starts with %"),
    ("found character '@'", "put quotes around a text that starts with @"),
    ("found character '`'", "put quotes around a text that starts with `"),
)  # fmt: skip
_FLOW = "while parsing a flow"
_QUOTED = "while scanning a quoted scalar"


def syntax_problem(file: str, error: yaml.MarkedYAMLError) -> Problem:
    """Return the problem of a file that is not YAML; a quote or bracket without end has the place of its beginning."""
    mark = error.problem_mark or error.context_mark
    text = error.problem or error.context or ""
    if error.context == _QUOTED and text == "found unexpected end of stream":
        mark, text = error.context_mark, "the quote that begins here has no end"
    elif str(error.context).startswith(_FLOW) and text.endswith("'<stream end>'"):
        mark, text = error.context_mark, "the bracket or brace that begins here has no end"
    remedy = next((remedy for start, remedy in _REMEDIES if text.startswith(start)), text)
    place = Place(file, mark.line + 1, mark.column + 1) if mark is not None else Place(file)
    return Problem(place, "", f"not valid YAML: {remedy}")


def encoding_problem(file: str, content: bytes, error: UnicodeDecodeError) -> Problem:
    """Return the problem of a file that is not UTF-8, at the first byte that is not."""
    before = content[: error.start]
    start = before.rfind(b"\n") + 1
    column = len(before[start:].decode(errors="replace")) + 1
    text = f"not UTF-8: byte 0x{content[error.start]:02x}; save the file as UTF-8"
    return Problem(Place(file, before.count(b"\n") + 1, column), "", text)


def other_problem(file: str, content: bytes, error: Exception) -> Problem:
    """Return the problem of a file that can't be read for another reason, such as a control character."""
    if isinstance(error, RecursionError):
        return Problem(Place(file, 1, 1), "", "not valid YAML: nested too deeply")
    if isinstance(error, yaml.reader.ReaderError):
        before = content.decode("utf-8-sig")[: error.position]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        return Problem(place, "", f"not valid YAML: the character #x{error.character:04x} is not allowed; remove it")
    return Problem(Place(file, 1, 1), "", f"not valid YAML: {(str(error).splitlines() or [''])[0]}")
