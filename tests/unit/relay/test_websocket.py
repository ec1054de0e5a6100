"""Following WebSocket frames by their lengths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.websocket import Frames


def frame(size: int, *, masked: bool = False) -> bytes:
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x82, mask | size])
    elif size < 65536:
        head = bytes([0x82, mask | 126]) + size.to_bytes(2)
    else:
        head = bytes([0x82, mask | 127]) + size.to_bytes(8)
    return head + (b"mask" if masked else b"") + b"x" * size


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("masked", [False, True])
def test_a_whole_frame_leaves_none_half_sent(size: int, masked: bool) -> None:
    frames = Frames()
    data = frame(size, masked=masked)
    frames.feed(data[:-1])
    assert not frames.between
    frames.feed(data[-1:])
    assert frames.between


@given(st.lists(st.sampled_from([0, 5, 125, 126, 300, 66000]), max_size=5), st.lists(st.integers(1, 1000), max_size=60))
def test_frames_may_arrive_cut_anywhere(sizes: list[int], cuts: list[int]) -> None:
    data, frames, at = b"".join(frame(size) for size in sizes), Frames(), 0
    for cut in cuts:
        frames.feed(data[at : at + cut])
        at += cut
    frames.feed(data[at:])
    assert frames.between
