"""Makes bridged requests and responses with the pure functions of the table, and asks what these need besides.

What can't be bridged (not JSON, a coding, over 16 MiB, an unexpected shape) remains as it came, and is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import NamedTuple

from proxy.bounded import BoundedCache
from proxy.errors import BadRequest, GatewayError, NotFound
from proxy.http.json import json_text, read_json
from proxy.noetl.api import MAX_ANSWER, NoetlApi
from proxy.noetl.bridge.messages import ClientRequest, Facts, JsonAnswer, Wanted
from proxy.noetl.bridge.own import own_answer
from proxy.noetl.bridge.payloads import Payloads
from proxy.noetl.bridge.requests import ChangedBody, Version, started_by_id
from proxy.noetl.bridge.table import BridgedPath, Bridging, Row
from proxy.noetl.bridge.text import UNEXPECTED, object_in, with_error_texts, with_text_ids
from proxy.noetl.dialect import Dialect, dialect_of
from proxy.noetl.executions import ExecutionState, state_of_status
from proxy.noetl.known_facts import ForUser
from proxy.noetl.on_behalf import OnBehalf
from proxy.noetl.truth import state_at_hand, state_with
from proxy.upstream.heads import ResponseHead

_IN_THREAD = 64 * 1024
_AT_ONCE = 2
_KEPT = 4096
_KEPT_BYTES = 8 * 1024**2
_VERSIONS = 50
"""How many versions are requested for one response, at most."""
_VERSION_PAUSE = 30.0
"""How long responses do without versions after a request for one has failed."""
VERSION_SECONDS = 2.0
"""How long a response waits for versions."""
_NOT_JSON = "not bridged: not JSON"


class Bridged(NamedTuple):
    """A response for the client.

    Args:
        status: its status.
        body: its body.
        rows: the names of the rows that changed it, as in `x-noetl-bridge`; empty for a response as it came.
        passed: why it could not be changed; empty if that is not so.
        lacks: the catalog ids whose versions it should have, and were not known.
    """

    status: int
    body: bytes
    rows: bytes = b""
    passed: str = ""
    lacks: tuple[str, ...] = ()


class BridgedCall(NamedTuple):
    """What goes upstream for a request: what it asks for, and its query and body.

    `refusal` is the error to respond with once the request, as it came, is authorized; None if it is forwarded.
    """

    bridging: Bridging
    query: str
    body: bytes
    refusal: GatewayError | None = None


class Bridge:
    """The bridge before one NoETL server. It keeps small responses that clients poll.

    Args:
        api: asks the server; it has what is known of the server.
        counts: counts responses by row and outcome: `changed` or `passed`.
    """

    def __init__(self, api: NoetlApi, counts: Counter[tuple[str, str]]) -> None:
        self.api = api
        self._counts = counts
        self._payloads = Payloads()
        self._answers: BoundedCache[tuple[ClientRequest, int, bytes], Bridged] = BoundedCache(_KEPT, _KEPT_BYTES)
        self._statuses: BoundedCache[ForUser, tuple[bytes, Bridged]] = BoundedCache(_KEPT, _KEPT_BYTES)
        self._versions: BoundedCache[Version, str] = BoundedCache(_KEPT)
        self._slow = asyncio.Semaphore(_AT_ONCE)
        self._no_versions_until = 0.0

    # The request

    def request(
        self, found: BridgedPath, query: str, body: bytes, *, restricted: bool, changed: ChangedBody | None = None
    ) -> BridgedCall | None:
        """Return what goes upstream for a request; None if that takes a call or a thread, or if no server serves it.

        Args:
            found: the row that names it.
            query: its query.
            body: its body.
            restricted: its user may not view everything, so that lists are filtered.
            changed: what becomes of its body, if that is known.
        """
        row, known = found.row, self.api.known
        if row.body is None and row.query is None and not row.own:
            return BridgedCall(found.bridging, query, body)
        if row.body is not None and changed is None:
            if len(body) > _IN_THREAD:
                return None
            changed = row.changed_body(body)
        by_dialect = row.query is not None or (changed is not None and changed != ChangedBody("", changed.wanted))
        if row.own or (by_dialect and known.dialect is None and not known.dialect_requested):
            return None
        wanted = changed.wanted if changed is not None else Wanted()
        if changed is not None and known.dialect is Dialect.RUST:
            text = self._for_rust(changed, body)
            if text is None:
                return None
            body = text.encode("utf-8", "surrogatepass") if text else body
        if row.query is not None:
            query, wanted = row.query(known.dialect, query, restricted)
        return BridgedCall(
            Bridging(row, ClientRequest(row.name, found.execution_id, wanted, known.dialect)), query, body
        )

    def _for_rust(self, changed: ChangedBody, body: bytes) -> str | None:
        """Return the text of a body for the Rust server; empty if it is the client's, None if an id is not known."""
        if changed.refusal:
            return None
        if changed.version is None:
            return changed.text
        catalog_id = self._versions[changed.version]
        return None if catalog_id is None else started_by_id(json_text(body), catalog_id)

    async def _find_version(self, wanted: Version, on_behalf: OnBehalf) -> None:
        """Ask for the catalog id of a version of a playbook, which never changes. Raises GatewayError."""
        entry = await self.api.entry(wanted._asdict(), on_behalf)
        if entry is None or entry.catalog_id is None or not entry.catalog_id.isdecimal() or entry.path != wanted.path:
            raise NotFound("Playbook not found", detail=f"version {wanted.version} of {wanted.path}")
        self._versions.put(wanted, entry.catalog_id)
        self.api.known.catalog.put(entry.catalog_id, wanted.path)

    def is_settled(self, found: BridgedPath) -> bool:
        """Return whether the path of a request is known to be the same upstream."""
        known = self.api.known
        is_python = known.dialect is Dialect.PYTHON or (known.dialect is None and known.dialect_requested)
        return is_python or not found.row.sent_to_rust

    async def path(self, found: BridgedPath, path: str, on_behalf: OnBehalf) -> str:
        """Return the path that goes upstream for the path of a request. Raises GatewayError."""
        dialect = await self.api.dialect(on_behalf) if found.row.sent_to_rust else self.api.known.dialect
        return found.path(path, dialect)

    async def whole_request(
        self, found: BridgedPath, query: str, body: bytes, on_behalf: OnBehalf, *, restricted: bool
    ) -> BridgedCall:
        """Return what goes upstream for a request; ask for the dialect if that matters. Arguments as of `request`.

        Raises:
            GatewayError: the server can't be reached.
        """
        ready = self.request(found, query, body, restricted=restricted)
        plain = BridgedCall(found.bridging, query, body)
        if ready is not None or found.row.own:
            return ready or plain
        dialect = await self.api.dialect(on_behalf)
        large = len(body) > _IN_THREAD
        changed = await asyncio.to_thread(found.row.changed_body, body) if large else found.row.changed_body(body)
        if changed is not None and dialect is Dialect.RUST:
            if changed.refusal:
                return plain._replace(refusal=BadRequest(changed.refusal))
            try:
                changed = await self._with_version(changed, body, on_behalf)
            except GatewayError as error:
                return plain._replace(refusal=error)
        return self.request(found, query, body, restricted=restricted, changed=changed) or plain

    async def _with_version(self, changed: ChangedBody, body: bytes, on_behalf: OnBehalf) -> ChangedBody:
        """Return the change of a body with the catalog id of the version that it names. Raises GatewayError."""
        if changed.version is None:
            return changed
        if self._versions[changed.version] is None:
            await self._find_version(changed.version, on_behalf)
        catalog_id = self._versions[changed.version] or ""
        if len(body) <= _IN_THREAD:
            return changed
        text = await asyncio.to_thread(lambda: started_by_id(json_text(body), catalog_id))
        return changed._replace(text=text, version=None)

    # The response

    def can_bridge(self, head: ResponseHead, size: int) -> str:
        """Return why a response can't be changed; empty if it can. `size` is that of what has arrived, in bytes."""
        if max(size, head.length or 0) > MAX_ANSWER:
            return "not bridged: over 16 MiB"
        why = head.derived.get(_obstacle)
        if why is None:
            why = head.derived[_obstacle] = _obstacle(head)
        return str(why)

    def pass_on(self, bridging: Bridging) -> None:
        """Count a response that is forwarded as it came."""
        self._counts[bridging.row.name, "passed"] += 1

    def known(self, bridging: Bridging, head: ResponseHead, data: bytes, identity: bytes) -> Bridged | None:
        """Return the response for the client; None if that takes a call upstream or a thread.

        Args:
            bridging: the request.
            head: the head of the response.
            data: its body, or the part of a list that the user may view.
            identity: the lines of the identity headers of the request.
        """
        (row, request), status = bridging, head.status
        why = self.can_bridge(head, len(data))
        if why or not data:
            return self._counted(row, Bridged(status, data, passed=why))
        if len(data) > _IN_THREAD:
            return None
        if row.with_state and status == 200:
            before = self._statuses[request.execution_id, identity]
            if before is not None and before[0] == data:
                return self._counted(row, before[1])
            return self._known_status(bridging, data, identity)
        found = self._answers[request, status, data]
        if found is None:
            if row.slow and status < 300:
                return None
            found = self._shaped(bridging, status, data, None)
            if found.lacks:
                return None
            self._keep(bridging, status, data, found)
        return self._counted(row, found)

    def _known_status(self, bridging: Bridging, data: bytes, identity: bytes) -> Bridged | None:
        document = object_in(data)
        if document is None:
            return self._counted(bridging.row, Bridged(200, data, passed="not bridged: unexpected"))
        self.api.known.dialect = dialect_of(document) or self.api.known.dialect
        state = state_at_hand(self.api, bridging.request.execution_id, document, identity)
        if state is None:
            return None
        return self._counted(bridging.row, self._made_status(bridging, data, identity, state))

    def _made_status(self, bridging: Bridging, data: bytes, identity: bytes, state: ExecutionState) -> Bridged:
        made = self._shaped(bridging, 200, data, state)
        if not made.passed:
            key = (bridging.request.execution_id, identity)
            self._statuses.put(key, (data, made), len(data) + len(made.body))
        return made

    async def bridged(self, bridging: Bridging, head: ResponseHead, data: bytes, on_behalf: OnBehalf) -> Bridged:
        """Return the response for the client. Arguments as of `known`."""
        known = self.known(bridging, head, data, on_behalf.identity)
        if known is not None:
            return known
        row, status = bridging.row, head.status
        if row.with_state and status == 200:
            made = await self._status(bridging, data, on_behalf)
        else:
            made = await self._in_thread(bridging, status, data)
            if made.lacks:
                await self._request_versions(made.lacks, on_behalf)
                made = await self._in_thread(bridging, status, data)
            self._keep(bridging, status, data, made)
        return self._counted(row, made)

    async def _in_thread(self, bridging: Bridging, status: int, data: bytes) -> Bridged:
        async with self._slow:
            return await asyncio.to_thread(self._shaped, bridging, status, data, None)

    async def _request_versions(self, catalog_ids: tuple[str, ...], on_behalf: OnBehalf) -> None:
        """Request the versions of catalog ids; of the first ones only, if there are many or the server is slow."""
        clock = asyncio.get_running_loop().time
        if clock() < self._no_versions_until:
            return
        try:
            async with asyncio.timeout(VERSION_SECONDS):
                for catalog_id in catalog_ids[:_VERSIONS]:
                    await self._request_version(catalog_id, on_behalf)
        except TimeoutError:
            self._no_versions_until = clock() + _VERSION_PAUSE

    async def _request_version(self, catalog_id: str, on_behalf: OnBehalf) -> None:
        """Request the version of a catalog id; after a failure later responses do without for a while."""
        try:
            await self.api.version_of_catalog_id(catalog_id, on_behalf)
        except GatewayError:
            self._no_versions_until = asyncio.get_running_loop().time() + _VERSION_PAUSE

    async def own(self, found: BridgedPath, query: str, body: bytes, on_behalf: OnBehalf) -> Bridged:
        """Return the response to a request that no server serves. Raises GatewayError; see `own_answer`."""
        row = found.row
        async with self._slow if row.slow else contextlib.nullcontext():
            status, data = await own_answer(self.api, row.name, found.execution_id, query, body, on_behalf)
        made = await asyncio.to_thread(self._shaped, found.bridging, status, data, None)
        names = [row.name, *(name for name in made.rows.decode().split(", ") if name not in ("", row.name))]
        return self._counted(row, made._replace(rows=", ".join(names).encode(), passed=""))

    async def _status(self, bridging: Bridging, data: bytes, on_behalf: OnBehalf) -> Bridged:
        document = object_in(data) if len(data) <= _IN_THREAD else await asyncio.to_thread(object_in, data)
        if document is None:
            return Bridged(200, data, passed="not bridged: unexpected")
        try:
            state = await state_with(self.api, bridging.request.execution_id, document, on_behalf)
        except GatewayError as error:
            alone = state_of_status(bridging.request.execution_id, document)
            if alone is None:
                return Bridged(200, data, passed=f"not bridged: {error.detail or error.text}")
            return self._shaped(bridging, 200, data, alone)
        if len(data) <= _IN_THREAD:
            return self._made_status(bridging, data, on_behalf.identity, state)
        async with self._slow:
            return await asyncio.to_thread(self._shaped, bridging, 200, data, state)

    def _keep(self, bridging: Bridging, status: int, data: bytes, made: Bridged) -> None:
        if len(data) <= _IN_THREAD and not made.lacks:
            self._answers.put((bridging.request, status, data), made, len(data) + len(made.body))

    def _shaped(self, bridging: Bridging, status: int, data: bytes, state: ExecutionState | None) -> Bridged:
        """Return the response for the client. Safe in a thread."""
        (row, request), names, lacks = bridging, [], dict[str, None]()

        def version_of(catalog_id: str) -> int | None:
            known = self.api.known.versions.of(catalog_id)
            if known is None:
                lacks[catalog_id] = None
            return known

        try:
            answer = JsonAnswer(status, json_text(data))
            if status < 300 or status == row.refusal:
                shaped = row.shape(request, answer, Facts(self._payloads.text_of, state, version_of))
                if shaped != answer:
                    names.append(row.name)
                    answer = shaped
            else:
                read_json(data)
            if answer.status >= 400:
                text = with_error_texts(answer.text)
                if text != answer.text:
                    names.append("errors")
                    answer = answer._replace(text=text)
            text = with_text_ids(answer.text)
        except UNEXPECTED:
            return Bridged(status, data, passed="not bridged: unexpected")
        if text != answer.text:
            names.append("ids")
        if not names:
            return Bridged(status, data)
        body = text.encode("utf-8", "surrogatepass")
        return Bridged(answer.status, body, ", ".join(names).encode(), lacks=tuple(lacks))

    def _counted(self, row: Row, made: Bridged) -> Bridged:
        if made.rows or made.passed:
            self._counts[row.name, "changed" if made.rows else "passed"] += 1
        return made


def detail_with(detail: str, why: str) -> str:
    """Return the detail for the access log of a response that could not be changed; one that is not JSON is usual."""
    return why if why and why != _NOT_JSON else detail


def _obstacle(head: ResponseHead) -> str:
    """Return why responses with this head can't be changed; empty if they can."""
    fields = {name: value.strip().lower() for name, value in head.headers}
    kind, _, parameters = fields.get(b"content-type", b"").partition(b";")
    if kind.strip() != b"application/json" or b"charset" in parameters.replace(b"charset=utf-8", b""):
        return "" if head.length == 0 else _NOT_JSON
    codings = [value.strip().lower() for name, value in head.headers if name == b"content-encoding"]
    return "not bridged: compressed" if any(coding != b"identity" for coding in codings) else ""
