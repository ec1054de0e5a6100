"""Which documents run at an endpoint: trusted ones only, those known by their hash, and what a GET needs by cookie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.graphql.http import hash_of
from tests.integration.harness import Running, Upstream, behind_gateway

TRUSTED = "graphql: {trusted_documents: documents, limits: {batch: 2}}\n"
APQ = "graphql: {apq: true}\n"
COOKIE = "sessions: {store: memory, cookie: {enabled: true}}\n"
ME = "query Me { me { email } }"
ANSWER = {"data": {"me": {"email": "anna@staff.test"}}}
SLOW = "{ me { " + "email " * 700 + "} }"


def folder_of(tmp_path: Path, **files: str) -> Path:
    """A folder of trusted documents."""
    folder = tmp_path / "documents"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.graphql").write_text(text)
    return tmp_path


def extension(text: str) -> dict[str, Any]:
    """Apollo's, for a text."""
    return {"persistedQuery": {"version": 1, "sha256Hash": hash_of(text)}}


async def post(gateway: Running, body: Any, **fields: str) -> tuple[int, Any]:
    """A POST of a signed-in user's: status and answer."""
    headers = {**await gateway.bearer(), **fields}
    async with gateway.client.post(f"{gateway.url}/graphql", json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def get(gateway: Running, parameters: dict[str, str], **fields: str) -> tuple[int, Any]:
    """A GET of a signed-in user's, by bearer unless the fields say otherwise."""
    headers = fields or await gateway.bearer()
    async with gateway.client.get(f"{gateway.url}/graphql", params=parameters, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


def code(answer: tuple[int, Any]) -> str:
    """The code of the only error of an answer."""
    (error,) = answer[1]["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize(
    "body",
    [
        {"query": ME},
        {"documentId": f"sha256:{hash_of(ME)}"},
        {"extensions": extension(ME)},
        {"query": ME, "extensions": extension(ME)},
    ],
    ids=["its text", "documentId", "its hash", "text and hash"],
)
async def test_a_trusted_document_runs_however_it_is_named(tmp_path: Path, body: dict[str, Any]) -> None:
    async with behind_gateway(folder_of(tmp_path, me=ME), more=TRUSTED) as (gateway, _):
        assert await post(gateway, body) == (200, ANSWER)


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{ me { email } }"},
        {"query": ME + " "},
        {"query": "query Me { me { email } } # more"},
        {"documentId": f"sha256:{'0' * 64}"},
        {"extensions": extension("{ version }")},
        {"query": "{ version }", "extensions": extension("{ version }")},
        {"query": "{ __schema { queryType { name } } }"},
        {"query": "{ not GraphQL"},
    ],
)
async def test_where_documents_are_trusted_no_other_runs(tmp_path: Path, body: dict[str, Any]) -> None:
    async with behind_gateway(folder_of(tmp_path, me=ME), more=TRUSTED) as (gateway, upstream):
        for _ in range(2):
            assert code(await post(gateway, body)) == "DOCUMENT_NOT_TRUSTED"
        assert upstream.seen == []


async def test_each_request_of_a_batch_needs_a_trusted_document(tmp_path: Path) -> None:
    async with behind_gateway(folder_of(tmp_path, me=ME), more=TRUSTED) as (gateway, _):
        _, answers = await post(gateway, [{"query": ME}, {"query": "{ version }"}])
    assert answers[0] == ANSWER
    assert code((200, answers[1])) == "DOCUMENT_NOT_TRUSTED"


async def test_a_trusted_document_runs_by_get(tmp_path: Path) -> None:
    async with behind_gateway(folder_of(tmp_path, me=ME), more=TRUSTED) as (gateway, _):
        assert await get(gateway, {"documentId": f"sha256:{hash_of(ME)}"}) == (200, ANSWER)


