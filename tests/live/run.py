"""Print what becomes of results in each case, over both transports and with each store: `python -m tests.live.run`.

Exit 0 if nothing is lost and nothing arrives twice.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.contract.report import Cell, Column, table, wrong
from tests.live.cases import CASES
from tests.live.killed import killed
from tests.live.places import STORES, place
from tests.live.streams import TRANSPORTS


async def column(transport: str, store: str) -> Column:
    """Return what one client sees with one store."""
    found: Column = {}
    for name, play in CASES.items():
        with tempfile.TemporaryDirectory(prefix="noetl-edge-live-") as folder:
            try:
                async with place(Path(folder), transport, store) as case:
                    found[name,] = Cell(await play(case))
            except (AssertionError, TimeoutError) as error:
                found[name,] = Cell(f"{type(error).__name__}: {str(error)[:80]}", ok=False)
    if store == "file":
        with tempfile.TemporaryDirectory(prefix="noetl-edge-live-") as folder:
            found["gateway killed between callback and reconnect",] = Cell(await killed(Path(folder), transport))
    return found


def main() -> int:
    """Print the table."""
    columns = {f"{t}, {s}": asyncio.run(column(t, s)) for t in TRANSPORTS for s in STORES}
    print("\n".join(table(("case",), columns)))
    bad = wrong(columns)
    print(f"\n{len(bad)} wrong" + "".join(f"\n  {line}" for line in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
