"""The file store on a disk that takes no more, or that can't be written at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from proxy.sessions import disk_errors
from proxy.sessions.file import FileStore
from proxy.sessions.store import StoreError
from tests.unit.sessions.test_stores import add, left

FULL, UNWRITABLE = "full", "nothing can be written"


@contextmanager
def disk(state: str, folder: Path) -> Iterator[None]:
    """For the time being no file of this process may grow, or none may be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = (folder / "data.mdb").stat().st_size if state == FULL else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def fill(store: FileStore) -> list[bytes]:
    """Sessions until there is no room for more; their keys."""
    keys: list[bytes] = []
    for _ in range(100_000):
        try:
            keys.append(await add(store, "anna"))
        except StoreError as error:
            assert "no space left" in str(error)  # noqa: PT017 - how many fit in is not known
            break
    return keys


@pytest.mark.parametrize("state", [FULL, UNWRITABLE])
async def test_sessions_are_read_on_and_what_is_refused_says_what_to_do(tmp_path: Path, state: str) -> None:
    store = FileStore(tmp_path / "s")
    keys = [await add(store, "anna") for _ in range(5)]
    with disk(state, store.folder):
        keys += await fill(store)
        with pytest.raises(StoreError, match=r"no space left \(.+\): free some, or set sessions.path to a larger"):
            await add(store, "anna")
        assert all(await left(store, *keys))
    await store.close()


@pytest.mark.parametrize("state", [FULL, UNWRITABLE])
async def test_nothing_is_damaged_and_once_there_is_room_writing_goes_on(tmp_path: Path, state: str) -> None:
    store = FileStore(tmp_path / "s")
    keys = [await add(store, "anna") for _ in range(5)]
    with disk(state, store.folder):
        keys += await fill(store)
    keys += [await add(store, "ben") for _ in range(300)]
    assert all(await left(store, *keys))
    await store.close()
    store = FileStore(tmp_path / "s")
    assert (store.count(), all(await left(store, *keys))) == (len(keys), True)
    await store.close()


async def test_on_a_full_disk_sessions_can_still_be_ended(tmp_path: Path) -> None:
    """Where the pages at hand do not suffice for one of them, which is chance, that is refused and it stays whole."""
    store = FileStore(tmp_path / "s")
    keys = [await add(store, "anna") for _ in range(50)]
    ended: list[bool] = []
    with disk(FULL, store.folder):
        await fill(store)
        for key in keys:
            try:
                ended.append(await store.end(key))
            except StoreError as error:
                assert "no space left" in str(error)  # noqa: PT017 - which of them is not known
                ended.append(False)
    assert any(ended)
    assert await left(store, *keys) == [not one for one in ended]
    await store.close()


async def test_where_an_end_can_not_be_written_it_is_refused_and_never_half_done(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    key = await add(store, "anna")
    with disk(UNWRITABLE, store.folder), pytest.raises(StoreError):
        await store.end(key)
    assert await left(store, key) == [True]
    assert await store.end(key)
    await store.close()


def test_a_folder_that_can_not_be_written_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"can't be used: no space left") as caught, _no_files():
        FileStore(tmp_path / "s")
    assert "move it away" not in str(caught.value)


@contextmanager
def _no_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(30, "Read-only file system"), "mount it for writing"),
        (OSError(13, "Permission denied"), "give it to the gateway's user"),
        (OSError(5, "Input/output error"), "the disk has failed"),
        (lmdb.PanicError("mdb_txn_begin"), "restart the gateway"),
        (OSError(2, "No such file or directory"), "No such file or directory"),
    ],
)
def test_each_trouble_says_what_to_do(error: Exception, said: str) -> None:
    assert said in disk_errors.describe(error)
