# ruff: noqa: E501 - one request a line
"""The fast path and the streaming path serve the same: responses, requests upstream and access lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.graphql.http import hash_of
from proxy.sessions.memory import MemoryStore
from proxy.sessions.store import MustWait, Session
from tests.integration.transports import BROKEN, ENDED, MORE, ODD, RUNNING, TRACE, Ask, Seen, served

FIELDS = "executionId path status completed failed cancelled currentStep completedSteps variables result error endTime"
STATUS = f"query Poll($id: String!) {{ executionStatus(executionId: $id) {{ __typename {FIELDS} durationSeconds }} }}"
TYPE, BEARER = "content-type: application/json", "authorization: Bearer TOKEN"
RESPONSE_JSON = "accept: application/graphql-response+json"


def body(query: str, **variables: object) -> str:
    return json.dumps({"query": query, "variables": variables})


def poll(execution_id: object) -> str:
    return body(STATUS, id=execution_id)


def query(name: str, text: str, *more: str, fast: bool = True, email: str = "anna@staff.test") -> Ask:
    return Ask(name, body=text, fields=(BEARER, TYPE, *more), fast=fast, email=email)


HASHED = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash_of(STATUS)}}}
MUTATION = 'mutation ($v: JSON) { executePlaybook(name: "team/flow", variables: $v) { executionId name status } }'
SERVED_FAST = [
    query("a running execution", poll(RUNNING)),
    query("an ended execution", poll(ENDED)),
    query("an unknown execution", poll("999")),
    query("an execution that is none", poll("../x")),
    query("an execution that may not be seen", poll(RUNNING), email="eve@other.test"),
    query("an upstream that fails", poll(BROKEN)),
    query("a failure as graphql-response+json", poll("999"), RESPONSE_JSON),
    query("an answer as graphql-response+json", poll(RUNNING), RESPONSE_JSON),
    query("a variable of the wrong type", poll(5)),
    query("a variable of the wrong type as graphql-response+json", poll(5), RESPONSE_JSON),
    query("a variable that is missing", body(STATUS)),
    query("an answer that can't be written", poll(ODD)),
    query("a user without a call upstream", body("{ me { userId email displayName roles } }")),
    query("an alias and a literal", body('{ e: execution(id: 100) { id s: status } }')),
    query("two selections of one field", body('{ execution(id: "100") { id } ...F } fragment F on Query { execution(id: "100") { path } }')),
    query("a list", body("{ playbooks(first: 1) { name version } }")),
    query("an entry of the catalog", body('{ playbook(name: "x/y") { name version variables } }')),
    query("a name that is none", body('{ playbook(name: "../y") { name } }')),
    query("a mutation", body(MUTATION, v={"a": 1})),
    query("a mutation that is not allowed", body(MUTATION), email="eve@other.test"),
    query("a mutation with variables that are none", body(MUTATION, v=[1])),
    query("a mutation of three calls", body('mutation { rerunExecution(executionId: "100", variables: {a: 1}) { id name } }')),
    query("two mutations", body('mutation { a: cancelExecution(executionId: "100") { status } b: cancelExecution(executionId: "999") { status } }')),
    query("a request id of the client's", poll(RUNNING), "x-request-id: mine-1"),
    query("a trace of the client's", poll(RUNNING), f"traceparent: {TRACE}"),
    query("a trace that is none", poll(RUNNING), "traceparent: 00-zz"),
    query("two traces", poll(RUNNING), f"traceparent: {TRACE}", f"traceparent: {TRACE}"),
    Ask("a relayed trace", "GET", "/noetl/things", fields=(BEARER, f"traceparent: {TRACE}")),
    Ask("a relayed trace that is none", "GET", "/noetl/things", fields=(BEARER, "traceparent: 00-" + "0" * 32)),
    Ask("two relayed traces", "GET", "/noetl/things", fields=(BEARER, f"traceparent: {TRACE}", f"traceparent: {TRACE}")),
    query("an origin that is ours", poll(RUNNING), "origin: http://ours.test"),
    query("a foreign origin without a cookie", poll(RUNNING), "origin: http://evil.test"),
    query("a cookie of someone else's", poll(RUNNING), "cookie: other=1"),
    query("connection: close", poll(RUNNING), "connection: close"),
    query("an accept that takes anything", poll(RUNNING), "accept: text/html;q=0.5, */*"),
    Ask("x-session-token", body=poll(RUNNING), fields=("x-session-token: TOKEN", TYPE)),
    Ask("both carriers", body=poll(RUNNING), fields=("Authorization: bearer  TOKEN", "X-Session-Token: nonsense", TYPE)),
    Ask("a charset", body=poll(RUNNING), fields=(BEARER, "content-type: application/json; charset=utf-8")),
    Ask("a relayed POST", target="/noetl/things?a=1&b=%20", body='{"a": 1}'),
    Ask("a relayed POST without a body", target="/noetl/things", fields=(BEARER,)),
    Ask("a relayed PUT", "PUT", "/noetl/things/1", "text", (BEARER, "content-type: text/plain", "x-custom: 1")),
    Ask("a relayed PATCH", "PATCH", "/noetl/things/1", "{}"),
    Ask("a relayed DELETE", "DELETE", "/noetl/things/1", fields=(BEARER,)),
    Ask("a relayed HEAD", "HEAD", "/noetl/things", fields=(BEARER,)),
    Ask("a relayed GET with a look-alike of nothing", "GET", "/noetl/things", fields=(BEARER, "x-requested-with: x")),
    query("a content-encoding", poll(RUNNING), "content-encoding: gzip"),
    Ask("another type", body=poll(RUNNING), fields=(BEARER, "content-type: text/plain")),
    Ask("a session cookie", body=poll(RUNNING), fields=("cookie: session_token=TOKEN", TYPE)),
    Ask("a session cookie and a foreign origin", body=poll(RUNNING), fields=("cookie: session_token=TOKEN", BEARER, TYPE, "origin: http://evil.test")),
    Ask("execute, judged by the playbook", target="/noetl/execute", body='{"path": "team/flow"}'),
    Ask("Execute, spelled otherwise", target="/noetl/Execute/", body='{"path": "team/flow"}'),
    Ask("a resource, judged by the playbook", target="/noetl/catalog/resource", body='{"path": "a"}'),
    Ask("an execution, judged by its playbook", target="/noetl/executions/100/finalize", body="{}"),
    Ask("a POST that is not allowed", target="/noetl/things", body="{}", email="eve@other.test"),
]  # fmt: skip
HANDED_OVER = [
    Ask("a cancellation", target="/noetl/executions/100/cancel", body="{}", fast=False),
    query("a document without a plan", body("query ($x: Boolean!) { version @skip(if: $x) me { email } }", x=False), fast=False),
    query("introspection", body("{ __schema { queryType { name } } }"), fast=False),
    query("a document that is wrong", body("{ nothing }"), fast=False),
    query("two root fields of a query", body('{ version me { email } }'), fast=False),
    query("a resolver that waits for a deadline", body("{ health }"), fast=False),
    query("proxyRequest", body('mutation { proxyRequest(input: {method: "GET", endpoint: "/api/x"}) { status data } }'), fast=False),
    query("no document", "{}", fast=False),
    query("a hash of a document", json.dumps({**HASHED, "variables": {"id": RUNNING}}), fast=False),
    query("a document with its hash", json.dumps({**HASHED, "query": STATUS, "variables": {"id": RUNNING}}), fast=False),
    query("a document with another's hash", json.dumps({**HASHED, "query": "{ version }"}), fast=False),
    query("a documentId", json.dumps({"documentId": f"sha256:{hash_of(STATUS)}", "variables": {"id": RUNNING}}), fast=False),
    query("a document and a documentId", json.dumps({"documentId": f"sha256:{hash_of(STATUS)}", "query": STATUS}), fast=False),
    query("a document over the cost", body("{ a: playbooks { name } " * 10 + "}"), fast=False),
    query("a document over the size", body("{ version }" + " " * 70_000), fast=False),
    query("a document of the worst", body("{ me { " + "email " * 990 + "} }"), fast=False),
    query("not JSON", "{", fast=False),
    query("the same key twice", '{"query": "{ version }", "query": "{ version }"}', fast=False),
    query("a batch", "[" + body("{ version }") + "]", fast=False),
    query("an accept that nothing meets", poll(RUNNING), "accept: image/png", fast=False),
    query("an expectation", poll(RUNNING), "expect: 100-continue", fast=False),
    query("a body that is too large", body("{ version }", x="a" * 9000), fast=False),
    Ask("no session", body=poll(RUNNING), fields=(TYPE,), fast=False),
    Ask("a session that is none", body=poll(RUNNING), fields=("authorization: Bearer " + "0" * 32, TYPE), fast=False),
    Ask("a query string", target="/graphql?x=1", body=poll(RUNNING), fast=False),
    Ask("a GET of a query by cookie", "GET", "/graphql?query={version}", fields=("cookie: session_token=TOKEN",), fast=False),
    Ask("a deliberate GET of a query by cookie", "GET", "/graphql?query={version}", fields=("cookie: session_token=TOKEN", "x-requested-with: x"), fast=False),
    Ask("a GET of a query", "GET", "/graphql?query={version}", fields=(BEARER,), fast=False),
    Ask("a chunked body", body="7\r\n" + '{"a":1}' + "\r\n0\r\n\r\n", target="/noetl/things", fields=(BEARER, "transfer-encoding: chunked"), fast=False),
]  # fmt: skip


TRUSTED = [
    query("a trusted document", poll(RUNNING)),
    query("a trusted document, spelled otherwise", body(STATUS + " ", id=RUNNING), fast=False),
    query("a document that is not trusted", body("{ me { email } }"), fast=False),
    query("a trusted documentId", json.dumps({"documentId": f"sha256:{hash_of(STATUS)}", "variables": {"id": RUNNING}}), fast=False),
    query("a trusted hash", json.dumps({**HASHED, "variables": {"id": RUNNING}}), fast=False),
    query("the hash of a trusted document on another", json.dumps({**HASHED, "query": "{ me { email } }"}), fast=False),
    query("introspection that is not trusted", body("{ __schema { queryType { name } } }"), fast=False),
]  # fmt: skip


OWN = [
    Ask("me", "GET", "/api/auth/me", fields=(BEARER,)),
    Ask("validate", target="/api/auth/validate", body='{"session_token": "TOKEN"}', fields=(TYPE,)),
    Ask("validate by field", target="/api/auth/validate", body="{}"),
    Ask("check-access", target="/api/auth/check-access", body='{"session_token": "TOKEN", "playbook_name": "team/flow"}', fields=(TYPE,)),
    Ask("a role that is required", "GET", "/api/auth/me", fields=(BEARER,), email="eve@other.test"),
]  # fmt: skip


LIMITED = f"""{MORE}
rate_limits: {{few: {{limit: 3/minute, burst: 3, key: ip}}}}
routes: [{{path: /api/auth/me, handler: auth.me, rate_limit: few}}]
"""


def same(fast: Seen, streaming: Seen) -> None:
    """All that can be seen is the same."""
    assert fast.answers == streaming.answers
    assert fast.upstream == streaming.upstream
    assert fast.logged == streaming.logged
    assert not any(streaming.fast)


@pytest.mark.parametrize("ask", TRUSTED, ids=lambda ask: ask.name)
async def test_both_transports_serve_trusted_documents_and_no_other(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "status.graphql").write_text(STATUS)
    more = MORE.replace("graphql: {", "graphql: {trusted_documents: documents, ")
    fast = await served(tmp_path, ask, fast=True, more=more)
    same(fast, await served(tmp_path, ask, fast=False, more=more))
    assert fast.fast[-1] == ask.fast


async def test_both_transports_serve_persisted_queries_the_same(tmp_path: Path) -> None:
    more = MORE.replace("graphql: {", "graphql: {apq: true, ")
    for keys in ({"query": STATUS}, {}):
        ask = query("persisted", json.dumps({**HASHED, **keys, "variables": {"id": RUNNING}}))
        fast = await served(tmp_path, ask, fast=True, more=more)
        same(fast, await served(tmp_path, ask, fast=False, more=more))


@pytest.mark.parametrize("ask", SERVED_FAST + HANDED_OVER, ids=lambda ask: ask.name)
async def test_both_transports_serve_the_same(tmp_path: Path, ask: Ask) -> None:
    fast = await served(tmp_path, ask, fast=True)
    streaming = await served(tmp_path, ask, fast=False)
    same(fast, streaming)
    assert fast.fast[-1] == ask.fast


class WaitingStore(MemoryStore):
    """A store that must be waited for, and then knows the session at the next look only."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[bytes] = set()

    async def get(self, key: bytes) -> Session | None:
        self.known.add(key)
        return await super().get(key)

    def peek(self, key: bytes) -> Session | None:
        if key not in self.known:
            raise MustWait
        self.known.discard(key)
        return super().peek(key)


@pytest.mark.parametrize("ask", SERVED_FAST + OWN, ids=lambda ask: ask.name)
async def test_session_that_must_be_waited_for_changes_nothing_but_the_transport(tmp_path: Path, ask: Ask) -> None:
    waited = await served(tmp_path, ask, fast=True, store=WaitingStore(), more=LIMITED)
    same(waited, await served(tmp_path, ask, fast=False, more=LIMITED))
    assert True in waited.fast
    assert (False in waited.fast) == (ask.name != "a session cookie and a foreign origin")  # refused before the session
