"""The model of the block `upstreams`: the servers behind the gateway. See `model.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from proxy.config.block import Block, env
from proxy.config.types import Duration, Flag, Integer, ListOf, Number, Text, Texts


class UpstreamTls(Block):
    ca: Text | None = Field(None, description="PEM file with the trusted authorities; those of the system if not set.")
    server_name: Text | None = Field(None, description="Name in the certificate; the host of the url if not set.")


RetryOn = Literal["connect", "reset", "502", "503", "504"]


def _retry_on(value: Any) -> Any:
    return tuple(str(item) if type(item) is int else item for item in value) if isinstance(value, list) else value


class Retries(Block):
    attempts: Integer = Field(
        1,
        ge=0,
        le=10,
        description="Maximum retries of a request; 0 means none. Retries are limited to 10 % of the requests.",
    )
    on: Annotated[tuple[RetryOn, ...], BeforeValidator(_retry_on)] = Field(
        ("connect", "reset", "502", "503", "504"),
        description="Failures that cause a retry: no connection (with any method), reset, or a status.",
    )
    methods: Annotated[tuple[Literal["GET", "HEAD", "OPTIONS"], ...], ListOf] = Field(
        ("GET", "HEAD", "OPTIONS"),
        description="Methods that are retried although the upstream may have processed the request.",
    )


class Health(Block):
    path: Text = Field(
        "/api/health", pattern=r"^/[!-~]*$", description="Path of the check; a status below 400 is healthy."
    )
    interval: Duration = Field(5.0, ge=0.05, description="Time between checks.")
    timeout: Duration = Field(2.0, gt=0, description="Maximum time to wait for the response.")
    unhealthy_after: Integer = Field(3, ge=1, description="Number of consecutive failures that make a url unhealthy.")
    healthy_after: Integer = Field(1, ge=1, description="Number of consecutive successes that make it healthy again.")


class CircuitBlock(Block):
    failures: Integer = Field(20, ge=1, le=10_000, description="Number of failures that open the circuit of a url.")
    window: Duration = Field(10.0, gt=0, description="Time within which failures are counted.")
    open: Duration = Field(5.0, gt=0, description="How long no request is sent; then one request tests the url.")


NOETL = "noetl"


def noetl_upstreams(upstreams: object) -> list[str]:
    """Return the names of the upstreams of kind `noetl`, the one called `noetl` first.

    Args:
        upstreams: upstreams by name, as blocks of the model or as they are in the file.
    """
    found = upstreams if isinstance(upstreams, dict) else {}
    names = [str(name) for name, block in found.items() if (_kind(block) or name) == NOETL]
    return sorted(names, key=lambda name: name != NOETL)


def _kind(block: object) -> object:
    return block.get("kind") if isinstance(block, dict) else getattr(block, "kind", None)


def _switch(value: Any) -> Any:
    return None if value is False else value


class Upstream(Block):
    kind: Literal["noetl", "http"] | None = Field(
        None,
        description="`noetl`: a NoETL server, which the access rules judge by playbook and which GraphQL uses; `http`: "
        "any other server. If not set: `noetl` for the upstream of that name, else `http`.",
    )
    urls: Texts = Field(
        min_length=1,
        description="Base urls: scheme and authority. If there are several, `balance` selects one.",
        json_schema_extra=env("NOETL_BASE_URL"),
    )
    balance: Literal["round_robin", "least_requests", "consistent_hash", "noetl_shards"] = Field(
        "round_robin",
        description="`round_robin`, `least_requests`, `consistent_hash`, or `noetl_shards`: an execution belongs to "
        "the url with the number XXH64(id) modulo the number of urls, counted from 0 in the order of the file; "
        "requests without an execution take turns.",
    )
    hash_on: Annotated[Text, Field(pattern=r"^(execution_id|session|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$")] | None = (
        Field(
            None,
            description="For `consistent_hash`: `execution_id` (default; of the path, or of the body of posted "
            "events), `session` or `header:NAME`.",
        )
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="Maximum time to open a connection.")
    response_timeout: Duration = Field(
        120.0,
        gt=0,
        description="Maximum time until the response head.",
        json_schema_extra=env("NOETL_TIMEOUT_SECS"),
    )
    idle_timeout: Duration = Field(60.0, gt=0, description="Maximum pause within a streamed body.")
    max_connections: Integer = Field(512, ge=1, description="Maximum connections per worker and url.")
    max_pending: Integer = Field(
        1024, ge=0, description="Maximum number of requests that wait for a connection; more get 503."
    )
    user_share: Number = Field(
        0.25,
        gt=0,
        le=1,
        description="Share of `max_connections` and `max_pending` that one user, or one address without a session, may "
        "have; 1 means no limit.",
    )
    retries: Annotated[Retries, BeforeValidator(lambda value: {"attempts": 0} if value is False else value)] = Field(
        default_factory=Retries, description="Which failed requests are retried."
    )
    health: Annotated[Health | None, BeforeValidator(_switch)] = Field(
        None, description="Active health checks; off if not set."
    )
    circuit: Annotated[CircuitBlock | None, BeforeValidator(_switch)] = Field(
        None, description="Circuit breaker per url; off if not set."
    )
    tls: UpstreamTls | None = Field(None, description="How to verify the certificate of an https upstream.")
    bridge: Flag = Field(
        True,
        description="Of an upstream of kind `noetl`: NoETL's command line and GUI get what they were written for, "
        "whichever server is behind; see docs/noetl-servers.md. `false`: everything is forwarded byte for byte.",
    )
    rewrite_location: Flag = Field(
        True, description="Rewrite redirects to the upstream's own address so that they lead to the gateway."
    )
