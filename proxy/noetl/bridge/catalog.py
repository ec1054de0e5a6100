"""The rows `catalog` and `resource`: entries of the catalog as the Python server sends them. Pure."""

from __future__ import annotations

from typing import Any

from proxy.http.json_elements import elements
from proxy.http.json_members import read_object
from proxy.noetl.bridge.messages import ClientRequest, Facts, JsonAnswer
from proxy.noetl.bridge.text import json_of
from proxy.noetl.listings import content_to_read


def entries(request: ClientRequest, answer: JsonAnswer, facts: Facts) -> JsonAnswer:
    """`POST /catalog/list`, `POST /catalog/agents/list`: with the wanted path, each entry whole."""
    path, changed, texts = request.wanted.path, False, []
    for value, text in elements(answer.text.encode("utf-8", "surrogatepass"), "entries"):
        if not isinstance(value, dict):
            raise ValueError("an entry that is not an object")
        if path and value.get("path") != path:
            changed = True
            continue
        texts.append(_whole(value, text, facts))
        changed = changed or texts[-1] is not text
    if not changed:
        return answer
    return answer._replace(text=f'{{"entries":[{",".join(texts)}]}}')


def entry(request: ClientRequest, answer: JsonAnswer, facts: Facts) -> JsonAnswer:
    """`POST /catalog/resource`: one entry, whole."""
    value = read_object(answer.text).values
    return answer._replace(text=_whole(value, answer.text, facts))


def _whole(value: dict[str, Any], text: str, facts: Facts) -> str:
    """Return the text of an entry with the whole playbook, and the time of its registration, as on the Python server.

    The Rust server has the workload alone as `payload`, and no `meta`.
    """
    if value.get("meta") is not None:
        return text
    content = content_to_read(value)
    payload = facts.payload_of(content) if content is not None else None
    changed = {"payload": payload} if payload is not None else {}
    if isinstance(value.get("created_at"), str):
        changed["meta"] = json_of({"registered_at": value["created_at"]})
    return read_object(text).edited(changed, {}) if changed else text
