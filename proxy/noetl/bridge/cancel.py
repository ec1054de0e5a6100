"""The rows `cancel` and `stop`: the response to a cancellation, as the Python server gives it. Pure."""

from __future__ import annotations

import re

from proxy.http.json_members import read_object
from proxy.noetl.bridge.messages import ClientRequest, Facts, JsonAnswer
from proxy.noetl.bridge.text import json_of
from proxy.noetl.truth import already_ended

_CANCELLED = re.compile(r"\bCANCELLED\b")
_CAN_NOT = 422


def cancel(request: ClientRequest, answer: JsonAnswer, facts: Facts) -> JsonAnswer:
    """Name the cancelled execution; one that had been cancelled before is no error, as on the Python server."""
    if answer.status == _CAN_NOT:
        error = read_object(answer.text).values.get("error")
        if not isinstance(error, str) or not _CANCELLED.search(error):
            return answer
        return JsonAnswer(200, json_of(already_ended(request.execution_id, "cancelled")))
    document = read_object(answer.text)
    was_cancelled = document.values.get("status") == "cancelled"
    added = {"cancelled_executions": json_of([request.execution_id])} if was_cancelled else {}
    return answer._replace(text=document.edited({}, added))
