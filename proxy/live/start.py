"""Starts of executions with the id of a client, which receives the result as an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.live.follow import Follower
from proxy.live.hub import Hub, LiveRequest
from proxy.noetl.api import NoetlApi
from proxy.noetl.on_behalf import OnBehalf


@dataclass(frozen=True, slots=True)
class LiveStarts:
    """The starts of one configuration; `gateway_url` is how workers reach this gateway."""

    hub: Hub
    follower: Follower
    gateway_url: str

    def begin(self, client_id: str | None, user_id: int) -> LiveRequest | None:
        """Return the request of a start with the id of a client; None without one. Raises as `Hub.client`."""
        return None if client_id is None else self.hub.begin(client_id, user_id)

    def workload(self, request: LiveRequest | None, workload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the workload of a start, with what its callback needs."""
        if request is None:
            return workload
        return {**workload, "request_id": request.request_id, "gateway_url": self.gateway_url}

    def started(
        self, request: LiveRequest | None, execution_id: str, path: str, api: NoetlApi, on_behalf: OnBehalf
    ) -> str | None:
        """Note the execution of a request, and follow it; return the id of the request."""
        if request is None:
            return None
        self.hub.started(request, execution_id, path)
        self.follower.follow(request, api.plain, on_behalf)
        return request.request_id

    def abandon(self, request: LiveRequest | None) -> None:
        """Forget a request that has started nothing."""
        if request is not None:
            self.hub.abandon(request)
