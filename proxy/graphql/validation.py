"""Validation that ends in time: graphql-core's rules under a deadline, which is looked at between nodes and, in the one
rule that may compare every field with every other, between comparisons.

Time is the thread's processor time, so that a busy machine makes no document wrong.
"""

from __future__ import annotations

import gc
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
_LOOK_EVERY = 32
_NOT_THE_DOCUMENT = "Too many validation errors"


class Overtime(Exception):
    """The time for a document is over."""


class Deadline:
    """The processor time that one document may take from now on, in seconds."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.thread_time() + seconds

    def check(self) -> None:
        """Raise Overtime once the time is over."""
        if time.thread_time() > self._end:
            raise Overtime


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage is collected meanwhile: a pause for that is not the document's time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Clock(ASTValidationRule):
    """A rule that finds nothing wrong, and looks at the clock at each node."""

    def __init__(self, deadline: Deadline, context: ValidationContext) -> None:
        super().__init__(context)
        self._check = deadline.check

    def enter(self, *_: Any) -> None:
        self._check()


class _TimedContext(RuleContext):
    """What the rule about overlapping fields spends its steps from, with a look at the clock now and then."""

    __slots__ = ("_check", "_left", "_steps")

    def __init__(self, deadline: Deadline) -> None:
        self._check = deadline.check
        self._steps = 0
        super().__init__()

    @property
    def remaining_complexity_budget(self) -> int:
        """The steps that are left."""
        return self._left

    @remaining_complexity_budget.setter
    def remaining_complexity_budget(self, left: int) -> None:
        self._left = left
        self._steps += 1
        if self._steps % _LOOK_EVERY == 0:
            self._check()


class _TimedOverlaps(OverlappingFieldsCanBeMergedRule):
    def __init__(self, deadline: Deadline, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context = _TimedContext(deadline)


_OTHER_RULES = tuple(rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule)


def validate_in_time(
    schema: GraphQLSchema, document: DocumentNode, deadline: Deadline, *, hide_suggestions: bool
) -> Sequence[GraphQLError]:
    """What is wrong with a document, at most `MAX_ERRORS` and a line that there is more. Raises Overtime."""
    rules: list[Any] = [partial(_Clock, deadline), *_OTHER_RULES, partial(_TimedOverlaps, deadline)]
    errors = validate(
        schema,
        document,
        cast("list[type[ASTValidationRule]]", rules),
        max_errors=MAX_ERRORS,
        hide_suggestions=hide_suggestions,
    )
    if errors and isinstance(errors[-1], ValidationAbortedError) and _NOT_THE_DOCUMENT not in errors[-1].message:
        raise Overtime
    return errors
