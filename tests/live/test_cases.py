"""The cases of `python -m tests.live.run`, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.cases import CASES
from tests.live.killed import killed
from tests.live.places import STORES, place
from tests.live.streams import TRANSPORTS


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("store", STORES)
async def test_results_arrive_once_in_each_case(tmp_path: Path, name: str, transport: str, store: str) -> None:
    async with place(tmp_path, transport, store) as case:
        assert await CASES[name](case)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_results_arrive_once_if_the_gateway_is_killed_before_the_client_is_back(
    tmp_path: Path, transport: str
) -> None:
    assert await killed(tmp_path, transport)
