"""What is around the fuzzer: findings become inputs, and targets do find what is broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jwt
import pytest

from proxy.config import load as load_module
from proxy.graphql import documents as documents_module
from proxy.http import header_plan
from proxy.relay import event_streams as streams
from proxy.upstream import connection as upstream_connection
from tests.fuzz import one, registry, run
from tests.fuzz.memory import pieces
from tests.fuzz.registry import Target, inputs, load, name_of
from tests.fuzz.targets import answers, configuration, connections, documents, events, heads, tokens


def _nothing(_: bytes) -> None:
    """A target that promises nothing."""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target whose folders are this test's."""
    monkeypatch.setattr(registry, "CORPUS", tmp_path / "corpus")
    monkeypatch.setattr(run, "WORK", tmp_path / "work")
    return Target("made-up", _nothing, lambda: iter([b"seed"]), 10, ('a"\\b',))


def test_a_finding_is_kept_under_a_name_made_of_its_contents_and_run_from_then_on(target: Target) -> None:
    work = run.prepared(target)
    (work / "found" / "crash-1").write_bytes(b"breaks it")
    (kept,) = run.keep_findings(target, work)
    assert kept.name == f"found-{name_of(b'breaks it')}"
    assert (kept.name, b"breaks it") in list(inputs(target))
    assert list((work / "found").iterdir()) == []


def test_a_run_goes_on_without_what_it_has_found(target: Target) -> None:
    work = run.prepared(target)
    (work / "found" / "crash-1").write_bytes(b"seed")
    run.keep_findings(target, work)
    assert list((work / "seeds").iterdir()) == []


def test_a_slow_input_is_no_finding(target: Target) -> None:
    work = run.prepared(target)
    (work / "found" / "slow-unit-1").write_bytes(b"x")
    assert run.keep_findings(target, work) == []


def test_words_for_the_fuzzer_are_written_as_it_reads_them(target: Target) -> None:
    assert (run.prepared(target) / "words").read_text() == '"\\x61\\x22\\x5c\\x62"\n'


def test_a_finding_is_reproduced_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"\x00GET /")
    assert one.main(["heads", str(file)]) == 0
    assert "as it must be" in capsys.readouterr().out
    monkeypatch.setattr(heads, "run", _raise)
    with pytest.raises(AssertionError, match="broken"):
        one.main(["heads", str(file)])


def _raise(_: bytes) -> None:
    raise AssertionError("broken")


def test_unknown_fuzz_target_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert one.main(["nothing"]) == 2
    assert "no target is called nothing" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(5))
def test_pieces_put_together_are_the_whole(seed: int) -> None:
    assert b"".join(pieces(b"abcdefgh" * 20, seed)) == b"abcdefgh" * 20


def _all_lines(fields: header_plan.RawFields) -> bytes:
    return b"".join(header_plan.field_line(name, value) for name, value in fields)


_ANNA = {"iss": "https://tenant.test/", "sub": "anna", "aud": "web", "exp": 32503680000}
BREAKS: dict[str, tuple[ModuleType, object, str, object]] = {
    "escapes are not read": (heads, heads, "normalise_path", lambda raw: raw),
    "a field of the gateway's passes": (heads, header_plan, "_NEVER_FORWARDED", frozenset({b"host"})),
    "control characters in an answer pass": (answers, upstream_connection, "_CONTROL", re.compile(rb"(?!)")),
    "a stream ends anywhere": (events, streams.EventStream, "should_end", True),
    "any signature will do": (tokens, jwt, "decode", lambda *_, **__: dict(_ANNA)),
    "problems show secrets": (configuration, load_module, "hide_secrets", lambda _, problems: list(problems)),
    "documents have no limits": (documents, documents_module, "check_limits", lambda *_: ""),
    "all fields are forwarded": (connections, header_plan.RequestPlan, "lines", lambda _, fields: _all_lines(fields)),
}


def test_a_target_finds_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each promise broken on purpose is found by the inputs that are there."""
    missed = []
    for name, (target, where, what, value) in BREAKS.items():
        with monkeypatch.context() as patch:
            patch.setattr(where, what, value)
            if not any(_fails(target, data) for data in _known(target)):
                missed.append(name)
    assert missed == []


def _known(target: ModuleType) -> Iterator[bytes]:
    yield from (data for _, data in inputs(load(target.__name__.rpartition(".")[2])))


def _fails(target: ModuleType, data: bytes) -> bool:
    try:
        target.run(data)
    except Exception:
        return True
    return False
