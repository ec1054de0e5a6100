"""Request ids: which of a client's are kept, and new ones."""

from __future__ import annotations

import os

import pytest

from proxy.http.request_id import is_request_id, new_request_id


@pytest.mark.parametrize("value", [b"a", b"A-b_c.9", b"0" * 128])
def test_well_formed_id_is_kept(value: bytes) -> None:
    assert is_request_id(value)


@pytest.mark.parametrize("value", [b"", b"0" * 129, b"a b", b"a\n", b"a\r\nx: y", b"\xe4", b'a"', b"a,b", b"a/b"])
def test_malformed_id_is_not_kept(value: bytes) -> None:
    assert not is_request_id(value)


def test_new_ids_differ_and_are_well_formed() -> None:
    made = [new_request_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(is_request_id(each) and len(each) == 32 for each in made)


def test_forked_process_has_ids_of_its_own() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, new_request_id())
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    theirs, ours = os.read(read, 100), new_request_id()
    os.close(read)
    assert (status, len(theirs)) == (0, 32)
    assert theirs[:16] != ours[:16]