async def test_a_refused_document_is_400_as_graphql_response_json(tmp_path: Path) -> None:
    async with behind_gateway(folder_of(tmp_path, me=ME), more=TRUSTED) as (gateway, _):
        status, _ = await post(gateway, {"query": "{ version }"}, accept="application/graphql-response+json")
    assert status == 400


async def test_the_page_of_graphiql_is_still_shown_where_documents_are_trusted(tmp_path: Path) -> None:
    async with behind_gateway(folder_of(tmp_path, me=ME), more=TRUSTED) as (gateway, _):
        async with gateway.client.get(f"{gateway.url}/graphql", headers={"accept": "text/html"}) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")


async def test_trusted_introspection_is_still_for_those_who_may(tmp_path: Path) -> None:
    schema = "{ __schema { queryType { name } } }"
    more = "graphql: {trusted_documents: documents, introspection: false}\n"
    async with behind_gateway(folder_of(tmp_path, schema=schema), more=more) as (gateway, _):
        answer = await post(gateway, {"query": schema})
        assert code(answer) == "FORBIDDEN"
        assert answer[1]["errors"][0]["extensions"]["status"] == 403


async def reload(gateway: Running, folder: Path) -> bool:
    """Read the configuration anew."""
    return await gateway.serving.reload(lambda: compile_config(load(folder / "gateway.yaml", {})))


async def test_a_reload_reads_trusted_documents_anew(tmp_path: Path) -> None:
    async with behind_gateway(folder_of(tmp_path, me=ME), more=TRUSTED) as (gateway, _):
        (tmp_path / "documents" / "me.graphql").unlink()
        folder_of(tmp_path, version="{ version }")
        assert code(await post(gateway, {"query": "{ version }"})) == "DOCUMENT_NOT_TRUSTED"
        assert await reload(gateway, tmp_path)
        assert (await post(gateway, {"query": "{ version }"}))[0] == 200
        assert code(await post(gateway, {"query": ME})) == "DOCUMENT_NOT_TRUSTED"


async def test_a_reload_with_a_document_that_can_not_run_changes_nothing(tmp_path: Path) -> None:
    async with behind_gateway(folder_of(tmp_path, me=ME), more=TRUSTED) as (gateway, _):
        folder_of(tmp_path, bad="{ nothing }")
        assert not await reload(gateway, tmp_path)
        assert await post(gateway, {"query": ME}) == (200, ANSWER)


@pytest.mark.gateway(more=APQ)
async def test_a_client_of_apollo_sends_the_text_once(gateway: Running) -> None:
    first = await post(gateway, {"extensions": extension(ME)})
    assert (first[0], code(first)) == (200, "PERSISTED_QUERY_NOT_FOUND")
    assert first[1]["errors"][0]["message"] == "PersistedQueryNotFound"
    assert await post(gateway, {"query": ME, "extensions": extension(ME)}) == (200, ANSWER)
    assert await post(gateway, {"extensions": extension(ME)}) == (200, ANSWER)


@pytest.mark.gateway(more=APQ)
async def test_a_persisted_query_works_by_get(gateway: Running) -> None:
    short = {"extensions": json.dumps(extension(ME))}
    assert code(await get(gateway, short)) == "PERSISTED_QUERY_NOT_FOUND"
    assert await get(gateway, {**short, "query": ME}) == (200, ANSWER)
    assert await get(gateway, short) == (200, ANSWER)


@pytest.mark.gateway(more=APQ)
async def test_a_document_that_the_fast_path_has_served_is_persisted_all_the_same(gateway: Running) -> None:
    for _ in range(3):
        await post(gateway, {"query": ME})
    await post(gateway, {"query": ME, "extensions": extension(ME)})
    assert await post(gateway, {"extensions": extension(ME)}) == (200, ANSWER)


@pytest.mark.gateway(more=APQ)
async def test_a_persisted_mutation_does_not_run_by_get(gateway: Running, upstream: Upstream) -> None:
    mutation = 'mutation { executePlaybook(name: "a") { id } }'
    short = {"extensions": json.dumps(extension(mutation))}
    for parameters in ({**short, "query": mutation}, short):
        assert (await get(gateway, parameters))[0] == 405
    assert upstream.seen == []


