"""The model of `upstreams`: servers behind the gateway. See `model.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from proxy.config.block import Block, env
from proxy.config.types import Duration, Flag, Integer, ListOf, Text, Texts


class UpstreamTls(Block):
    ca: Text | None = Field(None, description="PEM file with the authorities to trust; the system's if not given.")
    server_name: Text | None = Field(
        None, description="Name to verify the certificate against; the url's if not given."
    )


RetryOn = Literal["connect", "reset", "502", "503", "504"]


def _retry_on(value: Any) -> Any:
    return tuple(str(item) if type(item) is int else item for item in value) if isinstance(value, list) else value


class Retries(Block):
    attempts: Integer = Field(
        1,
        ge=0,
        le=10,
        description="How often a request is sent again at most; 0 is never. At most 10 % extra requests.",
    )
    on: Annotated[tuple[RetryOn, ...], BeforeValidator(_retry_on)] = Field(
        ("connect", "reset", "502", "503", "504"),
        description="Failures after which it is: no connection (any method, as nothing was sent), reset, or a status.",
    )
    methods: Annotated[tuple[Literal["GET", "HEAD", "OPTIONS"], ...], ListOf] = Field(
        ("GET", "HEAD", "OPTIONS"),
        description="Safe methods that are sent again although the upstream may have seen them.",
    )


class Health(Block):
    path: Text = Field("/api/health", pattern=r"^/[!-~]*$", description="Path that is asked; below 400 is healthy.")
    interval: Duration = Field(5.0, ge=0.05, description="Time between checks.")
    timeout: Duration = Field(2.0, gt=0, description="Longest wait for an answer.")
    unhealthy_after: Integer = Field(3, ge=1, description="Failures in a row that make a url unhealthy.")
    healthy_after: Integer = Field(1, ge=1, description="Successes in a row that make it healthy again.")


class CircuitBlock(Block):
    failures: Integer = Field(20, ge=1, le=10_000, description="Failures that open the circuit of a url.")
    window: Duration = Field(10.0, gt=0, description="Time within which they count.")
    open: Duration = Field(5.0, gt=0, description="How long nothing is sent; then one request is the probe.")


def _switch(value: Any) -> Any:
    return None if value is False else value


class Upstream(Block):
    urls: Texts = Field(
        min_length=1,
        description="Base urls, scheme and authority; with several, `balance` chooses.",
        json_schema_extra=env("NOETL_BASE_URL"),
    )
    balance: Literal["round_robin", "least_requests", "consistent_hash"] = Field(
        "round_robin", description="`round_robin`, `least_requests` or `consistent_hash`."
    )
    hash_on: Annotated[Text, Field(pattern=r"^(execution_id|session|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$")] | None = (
        Field(None, description="For `consistent_hash`: `execution_id` (if not given), `session` or `header:NAME`.")
    )
    connect_timeout: Duration = Field(5.0, description="Longest time to open a connection.")
    response_timeout: Duration = Field(
        120.0,
        description="Longest time until the response head.",
        json_schema_extra=env("NOETL_TIMEOUT_SECS"),
    )
    idle_timeout: Duration = Field(60.0, description="Longest pause within a streamed body.")
    max_connections: Integer = Field(512, ge=1, description="Most connections per worker and url.")
    max_pending: Integer = Field(1024, ge=0, description="Most requests waiting for a connection; beyond it 503.")
    retries: Annotated[Retries, BeforeValidator(lambda value: {"attempts": 0} if value is False else value)] = Field(
        default_factory=Retries, description="Which failed requests are sent again."
    )
    health: Annotated[Health | None, BeforeValidator(_switch)] = Field(
        None, description="Active health checks; off if not given."
    )
    circuit: Annotated[CircuitBlock | None, BeforeValidator(_switch)] = Field(
        None, description="Circuit breaker, for each url; off if not given."
    )
    tls: UpstreamTls | None = Field(
        None, description="How to verify an https upstream; the system's authorities if not given."
    )
    rewrite_location: Flag = Field(
        True, description="Change redirects to the upstream's own address into redirects to the gateway's."
    )
