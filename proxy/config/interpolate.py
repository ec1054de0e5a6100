"""Replacement of `${NAME}`, `${NAME:-default}`, `${file:PATH}` and `$${` in the scalars of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from proxy.http.secret_names import is_secret_name

_TOKEN = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
FROM_FILE = "file "
"""The source of a value that is the content of a file begins with this."""
_MAX_FILE = 1024 * 1024


class Replaced(NamedTuple):
    """A text with its references replaced.

    Args:
        text: the text, with values in place of references.
        used: True if there was a reference.
        secrets: the values that no text may show.
        sources: where values came from, as `environment variable NAME` or `file PATH`; a default is no source.
    """

    text: str
    used: bool
    secrets: frozenset[str]
    sources: tuple[str, ...]


class InterpolationError(ValueError):
    """A reference that can't be replaced. The message contains no part of the value around it."""


def interpolate(text: str, environ: Mapping[str, str], folder: Path) -> Replaced:
    """Replace the references of one scalar; relative files are looked up in `folder`.

    The content of a file, and the value of a variable with a secret's name, are secrets. Raises InterpolationError.
    """
    used = False
    secrets: set[str] = set()
    sources: list[str] = []

    def replace(found: re.Match[str]) -> str:
        nonlocal used
        if found[0] == "$${":
            return "${"
        if not found[2]:
            raise InterpolationError('a reference has no closing brace (for a literal "${" write "$${")')
        used = True
        value, source = _value(found[1], environ, folder)
        if source and source not in sources:
            sources.append(source)
        if found[1].startswith("file:") or is_secret_name(found[1].partition(":-")[0]):
            secrets.add(value)
        return value

    return Replaced(_TOKEN.sub(replace, text), used, frozenset(secrets), tuple(sources))


def _value(reference: str, environ: Mapping[str, str], folder: Path) -> tuple[str, str]:
    """Return the value of a reference and its source, which is empty for a default."""
    if reference.startswith("file:"):
        path = folder / reference.removeprefix("file:")
        return _file(path), f"{FROM_FILE}{path}"
    name, has_default, default = reference.partition(":-")
    if not _NAME.fullmatch(name):
        raise InterpolationError("a reference must be ${NAME}, ${NAME:-default} or ${file:PATH}")
    if "${" in default:
        raise InterpolationError(f"the default of {name} can't be a reference itself")
    value = environ.get(name)
    if value or (value is not None and not has_default):
        return value, f"environment variable {name}"
    if not has_default:
        raise InterpolationError(f"environment variable {name} is not set; set it, or write ${{{name}:-default}}")
    return default, ""


def _file(path: Path) -> str:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InterpolationError(f"file {path} is not a plain file")
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
        if len(content) > _MAX_FILE:
            raise InterpolationError(f"file {path} is larger than 1 MiB")
        return content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InterpolationError(f"file {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InterpolationError(f"file {path} is not UTF-8 text") from None
