"""The playbooks of docs/mock-noetl.md, registered and run in both dialects; and its lists are complete."""

import re

import click
import pytest
import yaml

from mock_noetl import cli, tool
from mock_server.options import common_options
from tests.contract.answers.table import DIALECTS, load
from tests.e2e.processes import ROOT

PAGE = (ROOT / "docs" / "mock-noetl.md").read_text()
PLAYBOOKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("content", PLAYBOOKS, ids=[yaml.safe_load(text)["metadata"]["name"] for text in PLAYBOOKS])
async def test_playbook_of_the_page_runs(sandbox, content):
    entry = await sandbox.post("/api/catalog/register", {"content": content, "resource_type": "Playbook"})
    detail = await sandbox.ended(await sandbox.start(entry["path"]))
    assert detail["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("workload", "status", "error"),
    [
        ({}, "COMPLETED", ""),
        ({"broken": True}, "FAILED", "2 orders can't be shipped"),
        ({"orders": [999, 2]}, {"python": "FAILED", "rust": "COMPLETED"}, "too large"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_orders_of_the_page_end_as_it_says(sandboxes, dialect, workload, status, error):
    sandbox = await sandboxes(dialect)
    await sandbox.post("/api/catalog/register", {"content": PLAYBOOKS[0], "resource_type": "Playbook"})
    run = await sandbox.start("mine/orders", **workload)
    wanted = status if isinstance(status, str) else status[dialect]
    path = f"/api/executions/{run}?page_size=500"
    await sandbox.until(path, lambda body: any(f"playbook.{wanted.lower()}" == e["event_type"] for e in body["events"]))
    assert error in (await sandbox.client.get(path)).text


def test_every_option_and_setting_is_on_the_page():
    common = {name for parameter in common_options(click.Command("none")).params for name in parameter.opts}
    options = {name for parameter in cli.main.params for name in parameter.opts} - common
    assert {name for name in options - {"--python-steps"} if f"`{name}" not in PAGE} == set()
    assert "`--no-python-steps`" in PAGE
    assert {name for name in tool.SETTINGS - {"kind"} if f"`{name}`" not in PAGE} == set()


def test_numbers_of_the_page_are_those_of_the_tables():
    numbers = re.search(r"(\d+) for Python and (\d+) for Rust", PAGE)
    assert numbers is not None
    assert [int(number) for number in numbers.groups()] == [len(load(dialect)) for dialect in DIALECTS]
