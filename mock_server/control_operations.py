"""The operations that both sandboxes have: rules, scenarios, journal, clock, connections, reset."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .faults import KINDS, Seconds
from .journal import Check, Filter
from .matching import Match
from .mistakes import suggest
from .operations import AdminError, Call, Operation
from .rules import Rule
from .selection import ActiveRule, TooManyRulesError
from .texts import Method, PathPattern, Text

if TYPE_CHECKING:
    from .sandbox import Sandbox

MAX_LISTED = 1_000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClockChange(_Body):
    """A change of the clock."""

    set: datetime | None = Field(None, description="An instant with a time zone, such as `2027-01-01T00:00:00Z`.")
    move: float | None = Field(None, description="Seconds; negative ones move the clock back.")
    stop: bool | None = Field(None, description="true stops the clock, false lets it go on.")


class State(_Body):
    """The state of a scenario."""

    state: Annotated[Text, Field(max_length=200)]


class JournalFilter(_Body):
    """Which requests of the journal are meant."""

    method: Method | None = None
    path: PathPattern = Field("**", description="`*` is anything but a slash, `**` anything.")
    status: int | None = None
    rule: str | None = None
    after: int = Field(0, description="Only entries with a higher number.")

    @property
    def wanted(self) -> Filter:
        """The filter."""
        match = Match(method=self.method or [], path=self.path)
        return Filter(match=match, status=self.status, rule=self.rule, after=self.after)


class JournalQuery(JournalFilter):
    """Filters of the journal, and how it is listed."""

    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 100
    timing: bool = Field(True, description="false leaves out durations, so that two equal runs give equal journals.")


class Restart(_Body):
    """A restart of the listener."""

    down: Seconds = Field(1.0, description="Duration for which the port is closed.")
    lose_state: bool = Field(False, description="true: the program forgets everything since its start.")


class Accept(_Body):
    """How connections are accepted."""

    delay: Seconds = Field(description="Duration before each connection is accepted; 0: none.")


class Reset(_Body):
    """What is reset."""

    what: list[Literal["rules", "journal", "clock", "state"]] = ["rules", "journal", "clock", "state"]


class ControlOperations:
    """The functions of the common operations of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._since = time.monotonic()
        self._restart: asyncio.Task[None] | None = None

    def all(self) -> list[Operation]:
        """Return the operations."""
        counted = "Count requests by method, path and status."
        return [
            Operation("GET", "/status", "Show what runs, its clock and its counters.", self.status),
            Operation("GET", "/rules", "List the rules in their order, with how often each applied.", self.rules),
            Operation("POST", "/rules", "Put a rule before all others; one of its name is replaced.", self.add, Rule),
            Operation("DELETE", "/rules", "Remove all rules.", self.clear_rules),
            Operation("DELETE", "/rules/{name}", "Remove a rule.", self.remove),
            Operation("GET", "/faults", "List the kinds of faults.", self.faults),
            Operation("GET", "/scenarios", "List scenarios and their states.", self.scenarios),
            Operation("PUT", "/scenarios/{name}", "Put a scenario into a state.", self.set_scenario, State),
            Operation("GET", "/journal", "List requests, oldest first.", self.journal, query=JournalQuery),
            Operation("GET", "/journal/counts", counted, self.counts, query=JournalFilter),
            Operation("POST", "/journal/verify", "Check how many requests came; else 409.", self.verify, Check),
            Operation("DELETE", "/journal", "Empty the journal.", self.clear_journal),
            Operation("GET", "/clock", "Show the clock.", self.clock),
            Operation("PUT", "/clock", "Set, move, stop or start the clock.", self.change_clock, ClockChange),
            Operation("PUT", "/accept", "Accept connections slowly.", self.accept, Accept),
            Operation("POST", "/connections/reset", "Reset every open connection.", self.reset_connections),
            Operation("POST", "/restart", "Close the port and all connections for a while.", self.restart, Restart),
            Operation("POST", "/reset", "Return to the state at the start.", self.reset, Reset),
        ]

    def status(self, call: Call) -> Any:
        """Return the program, the seed, the clock and counters."""
        sandbox = self._sandbox
        return {
            "program": sandbox.program.name,
            "url": sandbox.url,
            "seed": sandbox.seed,
            "uptime_seconds": round(time.monotonic() - self._since, 3),
            "clock": self.clock(call),
            "rules": len(sandbox.rules),
            "journal": {"entries": len(sandbox.journal), "total": sandbox.journal.total},
            "connections": len(sandbox.listener.service.open),
            "tasks": len(asyncio.all_tasks()),
        }

    def rules(self, call: Call) -> Any:
        """Return all rules."""
        return {"rules": [_shown(active) for active in self._sandbox.rules]}

    def add(self, call: Call) -> Any:
        """Add a rule."""
        try:
            return _shown(self._sandbox.rules.add(call.body))
        except TooManyRulesError as error:
            raise AdminError(409, str(error)) from None

    def clear_rules(self, call: Call) -> Any:
        """Remove all rules."""
        count = len(self._sandbox.rules)
        self._sandbox.rules.clear()
        return {"removed": count}

    def remove(self, call: Call) -> Any:
        """Remove a rule."""
        if not self._sandbox.rules.remove(call.names["name"]):
            raise AdminError(404, "there is no rule of this name: GET /__admin/rules lists them")
        return {"removed": 1}

    def scenarios(self, call: Call) -> Any:
        """Return the state of each scenario."""
        states = dict.fromkeys(self._sandbox.rules.scenarios, "start")
        return {"scenarios": states | self._sandbox.rules.states}

    def set_scenario(self, call: Call) -> Any:
        """Put a scenario into a state."""
        name, state = call.names["name"], call.body.state
        known = self._sandbox.rules.scenarios
        if name not in known:
            raise AdminError(404, f"no rule has the scenario {name}{suggest(name, known)}")
        if state not in known[name]:
            raise AdminError(400, f"state: no rule of this scenario has the state {state}{suggest(state, known[name])}")
        self._sandbox.rules.set_state(name, state)
        return {"name": name, "state": state}

    def journal(self, call: Call) -> Any:
        """Return entries of the journal."""
        query: JournalQuery = call.query
        journal = self._sandbox.journal
        found = list(journal.find(query.wanted))
        entries = [entry.data(journal.masks, query.timing) for entry in found[: query.limit]]
        return {"entries": entries, "matched": len(found), "total": journal.total}

    def counts(self, call: Call) -> Any:
        """Return counts of requests."""
        return {"counts": self._sandbox.journal.counts(call.query.wanted)}

    def verify(self, call: Call) -> Any:
        """Compare the number of requests of a kind with what is expected."""
        check: Check = call.body
        count = sum(1 for _ in self._sandbox.journal.find(check))
        if check.holds(count):
            return {"verified": True, "count": count}
        wanted = {
            n: v for n, v in check.model_dump().items() if n in {"exactly", "at_least", "at_most"} and v is not None
        }
        text = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in wanted.items()) or "at least 1"
        raise AdminError(409, f"{count} requests matched, expected {text}: GET /__admin/journal lists what came")

    def clear_journal(self, call: Call) -> Any:
        """Empty the journal."""
        self._sandbox.journal.clear()
        return {}

    def clock(self, call: Call) -> Any:
        """Return the clock."""
        clock = self._sandbox.clock
        return {"now": clock.moment().isoformat(), "offset_seconds": round(clock.offset, 3), "stopped": clock.stopped}

    def change_clock(self, call: Call) -> Any:
        """Change the clock."""
        clock, change = self._sandbox.clock, call.body
        try:
            if change.stop:
                clock.stop()
            if change.set is not None:
                instant = change.set if change.set.tzinfo else change.set.replace(tzinfo=UTC)
                clock.set(instant.timestamp())
            if change.move is not None:
                clock.move(change.move)
            if change.stop is False:
                clock.go_on()
        except ValueError as error:
            raise AdminError(400, str(error)) from None
        return self.clock(call)

    def accept(self, call: Call) -> Any:
        """Set the delay before a connection is accepted."""
        self._sandbox.listener.accept_seconds = call.body.delay
        return {"delay_seconds": call.body.delay}

    def reset_connections(self, call: Call) -> Any:
        """Reset the connections that are open now, after the response to this call is sent."""
        found = list(self._sandbox.listener.service.open)

        def reset() -> None:
            for connection in found:
                connection.reset()

        asyncio.get_running_loop().call_later(0.05, reset)
        return {"reset": len(found)}

    def restart(self, call: Call) -> Any:
        """Restart the listener, after the response to this call is sent."""
        if self._restart is not None and not self._restart.done():
            raise AdminError(409, "a restart is under way: wait until the port is open again")
        self._restart = asyncio.create_task(self._go_down(call.body))
        return {"down_seconds": call.body.down}

    async def _go_down(self, wanted: Restart) -> None:
        await asyncio.sleep(0.05)
        if wanted.lose_state:
            await self._sandbox.program.reset()
        await self._sandbox.listener.restart(wanted.down)

    def faults(self, call: Call) -> Any:
        """Return the kinds of faults with what each does."""
        return {"faults": {kind: model.__doc__ for kind, model in KINDS.items()}}

    async def reset(self, call: Call) -> Any:
        """Reset parts of the sandbox."""
        sandbox, what = self._sandbox, call.body.what
        if "rules" in what:
            sandbox.rules.reset()
            sandbox.listener.accept_seconds = sandbox.control.listener.accept
        if "journal" in what:
            sandbox.journal.clear()
        if "clock" in what:
            sandbox.clock.reset()
        if "state" in what:
            await sandbox.program.reset()
        return {"reset": what}


def _shown(active: ActiveRule) -> dict[str, Any]:
    rule = active.rule.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"delay"})
    if active.rule.delay is not None:
        rule["delay"] = active.rule.delay.data()
    return {"name": active.rule.name, **rule, "seen": active.seen, "applied": active.applied}
