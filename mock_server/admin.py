"""The control plane over HTTP: `/__admin`, JSON with an OpenAPI document, and a page.

It changes how the sandbox behaves, so it is served only to this machine (unless more is wanted), and a page of another
origin can't call it: the Host header must name this machine, and bodies must be `application/json`, which browsers
send to other origins only after a preflight request that is never allowed.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError

from .assets import page, page_file
from .control_operations import ControlOperations
from .foreign import is_local_name, is_loopback
from .messages import Request, Response, json_response
from .mistakes import explain
from .openapi import document
from .operations import AdminError, Call, Operation

if TYPE_CHECKING:
    from .sandbox import Sandbox

PREFIX = "/__admin"


class Admin:
    """The control plane of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._remote = sandbox.control.remote
        self.operations = [*ControlOperations(sandbox).all(), *sandbox.program.operations]
        self._routes: dict[tuple[str, ...], dict[str, Operation]] = {}
        for operation in self.operations:
            self._routes.setdefault(_segments(operation.path), {})[operation.method] = operation

    async def respond(self, request: Request) -> Response:
        """Return the response to a request for a path below `/__admin`."""
        try:
            self._admit(request)
            return await self._run(request)
        except AdminError as error:
            return json_response({"error": str(error)}, error.status)

    def _admit(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.host:
            raise AdminError(403, "pages of other origins must not use the control plane")
        if self._remote:
            return
        if not is_loopback(request.peer):
            raise AdminError(403, "the control plane is served to this machine only; --admin-remote opens it to others")
        if not is_local_name(request.host):
            raise AdminError(403, "the control plane is served at localhost or 127.0.0.1 only")

    async def _run(self, request: Request) -> Response:
        path = request.path.removeprefix(PREFIX)
        if path in {"", "/"} and request.method in {"GET", "HEAD"}:
            return page(self._sandbox.program.name, self.operations)
        if (file := page_file(path)) is not None:
            return file
        if path == "/openapi.json" and request.method in {"GET", "HEAD"}:
            return json_response(document(self._sandbox.program.name, self._sandbox.url + PREFIX, self.operations))
        operation, names = self._find(path, request.method)
        call = Call(names, self._body(request, operation), _query(request, operation))
        result = operation.run(call)
        if inspect.isawaitable(result):
            result = await result
        return result if isinstance(result, Response) else json_response(result)

    def _body(self, request: Request, operation: Operation) -> Any:
        if operation.body is None:
            return None
        if request.body and request.content_type != "application/json":
            raise AdminError(415, "send the body as application/json")
        try:
            data = json.loads(request.body or b"{}")
        except (ValueError, RecursionError):
            raise AdminError(400, "the body is not JSON") from None
        return _parsed(operation.body, data, self._sandbox.program.overrides)

    def _find(self, path: str, method: str) -> tuple[Operation, dict[str, str]]:
        segments = _segments(path)
        for route, methods in self._routes.items():
            names = _match(route, segments)
            if names is None:
                continue
            if method not in methods:
                raise AdminError(405, f"{method} is not supported here: {', '.join(methods)}")
            return methods[method], names
        raise AdminError(404, f"there is no such operation: GET {PREFIX}/openapi.json lists them")


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


def _match(route: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    if len(route) != len(segments):
        return None
    names = {}
    for expected, found in zip(route, segments, strict=True):
        if expected.startswith("{"):
            names[expected[1:-1]] = unquote(found)
        elif expected != found:
            return None
    return names


def _query(request: Request, operation: Operation) -> Any:
    names = [name for name, _ in request.query_pairs]
    if request.query_string and not names:
        raise AdminError(400, "the query has no parameters, or too many")
    if twice := [name for name in names if names.count(name) > 1]:
        raise AdminError(400, f"{twice[0]}: is given twice")
    if operation.query is not None:
        return _parsed(operation.query, dict(request.query))
    if names:
        raise AdminError(400, f"{names[0]}: unknown parameter: this operation has no query")
    return None


def _parsed(model: type[BaseModel], data: Any, context: object = None) -> BaseModel:
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise AdminError(400, explain(error, model)) from None
