"""Hold servers to the recorded answers of the real ones: `python -m tests.contract.answers.run --servers python,…`.

With `--url`, one server for tests at that address. With `--record`, what the real server answers is written to
`recorded/`. Prints the number of requests, and each difference without a reason; exit 0 if there is none.
`make contract` does the same, as its part `answers`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.contract.answers.compare import Difference, Explained, differences, explanations, unexplained
from tests.contract.answers.send import Sender
from tests.contract.answers.table import FOLDER, load
from tests.contract.programs import answers
from tests.contract.report import Cell, Column
from tests.contract.servers import KINDS, running

RECORDED = FOLDER / "recorded"


@dataclass(frozen=True, slots=True)
class Result:
    """What one server showed: the number of requests, what differs without a reason, and unused reasons."""

    requests: int
    differing: list[Difference]
    explained: int
    unused: list[Explained]

    @property
    def is_good(self) -> bool:
        """Whether nothing is left to explain."""
        return not self.differing and not self.unused

    def __str__(self) -> str:
        return f"{self.requests} requests, {len(self.differing)} unexplained differences, {self.explained} explained"

    def column(self) -> Column:
        """Return the column of the table of `make contract`."""
        found: Column = {("all requests",): Cell(str(self))}
        for difference in self.differing:
            text = f"recorded {difference.recorded}, found {difference.found}"
            found[f"{difference.request}: {difference.member}",] = Cell(text, ok=False)
        for one in self.unused:
            found[f"the reason {one.reason!r}",] = Cell("explains nothing", ok=False)
        return found


def file(dialect: str) -> Path:
    """Return the file with the recorded answers of a dialect."""
    return RECORDED / f"{dialect}.jsonl"


def recorded(dialect: str) -> list[dict[str, Any]]:
    """Return the recorded answers of a dialect."""
    return [json.loads(line) for line in file(dialect).read_text("utf-8").splitlines()]


def record(url: str, dialect: str) -> int:
    """Write what a real server answers, and return the number of requests."""
    lines = []
    for request, answer in Sender(url).send_all(load(dialect)):
        lines.append(json.dumps({"request": request.name, "answer": answer}, ensure_ascii=False, sort_keys=True))
    RECORDED.mkdir(exist_ok=True)
    file(dialect).write_text("\n".join(lines) + "\n", "utf-8")
    return len(lines)


def check(url: str, dialect: str, server: str) -> Result:
    """Send the requests of a dialect to a server, and compare the answers with the recorded ones."""
    known, explained = recorded(dialect), explanations(server)
    found: list[Difference] = []
    requests = load(dialect)
    if [line["request"] for line in known] != [request.name for request in requests]:
        raise SystemExit(f"{file(dialect).name} does not belong to {dialect}.yaml: record it again")
    for line, (request, answer) in zip(known, Sender(url).send_all(requests), strict=True):
        found += differences(request.name, line["answer"], answer)
    left = unexplained(found, explained)
    return Result(len(requests), left, len(found) - len(left), [one for one in explained if not one.used])


def check_at(url: str) -> Result:
    """Check a server, of which only its address is known."""
    dialect = dialect_of(url)
    return check(url, dialect, f"mock-{dialect}" if answers(f"{url}/api/echo")() else dialect)


def dialect_of(url: str) -> str:
    """Return the dialect of a server, by its answer to an unknown path."""
    return "python" if "detail" in httpx.get(f"{url}/api/nothing", trust_env=False).text else "rust"


def report(server: str, result: Result, *, shown: int) -> None:
    """Print what a server showed."""
    print(f"{server}: {result}", flush=True)
    for difference in result.differing[:shown]:
        print(f"  {difference}")
    for one in result.unused:
        print(f"  the reason {one.reason!r} explains nothing")


def main() -> int:
    """Check or record the servers that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="the address of a NoETL server for tests")
    parser.add_argument("--servers", default=",".join(KINDS), help="which to start, if no url is given")
    parser.add_argument("--record", action="store_true", help="write the answers of the real servers")
    parser.add_argument("--shown", type=int, default=50, help="how many differences are printed")
    options = parser.parse_args()
    if options.url:
        url = options.url.rstrip("/")
        if options.record:
            print(f"{record(url, dialect_of(url))} answers recorded")
            return 0
        result = check_at(url)
        report(options.url, result, shown=options.shown)
        return 0 if result.is_good else 1
    good = True
    for name in options.servers.split(","):
        dialect = name.removeprefix("mock-")
        with running(name, empty=True) as url:
            if options.record:
                print(f"{name}: {record(url, dialect)} answers recorded")
                continue
            result = check(url, dialect, name)
        report(name, result, shown=options.shown)
        good &= result.is_good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
