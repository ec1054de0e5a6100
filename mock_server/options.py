"""The options of the command line that both sandboxes have, and a sandbox made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from .clock import Clock
from .journal import MAX_ENTRIES
from .listener_faults import ListenerFaults
from .messages import Handler
from .overrides import Overrides
from .recording import Player, Recorder, RecordingError
from .rules_file import RulesError, load_faults, parse_listener, parse_rule
from .sandbox import Control
from .selection import unreachable

Command = TypeVar("Command", bound=Callable[..., Any])


MOST_ENTRIES = 1_000_000


class OptionsError(Exception):
    """An option or a file is wrong; the text says where."""


@dataclass(frozen=True, slots=True)
class Options:
    """The values of the common options."""

    admin: bool = False
    admin_remote: bool = False
    faults: Path | None = None
    fault: tuple[str, ...] = ()
    listener_faults: str | None = None
    seed: str | None = None
    clock: str | None = None
    record: str | None = None
    recording: Path | None = None
    replay: Path | None = None
    journal: int = MAX_ENTRIES

    def control(self, overrides: Overrides) -> Control:
        """Return what of the control plane is on, for a program with these overrides. Raises OptionsError."""
        try:
            return self._control(overrides)
        except RulesError as error:
            raise OptionsError(str(error)) from None

    def _control(self, overrides: Overrides) -> Control:
        rules = [parse_rule(text, f"--fault {number}", overrides) for number, text in enumerate(self.fault, 1)]
        listener = ListenerFaults()
        if self.faults is not None:
            found, listener = load_faults(self.faults, overrides)
            rules += found
        if self.listener_faults is not None:
            listener = parse_listener(self.listener_faults, "--listener-faults")
        if not self.admin and not self.admin_remote and (problem := unreachable(rules)):
            raise OptionsError(f"{problem}; with --admin, states can be set")
        return Control(self.admin or self.admin_remote, self.admin_remote, tuple(rules), listener, self.journal)

    def set_clock(self, clock: Clock) -> None:
        """Set the clock: `2027-01-01T00:00:00Z`, with `stopped:` in front of it if it stands still."""
        if self.clock is None:
            return
        text = self.clock.removeprefix("stopped:")
        if text != self.clock:
            clock.stop()
        try:
            instant = datetime.fromisoformat(text)
            clock.set((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())
        except ValueError:
            raise OptionsError(f"--clock {self.clock}: an instant such as 2027-01-01T00:00:00Z is expected") from None
        clock.is_the_start()

    def backend(self, program: Handler) -> Recorder | Player | None:
        """Return what answers in place of the program. Raises OptionsError."""
        if self.record is not None and self.replay is not None:
            raise OptionsError("--record and --replay exclude each other")
        if self.recording is not None and self.record is None:
            raise OptionsError("--recording needs --record URL; to answer from a recording, use --replay FILE")
        if self.record is not None:
            return self._recorder(self.record)
        if self.replay is None:
            return None
        try:
            return Player(self.replay, program)
        except RecordingError as error:
            raise OptionsError(f"--replay: {error}") from None

    def _recorder(self, url: str) -> Recorder:
        if not url.startswith(("http://", "https://")):
            raise OptionsError(f"--record {url}: the base URL of a server is expected, such as http://127.0.0.1:8082")
        if self.recording is None:
            raise OptionsError("--record needs --recording FILE, to which the responses are appended")
        try:
            return Recorder(url, self.recording.open("a", encoding="utf-8"))
        except OSError as error:
            raise OptionsError(f"--recording {self.recording}: {error.strerror}") from None


def not_empty(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty text, such as that of a variable that is not set."""
    if value == "":
        raise click.BadParameter("must not be empty: give a value, or leave the option out")
    return value


def common_options(command: Command) -> Command:
    """Add the common options to a click command; they arrive as keyword arguments of the fields of `Options`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: Sequence[Callable[[Command], Command]] = (
    click.option("--admin", is_flag=True, help="Serve the control plane at /__admin, to this machine."),
    click.option("--admin-remote", is_flag=True, help="Serve the control plane to every address."),
    click.option(
        "--journal",
        type=click.IntRange(0, MOST_ENTRIES),
        default=MAX_ENTRIES,
        show_default=True,
        help="How many requests the journal keeps; 0: none.",
    ),
    click.option("--faults", type=click.Path(path_type=Path), help="YAML file with a list of rules."),
    click.option("--fault", multiple=True, metavar="RULE", help="A rule, as YAML; may be given several times."),
    click.option("--listener-faults", metavar="FAULTS", help="As YAML: {accept: 200ms, restart: {at: 30s, down: 3s}}."),
    click.option(
        "--seed",
        callback=not_empty,
        help="Make two runs identical: ids, tokens, keys and random choices follow from it.",
    ),
    click.option("--clock", metavar="INSTANT", help="Start the clock there; stopped:INSTANT lets it stand still."),
    click.option("--record", metavar="URL", help="Forward requests to a real server, and record its responses."),
    click.option("--recording", type=click.Path(path_type=Path), help="File to which responses are recorded."),
    click.option("--replay", type=click.Path(path_type=Path), help="Answer from a recording; other requests as usual."),
)
