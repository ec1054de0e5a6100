# ruff: noqa: E501 - data in lines
"""Longer fuzzing: `make fuzz [SECONDS=600] [TARGET=heads] [SEED=1]`. Exit code 1 if something was found.

Each target runs in processes of its own, for SECONDS in all, from a seed that is printed. An input may take ten
seconds and a process a gigabyte. Whatever breaks a promise, hangs or grows is written to the target's folder of the
corpus, under a name made of its contents, where the tests run it from then on; the run goes on without it.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.one import BROKEN
from tests.fuzz.registry import NAMES, Target, inputs, load, name_of

ROOT = Path(__file__).parents[2]
WORK = ROOT / "var" / "fuzz"
MOST_FINDINGS = 5
_LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=1")
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)|^#(\d+)\s", re.MULTILINE)
_COVERED = re.compile(r"cov: (\d+) ft: (\d+)")


@dataclass(slots=True)
class Result:
    """What became of a target."""

    name: str
    seconds: float = 0.0
    executed: int = 0
    covered: str = "0"
    found: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        numbers = f"{self.seconds:>7.0f} s {self.executed:>10} inputs, {self.covered:>5} edges"
        return f"{self.name:<14} {numbers}, {len(self.found)} found"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the targets one after the other, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--target", choices=NAMES, help="only this one")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="where chance begins")
    chosen = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is missing: pip install --require-hashes -r tests/fuzz/requirements.txt", file=sys.stderr)
        return 2
    names = [chosen.target] if chosen.target else list(NAMES)
    print(f"seed {chosen.seed}: make fuzz SECONDS={chosen.seconds} SEED={chosen.seed} does the same again", flush=True)
    results = [fuzz(load(name), chosen.seconds, chosen.seed) for name in names]
    print("\n" + "\n".join(map(str, results)))
    total = sum(result.seconds for result in results)
    found = sum(len(result.found) for result in results)
    print(f"{total / 60:.0f} minutes in all, {found} found")
    return 1 if found else 0


def fuzz(target: Target, seconds: int, seed: int) -> Result:
    """Fuzz one target; after a finding, go on with another seed, until there are too many."""
    work = prepared(target)
    result, began = Result(target.name), time.monotonic()
    while (left := seconds - (time.monotonic() - began)) > 1 and len(result.found) < MOST_FINDINGS:
        code, said = _process(target, work, int(left), seed + len(result.found))
        result.executed += max((int(a or b) for a, b in _EXECUTED.findall(said)), default=0)
        result.covered = max([result.covered, *(edges for edges, _ in _COVERED.findall(said))], key=int)
        kept = keep_findings(target, work)
        result.found += kept
        for path in kept:
            shown = path.relative_to(ROOT)
            again = f"make fuzz-one TARGET={target.name} FILE={shown}"
            print(f"{target.name}: {shown}\n{_cause(said)}\n  again: {again}", flush=True)
        if code and not kept:
            print(f"{target.name}: ended with {code}\n{said[-3000:]}", flush=True)
            break
    result.seconds = time.monotonic() - began
    print(result, flush=True)
    return result


def prepared(target: Target) -> Path:
    """The folder that a target's process works in: seeds, dictionary, what it learns, and what it finds."""
    work = WORK / target.name
    for name in ("seeds", "found"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir(parents=True)
    (work / "learned").mkdir(exist_ok=True)
    for _, data in inputs(target):
        (work / "seeds" / name_of(data)).write_bytes(data)
    target.folder.mkdir(parents=True, exist_ok=True)
    quoted = ["".join(f"\\x{byte:02x}" for byte in word.encode()) for word in target.words]
    (work / "words").write_text("".join(f'"{word}"\n' for word in quoted))
    return work


def _process(target: Target, work: Path, seconds: int, seed: int) -> tuple[int, str]:
    command = [
        sys.executable, "-m", "tests.fuzz.one", target.name, f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={target.max_size}", f"-dict={work / 'words'}",
        f"-artifact_prefix={work / 'found'}/", *_LIMITS, str(work / "learned"), str(work / "seeds"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def keep_findings(target: Target, work: Path) -> list[Path]:
    """Move what was found to the corpus, each under a name made of its contents, and out of what the run begins with."""
    kept = []
    for file in sorted((work / "found").iterdir()):
        if file.name.startswith("slow-unit"):
            file.unlink()
            continue
        name = name_of(file.read_bytes())
        goal = target.folder / f"found-{name}"
        shutil.move(file, goal)
        kept.append(goal)
        for known in (work / "seeds" / name, *(work / "learned").glob(f"{name}*")):
            known.unlink(missing_ok=True)
    return kept


def _cause(said: str) -> str:
    """The exception, or what libFuzzer says, of a process that ended."""
    at = max(said.rfind(BROKEN), said.rfind("ERROR: libFuzzer: "))
    return "\n".join(f"  {line[:600]}" for line in said[at:].splitlines()[:30]) if at >= 0 else said[-2000:]


if __name__ == "__main__":
    sys.exit(main())
