"""Rules and faults of the listener from YAML: of a file, with the line of each mistake, or of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .listener_faults import ListenerFaults
from .mistakes import Mistake, explain, mistakes
from .overrides import Overrides
from .rules import Rule
from .yaml_file import YamlFile, YamlFileError

MAX_FILE = 1024 * 1024
Model = TypeVar("Model", bound=BaseModel)


class RulesError(Exception):
    """A rule or a fault of the listener is wrong; the text says where."""


class FaultsFile(BaseModel):
    """The content of a file of `--faults`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: list[Rule] = Field([], description="The rules, in their order.")
    listener: ListenerFaults = Field(ListenerFaults(), description="The faults of the listening socket.")


def parse_rule(text: str, place: str, overrides: Overrides | None = None) -> Rule:
    """Return a rule from YAML text. Raises RulesError, which names the place."""
    return _parse(text, place, Rule, overrides)


def parse_listener(text: str, place: str) -> ListenerFaults:
    """Return the faults of the listener from YAML text. Raises RulesError, which names the place."""
    return _parse(text, place, ListenerFaults)


def _parse(text: str, place: str, model: type[Model], context: Overrides | None = None) -> Model:
    try:
        return model.model_validate(yaml.safe_load(text), context=context)
    except yaml.YAMLError as error:
        raise RulesError(f"{place}: not YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        raise RulesError(f"{place}: {explain(error, model)}") from None
    except RecursionError:
        raise RulesError(f"{place}: nested too deeply") from None


def load_faults(path: Path, overrides: Overrides | None = None) -> tuple[list[Rule], ListenerFaults]:
    """Return the rules of a YAML file, and the faults of the listener.

    Raises:
        RulesError: the file is wrong; the text names the file, the lines and the places.
    """
    try:
        file = YamlFile.read(path, MAX_FILE)
    except YamlFileError as error:
        raise RulesError(str(error)) from None
    is_list = isinstance(file.data, list)
    if not file.data or not isinstance(file.data, list | dict):
        raise RulesError(f"{path}: a list of rules is expected, or a mapping with rules and listener")
    try:
        found = FaultsFile.model_validate({"rules": file.data} if is_list else file.data, context=overrides)
    except ValidationError as error:
        places = mistakes(error, FaultsFile)
        if is_list:
            places = [Mistake(each.location[1:], each.problem) for each in places]
        raise RulesError(str(file.error(*places))) from None
    return found.rules, found.listener
