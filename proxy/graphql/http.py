"""GraphQL over HTTP (the GraphQL-over-HTTP draft of 2023): parse requests and build responses. Pure.

A response to a well-formed request as `application/json` has status 200, even with errors; a response as
`application/graphql-response+json` has the status of the result.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import ExecutionResult, GraphQLError

from proxy.errors import BadGateway, BadRequest, GatewayError, InternalError
from proxy.http.json import write_json
from proxy.live.messages import EVENT_STREAM

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"
_MEDIA = {
    JSON: JSON,
    "*/*": JSON,
    "application/*": JSON,
    RESPONSE_JSON: RESPONSE_JSON,
    EVENT_STREAM: EVENT_STREAM,
}
PREFIX = "sha256:"
"""The prefix of a `documentId` (GraphQL over HTTP, appendix A, "Persisted Documents")."""
_ARGUMENT_ERROR = "Argument "
"""The prefix of graphql-core's errors about a field's arguments. Every other error of graphql-core with a path reports
a value that does not match the schema, and may contain that value: its text is not sent."""
_HASH = re.compile(r"[0-9a-f]{64}")


class GraphqlRequest(NamedTuple):
    """One request: the text of the document, its SHA-256, or both; the variables; the name of the operation to run."""

    query: str | None
    variables: Mapping[str, Any] | None
    operation_name: str | None
    hash: str | None = None


class GraphqlAnswer(NamedTuple):
    """One response: the body, and its status as `application/graphql-response+json` and as `application/json`."""

    body: dict[str, Any]
    status: int
    json_status: int


def negotiate(accept: str | None) -> str | None:
    """Return the media type of the response for an `Accept` header; None if the client accepts none of the types.

    `EVENT_STREAM` is returned for clients that prefer it: `*/*` does not name it.
    """
    if accept is None or not accept.strip():
        return JSON
    best, best_weight = None, 0.0
    for part in accept.split(","):
        kind, _, parameters = part.partition(";")
        weight = _weight(parameters)
        wanted = _MEDIA.get(kind.strip().lower())
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
    """Return the request, or the batch of at most `batch` requests, in a parsed JSON body.

    Raises:
        BadRequest: the body is not a GraphQL request.
    """
    if isinstance(document, list):
        if batch < 2:
            raise BadRequest("Batches are not accepted: send one request")
        if not 0 < len(document) <= batch:
            raise BadRequest(f"A batch has from 1 to {batch} requests")
        return [_request(item) for item in document]
    return _request(document)


def read_query(parameters: Mapping[str, str]) -> GraphqlRequest:
    """Return the request in the query parameters of a GET.

    Raises:
        BadRequest: the parameters are not a GraphQL request.
    """
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
    """Return the SHA-256 of a document's text, in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _document_id(given: Any) -> str | None:
    """Return the hash in a `documentId`; None if there is no `documentId`."""
    if given is None:
        return None
    if not isinstance(given, str) or not given.startswith(PREFIX) or not _HASH.fullmatch(given.removeprefix(PREFIX)):
        raise BadRequest("documentId must be sha256: and 64 hexadecimal digits")
    return given.removeprefix(PREFIX)


def _persisted(extensions: dict[str, Any] | None) -> str | None:
    """Return the hash in Apollo's `extensions.persistedQuery`; None if there is none."""
    given = (extensions or {}).get("persistedQuery")
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("version") != 1 or isinstance(given["version"], bool):
        raise BadRequest("persistedQuery must be an object with version: 1")
    found = given.get("sha256Hash")
    if not isinstance(found, str) or not _HASH.fullmatch(found):
        raise BadRequest("sha256Hash must be 64 hexadecimal digits")
    return found


def rejected(errors: tuple[GraphQLError, ...], code: str, status: int = 400) -> GraphqlAnswer:
    """Return the response for a document that can't run: without `data`; status 200 as `application/json`."""
    body = {"errors": [_formatted(error, code, status) for error in errors]}
    return GraphqlAnswer(body, status, 200)


def answered(
    result: ExecutionResult, extensions: dict[str, Any]
) -> tuple[GraphqlAnswer, list[tuple[GraphQLError, GatewayError]]]:
    """Return the response for a document that ran, and the causes of its errors for the log."""
    body: dict[str, Any] = {}
    causes: list[tuple[GraphQLError, GatewayError]] = []
    if result.errors:
        body["errors"] = []
        for error in result.errors:
            cause = _cause(error)
            causes.append((error, cause))
            body["errors"].append(_formatted(error, cause.code, cause.status, cause.text))
    body["data"] = result.data
    if extensions:
        body["extensions"] = extensions
    failed = causes and result.data is None
    return GraphqlAnswer(body, causes[0][1].status if failed else 200, 200), causes


def _cause(error: GraphQLError) -> GatewayError:
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    if isinstance(original, GatewayError):
        return original
    if original is not None and not isinstance(original, GraphQLError):
        return InternalError(detail=repr(original))
    if error.path is not None and not error.message.startswith(_ARGUMENT_ERROR):
        return InternalError(detail=error.message)
    return BadRequest(error.message)


def _formatted(error: GraphQLError, code: str, status: int, text: str | None = None) -> dict[str, Any]:
    formatted: dict[str, Any] = {**error.formatted}
    formatted["message"] = text or error.message
    formatted["extensions"] = {"code": code, "status": status}
    return formatted


def without_unwritable(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with null, and an error, for each field whose value JSON can't express, such as a NaN.

    Such values come from the upstream, in fields of the scalar JSON. These are members of the root fields' objects.
    """
    data, errors = answer.get("data"), list(answer.get("errors", ()))
    if not isinstance(data, dict):
        return answer

    def cleaned(value: Any, path: list[str | int]) -> Any:
        if isinstance(value, list):
            return [cleaned(item, [*path, number]) for number, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        kept = dict(value)
        for name, member in value.items():
            if not _is_writable(member):
                kept[name] = None
                code = {"code": BadGateway.code, "status": BadGateway.status}
                errors.append(
                    {"message": "A value can't be written as JSON", "path": [*path, name], "extensions": code}
                )
        return kept

    found = {name: cleaned(value, [name]) for name, value in data.items()}
    return {**answer, "errors": errors, "data": found} if errors else {**answer, "data": found}


def _is_writable(value: Any) -> bool:
    try:
        write_json(value)
    except (ValueError, TypeError):
        return False
    return True
