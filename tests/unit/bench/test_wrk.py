"""Reading wrk's result, and judging it."""

from __future__ import annotations

import pytest

from bench import wrk
from bench.measure import judge
from bench.programs import BenchError, WrongAnswer

_HEAD = "Running 3s test @ http://127.0.0.1:1/x\n  1 threads and 32 connections\n"
_LINE = (
    'bench-result {{"requests":{requests},"duration_us":3000000,"bytes":{received}, "p50_us":900,'
    '"p99_us":2500,"connect":0,"read":0,"write":0,"status":{status},"timeout":0}}\n'
)


def printed(requests: int = 30000, received: int = 9_000_000, status: int = 0) -> str:
    return _HEAD + _LINE.format(requests=requests, received=received, status=status)


def test_the_result_is_read_from_among_what_wrk_prints() -> None:
    result = wrk.parse(printed())
    assert result.rate == 10000
    assert (result.p50_ms, result.p99_ms) == (0.9, 2.5)
    assert result.bytes_each == 300
    assert result.failure() == ""


def test_output_without_a_result_is_an_error_that_quotes_it() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_refusals_are_a_failure_that_names_and_counts_them() -> None:
    assert wrk.parse(printed(status=7)).failure() == "status errors: 7"


def test_no_answers_are_a_failure() -> None:
    assert wrk.parse(printed(requests=0, received=0)).failure() == "no answers at all"


def test_refusals_are_no_measurement() -> None:
    with pytest.raises(WrongAnswer, match=r"^status errors: 7 \(30000 answers\)$"):
        judge(wrk.parse(printed(status=7)), 300)


@pytest.mark.parametrize("verified", [240, 360])
def test_answers_of_another_size_than_the_verified_one_are_no_measurement(verified: int) -> None:
    with pytest.raises(WrongAnswer, match=f"300 bytes on average, the right one has {verified}"):
        judge(wrk.parse(printed()), verified)


@pytest.mark.parametrize("verified", [280, 320])
def test_a_header_more_or_less_is_the_same_answer(verified: int) -> None:
    judge(wrk.parse(printed()), verified)


def test_the_part_of_an_answer_at_the_end_of_a_run_is_no_other_size() -> None:
    large, answers, connections = 2**20, 100, 32
    received = large * (answers + connections // 2)
    with pytest.raises(WrongAnswer):
        judge(wrk.parse(printed(answers, received)), large)
    judge(wrk.parse(printed(answers, received), connections), large)
