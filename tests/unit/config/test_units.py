"""Durations and sizes, case by case."""

from __future__ import annotations

import pytest

from proxy.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("10s", 10.0),
        ("1.5s", 1.5),
        ("0.7s", 0.7),
        ("1001ms", 1.001),
        ("5m", 300.0),
        ("8h", 28800.0),
        ("30d", 2592000.0),
        ("0s", 0.0),
        ("007s", 7.0),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", "10", "s", "10 s", " 10s", "10s ", "10s\n", "-1s", "+1s", "1e3s", ".5s", "5.s", "1,5s", "10S", "10sec",
        "1h30m", "1_000s", "٣s", "inf", "nans", "1234567890123s", "10us", "1w",
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(
        ValueError, match="is not a duration: write a number and a unit, such as 250ms, 10s, 5m, 8h or 30d"
    ):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (1.5, "1500ms"),
        (1, "1s"),
        (60, "1m"),
        (90, "90s"),
        (5400, "90m"),
        (86400, "1d"),
        (1e-9, "0.000001ms"),
    ],
)
def test_a_duration_is_printed_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "count"), [("0B", 0), ("512B", 512), ("16KiB", 16384), ("10MiB", 10 * 1024**2), ("1GiB", 1024**3)]
)
def test_a_size_is_read_as_bytes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(
    "text", ["", "10", "10KB", "10kib", "10K", "1.5MiB", "-1B", "10 MiB", "10MiB\n", "٣B", "1TiB", "1234567890123B"]
)
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    with pytest.raises(
        ValueError, match="is not a size: write a whole number and a unit, such as 512B, 16KiB, 10MiB or 1GiB"
    ):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (1, "1B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1536B"), (3 * 1024**2, "3MiB"), (1024**3, "1GiB")],
)
def test_a_size_is_printed_in_its_largest_whole_unit(count: int, text: str) -> None:
    assert format_size(count) == text
