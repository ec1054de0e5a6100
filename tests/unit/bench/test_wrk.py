"""Parsing and checking wrk's result."""

from __future__ import annotations

import pytest

from bench import wrk
from bench.programs import BenchError, WrongResponse


def printed(requests: int = 30000, received: int = 9_000_000, status: int = 0) -> str:
    return (
        "Running 3s test @ http://127.0.0.1:1/x\n  1 threads and 32 connections\n"
        f'bench-result {{"requests":{requests},"duration_us":3000000,"bytes":{received},"errors":{{"connect":0,'
        f'"read":0,"write":0,"status":{status},"timeout":0}}}}\n'
    )


def test_result_is_found_among_what_wrk_prints() -> None:
    load = wrk.parse(printed(), 32)
    assert load.rate == 10000
    load.check(300)


def test_output_without_result_is_an_error_that_quotes_it() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n", 32)


@pytest.mark.parametrize(
    ("output", "mean_size", "said"),
    [
        (printed(status=7), 300, r"^status errors: 7 \(30000 responses\)$"),
        (printed(requests=0, received=0), 300, "^no responses$"),
        (printed(), 240, "300 bytes on average, expected are 240"),
        (printed(), 360, "300 bytes on average, expected are 360"),
    ],
)
def test_failures_and_other_sizes_are_no_measurement(output: str, mean_size: float, said: str) -> None:
    with pytest.raises(WrongResponse, match=said):
        wrk.parse(output, 32).check(mean_size)


@pytest.mark.parametrize("mean_size", [280, 320])
def test_size_may_differ_by_a_header_field(mean_size: float) -> None:
    wrk.parse(printed(), 32).check(mean_size)


def test_size_may_exceed_by_the_unfinished_responses_of_all_connections() -> None:
    large, responses, connections = 2**20, 100, 32
    load = wrk.parse(printed(responses, large * (responses + connections)), connections)
    load.check(large)
    with pytest.raises(WrongResponse):
        wrk.parse(printed(responses, large * (responses + connections)), 1).check(large)
