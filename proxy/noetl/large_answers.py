"""The beginning of a response that is too large to be read whole: enough to know whose it is."""

from __future__ import annotations

import json
import re
from typing import Any

from proxy.upstream.client import OutgoingRequest, UpstreamClient

_BEGINNING = 64 * 1024
_MEMBER = re.compile(r'[\s,]*("(?:[^"\\]|\\.)*")\s*:\s*')


async def beginning(client: UpstreamClient, wanted: OutgoingRequest) -> bytes:
    """Return the beginning of the body of a response. Raises GatewayError; see `UpstreamClient.request`."""
    data = bytearray()
    async with client.request(wanted) as response:
        async for chunk in response.chunks():
            data += chunk
            if len(data) >= _BEGINNING:
                break
    return bytes(data[:_BEGINNING])


def leading_members(data: bytes) -> dict[str, Any]:
    """Return the first members of a JSON object whose text may end anywhere: all that are whole."""
    text, decoder = data.decode("utf-8", "replace"), json.JSONDecoder()
    found: dict[str, Any] = {}
    at = text.find("{") + 1
    while (member := _MEMBER.match(text, at)) is not None:
        try:
            value, at = decoder.raw_decode(text, member.end())
            name = json.loads(member[1])
        except (ValueError, RecursionError):
            break
        if at == len(text):
            break  # a number may go on
        found[name] = value
    return found
