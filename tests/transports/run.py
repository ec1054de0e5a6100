"""Compare the transports on many configurations: `python -m tests.transports.run --configs 500 --requests 40`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

import structlog

from tests.transports.compare import compared


def main(arguments: list[str] | None = None) -> int:
    """Print the first difference of each configuration that has one; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, default=500)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1000, help="the first configuration; it repeats a run")
    wanted = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    differing, fast = 0, 0
    for seed in range(wanted.seed, wanted.seed + wanted.configs):
        found, seen = asyncio.run(compared(seed, wanted.requests))
        fast += seen.served_fast
        if found is not None:
            differing += 1
            print(found, end="\n\n")
    total = wanted.configs * wanted.requests
    print(f"{wanted.configs} configurations, {total} requests, {fast} on the fast path: {differing} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
