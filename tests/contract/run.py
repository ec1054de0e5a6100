"""Hold the gateway to the real NoETL servers: `make contract`, or `python -m tests.contract.run --url http://…`.

Without a url, both real servers and both dialects of the sandbox are set up in `var/contract/`, started, and stopped
again. A server at a url should be one for tests: playbooks are registered there, and run. Exit 0 if all is as it must.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time

from tests.contract import accounts, bridge, cli, live, surface, truth
from tests.contract.answers.run import check_at
from tests.contract.programs import Failed, Missing
from tests.contract.report import Column, table, wrong
from tests.contract.server import connected
from tests.contract.servers import KINDS, running

PARTS = ("surface", "truth", "bridge", "cli", "live", "accounts", "answers")
Columns = dict[str, Column]


async def check(name: str, url: str, tables: dict[str, Columns], options: argparse.Namespace) -> None:
    """Check one server, and add its column to the tables."""
    async with connected(url) as server:
        if "surface" in options.parts:
            found = await surface.check(server)
            tables["surface"][name], tables["summary"][name] = found.column(), found.summary()
        if "truth" in options.parts:
            tables["polled"][name] = await truth.polled(server, options.runs)
            tables["truth"][name] = await truth.compared(server)
        if "bridge" in options.parts:
            tables["bridge"][name] = await bridge.check(server)
        if "cli" in options.parts:
            tables["cli"][name] = await cli.check(server)
        if "live" in options.parts:
            tables["live"][name] = await live.check(server)
        if "accounts" in options.parts:
            tables["accounts"][name] = await accounts.check(server, name)


def check_answers(name: str, tables: dict[str, Columns], options: argparse.Namespace) -> None:
    """Hold one server to the recorded answers: one of its own, without the playbooks of the other parts."""
    if options.url:
        result = check_at(name.rstrip("/"))
    else:
        with running(name, empty=True) as url:
            result = check_at(url)
    print(f"{name}: answers: {result}", flush=True)
    tables["answers"][name] = result.column()


HEADINGS = {
    "surface": ("case", "user", "expected"),
    "summary": ("surface",),
    "polled": ("tight polling",),
    "truth": ("truth",),
    "bridge": ("what the GUI sends", "member that it reads", "rule"),
    "cli": (f"the command line {cli.RELEASE}",),
    "live": ("a start with clientId",),
    "accounts": ("provider: playbook",),
    "answers": ("the recorded answers of the real server",),
}


LEGEND = """
Each case is sent in four ways: by relay and by proxyRequest, with the fast path and without. `reached` counts the
requests that arrived at the server, of those sent; `filtered`: allowed, without what the user may not see."""


def report(tables: dict[str, Columns]) -> int:
    """Print the tables, and return how many cells are wrong."""
    found: list[str] = []
    print(LEGEND)
    for name, columns in tables.items():
        if columns:
            columns = cli.with_reasons(columns) if name == "cli" else columns
            print("\n" + "\n".join(table(HEADINGS[name], columns)))
            found += wrong(columns)
    print(f"\n{len(found)} wrong" + "".join(f"\n  {line}" for line in found))
    return len(found)


def main() -> int:
    """Check the servers that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="the address of a NoETL server for tests")
    parser.add_argument("--servers", default=",".join(KINDS), help="which to start, if no url is given")
    parser.add_argument(
        "--parts", default=",".join(PARTS), help="which of surface, truth, bridge, cli, live, accounts and answers"
    )
    parser.add_argument("--runs", type=int, default=20, help="polled runs of each kind of playbook")
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tables: dict[str, Columns] = {name: {} for name in HEADINGS}
    skipped = []
    for name in [options.url] if options.url else options.servers.split(","):
        start = time.monotonic()
        try:
            if options.url:
                asyncio.run(check(name, name.rstrip("/"), tables, options))
            elif options.parts != ["answers"]:
                with running(name) as url:
                    asyncio.run(check(name, url, tables, options))
            if "answers" in options.parts:
                check_answers(name, tables, options)
        except (Missing, Failed) as error:
            skipped.append(f"{name}: {error}")
            print(f"{name}: skipped: {error}", flush=True)
        else:
            print(f"{name}: checked in {time.monotonic() - start:.0f} s", flush=True)
    bad = report(tables)
    for line in skipped:
        print(f"skipped: {line}")
    return 1 if bad or skipped else 0


if __name__ == "__main__":
    sys.exit(main())
