"""What `check` prints for files with one mistake each, in `golden/`: the input, and the lines that are expected.

`GOLDEN_UPDATE=1` writes what is printed now into the files, to be read before it is committed.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jsonschema import Draft202012Validator

from proxy.cli import cli
from proxy.commands import names
from proxy.config.environment import variables
from proxy.config.jsonschema import gateway_schema
from tests.integration.certificates import Authority

FOLDER = Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*.txt"))
_PART = re.compile(r"^-- (.+?) --\n", re.MULTILINE)
_FEWEST = 120
_SEVERAL = frozenset({"bomb", "many_problems", "other_program", "tls_files_missing", "tls_garbage"})
"""The files with more than one mistake."""


@dataclass(frozen=True)
class Golden:
    """A file of `golden/`: environment variables, the files of a configuration, and the expected output."""

    head: str
    environ: dict[str, str]
    files: dict[str, bytes]
    expected: str

    @classmethod
    def read(cls, path: Path) -> Golden:
        text = path.read_text(encoding="utf-8")
        head, *parts = _PART.split(text)
        contents = dict(zip(parts[::2], parts[1::2], strict=True))
        expected = contents.pop("expected")
        environ = dict(line[2:].split("=", 1) for line in head.splitlines() if line.startswith("$ "))
        files = {}
        for name, content in contents.items():
            plain = name.removesuffix(" (base64)")
            files[plain] = content.encode() if plain == name else base64.b64decode(content)
        return cls(text[: len(text) - len(expected)], environ, files, expected)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates and keys."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.make(folder)
    for name in ("", "other-"):
        certificate, key = authority.issue(folder, "localhost")
        certificate.rename(folder / f"{name}cert.pem")
        key.rename(folder / f"{name}key.pem")
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    (folder / "locked-key.pem").write_bytes(locked)
    return folder


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_check_prints_what_is_expected(
    path: Path, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden.read(path)
    for name, content in golden.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "tls").symlink_to(pairs)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "unresolved", _unresolved)
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    result = CliRunner().invoke(cli, ["check"], env=golden.environ)
    printed = result.stderr + (result.stdout.partition("\n")[0] + "\n" if result.stdout else "")
    printed = f"{printed}exit {result.exit_code}\n".replace(str(tmp_path), ".")
    if os.environ.get("GOLDEN_UPDATE"):
        path.write_text(golden.head + printed, encoding="utf-8")
    assert printed == Golden.read(path).expected


def _unresolved(wanted: Iterable[str]) -> dict[str, str]:
    """Names that do not resolve, without the network: those below `.invalid` (RFC 6761, 6.4)."""
    return {name: "Name or service not known" for name in wanted if name.endswith(".invalid")}


def _by_schema(golden: Golden) -> bool | None:
    """Whether the JSON schema accepts the file; None if it isn't YAML."""
    try:
        document = yaml.safe_load(golden.files["gateway.yaml"])
    except (yaml.YAMLError, UnicodeError):
        return None
    return Draft202012Validator(gateway_schema()).is_valid(document)


def test_the_schema_accepts_what_check_accepts_and_finds_most_of_the_rest() -> None:
    verdicts = {path.stem: (Golden.read(path), _by_schema(Golden.read(path))) for path in FILES}
    accepted = [name for name, (golden, _) in verdicts.items() if golden.expected.endswith("exit 0\n")]
    assert [name for name in accepted if verdicts[name][1] is False] == []
    refused = [name for name, (golden, by_schema) in verdicts.items() if name not in accepted and by_schema is False]
    assert len(refused) > 90
    some = {"port_too_large", "rule_two_effects", "route_star", "domain_url", "rate_unit", "url_with_path"}
    assert some <= set(refused)


def test_there_are_enough() -> None:
    assert len(FILES) >= _FEWEST


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_line_has_a_place_and_a_mistake_is_one_line(path: Path) -> None:
    *lines, ending = Golden.read(path).expected.splitlines()
    assert ending in ("exit 0", "exit 2")
    if ending == "exit 2" and path.stem not in _SEVERAL:
        assert len(lines) == 1
    if ending == "exit 0":
        assert "valid, with" in lines[-1]
