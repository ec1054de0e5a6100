"""The report as text and as JSON."""

from __future__ import annotations

import json

from bench import report
from bench.contenders import fill
from bench.measure import Sample, Samples, Settings
from bench.scenarios import AUTH_REQUEST, EDGE, NAMES, PLAIN, UPSTREAM, scenarios
from bench.stats import Spread

LABELS = {UPSTREAM: "upstream direct", PLAIN: "nginx plain", AUTH_REQUEST: "nginx+auth_request", EDGE: "noetl-edge"}
RATES = {UPSTREAM: 8000.0, PLAIN: 4000.0, AUTH_REQUEST: 1000.0, EDGE: 2000.0}
SETTINGS = Settings(seconds=3, rounds=2, connections=32, core=0, other_core=1)
CHOSEN = scenarios("token")


def one(rate: float) -> Sample:
    return Sample(
        rate=rate, p50_ms=1.5, p90_ms=2, p99_ms=3.25, requests=int(3 * rate), cpu=0.98, cpu_us=1e6 / rate, idle=0.02,
        stolen=0, wrk=0.2, upstream=0.2, sessions=0, load_idle=0.5,
    )  # fmt: skip


def measured() -> Samples:
    """Two rounds; the machine is twice as fast in the second."""
    return {
        (scenario.name, name): [one(RATES[name]), one(2 * RATES[name])] for scenario in CHOSEN for name in scenario.asks
    }


def text() -> str:
    return report.text(CHOSEN, LABELS, measured(), SETTINGS, ["the session service is the fastest there can be"])


def row(label: str) -> list[str]:
    return next(line for line in text().splitlines() if line.strip().startswith(label)).removeprefix("  ").split("  ")


def test_a_row_tells_rate_latency_cpu_and_ratios_with_their_spread() -> None:
    cells = [cell.strip() for cell in row("noetl-edge") if cell.strip()]
    assert cells == [
        "noetl-edge", "3000", "2000-4000", "1.50", "3.25", "98%", "375", "2.00 (2.00-2.00)", "0.50 (0.50-0.50)",
    ]  # fmt: skip


def test_a_small_ratio_has_three_digits() -> None:
    assert report.ratio_text(Spread(0.0752, 0.07, 0.101)) == "0.075 (0.070-0.101)"


def test_the_base_of_a_ratio_is_1() -> None:
    assert row("nginx+auth_request")[-1].strip().startswith("0.25")
    assert "1" in [cell.strip() for cell in row("nginx+auth_request")]


def test_the_report_says_what_one_scenario_costs_beside_the_other() -> None:
    assert "noetl-edge, executionStatus by relay: 1.00 (1.00-1.00)" in text()


def test_the_report_says_how_it_was_measured_and_under_which_conditions() -> None:
    assert "2 interleaved rounds of 3 s, 32 connections, core 0 for the thing measured" in text()
    assert "  * the session service is the fastest there can be" in text()


def test_the_report_says_that_the_upstream_is_the_ceiling() -> None:
    assert "relay, upstream direct: shares its core with the load generator" in text()


def test_no_line_is_wider_than_the_page() -> None:
    assert max(len(line) for line in text().splitlines()) <= 120


def test_columns_line_up() -> None:
    lines = report.table([["", "req/s"], ["nginx plain", "4000"], ["a", "30"]]).splitlines()
    assert lines == ["               req/s", "  ------------------", "  nginx plain   4000", "  a               30"]


def test_the_json_has_each_round_and_the_ratios() -> None:
    made = report.document(CHOSEN, LABELS, measured(), SETTINGS, {"machine": {"cores": 2}})
    found = json.loads(json.dumps(made))
    edge = found["scenarios"]["relay"]["contenders"][EDGE]
    assert found["schema"] == report.SCHEMA
    assert found["machine"] == {"cores": 2}
    assert [round_["rate"] for round_ in edge["rounds"]] == [2000, 4000]
    assert edge["ratios"][AUTH_REQUEST] == {"median": 2, "min": 2, "max": 2}


def test_the_session_token_is_in_neither() -> None:
    made = report.document(CHOSEN, LABELS, measured(), SETTINGS, {})
    assert "Bearer" not in text() + json.dumps(made)


def test_every_scenario_has_the_bases_it_is_compared_to() -> None:
    assert NAMES == ("relay", "executionStatus")
    assert all({UPSTREAM, AUTH_REQUEST, EDGE} <= set(scenario.asks) for scenario in CHOSEN)


def test_whoever_guards_is_asked_without_a_session_too() -> None:
    for scenario in CHOSEN:
        guarded = {name for name, ask in scenario.asks.items() if ask.guarded}
        assert guarded == {AUTH_REQUEST, EDGE} & set(scenario.asks)


def test_templates_are_filled_where_a_name_stands_between_at_signs() -> None:
    assert fill("listen 127.0.0.1:@PORT@; return 200 $host;", {"PORT": "8"}) == "listen 127.0.0.1:8; return 200 $host;"
