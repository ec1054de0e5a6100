"""Starts of executions with the id of a client, which receives the result as an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxy.errors import Unavailable
from proxy.live.follow import Follower
from proxy.live.hub import Hub
from proxy.noetl.api import NoetlApi, Start
from proxy.noetl.on_behalf import OnBehalf
from proxy.observe.logs import get_logger
from proxy.sessions.store import StoreError

Begin = Callable[[Mapping[str, Any]], Awaitable[Start]]
"""Starts a playbook with more members in its workload."""


@dataclass(frozen=True, slots=True)
class LiveStarts:
    """The starts of one configuration; `gateway_url` is how workers reach this gateway."""

    hub: Hub
    follower: Follower
    gateway_url: str

    async def start(
        self, client_id: str, user_id: int, path: str, api: NoetlApi, on_behalf: OnBehalf, begin: Begin
    ) -> tuple[Start, str]:
        """Start a playbook for a client; return the start, and the id of the request that waits for the result.

        Raises as `Hub.begin`, and as `begin`: then nothing waits.
        """
        try:
            request = await api.apart(self.hub.begin(client_id, user_id, on_behalf.identity))
        except StoreError as error:
            raise Unavailable(detail=f"session store: {error}") from None
        try:
            started = await begin({"request_id": request.request_id, "gateway_url": self.gateway_url})
        except Exception:  # not a client that left: what it started sends its result all the same
            await api.apart(self.hub.store.abandon(request.request_id))
            raise
        try:
            await api.apart(self.hub.store.started(request.request_id, started.execution_id, path))
        except StoreError as error:  # it has started all the same: the client must know
            get_logger().warning("live.start_not_stored", execution_id=started.execution_id, reason=str(error))
        running = replace(request, execution_id=started.execution_id, path=path)
        self.follower.follow(running, api.plain)
        return started, request.request_id
