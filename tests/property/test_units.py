"""Durations and sizes: what is printed is read back, and nothing else is read."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.units import format_duration, format_size, parse_duration, parse_size

SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600), "d": Fraction(86400)}
BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
WHOLE = st.integers(0, 10**4).map(str)
FRACTIONS = st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,6}", fullmatch=True))
NEARLY = st.one_of(
    st.text(max_size=8),
    st.text(alphabet="0123456789.eE+-_ msKMGiBhd\n٣", max_size=8),
    st.builds(
        "{}{}".format, st.integers(), st.sampled_from(["", "S", "sec", "us", "KB", "kib", "MB", "b", "w", "y", " s"])
    ),
)


@given(WHOLE, FRACTIONS, st.sampled_from(list(SECONDS)))
def test_a_duration_is_its_number_times_its_unit(whole: str, fraction: str, unit: str) -> None:
    assert parse_duration(whole + fraction + unit) == float(Fraction(whole + fraction) * SECONDS[unit])


@given(WHOLE, FRACTIONS, st.sampled_from(list(SECONDS)))
def test_a_printed_duration_reads_back_as_the_same_value(whole: str, fraction: str, unit: str) -> None:
    seconds = parse_duration(whole + fraction + unit)
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 10**12 - 1), st.sampled_from(list(BYTES)))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * BYTES[unit]


@given(st.integers(0, 10**12 - 1), st.sampled_from(list(BYTES)))
def test_a_printed_size_reads_back_and_is_no_longer_than_it_was(number: int, unit: str) -> None:
    text = f"{number}{unit}"
    printed = format_size(parse_size(text))
    assert parse_size(printed) == parse_size(text)
    assert len(printed) <= len(text)


@given(NEARLY.filter(lambda text: not re.fullmatch(r"[0-9]+(\.[0-9]+)?(ms|s|m|h|d)", text)))
def test_anything_else_is_no_duration_and_the_text_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f'"{text}" is not a duration')):
        parse_duration(text)


@given(NEARLY.filter(lambda text: not re.fullmatch(r"[0-9]+(B|KiB|MiB|GiB)", text)))
def test_anything_else_is_no_size_and_the_text_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f'"{text}" is not a size')):
        parse_size(text)
