"""What is wrong with data is said in plain words, with the place, and no text of pydantic reaches a user."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from mock_auth0.settings import UserEntry
from mock_server.control_operations import ClockChange, JournalQuery, Reset
from mock_server.mistakes import explain, suggest
from mock_server.rules import Rule


@pytest.mark.parametrize(
    ("model", "data", "text"),
    [
        (Rule, [], "must be a mapping"),
        (Rule, {"delay": "1s", "times": "x"}, "times: must be a whole number"),
        (Rule, {"delay": "1s", "times": 1.5}, "times: must be a whole number"),
        (Rule, {"delay": "1s", "match": 5}, "match: must be a mapping"),
        (Rule, {"delay": "1s", "match": {"query": {"a": 5}}}, "match.query.a: must be a text"),
        (Rule, {"delay": "1s", "match": {"method": ["GET", 5]}}, "match.method[1]: must be a text"),
        (Rule, {"fault": {"kind": "hang", "max": "long"}}, "fault.max: a duration is a number with ms, s, m or h"),
        (Rule, {"fault": {"kind": "hang", "where": "here"}}, "fault.where: must be 'before', 'in_head' or 'in_body'"),
        (Rule, {"fault": {"where": "before"}}, "fault: kind is missing"),
        (Rule, {"scenario": {"name": ""}}, "scenario.name: must not be empty"),
        (Rule, {"delay": "1s", "every": {"period": "1m"}}, "every.for: is missing"),
        (Rule, {"name": "x" * 300, "delay": "1s"}, "name: must have at most 200 characters"),
        (ClockChange, {"set": "soon"}, "set: must be an instant such as 2027-01-01T00:00:00Z"),
        (ClockChange, {"move": "far"}, "move: must be a number"),
        (ClockChange, {"stop": "maybe"}, "stop: must be true or false"),
        (JournalQuery, {"limit": "0"}, "limit: must be at least 1"),
        (Reset, {"what": ["all"]}, "what[0]: must be 'rules', 'journal', 'clock' or 'state'"),
        (UserEntry, {"email": "a@b", "password": "x", "claims": {"iss": "x"}}, "claims.iss: this claim is set by the"),
    ],
)
def test_mistake_is_said_with_its_place(model: type[BaseModel], data: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    assert explain(caught.value, model).startswith(text)
    assert "Input should" not in explain(caught.value, model)


def test_misspelt_key_comes_first_with_the_nearest_known_one() -> None:
    with pytest.raises(ValidationError) as caught:
        Rule.model_validate({"match": {"header": {}}})
    assert explain(caught.value, Rule).startswith("match.header: unknown key (known: body, ")
    assert 'did you mean "headers"?' in explain(caught.value, Rule)


@pytest.mark.parametrize(("word", "end"), [("ONE", '; did you mean "one"?)'), ("oen", '"one"?)'), ("xyz", "two)")])
def test_nearest_word_is_suggested_if_there_is_a_similar_one(word: str, end: str) -> None:
    assert suggest(word, ["two", "one"]).startswith(" (known: one, two")
    assert suggest(word, ["two", "one"]).endswith(end)
