"""GraphQL over HTTP (the GraphQL-over-HTTP draft of 2023): what a request asks for, and how an answer is sent. Pure.

`application/json` answers are 200 once a well-formed request was understood; `application/graphql-response+json`
answers carry the status that the outcome deserves.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import ExecutionResult, GraphQLError

from proxy.errors import BadRequest, GatewayError, InternalError

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"
PREFIX = "sha256:"
"""What a `documentId` begins with (GraphQL over HTTP, appendix A, "Persisted Documents")."""
_OF_ARGUMENTS = "Argument "
"""How graphql-core begins what it says of a field's arguments. All else that it says of a field that runs is of a value
that does not fit the schema, and may hold the value: our own fault, and not told."""
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class GraphqlRequest:
    """One request: the document's text, or only its SHA-256, or both; its variables, and which operation to run."""

    query: str | None
    variables: Mapping[str, Any] | None
    operation_name: str | None
    hash: str | None = None


class GraphqlAnswer(NamedTuple):
    """One answer: its body, and the status it has as `application/graphql-response+json` and as JSON."""

    body: dict[str, Any]
    status: int
    json_status: int


def negotiate(accept: str | None) -> str | None:
    """The media type to answer with; None if the client accepts neither."""
    if accept is None or not accept.strip():
        return JSON
    best, best_weight = None, 0.0
    for part in accept.split(","):
        kind, _, parameters = part.partition(";")
        weight = _weight(parameters)
        wanted = {JSON: JSON, "*/*": JSON, "application/*": JSON, RESPONSE_JSON: RESPONSE_JSON}.get(
            kind.strip().lower()
        )
        if wanted is not None and weight > best_weight:
            best, best_weight = wanted, weight
    return best


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def read_body(document: Any, batch: int) -> list[GraphqlRequest] | GraphqlRequest:
    """The request, or the batch of requests, in a parsed body. Raises BadRequest."""
    if isinstance(document, list):
        if batch < 2:
            raise BadRequest("Batches are not accepted: send one request")
        if not 0 < len(document) <= batch:
            raise BadRequest(f"A batch has from 1 to {batch} requests")
        return [_request(item) for item in document]
    return _request(document)


def read_query(parameters: Mapping[str, str]) -> GraphqlRequest:
    """The request in the parameters of a GET. Raises BadRequest."""
    values: dict[str, Any] = dict(parameters)
    for name in ("variables", "extensions"):
        if values.get(name):
            try:
                values[name] = json.loads(values[name])
            except (ValueError, RecursionError):
                raise BadRequest(f"{name} is not JSON") from None
        else:
            values.pop(name, None)
    return _request(values)


def _request(document: Any) -> GraphqlRequest:
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object with a query")
    query, variables = document.get("query"), document.get("variables")
    name, extensions = document.get("operationName"), document.get("extensions")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest("variables must be a JSON object")
    if name is not None and not isinstance(name, str):
        raise BadRequest("operationName must be a text")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest("extensions must be a JSON object")
    known = _document_id(document.get("documentId")) or _persisted(extensions)
    if query is None and known is not None:
        return GraphqlRequest(None, variables, name or None, known)
    if not isinstance(query, str) or not query:
        raise BadRequest("query is required: the text of a GraphQL document")
    if document.get("documentId") is not None:
        raise BadRequest("Send query or documentId, not both")
    if known is not None and known != hash_of(query):
        raise BadRequest("sha256Hash is not the SHA-256 of query")
    return GraphqlRequest(query, variables, name or None, known)


def hash_of(text: str) -> str:
    """The SHA-256 of a document's text, in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _document_id(given: Any) -> str | None:
    """The hash in a `documentId`, if there is one."""
    if given is None:
        return None
    if not isinstance(given, str) or not given.startswith(PREFIX) or not _HASH.fullmatch(given.removeprefix(PREFIX)):
        raise BadRequest("documentId must be sha256: and 64 hexadecimal digits")
    return given.removeprefix(PREFIX)


def _persisted(extensions: dict[str, Any] | None) -> str | None:
    """The hash in Apollo's `extensions.persistedQuery`, if there is one."""
    given = (extensions or {}).get("persistedQuery")
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("version") != 1 or isinstance(given["version"], bool):
        raise BadRequest("persistedQuery must be an object with version: 1")
    found = given.get("sha256Hash")
    if not isinstance(found, str) or not _HASH.fullmatch(found):
        raise BadRequest("sha256Hash must be 64 hexadecimal digits")
    return found


def refused(errors: tuple[GraphQLError, ...], code: str) -> GraphqlAnswer:
    """The answer to a document that can't run: no `data`. As JSON it is 200 all the same, if it could be read."""
    body = {"errors": [_formatted(error, code, 400) for error in errors]}
    return GraphqlAnswer(body, 400, 200)


def answered(result: ExecutionResult) -> tuple[GraphqlAnswer, list[tuple[GraphQLError, GatewayError]]]:
    """The answer to a document that ran, and the errors behind it, for the log."""
    body: dict[str, Any] = {}
    behind: list[tuple[GraphQLError, GatewayError]] = []
    if result.errors:
        body["errors"] = []
        for error in result.errors:
            cause = _cause(error)
            behind.append((error, cause))
            body["errors"].append(_formatted(error, cause.code, cause.status, cause.text))
    body["data"] = result.data
    failed = behind and result.data is None
    return GraphqlAnswer(body, behind[0][1].status if failed else 200, 200), behind


def _cause(error: GraphQLError) -> GatewayError:
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    if isinstance(original, GatewayError):
        return original
    if original is not None and not isinstance(original, GraphQLError):
        return InternalError(detail=repr(original))
    if error.path is not None and not error.message.startswith(_OF_ARGUMENTS):
        return InternalError(detail=error.message)
    return BadRequest(error.message)


def _formatted(error: GraphQLError, code: str, status: int, text: str | None = None) -> dict[str, Any]:
    formatted: dict[str, Any] = {**error.formatted}
    formatted["message"] = text or error.message
    formatted["extensions"] = {"code": code, "status": status}
    return formatted
