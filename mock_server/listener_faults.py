"""Faults of the listening socket, which no rule about requests can have: slow accepts, and restarts on a schedule."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .faults import Seconds
from .listener import Listener


class PlannedRestart(BaseModel):
    """A restart at a moment after the start, once or again and again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Seconds = Field(description="Duration from the start to the restart.")
    down: Seconds = Field(1.0, description="Duration for which the port is closed.")
    every: Annotated[Seconds, Field(gt=0)] | None = Field(None, description="Duration between two restarts.")


class ListenerFaults(BaseModel):
    """The faults of the listening socket."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accept: Seconds = Field(0.0, description="Duration before each connection is accepted.")
    restart: PlannedRestart | None = None

    async def restart_by_schedule(self, listener: Listener) -> None:
        """Restart the listener by the schedule, until this task is cancelled."""
        plan = self.restart
        if plan is None:
            return
        await asyncio.sleep(plan.at)
        while True:
            await listener.restart(plan.down)
            if plan.every is None:
                return
            await asyncio.sleep(max(0.0, plan.every - plan.down))
