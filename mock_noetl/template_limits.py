"""Jinja2's sandbox for templates of which none takes long, or makes much: each operation has a limit.

There are no loops, so a template has few operations, and all templates of a step share a budget of time. What can make
a lot of a little is left out, or is checked before it runs: filters and methods that fill up to a width, products,
powers, replacements. Values are checked where they are kept, written or given to a filter, and count as often as they
occur in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import wraps
from time import perf_counter, thread_time
from typing import Any, cast

from jinja2 import StrictUndefined, nodes
from jinja2.filters import FILTERS as DEFAULT_FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as DEFAULT_TESTS
from jinja2.visitor import NodeTransformer

MAX_CHARACTERS = 1_000_000
MAX_ITEMS = 100_000
MAX_BITS = 4_096
MAX_RANGE = 1_000
MAX_DIGITS = 100
MAX_INDENT = 16
MAX_WIDTH_DIGITS = 3
MAX_SECONDS = 0.1
"""How long the templates of one step may take; a little longer on a busy machine."""

_FILTERS = (
    "abs", "attr", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "filesizeformat", "first", "float",
    "forceescape", "groupby", "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "reverse", "safe", "select", "selectattr", "sort", "string", "title", "trim", "truncate", "unique",
    "upper", "urlencode", "wordcount",
)  # fmt: skip
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset({
        "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal",
        "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "lower", "lstrip", "partition",
        "removeprefix", "removesuffix", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines",
        "startswith", "strip", "swapcase", "title", "upper",
    }),
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
}  # fmt: skip
_WIDTH = re.compile(rf"%[^a-zA-Z%]*?(?:\*|\d{{{MAX_WIDTH_DIGITS + 1}}})")


class TemplateFailed(Exception):
    """A template is malformed, has no value, or would make too much. The text is one line."""


class _Budget:
    """The time that the templates of the step that runs now may still take; 0: each template has its own."""

    until = 0.0
    until_cpu = 0.0


def begin_budget() -> None:
    """Let all templates that are evaluated until `end_budget` share one budget."""
    _Budget.until, _Budget.until_cpu = perf_counter() + MAX_SECONDS, 0.0


def end_budget() -> None:
    """Let each template have its own budget again."""
    _Budget.until = 0.0


def has_budget() -> bool:
    """Return whether there is a budget now."""
    return _Budget.until > 0


def spend() -> None:
    """Raise TemplateFailed if the budget is used up.

    The time of day is compared first, since it is cheap to read; from then on it is CPU that counts, since the process
    may have had to wait.
    """
    if not _Budget.until or perf_counter() < _Budget.until:
        return
    used = thread_time()
    _Budget.until_cpu = _Budget.until_cpu or used + MAX_SECONDS
    if used >= _Budget.until_cpu:
        raise TemplateFailed(f"the templates of a step take at most {MAX_SECONDS * 1000:.0f} ms")
    _Budget.until = perf_counter() + _Budget.until_cpu - used


def checked(value: Any) -> Any:
    """Return a value that is not too large. Raises TemplateFailed, also if the budget is used up."""
    spend()
    if isinstance(value, str | bytes):
        if len(value) > MAX_CHARACTERS:
            raise TemplateFailed(f"a text has at most {MAX_CHARACTERS} characters")
    elif isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise TemplateFailed("a number is too large")
    elif isinstance(value, dict | list | tuple):
        _check_parts(value)
    return value


def _check_parts(value: Any) -> None:
    items = characters = 0
    waiting = [value]
    while waiting:
        part = waiting.pop()
        items += 1
        if isinstance(part, str | bytes):
            characters += len(part)
        elif isinstance(part, dict):
            waiting.extend(part)
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
        if items + len(waiting) > MAX_ITEMS or characters > MAX_CHARACTERS:
            raise TemplateFailed("a value has too many parts")


class Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with limits on operators, filters and methods."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, finalize=checked)
        self.filters = FILTERS
        self.tests = {name: _timed(cast(Callable[..., Any], test)) for name, test in DEFAULT_TESTS.items()}
        self.globals = {}

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item: filters such as `map` get one of each value."""
        spend()
        return super().getitem(obj, argument)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a member of a mapping by its name, before its methods."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call(self, context: Any, obj: Any, *values: Any, **named: Any) -> Any:
        """Call a function of the template's names, or a method that is known to make no more than it is given."""
        spend()
        if obj in (GLOBALS["range"], dict):
            return obj(*values, **named)
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and name == "join":
            return joined(values[0] if values else (), owner)
        if isinstance(owner, str) and name == "replace":
            return replaced(owner, *values)
        allowed = next((names for kind, names in _METHODS.items() if isinstance(owner, kind)), frozenset())
        if name in allowed:
            return checked(obj(*values, **named))
        if isinstance(obj, StrictUndefined):
            return obj()
        raise TemplateFailed(f"{name or type(obj).__name__} is not supported in a template")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator."""
        spend()
        _BEFORE[operator](left, right)
        return super().call_binop(context, operator, left, right)


def _check_sum(left: Any, right: Any) -> None:
    if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        most = MAX_CHARACTERS if isinstance(left, str) else MAX_ITEMS
        if len(left) + len(right) > most:
            raise TemplateFailed("a sum is too large")


def _check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise TemplateFailed("a product is too large")
        return
    for sequence, count in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(count, int):
            most = MAX_CHARACTERS if isinstance(sequence, str) else MAX_ITEMS
            if len(sequence) * count > most:
                raise TemplateFailed("a product is too large")


def _check_power(left: Any, right: Any) -> None:
    if not (_is_number(left, 1e6) and _is_number(right, 100)):
        raise TemplateFailed("a power is too large")


def _check_format(left: Any, right: Any) -> None:
    if isinstance(left, str) and _WIDTH.search(left):
        raise TemplateFailed(f"a width has at most {MAX_WIDTH_DIGITS} digits")
    checked(right)


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and abs(value) <= most


_BEFORE: Mapping[str, Callable[[Any, Any], None]] = {
    "+": _check_sum, "*": _check_product, "**": _check_power, "%": _check_format,
}  # fmt: skip


# Filters and functions


def joined(values: Any, between: str = "", attribute: str | None = None) -> str:
    """Join texts. Raises TemplateFailed if the result is too long."""
    parts = checked([values] if isinstance(values, str) else list(values))
    if attribute is not None:
        parts = checked([part[attribute] for part in parts])
    texts = [str(part) for part in parts]
    if sum(map(len, texts)) + len(str(between)) * len(texts) > MAX_CHARACTERS:
        raise TemplateFailed(f"a text has at most {MAX_CHARACTERS} characters")
    return str(between).join(texts)


def replaced(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    """Replace a part of a text. Raises TemplateFailed if the result is too long."""
    before, former, latter = str(checked(text)), str(checked(old)), str(checked(new))
    times = before.count(former) if count is None or count < 0 else min(count, before.count(former))
    if len(before) + times * len(latter) > MAX_CHARACTERS:
        raise TemplateFailed(f"a text has at most {MAX_CHARACTERS} characters")
    return before.replace(former, latter, times)


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > MAX_DIGITS:
        raise TemplateFailed(f"a number is rounded to at most {MAX_DIGITS} digits")
    found: float = DEFAULT_FILTERS["round"](value, precision, method)
    return found


def _sum(values: Any, attribute: str | None = None, start: float = 0) -> Any:
    if not isinstance(start, int | float):
        raise TemplateFailed("a sum starts with a number")
    parts = list(values)
    return sum((part[attribute] for part in parts) if attribute is not None else parts, start)


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > MAX_RANGE:
        raise TemplateFailed(f"a range has at most {MAX_RANGE} numbers")
    return found


def _limited(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that takes and makes only values that are not too large."""

    @wraps(call)  # with the marks of Jinja2: whether it gets the context or the environment
    def limited(*values: Any, **named: Any) -> Any:
        for value in values:
            checked(value)
        return checked(call(*values, **named))

    return limited


