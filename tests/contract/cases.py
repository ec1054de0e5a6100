"""Requests that must not reach a NoETL server for whom the shipped rules do not allow them, from `cases.tsv`."""

from __future__ import annotations

import base64
import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILTERED = "filtered"
ALLOW = "allow"
ROLES = ("admin", "developer", "analyst", "viewer")


@dataclass(frozen=True, slots=True)
class Known:
    """What the cases name on a server: an execution and a catalog id that all may see, and hidden ones."""

    own: str
    hidden: str
    own_catalog: str
    hidden_catalog: str
    content: str

    def fill(self, text: str) -> str:
        """Return a text of a case with the names of this server."""
        encoded = base64.b64encode(self.content.encode()).decode()
        values = {
            "OWN_CATALOG": self.own_catalog,
            "HIDDEN_CATALOG": self.hidden_catalog,
            "OWN": self.own,
            "HIDDEN": self.hidden,
            '"YAML"': json.dumps(self.content),
            "BASE64": encoded,
        }
        for name, value in values.items():
            text = text.replace(name, value)
        return text


@dataclass(frozen=True, slots=True)
class Case:
    """A request.

    Args:
        name: how the table calls it.
        method: its method.
        path: its path below `/api`, with the query.
        body: its JSON; None for none.
        expected: for each role: `allow`, `filtered` (allowed, without what is hidden) or the status of the refusal.
    """

    name: str
    method: str
    path: str
    body: Any
    expected: dict[str, str]


def must_hold(known: Known) -> list[Case]:
    """Return the cases that each real server must never see."""
    return [_case(row, known) for row in _rows(Path(__file__).with_name("cases.tsv"))]


def whole_surface(known: Known) -> list[Case]:
    """Return every endpoint of the API, from the table of the integration tests, with the ids of this server."""
    file = Path(__file__).parents[1] / "integration" / "gateway" / "surface.tsv"
    return [_case(_with_ids(row), known) for row in _rows(file)]


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _with_ids(row: dict[str, str]) -> dict[str, str]:
    path, body = row["path"].replace("100", "OWN").replace("200", "HIDDEN"), row["body"]
    for number, name in (("1", "OWN_CATALOG"), ("2", "HIDDEN_CATALOG")):
        path = re.sub(f"playbook_id={number}$", f"playbook_id={name}", path)
        body = re.sub(f'"catalog_id": ?"?{number}"?(?=[,}}])', f'"catalog_id":{name}', body)
    expected = {role: "403" if row[role] == "deny" else row[role] for role in ROLES}
    return {**row, **expected, "path": path, "body": body, "case": f"{row['method']} {path} {body}".strip()}


def _case(row: dict[str, str], known: Known) -> Case:
    body = json.loads(known.fill(row["body"])) if row["body"] else None
    expected = {role: row[role] for role in ROLES}
    return Case(row["case"], row["method"], known.fill(row["path"]), body, expected)
