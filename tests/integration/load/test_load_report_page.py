"""The charts of a report, in a browser: what is drawn of operations that were measured now and then."""

from __future__ import annotations

from pathlib import Path

import pytest

from load.report import write_report
from load.results import Results
from load.sampler import Sample
from load.scenario import Scenario
from load.windows import Windows
from tests.integration.chromium import chromium_page

BEGAN = 1_700_000_000
DRAWN = """(() => {
  const found = {};
  for (const section of document.querySelectorAll("#charts section")) {
    const canvas = section.querySelector("canvas");
    const area = section.querySelector(".u-over"), ratio = devicePixelRatio;
    const data = canvas.getContext("2d").getImageData(
      area.offsetLeft * ratio, area.offsetTop * ratio, area.offsetWidth * ratio, area.offsetHeight * ratio).data;
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
      const colors = data.slice(at, at + 3);
      if (data[at + 3] > 200 && Math.max(...colors) - Math.min(...colors) > 60) coloured += 1;
    }
    found[section.querySelector("h2").textContent] = coloured;
  }
  return found;
})()"""


def _results(seconds: int = 60) -> Results:
    """A run with an operation in each second, one in a single second, and one in two that are far apart."""
    scenario = Scenario.model_validate({"name": "t", "description": "A test.", "thresholds": ["count(login) > 0"]})
    windows = Windows()
    for second in range(seconds):
        windows.add(BEGAN + second, "login", 0.05)
    windows.add(BEGAN + seconds // 2, "logout", 0.02)
    for at in (seconds // 6, seconds * 5 // 6):
        windows.add(BEGAN + at, "me", 0.03)
    users = [(float(BEGAN + second), 5) for second in range(seconds)]
    samples = [Sample(float(BEGAN + second)) for second in range(seconds)]
    return Results(scenario, float(BEGAN), windows, samples, users)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False)])
async def test_operation_of_isolated_moments_is_drawn(tmp_path: Path, width: int, dark: bool) -> None:
    report = write_report(_results(), tmp_path)
    async with chromium_page(tmp_path / "profile", "--allow-file-access-from-files") as page:
        await page.look(width=width, dark=dark)
        await page.open(report.as_uri(), "document.querySelectorAll('#charts canvas').length > 3")
        drawn = await page.run(DRAWN)
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")
        await page.run("document.getElementById('charts').scrollIntoView()")
        await page.screenshot(tmp_path / "page.png")
    for name in ("login", "logout", "me"):
        assert drawn[f"Latency of {name} (ms)"] > 10, drawn


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 1])
async def test_run_of_a_moment_has_a_page_without_script_errors(tmp_path: Path, seconds: int) -> None:
    results = _results(1)
    if not seconds:
        results = Results(results.scenario, results.began, Windows(), [])
    report = write_report(results, tmp_path)
    async with chromium_page(tmp_path / "profile", "--allow-file-access-from-files") as page:
        await page.look(width=1200)
        await page.open(report.as_uri())
        drawn = await page.run(DRAWN)
        assert await page.run("range[1] > range[0]")
    assert "Throughput (/s)" in drawn
    assert (drawn.get("Latency of login (ms)", 0) > 10) == bool(seconds)
