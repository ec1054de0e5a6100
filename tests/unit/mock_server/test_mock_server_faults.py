"""Faults: the steps of a response, with its body in parts."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest
from pydantic import ValidationError

from mock_server.delivery import Write
from mock_server.faults import KINDS, MAX_BODY
from mock_server.messages import Response
from mock_server.mistakes import explain
from mock_server.rules import Rule
from mock_server.sandbox import scripted, with_fault

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
BODY = bytes(range(256)) * 3


@pytest.mark.parametrize("size", [1, 7, len(HEAD), len(HEAD) + 1, 100, 65_536])
def test_dribble_sends_every_byte_in_parts_of_its_size(size: int) -> None:
    fault = KINDS["dribble"].model_validate({"kind": "dribble", "size": size})
    steps = fault.steps(lambda *framed: HEAD, BODY, random.Random(0))
    written = [step.data for step in steps if isinstance(step, Write)]
    assert b"".join(written) == HEAD + BODY
    assert {len(part) for part in written[:-1]} <= {size}


def test_body_over_the_limit_is_refused_with_a_fault_only() -> None:
    rule: dict[str, Any] = {"response": {"size": MAX_BODY + 1}}
    Rule.model_validate(rule)
    Rule.model_validate({"response": {"size": MAX_BODY}, "fault": "empty"})
    with pytest.raises(ValidationError) as caught:
        Rule.model_validate({**rule, "fault": "reset_in_body"})
    assert explain(caught.value, Rule).startswith("response.size: must be at most 67108864 (64 MiB) in a rule with a f")


async def test_largest_body_with_a_fault_takes_its_size_in_memory_once() -> None:
    rule = Rule.model_validate({"response": {"size": MAX_BODY}, "fault": {"kind": "wrong_length", "difference": 1}})
    assert rule.response is not None
    tracemalloc.start()
    try:
        response: Response = await with_fault(scripted(rule.response), rule, random.Random(0))
        assert response.fault is not None
        steps = response.fault(lambda *framed: HEAD, response.body)
        sent = sum(len(step.data) for step in steps if isinstance(step, Write))
        assert sent == MAX_BODY + len(HEAD)
        assert tracemalloc.get_traced_memory()[1] < MAX_BODY * 1.1
    finally:
        tracemalloc.stop()