def _timed(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a test that counts towards the budget."""

    @wraps(call)
    def timed(*values: Any, **named: Any) -> Any:
        spend()
        return call(*values, **named)

    return timed


def _to_json(value: Any, indent: int | None = None) -> Any:
    if indent is not None and not 0 <= indent <= MAX_INDENT:
        raise TemplateFailed(f"an indent is at most {MAX_INDENT}")
    return DEFAULT_FILTERS["tojson"](EVALUATION, value, indent)


FILTERS: dict[str, Callable[..., Any]] = {
    **{name: _limited(DEFAULT_FILTERS[name]) for name in _FILTERS},
    "checked": checked,
    "join": _limited(joined),
    "replace": _limited(replaced),
    "round": _limited(_round),
    "sum": _limited(_sum),
    "tojson": _limited(_to_json),
}
GLOBALS: Mapping[str, Any] = {"range": _range, "dict": dict}
ENVIRONMENT = Environment()
EVALUATION = nodes.EvalContext(ENVIRONMENT)


class _Limiter(NodeTransformer):
    """Replaces what the sandbox can't intercept: `~`, and the values of `set`."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "join")

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:
        self.generic_visit(node)
        node.node = _filter(cast(nodes.Expr, node.node), "checked")
        return node


def _filter(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def limited(tree: nodes.Template) -> nodes.Template:
    """Return a template whose operations all have limits."""
    return cast(nodes.Template, _Limiter().visit(tree))
