"""The dashboard and the alerts of docs/ ask only for metrics and labels that `/metrics` has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.exposition import exposition
from proxy.observe.metrics import FAMILIES, LOGINS, SESSION_CHECKS, Collected, Family, Histogram
from scripts.reference import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "alerts.yaml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES: dict[str, dict[str, Any]] = {item["name"]: item for item in DASHBOARD["templating"]["list"]}
SCRAPED = frozenset({"job", "instance"})
_METRIC = re.compile(r"\b(?:(?:noetl|process)_[a-z_]+|up)\b(?:\s*\{([^}]*)\})?(\[)?")
_MATCHER = re.compile(r'\s*([a-zA-Z_]+)\s*(?:=~|!~|!=|=)\s*"[^"]*"\s*(?:,|$)')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_LEGEND = re.compile(r"\{\{\s*([a-zA-Z_]+)\s*\}\}")
_ALERT_LABEL = re.compile(r"\$labels\.([a-zA-Z_]+)")


def _value(family: Family) -> float | Histogram:
    return Histogram(0.5, [1] * (len(family.bounds) + 1)) if family.kind == "histogram" else 1.0


def _shown() -> dict[str, tuple[str, frozenset[str]]]:
    """Every name that Prometheus is shown, with its type and its labels, as several workers show them."""
    collected: Collected = {
        name: {tuple("x" for _ in (*family.labels, *(() if family.summed else ("worker",)))): _value(family)}
        for name, family in FAMILIES.items()
    }
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(exposition(collected).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, (family.type, set()))[1].update(sample.labels)
    return {name: (kind, frozenset(labels) | SCRAPED) for name, (kind, labels) in found.items()} | {
        "up": ("gauge", SCRAPED)
    }


SHOWN = _shown()


def _dashboard() -> Iterator[Any]:
    for panel in PANELS:
        for number, target in enumerate(panel["targets"]):
            yield pytest.param(target["expr"], id=f"{panel['title']}-{number}")
    for name, variable in VARIABLES.items():
        if variable["type"] == "query":
            metric, _, label = variable["definition"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
            yield pytest.param(f"count by ({label}) ({metric})", id=f"variable {name}")


EXPRESSIONS = [*_dashboard(), *(pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES)]


def metrics_of(expression: str) -> list[tuple[str, list[str], bool]]:
    """The metrics of an expression: name, labels of its selector, and whether it is a range."""
    found = []
    for match in _METRIC.finditer(expression):
        name = re.match(r"\w+", match[0])
        assert name is not None
        inner = match[1] or ""
        assert _MATCHER.sub("", inner).strip() == "", f"not understood: {inner}"
        found.append((name[0], _MATCHER.findall(inner), bool(match[2])))
    return found


def grouped_by(expression: str) -> set[str]:
    """The labels that are left, or matched, in an expression."""
    return {label.strip() for inner in _GROUPING.findall(expression) for label in inner.split(",")}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_metrics_that_are_there(expression: str) -> None:
    names = {name for name, _, _ in metrics_of(expression)}
    assert names
    assert names <= set(SHOWN)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_uses_labels_that_its_metrics_have(expression: str) -> None:
    for name, labels, _ in metrics_of(expression):
        assert set(labels) | grouped_by(expression) <= SHOWN[name][1], name


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_dashboard_uses_rates_of_counters_and_values_of_gauges(expression: str) -> None:
    for name, _, ranged in metrics_of(expression):
        if not expression.startswith("count by"):
            assert ranged == (SHOWN[name][0] in ("counter", "histogram")), name


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_percentile_is_taken_over_buckets(expression: str) -> None:
    if "histogram_quantile" in expression:
        assert "le" in grouped_by(expression)
        assert all(name.endswith("_bucket") for name, _, _ in metrics_of(expression))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_parentheses_and_braces_are_in_pairs(expression: str) -> None:
    open_ones: list[str] = []
    for char in re.sub(r'"[^"]*"', "", expression):
        if char in "([{":
            open_ones.append({"(": ")", "[": "]", "{": "}"}[char])
        elif char in ")]}":
            assert open_ones.pop() == char
    assert open_ones == []


def test_every_metric_is_on_the_dashboard() -> None:
    asked = {name for param in _dashboard() for name, _, _ in metrics_of(str(param.values[0]))}
    missing = [name for name in FAMILIES if not any(name == a or a.startswith(f"{name}_") for a in asked)]
    assert missing == []


def test_the_dashboard_takes_its_data_from_the_source_that_is_chosen() -> None:
    assert VARIABLES["datasource"]["type"] == "datasource"
    queried = [*PANELS, *(t for panel in PANELS for t in panel["targets"])]
    queried += [variable for variable in VARIABLES.values() if variable["type"] == "query"]
    assert {item["datasource"]["uid"] for item in queried} == {"${datasource}"}


def test_panels_have_their_own_id_and_title_and_do_not_overlap() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_a_legend_names_labels_that_are_left() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            assert set(_LEGEND.findall(target["legendFormat"])) <= grouped_by(target["expr"]), panel["title"]


def test_an_expression_uses_variables_that_are_there() -> None:
    known = {*VARIABLES, "__rate_interval"}
    for param in _dashboard():
        assert set(re.findall(r"\$(\w+)", str(param.values[0]))) <= known


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_what_happened_where_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "action"}
    assert all(text.strip().endswith(".") for text in rule["annotations"].values())
    assert "$labels.instance" in rule["annotations"]["summary"]
    named = set(_ALERT_LABEL.findall(" ".join(rule["annotations"].values())))
    assert named <= (grouped_by(rule["expr"]) or SCRAPED)


def test_alerts_have_names_of_their_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_alerts_name_outcomes_that_are_counted() -> None:
    asked = {outcome for rule in RULES for outcome in re.findall(r'outcome="(\w+)"', rule["expr"])}
    assert asked <= {*LOGINS, *SESSION_CHECKS}
