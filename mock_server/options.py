"""The options of the command line that both sandboxes have, and a sandbox made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml
from pydantic import ValidationError

from .admin import explain
from .clock import Clock
from .messages import Handler
from .recording import Player, Recorder, RecordingError
from .rules import Rule
from .sandbox import Control

MAX_RULES_FILE = 1024 * 1024
Command = TypeVar("Command", bound=Callable[..., Any])


class OptionsError(Exception):
    """An option or a file is wrong; the text says where."""


@dataclass(frozen=True, slots=True)
class Options:
    """The values of the common options."""

    admin: bool = False
    admin_remote: bool = False
    faults: Path | None = None
    fault: tuple[str, ...] = ()
    seed: str | None = None
    clock: str | None = None
    record: str | None = None
    recording: Path | None = None
    replay: Path | None = None

    def control(self) -> Control:
        """Return what of the control plane is on. Raises OptionsError."""
        rules = [parse_rule(text, f"--fault {number}") for number, text in enumerate(self.fault, 1)]
        if self.faults is not None:
            rules += load_rules(self.faults)
        return Control(self.admin or self.admin_remote, self.admin_remote, tuple(rules))

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

    def backend(self, program: Handler) -> Recorder | Player | None:
        """Return what answers in place of the program. Raises OptionsError."""
        if self.record is not None and self.replay is not None:
            raise OptionsError("--record and --replay exclude each other")
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


def common_options(command: Command) -> Command:
    """Add the common options to a click command; they arrive as keyword arguments of the fields of `Options`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: Sequence[Callable[[Command], Command]] = (
    click.option("--admin", is_flag=True, help="Serve the control plane at /__admin, to this machine."),
    click.option("--admin-remote", is_flag=True, help="Serve the control plane to every address."),
    click.option("--faults", type=click.Path(path_type=Path), help="YAML file with a list of rules."),
    click.option("--fault", multiple=True, metavar="RULE", help="A rule, as YAML; may be given several times."),
    click.option("--seed", help="Make two runs identical: ids, tokens, keys and random choices follow from it."),
    click.option("--clock", metavar="INSTANT", help="Start the clock there; stopped:INSTANT lets it stand still."),
    click.option("--record", metavar="URL", help="Forward requests to a real server, and record its responses."),
    click.option("--recording", type=click.Path(path_type=Path), help="File to which responses are recorded."),
    click.option("--replay", type=click.Path(path_type=Path), help="Answer from a recording; other requests as usual."),
)


def parse_rule(text: str, place: str) -> Rule:
    """Return a rule from YAML text. Raises OptionsError, which names the place."""
    try:
        return Rule.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise OptionsError(f"{place}: not YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        raise OptionsError(f"{place}: {explain(error)}") from None
    except RecursionError:
        raise OptionsError(f"{place}: nested too deeply") from None


def load_rules(path: Path) -> list[Rule]:
    """Return the rules of a YAML file. Raises OptionsError, which names the file and the rule."""
    try:
        if path.stat().st_size > MAX_RULES_FILE:
            raise OptionsError(f"{path}: a file of rules is at most {MAX_RULES_FILE} bytes")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionsError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise OptionsError(f"{path}{place}: not YAML: {getattr(error, 'problem', None) or 'unreadable'}") from None
    rules = document.get("rules") if isinstance(document, dict) and set(document) == {"rules"} else document
    if not isinstance(rules, list):
        raise OptionsError(f"{path}: a list of rules is expected, or a mapping with rules")
    found = []
    for number, rule in enumerate(rules, 1):
        try:
            found.append(Rule.model_validate(rule))
        except ValidationError as error:
            raise OptionsError(f"{path}: rule {number}: {explain(error)}") from None
    return found
