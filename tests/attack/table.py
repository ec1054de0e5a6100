"""The one table of `make attack`: class, payloads tried, refused or passed as specified, surprises."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

PROPERTY = "attack"
SEARCHED = "secrets"
Line = tuple[str, int, int, int, int]


@dataclass(slots=True)
class Tally:
    """Counts what became of a class's payloads. It fails its test at the end if there was a surprise."""

    group: str
    record: Callable[[Line], None]
    refused: int = 0
    passed: int = 0
    surprises: list[str] = field(default_factory=list)

    def count(self, name: str, *, refused: bool, surprise: str = "") -> None:
        """One payload: refused or passed; or a surprise, with why."""
        if surprise:
            self.surprises.append(f"{self.group} / {name}: {surprise}")
        elif refused:
            self.refused += 1
        else:
            self.passed += 1

    def check(self, name: str, condition: bool, why: object = "", *, refused: bool = True) -> None:
        """One payload, that is as specified if the condition holds."""
        self.count(name, refused=refused, surprise="" if condition else f"not as specified {why}")

    def __enter__(self) -> Tally:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        broke = 0 if error is None else 1
        found = len(self.surprises) + broke
        self.record((self.group, self.refused + self.passed + found, self.refused, self.passed, found))
        if error is None:
            assert not self.surprises, "\n".join(self.surprises)


def searched(lines: Iterable[tuple[int, int, int]]) -> list[str]:
    """One line for the search of all tests' output for secrets; none if there was no search."""
    used, size, found = (sum(numbers) for numbers in zip(*lines, strict=True)) if (lines := list(lines)) else (0, 0, 0)
    return [f"secrets: {used} searched in {size} bytes of logs, metrics and errors, {found} found"] if lines else []


def table(lines: Iterable[Line]) -> list[str]:
    """The table, with classes in order and their lines added up, and a last line for all."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for group, *numbers in lines:
        for name in (group, "all"):
            sums[name] = [a + b for a, b in zip(sums[name], numbers, strict=True)]
    if not sums:
        return []
    last = sums.pop("all")
    width = max(map(len, (*sums, "attack")))
    heading = f"{'attack':<{width}}   tried  refused   passed  surprises"
    rows = [
        f"{name:<{width}} {t:>7} {r:>8} {p:>8} {s:>10}" for name, (t, r, p, s) in [*sorted(sums.items()), ("all", last)]
    ]
    return [heading, "-" * len(heading), *rows[:-1], "-" * len(heading), rows[-1]]
