"""The command line of a run: what is given, and which options are of no use without, or together with, another."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load.scenario import Scenario, ScenarioError, changed, load_scenario, names
from load.settings import ROOT

AUTH0 = "http://localhost:8085"
DESCRIPTION = """Run a scenario: start the stack (or use a running one) and the users, carry out the schedule of
faults, and write two reports. The exit status is 0 if every threshold holds, 1 if one does not, 2 if the run was not
possible, and 130 if it was stopped."""
_NEEDS = (
    ("auth0", "url", "--url"),
    ("expect", "master", "--master"),
    ("master", "url", "--url and --auth0, the same as for its workers"),
    ("worker_of", "url", "--url and --auth0, the same as for the master"),
)
_EXCLUDES = (("master", "worker_of"), ("master", "workers"), ("worker_of", "workers"))


@dataclass(frozen=True, slots=True)
class Options:
    """The command line; `file` is the name or the file of the scenario, and an empty text is an option not given."""

    scenario: Scenario
    file: str
    url: str
    auth0: str
    workers: int
    master: str
    expect: int
    worker_of: str
    web: bool
    folder: Path


def read_options(arguments: list[str] | None = None) -> Options:
    """Return the options; end the process with status 2 for a wrong one."""
    parser = _parser()
    given = parser.parse_args(arguments)
    for problem in _problems(given):
        parser.error(problem)
    try:
        scenario = load_scenario(given.scenario)
        scenario = changed(scenario, given.users, given.duration, with_faults=not given.url)
    except ScenarioError as error:
        parser.error(str(error))
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Options(
        scenario,
        given.scenario,
        given.url,
        given.auth0 or AUTH0,
        given.workers or 0,
        given.master,
        given.expect or 1,
        given.worker_of,
        given.web,
        (given.output or ROOT / "var" / "load" / f"{scenario.name}-{stamp}").resolve(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m load.run", description=DESCRIPTION)
    add = parser.add_argument
    add("--scenario", default="monday-morning", help=f"one of {', '.join(names())}, or a YAML file")
    add("--users", type=int, help="number of users, instead of the scenario's")
    add("--duration", help="duration such as 60s or 1h, instead of the scenario's")
    add("--url", default="", help="base URL of a running gateway, with the load profile; no faults then")
    add("--auth0", default="", help=f"base URL of its sandbox Auth0, with --url; default: {AUTH0}")
    add("--workers", type=int, help="number of Locust processes on this machine; 0: one")
    add("--master", default="", metavar="ADDRESS", help="wait there for workers on other machines")
    add("--expect", type=int, help="how many of them, with --master; default: 1")
    add("--worker-of", default="", metavar="ADDRESS", help="work for the master at that address")
    add("--web", action="store_true", help="serve Locust's page with charts while it runs")
    add("--output", type=Path, help="folder of the reports; default: var/load/…")
    return parser


def _problems(given: argparse.Namespace) -> Iterator[str]:
    for name, least in (("workers", 0), ("expect", 1)):
        value = getattr(given, name)
        if value is not None and value < least:
            yield f"--{name}: must be at least {least}"
    for name, needed, text in _NEEDS:
        if getattr(given, name) and not getattr(given, needed):
            yield f"{_flag(name)} needs {text}"
    for one, other in _EXCLUDES:
        if getattr(given, one) and getattr(given, other):
            yield f"{_flag(one)} and {_flag(other)} exclude each other: leave out one"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
