"""A NoETL server as an attacker would like it: it runs whatever a request could be taken to ask for."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from tests.attack.recorder import Arrived

CATALOG = {1: "open/a", 2: "secret/b", 3: "open/secret/c"}
EXECUTIONS = {101: "open/a", 102: "secret/b", 103: "open/secret/c"}
MARK = "only-for-those-who-may-see-it"


def says(request: Arrived) -> bytes | None:
    """Its answers, as far as the gateway needs them."""
    path = request.target.partition("?")[0]
    if path == "/api/catalog/list":
        return json.dumps(
            {"entries": [{"path": p, "catalog_id": n, "version": 1} for n, p in CATALOG.items()]}
        ).encode()
    if path == "/api/execute" or path.endswith("/rerun"):
        return b'{"execution_id": "101", "status": "started"}'
    if path == "/api/catalog/resource":
        wanted = json.loads(request.body)
        number = wanted.get("catalog_id", 1)
        name = wanted.get("path") or CATALOG.get(int(number))
        if name is None:
            return b"{}"
        entry = {"path": name, "catalog_id": number, "version": 1, "payload": hidden(name)}
        return json.dumps(entry).encode()
    found = re.match(r"/api/executions/([0-9]+)", path)
    if found:
        name = EXECUTIONS.get(int(found[1]), "open/a")
        detail = {
            "execution_id": found[1],
            "path": name,
            "status": "RUNNING",
            "result": hidden(name),
            "variables": hidden(name),
            "workload": hidden(name),
        }
        return json.dumps(detail).encode()
    return b"{}"


def hidden(name: str) -> dict[str, str]:
    """What only those may see who may view the playbook."""
    return {"mark": MARK} if "secret" in name else {}


def endpoint(request: Arrived) -> str:
    """The endpoint that some server might take the request for."""
    path = unquote(re.split(r"[?#]", request.target)[0])
    return "/" + "/".join(part for part in path.lower().split("/") if part)


def runs(request: Arrived) -> set[str]:
    """The playbooks that some server might run for the request: by either of two equal keys, by either name."""
    asked = endpoint(request)
    if request.method not in ("POST", "PUT", "PATCH"):
        return set()
    rerun = re.fullmatch(r"/api/executions/([0-9]+)/rerun", asked)
    if rerun:
        return {EXECUTIONS.get(int(rerun[1]), "open/a")}
    if asked != "/api/execute" or request.method != "POST":
        return set()
    found: set[str] = set()
    for pairs in _objects(request.body):
        for name, value in pairs:
            if name == "path" and isinstance(value, str):
                found.add(value)
            elif name == "catalog_id" and str(value).isdecimal():
                found.add(CATALOG.get(int(value), ""))
    return found


def _objects(body: bytes) -> list[list[tuple[str, Any]]]:
    found: list[list[tuple[str, Any]]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(pairs)
        return dict(pairs)

    try:
        document = json.loads(body, object_pairs_hook=keep)
    except ValueError:
        return []
    return found[-1:] if isinstance(document, dict) else []
