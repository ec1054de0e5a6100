"""The client of key sets and discovery documents: what is under way ends when it is closed."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from proxy.identity.documents import DocumentClient
from proxy.identity.jwks import KeySet, KeySetSettings, KeySetUnavailable

URL = "https://tenant.test/jwks"
GONE = "its configuration is no longer in use"


async def never(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def key_set(client: DocumentClient) -> KeySet:
    return KeySet(URL, KeySetSettings(600, 30, 5, 3600, 32), client)


@pytest.mark.parametrize("turns", range(6))
async def test_close_ends_a_fetch_at_any_moment_of_its_start_and_whoever_waits_hears_why(turns: int) -> None:
    client = DocumentClient(httpx.AsyncClient(transport=httpx.MockTransport(never)))
    waiting = asyncio.create_task(key_set(client).find("a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    await client.close()
    with pytest.raises(KeySetUnavailable, match=GONE):
        await waiting


@pytest.mark.parametrize("turns", range(6))
async def test_close_ends_a_fetch_for_which_nobody_waits_any_more(turns: int) -> None:
    reports: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))
    client = DocumentClient(httpx.AsyncClient(transport=httpx.MockTransport(never)))
    waiting = asyncio.create_task(key_set(client).warm())
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    await client.close()
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert reports == []


async def test_a_closed_client_fetches_nothing() -> None:
    client = DocumentClient(httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200))))
    await client.close()
    with pytest.raises(KeySetUnavailable, match=GONE):
        await key_set(client).find("a")
