"""The Python client of the gateway: trade an Auth0 token for a session, run playbooks, follow them to their end.

`Client` blocks, `AsyncClient` awaits; both have the same operations. They use nothing of the gateway itself, never
repeat a request on their own, follow no redirects, and keep tokens out of `repr` and errors.

    ClientError
    ├── ConnectionFailed        no answer came
    ├── ExecutionTimeout        the execution did not end in time
    └── ApiError                the gateway answered with an error
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
    ExecutionStatus,
    ExecutionTimeout,
    Forbidden,
    LoginResult,
    NotFound,
    Playbook,
    RateLimited,
    ServerError,
    Unauthorized,
    User,
)
from proxy.client.client import AsyncClient, Client

__all__ = [
    "AccessCheck",
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "ExecutionStatus",
    "ExecutionTimeout",
    "Forbidden",
    "LoginResult",
    "NotFound",
    "Playbook",
    "RateLimited",
    "ServerError",
    "Unauthorized",
    "User",
]
