"""A sandbox that does not start says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from mock_pytest.running import StartError, as_process, in_process

FAILING = """
import sys
print("begin")
for number in range(50):
    print(f"line {number}", file=sys.stderr)
raise RuntimeError("the reason")
"""


def test_error_of_a_process_has_its_own_text() -> None:
    with pytest.raises(StartError) as caught, as_process("mock_auth0", ["--config", "missing.yaml"]):
        pass
    text = "mock_auth0 did not start; it ended with exit code 2, and printed:\nmock_auth0: missing.yaml: No such file"
    assert str(caught.value).startswith(text)


def test_error_of_a_process_has_the_last_lines_of_a_long_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_program.py").write_text(FAILING)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartError) as caught, as_process("failing_program", []):
        pass
    text = str(caught.value)
    assert "exit code 1" in text
    assert text.endswith("RuntimeError: the reason")
    assert "line 49\n" in text
    assert "line 5\n" not in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--nope"], "No such option"), (["--config", "missing.yaml"], "missing.yaml: No such file or directory")],
)
def test_error_of_a_thread_has_the_text_of_the_program(arguments: list[str], text: str) -> None:
    with pytest.raises(StartError, match="mock_auth0 did not start: ") as caught, in_process("mock_auth0", arguments):
        pass
    assert text in str(caught.value)
