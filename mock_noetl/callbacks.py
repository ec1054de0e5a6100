"""Callbacks to the gateway, as the last step of a playbook posts them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp

_log = logging.getLogger("mock_noetl")
PATHS = {
    "auth": "/api/internal/callback",
    "result": "/api/internal/callback/async",
    "progress": "/api/internal/progress",
}
_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


class Callbacks:
    """Posts to the gateways that have started playbooks; `token` is the gateway's `live.internal_token`."""

    def __init__(self, token: str = "") -> None:
        self._headers = {"x-internal-token": token} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def post(self, kind: str, workload: Mapping[str, Any], body: Any) -> dict[str, Any]:
        """Post a body to the gateway that the workload names; return what the step reports about it.

        `body` is JSON data, or a text that is sent as it is. Without a gateway, or an id of the request, nothing is
        sent.
        """
        gateway, request_id = workload.get("gateway_url"), workload.get("request_id")
        if not isinstance(gateway, str) or not gateway.startswith(("http://", "https://")) or not request_id:
            return {"sent": False, "reason": "the workload has no gateway_url and request_id"}
        data = body if isinstance(body, str) else json.dumps({"request_id": request_id, **body})
        try:
            if self._session is None:
                self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
            headers = {"content-type": "application/json", **self._headers}
            url = gateway.rstrip("/") + PATHS[kind]
            async with self._session.post(url, data=data.encode(), headers=headers) as response:
                return {"sent": True, "status": response.status, "answer": (await response.text())[:1000]}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            _log.warning("callback to %s failed: %s", gateway, type(error).__name__)
            return {"sent": False, "reason": type(error).__name__}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
