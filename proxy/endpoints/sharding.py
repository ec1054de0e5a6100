"""`GET /sharding/preview`: the shard of an execution by NoETL's scheme, for operators. It looks nothing up."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs

from proxy.errors import BadRequest
from proxy.exchange import RequestContext
from proxy.http.response import Response, json_response
from proxy.upstream.routing_keys import MAX_ID, MAX_SHARDS, shard_of


@dataclass(frozen=True, slots=True)
class ShardingHandler:
    """The endpoint; `shards` counts if a request names no `shard_count`: how many urls the NoETL server has."""

    shards: int

    async def preview(self, context: RequestContext) -> Response:
        """Return the shard of an execution."""
        found = parse_qs(context.head.query.removeprefix("?"))
        query = {name: values[0] if len(values) == 1 else "more than one" for name, values in found.items()}
        execution_id = _number(query, "execution_id", 0, MAX_ID)
        count = _number(query, "shard_count", 1, MAX_SHARDS) if "shard_count" in query else self.shards
        return json_response(
            {
                "execution_id": execution_id,
                "shard_count": count,
                "shard_index": shard_of(execution_id, count),
                "source": "noetl-gateway",
                "hash_function": "twox_hash::XxHash64",
                "seed": 0,
            }
        )


def _number(query: dict[str, str], name: str, least: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        raise BadRequest(f"{name} is required")
    if not text.isascii() or not text.isdigit() or len(text) > 20 or not least <= int(text) <= most:
        raise BadRequest(f"{name} must be a whole number from {least} to {most}")
    return int(text)