async def test_persisted_queries_are_not_supported_where_they_are_off(gateway: Running) -> None:
    found = await post(gateway, {"extensions": extension(ME)})
    assert (code(found), found[1]["errors"][0]["message"]) == (
        "PERSISTED_QUERY_NOT_SUPPORTED",
        "PersistedQueryNotSupported",
    )


@pytest.mark.gateway(more=APQ)
async def test_a_hash_of_another_text_is_refused(gateway: Running) -> None:
    status, answer = await post(gateway, {"query": "{ version }", "extensions": extension(ME)})
    assert (status, answer["error"]) == (400, "sha256Hash is not the SHA-256 of query")
    assert code(await post(gateway, {"extensions": extension(ME)})) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.gateway(more="graphql: {limits: {cost: 100}}\n")
async def test_a_document_over_the_cost_is_refused_and_asks_nothing_upstream(
    gateway: Running, upstream: Upstream
) -> None:
    for _ in range(3):
        status, answer = await post(gateway, {"query": "{ executions { id path } }"})
        assert (status, answer["errors"][0]["message"]) == (
            200,
            "The operation costs 110, and graphql.limits.cost is 100",
        )
        assert answer["errors"][0]["extensions"] == {"code": "LIMIT_EXCEEDED", "status": 400}
    assert upstream.seen == []


@pytest.mark.gateway(more="graphql: {validation_timeout: 5ms}\n")
async def test_a_document_that_takes_too_long_to_validate_is_refused(gateway: Running) -> None:
    assert code(await post(gateway, {"query": SLOW})) == "LIMIT_EXCEEDED"


async def by_cookie(gateway: Running, **fields: str) -> tuple[int, Any]:
    """A query by GET that a cookie signs in."""
    return await get(gateway, {"query": ME}, cookie=f"session_token={await gateway.session()}", **fields)


@pytest.mark.gateway(more=COOKIE)
async def test_a_get_by_cookie_without_a_header_that_needs_a_preflight_is_refused(gateway: Running) -> None:
    for fields in ({}, {"content-type": "text/plain"}, {"content-type": "text/plain; application/json"}):
        status, answer = await by_cookie(gateway, **fields)
        assert status == 400
        assert "x-requested-with" in answer["error"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-requested-with", "XMLHttpRequest"),
        ("apollo-require-preflight", "true"),
        ("x-apollo-operation-name", "Me"),
        ("content-type", "application/json"),
    ],
)
@pytest.mark.gateway(more=COOKIE)
async def test_a_get_by_cookie_with_such_a_header_is_answered(gateway: Running, name: str, value: str) -> None:
    assert await by_cookie(gateway, **{name: value}) == (200, ANSWER)


@pytest.mark.gateway(more=COOKIE)
async def test_a_get_by_a_token_in_a_field_needs_no_such_header(gateway: Running) -> None:
    token = await gateway.session()
    for fields in ({"authorization": f"Bearer {token}"}, {"x-session-token": token}):
        assert await get(gateway, {"query": ME}, cookie=f"session_token={token}", **fields) == (200, ANSWER)


async def test_where_cookies_are_off_a_get_stays_as_it_was(gateway: Running) -> None:
    assert await get(gateway, {"query": ME}) == (200, ANSWER)
    assert (await by_cookie(gateway))[0] == 401


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "application/graphql"],
)
@pytest.mark.gateway(more=COOKIE)
async def test_a_post_that_a_form_could_send_is_refused(gateway: Running, kind: str) -> None:
    headers = {"cookie": f"session_token={await gateway.session()}", "content-type": kind}
    body = json.dumps({"query": ME}).encode()
    async with gateway.client.post(f"{gateway.url}/graphql", data=body, headers=headers) as answer:
        assert answer.status == 415
