"""What is counted, and how several workers' numbers come together."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.access import AccessLine
from proxy.observe.exposition import SUPERVISOR, MetricsFolder, exposition
from proxy.observe.metrics import DURATION, FAMILIES, Collected, Histogram, Metrics, add


def line(route: str | None = "/noetl/{path:**}", method: str = "GET", status: int = 200, **more: float) -> AccessLine:
    ms, upstream = more.get("ms", 3.0), more.get("upstream_ms", 2.5)
    return AccessLine(method, "/noetl/secret", route, status, ms, upstream, 1, "127.0.0.1", "id")


def samples(collected: Collected) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition(collected).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(collected: Collected, name: str, **labels: str) -> float:
    return samples(collected)[(name, tuple(sorted(labels.items())))]


def test_a_request_counts_by_pattern_and_never_by_its_path() -> None:
    metrics = Metrics()
    metrics.observe(line())
    metrics.observe(line(status=404))
    shown = metrics.collect()
    assert value(shown, "noetl_gateway_requests_total", route="/noetl/{path:**}", method="GET", status="200") == 1
    assert b"secret" not in exposition(shown)


def test_overhead_is_the_whole_less_what_was_spent_upstream() -> None:
    metrics = Metrics()
    metrics.observe(line(ms=3.0, upstream_ms=2.6))
    shown = metrics.collect()
    bucket = {"route": "/noetl/{path:**}"}
    assert value(shown, "noetl_gateway_overhead_seconds_sum", **bucket) == pytest.approx(0.0004)
    assert value(shown, "noetl_gateway_overhead_seconds_bucket", **bucket, le="0.00025") == 0
    assert value(shown, "noetl_gateway_overhead_seconds_bucket", **bucket, le="0.0005") == 1


def test_a_histogram_counts_all_statuses_of_a_route_and_method() -> None:
    metrics = Metrics()
    for status in (200, 404, 502):
        metrics.observe(line(status=status))
    shown = metrics.collect()
    labels = {"route": "/noetl/{path:**}", "method": "GET"}
    assert value(shown, "noetl_gateway_request_duration_seconds_count", **labels) == 3
    assert value(shown, "noetl_gateway_request_duration_seconds_bucket", **labels, le="+Inf") == 3


@pytest.mark.parametrize(
    ("family", "outcomes"),
    [
        ("noetl_gateway_login_total", {"success", "invalid_token", "throttled", "keys_unavailable", "error"}),
        ("noetl_gateway_session_check_total", {"valid", "missing", "invalid", "error"}),
        ("noetl_gateway_authz_total", {"allowed", "denied"}),
    ],
)
def test_every_outcome_is_there_at_0(family: str, outcomes: set[str]) -> None:
    shown = samples(Metrics().collect())
    assert {labels[0][1]: count for (name, labels), count in shown.items() if name == family} == dict.fromkeys(
        outcomes, 0
    )


def test_methods_that_nobody_knows_share_one_series() -> None:
    metrics = Metrics()
    for method in ("FROB", "BARF"):
        metrics.observe(line(route=None, method=method, status=405))
    assert value(metrics.collect(), "noetl_gateway_requests_total", route="none", method="other", status="405") == 2


def test_workers_numbers_are_added_up_and_states_are_labelled(tmp_path: Path) -> None:
    def worker(requests: int, loaded: float) -> Collected:
        out: Collected = {}
        add(out, "noetl_gateway_connections", (), requests)
        add(out, "noetl_gateway_connections_limit", (), 10)
        add(out, "noetl_gateway_config_loaded_timestamp_seconds", (), loaded)
        add(out, "noetl_gateway_overhead_seconds", ("/x",), Histogram(0.5, [requests] + [0] * 12))
        return out

    MetricsFolder(tmp_path, 0).write(worker(3, 100))
    shown = MetricsFolder(tmp_path, 1).merged(worker(4, 200))
    assert value(shown, "noetl_gateway_connections") == 7
    assert value(shown, "noetl_gateway_connections_limit") == 20
    assert value(shown, "noetl_gateway_config_loaded_timestamp_seconds", worker="1") == 200
    assert value(shown, "noetl_gateway_overhead_seconds_count", route="/x") == 7


def test_a_worker_that_comes_back_goes_on_counting(tmp_path: Path) -> None:
    before = Metrics()
    before.observe(line())
    MetricsFolder(tmp_path, 0).write(before.collect())
    after, metrics_folder = Metrics(), MetricsFolder(tmp_path, 0)
    after.add_counters_of(metrics_folder.read_previous())
    after.observe(line())
    labels = {"route": "/noetl/{path:**}", "method": "GET", "status": "200"}
    assert value(after.collect(), "noetl_gateway_requests_total", **labels) == 2


def test_a_worker_that_has_ended_leaves_its_counters_only(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.observe(line())
    shown = metrics.collect()
    add(shown, "noetl_gateway_connections", (), 5)
    MetricsFolder(tmp_path, 0).write(shown)
    MetricsFolder(tmp_path, 0).write_counters()
    left = MetricsFolder(tmp_path, 1).merged({})
    labels = {"route": "/noetl/{path:**}", "method": "GET"}
    assert value(left, "noetl_gateway_requests_total", **labels, status="200") == 1
    assert value(left, "noetl_gateway_request_duration_seconds_count", **labels) == 1
    assert "noetl_gateway_connections" not in left


def test_nobody_shows_less_of_a_worker_than_it_has_shown_itself(tmp_path: Path) -> None:
    one, labels = Metrics(), {"route": "/noetl/{path:**}", "method": "GET", "status": "200"}
    one.observe(line())
    metrics_folder = MetricsFolder(tmp_path, 0)
    assert value(metrics_folder.merged(one.collect()), "noetl_gateway_requests_total", **labels) == 1
    assert value(MetricsFolder(tmp_path, 1).merged({}), "noetl_gateway_requests_total", **labels) == 1


def test_the_process_above_the_workers_tells_of_reloads_under_its_name(tmp_path: Path) -> None:
    family = "noetl_gateway_config_last_reload_successful"
    for worker, worked in ((SUPERVISOR, 0), (10, 1)):
        MetricsFolder(tmp_path, worker).write({family: {(): worked}})
    shown = MetricsFolder(tmp_path, 2).merged({family: {(): 1}})
    assert [value(shown, family, worker=name) for name in ("2", "10", "supervisor")] == [1, 1, 0]


def test_a_gauge_is_not_carried_over(tmp_path: Path) -> None:
    metrics, gone = Metrics(), dict[str, dict[tuple[str, ...], float | Histogram]]()
    add(gone, "noetl_gateway_connections", (), 5)
    metrics.add_counters_of(gone)
    assert "noetl_gateway_connections" not in metrics.collect()


def test_a_shelf_that_is_damaged_or_gone_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text("[nonsense")
    assert MetricsFolder(tmp_path, 1).read_previous() == {}
    MetricsFolder(tmp_path / "gone", 0).write({})


def test_durations_have_as_many_counts_as_bounds_and_one() -> None:
    metrics = Metrics()
    metrics.observe(line(ms=1e9))
    (series,) = metrics.collect()["noetl_gateway_request_duration_seconds"].values()
    assert isinstance(series, Histogram)
    assert (len(series.counts), series.counts[-1]) == (len(DURATION) + 1, 1)


def test_every_family_says_what_it_means() -> None:
    prefixes = ("noetl_gateway_", "process_")
    assert all(name.startswith(prefixes) and family.help.endswith(".") for name, family in FAMILIES.items())
