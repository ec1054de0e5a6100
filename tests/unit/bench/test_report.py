"""The report as text, Markdown and HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from bench import report
from bench.curves import ticks
from bench.flamegraph import flamegraph, package_times, parse, self_times, total_time
from bench.page import page
from bench.results import MIB, Results
from bench.scenarios import AUTH_REQUEST, EDGE, NAMES, PLAIN, QUICK, UPSTREAM, Credentials, quick, scenarios
from bench.servers import configuration, fill
from bench.stats import Spread
from bench.tables import ratio_text
from bench.verdict import compare
from tests.unit.bench.made import delay, results, table

RATES = {UPSTREAM: [8000, 16000], PLAIN: [4000, 8000], AUTH_REQUEST: [1000, 2000], EDGE: [2000, 4000]}
CHOSEN = scenarios(Credentials("secret-session", "secret-id-token", "localhost:1"))


def measured() -> Results:
    """Two rounds; the machine is twice as fast in the second."""
    return results(
        table("relay", RATES),
        table("relay_large", {PLAIN: [500, 500], EDGE: [400, 400]}, MIB),
        delays=[
            delay(EDGE, [3.0, 3.5]),
            delay(AUTH_REQUEST, [90.0], rate=1800, unanswered=300, late=0.02),
            delay(AUTH_REQUEST, [2.0], peak_of=AUTH_REQUEST, load_idle=0.0),
        ],
        failures=("login, noetl-edge: wrong",),
        limits=("relay, upstream direct: the ceiling", "DISTURBED: noetl-edge 35%"),
        conditions=("the session service is the fastest there is",),
    )


def cells(text: str, label: str, number: int = 0) -> list[str]:
    """The cells of a row, the first with that label if `number` is 0."""
    rows = [line for line in text.splitlines() if line.startswith(f"  {label} ")]
    return [cell for cell in re.split(r"\s{2,}", rows[number].strip()) if cell]


def test_a_row_tells_rate_spread_and_cpu() -> None:
    assert cells(report.text(measured()), "noetl-edge") == ["noetl-edge", "3000", "2000-4000", "99%", "900"]


def test_ratios_are_of_the_round_and_have_their_spread() -> None:
    assert cells(report.text(measured()), "noetl-edge", 1) == ["noetl-edge", "2.00 (2.00-2.00)", "0.50 (0.50-0.50)"]
    assert cells(report.text(measured()), "nginx + auth_request", 1)[1] == "1"


@pytest.mark.parametrize(
    ("spread", "text"),
    [(Spread(0.0752, 0.07, 0.101), "0.075 (0.070-0.101)"), (Spread(1.5, 1.234, 2), "1.50 (1.23-2.00)")],
)
def test_a_small_ratio_has_three_digits(spread: Spread, text: str) -> None:
    assert ratio_text(spread) == text


def test_latencies_tell_what_makes_them_other_than_they_seem() -> None:
    lines = [line for line in report.text(measured()).splitlines() if "auth_request" in line and " ms" not in line]
    assert any(
        "50%   1800" in line and "more than its peak, 10% unanswered, generator late: 2.0%" in line for line in lines
    )
    assert any("50% of its own" in line and "load core full" in line for line in lines)


@pytest.mark.parametrize(
    "said",
    [
        "FAILED, and in no table:\n  * login, noetl-edge: wrong",
        "was not the contender's own core:\n  * relay, upstream direct: the ceiling",
        "Measure again on a quiet machine:\n  * DISTURBED: noetl-edge 35%\n\nrelay: what relay is",
        "3 interleaved rounds of 1 s, 32 connections, core 0 for the thing measured",
        "  * the session service is the fastest there is",
        "in 1 of 3 rows of latencies the load generator sent over 1% of the requests more than 1 ms after their time",
        "in 1 of 3 rows of latencies the core of load generator and upstream was full",
        "A processor, 2 cores, kernel 6.1",
        "nginx 1.22.1",
    ],
)
def test_the_report_says(said: str) -> None:
    assert " ".join(said.split()) in " ".join(report.text(measured()).split())


def test_markdown_is_a_table_of_as_many_columns_in_every_line() -> None:
    for block in report.markdown(measured()).split("\n\n")[1:]:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_a_comparison_tells_both_ratios_and_the_verdict() -> None:
    before, after = (results(table("relay", {AUTH_REQUEST: [1] * 5, EDGE: [rate] * 5})) for rate in (2, 1))
    row = cells(report.comparison(compare(before, after)), "relay")
    assert row == ["relay", "nginx + auth_request", "2.00 (2.00-2.00)", "1.00 (1.00-1.00)", "worse"]


def test_columns_line_up() -> None:
    lines = report.columns([["", "req/s"], ["nginx plain", "4000"], ["a", "30"]]).splitlines()
    assert lines == ["               req/s", "  ------------------", "  nginx plain   4000", "  a               30"]


class Reader(HTMLParser):
    """Notes what is open at the end, what refers to elsewhere, and the curves."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.foreign: list[str] = []
        self.curves: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.foreign += [str(value) for name, value in attrs if name in ("src", "href")]
        self.curves += [str(value) for name, value in attrs if tag == "g" and name == "class"]
        if tag not in ("meta", "br", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closes itself."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_needs_nothing_else_and_draws_each_curve() -> None:
    reader = Reader()
    reader.feed(page(measured()))
    assert (reader.open, reader.foreign) == ([], [])
    # What is loaded with half of its own peak is in the table of numbers only: it is another rate.
    assert reader.curves == ["line c-nginx_auth_request", "line c-noetl_edge"]


def test_the_page_escapes_what_it_is_given() -> None:
    assert "<script>" not in page(results(failures=("<script>",), limits=("<script>",), conditions=("<script>",)))


@pytest.mark.parametrize("low", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("times", [2, 30, 5000])
def test_a_scale_has_few_and_round_marks(low: float, times: float) -> None:
    found = ticks(low, low * times)
    assert 1 <= len(found) <= 9
    assert all(low <= ms <= low * times for ms in found)


# What is asked


def test_no_secret_is_in_a_report() -> None:
    assert "secret" not in report.text(measured()) + measured().to_json() + page(measured())


def test_whoever_guards_is_asked_without_a_session_too() -> None:
    for scenario in CHOSEN:
        guarded = {name for name, ask in scenario.asks.items() if ask.guarded}
        sessions = {name for name, ask in scenario.asks.items() if "authorization" in ask.headers}
        assert guarded <= sessions
        assert ("relay" not in scenario.name) or {AUTH_REQUEST, EDGE} <= guarded


def test_a_quick_run_asks_only_what_the_whole_one_does() -> None:
    assert set(QUICK) <= set(NAMES)
    for scenario in map(quick, CHOSEN):
        assert set(scenario.asks) == set(QUICK.get(scenario.name, ()))


def test_templates_are_filled_where_a_name_stands_between_at_signs() -> None:
    assert fill("listen 127.0.0.1:@PORT@; return 200 $host;", {"PORT": "8"}) == "listen 127.0.0.1:8; return 200 $host;"


@pytest.mark.parametrize(("metrics", "ending"), [(True, "\nmetrics: {enabled: true}\n"), (False, "")])
def test_one_constant_switches_metrics_on(monkeypatch: pytest.MonkeyPatch, metrics: bool, ending: str) -> None:
    monkeypatch.setattr("bench.servers.METRICS", metrics)
    assert configuration("# x\nserver:\n  port: 1\n", {"workers": "2"}) == (
        "# x\nserver:\n  workers: 2\n  port: 1\n" + ending
    )


# Profiles


RAW = """thread (0x7F): "MainThread";main (a.py:1);read (proxy/x.py:2) 6
thread (0x7F): "MainThread";main (a.py:1);read (proxy/x.py:9) 3
thread (0x7F): "MainThread";main (a.py:4) 1
thread (0x80): "sessions_0";wait (b.py:1) 99
"""


def test_a_profile_counts_each_function_with_all_its_lines_and_leaves_a_thread_out() -> None:
    stacks = parse(RAW, without_thread="sessions")
    assert self_times(stacks) == {"read (proxy/x.py)": 9, "main (a.py)": 1}


def test_a_profile_counts_each_package_and_ours_by_room() -> None:
    stacks = {
        ("m (a.py:1)", "x (proxy/upstream/pool.py:2)"): 5,
        ("m (a.py:1)",): 1,
        ("m (a.py:1)", "y (json/d.py:3)"): 2,
    }
    assert package_times(stacks) == {"proxy/upstream": 5, "a.py": 1, "json": 2}
    assert total_time(stacks, "m (a.py)") == 8
    assert total_time(stacks, "y (json/d.py)") == 2
    assert total_time(stacks, "z (json/d.py)") == 0


def test_a_flame_graph_is_as_wide_as_the_time() -> None:
    picture = flamegraph(parse(RAW, without_thread="sessions"), "a < b")
    assert "a &lt; b" in picture
    assert "<title>read (proxy/x.py): 90.0%</title>" in picture
    assert picture.count("<rect") == 2
