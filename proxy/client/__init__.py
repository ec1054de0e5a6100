"""The Python client of the gateway: exchange an Auth0 token for a session, run playbooks and wait for their end.

`Client` is blocking, `AsyncClient` is asynchronous; both have the same operations. They import no other module of the
gateway, do not retry requests, do not follow redirects, and do not show tokens in `repr` or errors.

    ClientError
    ├── ConnectionFailed        no response
    ├── ExecutionTimeout        the execution did not end in time
    ├── IncompleteList          there are more entries than the NoETL server lists
    └── ApiError                the gateway responded with an error
        ├── BadRequest          400
        ├── Unauthorized        401
        ├── Forbidden           403
        ├── NotFound            404
        ├── RateLimited         429, with `retry_after`
        └── ServerError         500 and above
"""

from __future__ import annotations

from proxy.client._types import (
    AccessCheck,
    ApiError,
    BadRequest,
    ClientError,
    ConnectionFailed,
    ExecutionEvent,
    ExecutionStatus,
    ExecutionSummary,
    ExecutionTimeout,
    Forbidden,
    IncompleteList,
    LiveEvent,
    LoginResult,
    NotFound,
    Playbook,
    RateLimited,
    RunResult,
    ServerError,
    Unauthorized,
    User,
)
from proxy.client.async_client import AsyncClient
from proxy.client.client import Client

__all__ = [
    "AccessCheck",
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "ExecutionEvent",
    "ExecutionStatus",
    "ExecutionSummary",
    "ExecutionTimeout",
    "Forbidden",
    "IncompleteList",
    "LiveEvent",
    "LoginResult",
    "NotFound",
    "Playbook",
    "RateLimited",
    "RunResult",
    "ServerError",
    "Unauthorized",
    "User",
]
