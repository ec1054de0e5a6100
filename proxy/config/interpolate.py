"""`${NAME}`, `${NAME:-default}`, `${file:PATH}` and `$${` in the scalars of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_TOKEN = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"authorization|cookie|token|secret|passw|key|credential", re.IGNORECASE)
_MAX_FILE = 1024 * 1024


class Replaced(NamedTuple):
    """A text with its references replaced; whether there were any; and the values that are not to be shown."""

    text: str
    used: bool
    secrets: frozenset[str]


class InterpolationError(ValueError):
    """A reference that can't be replaced. The text names it, never a value."""


def interpolate(text: str, environ: Mapping[str, str], folder: Path) -> Replaced:
    """Replace the references of one scalar. Relative files are looked up in `folder`.

    What comes out of a file, or of a variable that is called as secrets are, is not to be shown.
    """
    used = False
    secrets: set[str] = set()

    def replace(found: re.Match[str]) -> str:
        nonlocal used
        if found[0] == "$${":
            return "${"
        if not found[2]:
            raise InterpolationError(f'"{found[0]}" has no closing brace (for a literal "${{" write "$${{")')
        used = True
        value = _value(found[1], environ, folder)
        if found[1].startswith("file:") or _SECRET.search(found[1].partition(":-")[0]):
            secrets.add(value)
        return value

    return Replaced(_TOKEN.sub(replace, text), used, frozenset(secrets))


def _value(reference: str, environ: Mapping[str, str], folder: Path) -> str:
    if reference.startswith("file:"):
        return _file(folder / reference.removeprefix("file:"))
    name, has_default, default = reference.partition(":-")
    if not _NAME.fullmatch(name):
        raise InterpolationError(f'"${{{reference}}}" is not ${{NAME}}, ${{NAME:-default}} or ${{file:PATH}}')
    if "${" in default:
        raise InterpolationError(f"the default of {name} can't be a reference itself")
    value = environ.get(name)
    if value or (value is not None and not has_default):
        return value
    if not has_default:
        raise InterpolationError(f"environment variable {name} is not set; set it, or write ${{{name}:-default}}")
    return default


def _file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
        if len(content) > _MAX_FILE:
            raise InterpolationError(f"file {path} is larger than 1 MiB")
        return content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InterpolationError(f"file {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InterpolationError(f"file {path} is not UTF-8 text") from None
