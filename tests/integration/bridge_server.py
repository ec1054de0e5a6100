"""A NoETL server of either dialect with recorded answers, which a test sends in other shapes."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

ANSWERS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "gateway" / "bridge_answers.json").read_text())
DIALECTS = tuple(ANSWERS)
ID = "412345678901234567"
CATALOG_ID = "798765432109876543"
FILLER = "x" * 90_000
"""Makes an answer larger than those that are worked on without a thread."""


@dataclass(slots=True)
class Noetl:
    """A server. `shape` is that of its answers to `shaped`, a kind of request; `changed` replaces answers.

    `extra` are answers to other paths. `seen` are the requests with their bodies. `may_answer`: answers to `shaped`
    wait for it.
    """

    dialect: str
    shape: str = "small"
    shaped: str = ""
    changed: dict[str, Any] = field(default_factory=dict)
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    sent: bytes = b""
    may_answer: asyncio.Event | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def kind(self, method: str, path: str) -> str:
        """Return the kind of a request; empty for one that the server does not know."""
        path = path.removeprefix("/api/")
        rust = self.dialect == "rust"
        table = {
            "health": "health",
            f"executions/{ID}/status": "status",
            f"executions/{ID}": "detail",
            f"executions/{ID}/events": "" if rust else "events",
            "executions": "list",
            f"executions/{ID}/cancel": "cancel",
            "catalog/list": "catalog",
            "catalog/agents/list": "" if rust else "catalog",
            "catalog/resource": "resource",
            "catalog/register": "resource",
            "execute": "execute",
        }
        return table.get(path, "")

    def document(self, kind: str) -> Any:
        """Return the answer to a kind of request."""
        return self.changed.get(kind, ANSWERS[self.dialect][kind])

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        body = await request.read()
        self.seen.append((request.method, request.rel_url.path_qs, json.loads(body) if body else None))
        if request.path.removeprefix("/api/") in self.extra:
            text = json.dumps(self.extra[request.path.removeprefix("/api/")])
            return web.Response(text=text, content_type="application/json")
        kind = self.kind(request.method, request.path)
        if not kind:
            return web.Response(status=404)
        if kind != self.shaped:
            return self._sent(self._entry(body) if kind == "resource" else self.document(kind))
        if self.may_answer is not None:
            await self.may_answer.wait()
        return self._in_shape(kind)

    def _entry(self, body: bytes) -> Any:
        """Return the answer to `POST catalog/resource`: the entry of the list with another id than `CATALOG_ID`."""
        wanted = str((json.loads(body) if body else {}).get("catalog_id"))
        others = (entry for entry in self.document("catalog")["entries"] if entry["catalog_id"] != CATALOG_ID)
        return next((entry for entry in others if entry["catalog_id"] == wanted), self.document("resource"))

    def _in_shape(self, kind: str) -> web.StreamResponse:
        document, shape = self.document(kind), self.shape
        if shape in ("404", "422"):
            return self._sent(self.document("error"), status=int(shape))
        if shape == "422 text":
            self.sent = b'Failed to deserialize the JSON body: execution_id": 5'
            return web.Response(body=self.sent, status=422, content_type="text/plain")
        if shape == "wrong type":
            return self._sent({"entries": 5, "hello": [1.50]} if kind == "list" else [1.50, "execution_id"])
        if shape == "large":
            document = filled(document)
        response = self._sent(document)
        if shape == "chunked":
            response.enable_chunked_encoding()
        elif shape == "broken":
            self.sent = self.sent[:-1]
            response.body = self.sent
        elif shape == "compressed":
            self.sent = gzip.compress(self.sent, mtime=0)
            response.body = self.sent
            response.headers["content-encoding"] = "gzip"
        return response

    def _sent(self, document: Any, status: int = 200) -> web.Response:
        data = json.dumps(document, ensure_ascii=False, indent=1).encode()
        self.sent = data
        return web.Response(
            body=data, status=status, content_type="application/json", headers={"etag": '"whole"', "x-kept": "1"}
        )


def filled(document: Any) -> Any:
    """Return an answer with a member that makes it large."""
    if isinstance(document, list):
        return [{**document[0], "filler": FILLER}, *document[1:]]
    if "entries" in document:
        return {"entries": filled(document["entries"])}
    return {**document, "filler": FILLER}
