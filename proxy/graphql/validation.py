"""Validation with a deadline: graphql-core's rules, with a check of the time at each node. The one rule with quadratic
complexity has a budget of comparisons, too, and checks the time between them.

The time is the processor time of the thread, so that a busy machine does not make a document invalid.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from graphql import DocumentNode, GraphQLError, GraphQLSchema, specified_rules, validate
from graphql.validation import ASTValidationRule, OverlappingFieldsCanBeMergedRule, ValidationContext
from graphql.validation.rules.overlapping_fields_can_be_merged import RuleContext
from graphql.validation.validate import ValidationAbortedError

MAX_ERRORS = 5
_CHECK_EVERY = 32
_MAX_STEPS = 20_000
"""The budget of the rule about overlapping fields; a comparison of two fields takes two. A document that is written by
hand or generated for an application takes some hundreds."""
_ERROR_LIMIT_REACHED = "Too many validation errors"


class Overtime(Exception):
    """The processor time for a document is used up."""


class Repetitive(Exception):
    """The document has too many fields of the same name to compare."""


class Deadline:
    """A limit on the processor time for one document, from now on; `seconds` is the maximum.

    `is_set` is False for an infinite time, of documents for which nobody waits.
    """

    __slots__ = ("_end", "is_set")

    def __init__(self, seconds: float) -> None:
        self.is_set = seconds != math.inf
        self._end = time.thread_time() + seconds

    def check(self) -> None:
        """Raise Overtime if the deadline has passed."""
        if time.thread_time() > self._end:
            raise Overtime


@contextmanager
def without_collection() -> Iterator[None]:
    """Disable garbage collection in a block, so that its pauses do not count as time of the document."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Clock(ASTValidationRule):
    """A validation rule that reports no errors and checks the deadline at each node."""

    def __init__(self, deadline: Deadline, context: ValidationContext) -> None:
        super().__init__(context)
        self._check = deadline.check

    def enter(self, *_: Any) -> None:
        self._check()


class _TimedContext(RuleContext):
    """A small budget for the rule about overlapping fields, with a check of the deadline every few steps."""

    __slots__ = ("_check", "_remaining", "_steps")

    def __init__(self, deadline: Deadline) -> None:
        self._check = deadline.check
        self._steps = 0
        super().__init__()
        if deadline.is_set:
            self._remaining = _MAX_STEPS

    @property
    def remaining_complexity_budget(self) -> int:
        """Return the number of remaining steps."""
        return self._remaining

    @remaining_complexity_budget.setter
    def remaining_complexity_budget(self, steps: int) -> None:
        self._remaining = steps
        self._steps += 1
        if self._steps % _CHECK_EVERY == 0:
            self._check()


class _TimedOverlaps(OverlappingFieldsCanBeMergedRule):
    def __init__(self, deadline: Deadline, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context = _TimedContext(deadline)


_OTHER_RULES = tuple(rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule)


def validate_in_time(
    schema: GraphQLSchema, document: DocumentNode, deadline: Deadline, *, hide_suggestions: bool
) -> Sequence[GraphQLError]:
    """Return the errors of a document, at most `MAX_ERRORS`, and then one that there are more.

    Raises:
        Overtime: the deadline has passed.
        Repetitive: there are too many fields of the same name to compare.
    """
    rules: list[Any] = [partial(_Clock, deadline), *_OTHER_RULES, partial(_TimedOverlaps, deadline)]
    errors = validate(
        schema,
        document,
        cast("list[type[ASTValidationRule]]", rules),
        max_errors=MAX_ERRORS,
        hide_suggestions=hide_suggestions,
    )
    if errors and isinstance(errors[-1], ValidationAbortedError) and _ERROR_LIMIT_REACHED not in errors[-1].message:
        raise Repetitive
    return errors
