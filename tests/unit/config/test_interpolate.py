"""References in the scalars of gateway.yaml: what replaces them, and what is a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.interpolate import InterpolationError, interpolate

ENVIRON = {"HOST": "a.test", "EMPTY": "", "API_SECRET": "s3cret", "OTHER": "o"}


@pytest.mark.parametrize(
    ("text", "expected", "used"),
    [
        ("plain", "plain", False),
        ("${HOST}", "a.test", True),
        ("http://${HOST}:80/${OTHER}", "http://a.test:80/o", True),
        ("${HOST:-b}", "a.test", True),
        ("${MISSING:-b}", "b", True),
        ("${MISSING:-}", "", True),
        ("${EMPTY}", "", True),
        ("${EMPTY:-b}", "b", True),
        ("$${HOST}", "${HOST}", False),
        ("$HOST $5 {HOST}", "$HOST $5 {HOST}", False),
        ("${MISSING:-a:-b}", "a:-b", True),
    ],
)
def test_reference_is_replaced_by_its_value_or_default(text: str, expected: str, used: bool) -> None:
    found = interpolate(text, ENVIRON, Path())
    assert (found.text, found.used) == (expected, used)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x ${HOST", "has no closing brace"),
        ("${MISSING}", "MISSING is not set; set it, or write ${MISSING:-default}"),
        ("${}", "must be ${NAME}"),
        ("${5}", "must be ${NAME}"),
        ("${A B}", "must be ${NAME}"),
        ("${A:-${B}}", "the default of A can't be a reference itself"),
        ("${file:none}", "none can't be read: No such file or directory"),
        ("${file:.}", "can't be read: Is a directory"),
        ("${file:latin}", "is not UTF-8 text"),
        ("${file:large}", "is larger than 1 MiB"),
    ],
)
def test_reference_that_cannot_be_replaced_is_an_error_without_the_text_around_it(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(InterpolationError) as raised:
        interpolate(f"hidden{text}", ENVIRON, tmp_path)
    assert problem in str(raised.value)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "expected"), [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", ""), (" ä ", " ä ")]
)
def test_file_loses_its_last_line_end_and_is_a_secret(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "key").write_bytes(content.encode())
    found = interpolate("${file:key}", {}, tmp_path)
    assert (found.text, set(found.secrets), found.sources) == (expected, {expected}, (f"file {tmp_path / 'key'}",))


def test_largest_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"x" * (1024 * 1024))
    assert len(interpolate("${file:key}", {}, tmp_path).text) == 1024 * 1024


@pytest.mark.parametrize(
    ("text", "secrets", "sources"),
    [
        ("${HOST}", set(), ("environment variable HOST",)),
        ("${API_SECRET}", {"s3cret"}, ("environment variable API_SECRET",)),
        ("${MY_PASSWORD:-fallback}", {"fallback"}, ()),
        ("${HOST}${HOST}", set(), ("environment variable HOST",)),
    ],
)
def test_value_of_a_variable_with_the_name_of_a_secret_is_one(
    text: str, secrets: set[str], sources: tuple[str, ...]
) -> None:
    found = interpolate(text, ENVIRON, Path())
    assert (set(found.secrets), found.sources) == (secrets, sources)
