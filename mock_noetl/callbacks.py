"""Callbacks to the gateway, as the last step of a playbook posts them."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

_log = logging.getLogger("mock_noetl")
PATHS = {
    "auth": "/api/internal/callback",
    "result": "/api/internal/callback/async",
    "progress": "/api/internal/progress",
}
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
"""Without a dot; numbers such as 134744072 are addresses."""
_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


def is_near(url: str) -> bool:
    """Return whether a URL is of this machine, of a private network, or of a container: of a name without a dot."""
    name = ""
    try:
        name = urlsplit(url).hostname or ""
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return _NAME.fullmatch(name) is not None or name.endswith(".localhost")
    return address.is_loopback or (address.is_private and not address.is_unspecified)


class Callbacks:
    """Posts to the gateways that have started playbooks.

    A workload names the gateway, and any page in a browser here can start a playbook. So that no page has the token
    sent to a server of its own, callbacks go to gateways nearby, and to those that were named at the start.

    Args:
        token: the gateway's `live.internal_token`.
        gateways: the base URLs of other gateways.
    """

    def __init__(self, token: str = "", gateways: Collection[str] = ()) -> None:
        self._headers = {"x-internal-token": token} if token else {}
        self._gateways = frozenset(url.rstrip("/") for url in gateways)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, kind: str, workload: Mapping[str, Any], body: Any) -> dict[str, Any]:
        """Post a body to the gateway that the workload names; return what the step reports about it.

        `body` is JSON data, or a text that is sent as it is. Without a gateway, or an id of the request, nothing is
        sent.
        """
        gateway, request_id = workload.get("gateway_url"), workload.get("request_id")
        if not isinstance(gateway, str) or not gateway.startswith(("http://", "https://")) or not request_id:
            return {"sent": False, "reason": "the workload has no gateway_url and request_id"}
        base = gateway.rstrip("/")
        if base not in self._gateways and not is_near(base):
            return {"sent": False, "reason": f"{base} is not on this machine or its networks; --callback-to allows it"}
        data = body if isinstance(body, str) else json.dumps({"request_id": request_id, **body})
        try:
            if self._session is None:
                self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
            headers = {"content-type": "application/json", **self._headers}
            sent = self._session.post(base + PATHS[kind], data=data.encode(), headers=headers, allow_redirects=False)
            async with sent as response:
                return {"sent": True, "status": response.status, "answer": (await response.text())[:1000]}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            _log.warning("callback to %s failed: %s", gateway, type(error).__name__)
            return {"sent": False, "reason": type(error).__name__}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
