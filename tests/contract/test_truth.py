"""The truth part of the contract, against both dialects of the sandbox, which have the traps of the real servers."""

from __future__ import annotations

import pytest

from mock_noetl.server import build, serve
from tests.contract import truth
from tests.contract.report import wrong
from tests.contract.server import connected
from tests.integration.harness import TRANSPORTS

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("dialect", ["python", "rust"])]


@TRANSPORTS
async def test_gateway_says_what_the_server_says(dialect: str, fast: bool) -> None:
    async with serve(build(dialect)) as listener, connected(listener.url) as server:
        assert wrong({dialect: await truth.compared(server, fast=fast)}) == []


async def test_completed_is_never_early_with_tight_polling(dialect: str) -> None:
    async with serve(build(dialect)) as listener, connected(listener.url) as server:
        assert wrong({dialect: await truth.polled(server, 4)}) == []
