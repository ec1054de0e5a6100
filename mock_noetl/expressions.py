"""A small, bounded expression language over the variables of an execution.

It interprets Python's syntax tree: names, keys, literals, arithmetic, comparisons, boolean logic and a few functions.
All other syntax, and values above the limits, are rejected; eval and exec are never called.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mock_noetl.errors import NoetlMockError

MAX_SOURCE = 1000
MAX_NODES = 200
MAX_TEXT = 65_536
MAX_ITEMS = 10_000
MAX_WEIGHT = 1_000_000
MAX_BITS = 256

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class ExpressionError(NoetlMockError):
    """An invalid expression, or one without a value; the text gives the reason in one line."""


def _join(items: Any, separator: Any = "") -> str:
    if not isinstance(items, list) or not isinstance(separator, str):
        raise ExpressionError("join needs a list and a separator")
    texts = [text_of(item) for item in items]
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_TEXT:
        raise ExpressionError("a text is too long")
    return separator.join(texts)


def _int(value: Any) -> int:
    return int(value)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "upper": lambda text: str.upper(text),
    "lower": lambda text: str.lower(text),
    "sum": lambda items: sum(items),
    "min": min,
    "max": max,
    "str": lambda value: text_of(value),
    "int": _int,
    "join": _join,
}
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "none": None}
_ALLOWED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Attribute, ast.Subscript, ast.BinOp, ast.UnaryOp,
    ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.IfExp, ast.List, ast.Tuple, ast.Dict, ast.Call,
    *_BINARY, *_UNARY, *_COMPARE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """A valid expression, which can be evaluated any number of times."""

    source: str
    tree: ast.expr

    def evaluate(self, names: Mapping[str, Any]) -> Any:
        """Return its value for the variables `names`. Raises ExpressionError, also for a value above the limits."""
        try:
            return _bounded(_value(self.tree, names))
        except ExpressionError as error:
            raise ExpressionError(f"{error} in `{self.source}`") from None
        except ZeroDivisionError:
            raise ExpressionError(f"division by zero in `{self.source}`") from None
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ExpressionError(f"{_one_line(str(error))} in `{self.source}`") from None


def parse(source: str) -> Expression:
    """Return a parsed expression. Raises ExpressionError if it is not in the language."""
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"an expression is at most {MAX_SOURCE} characters long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"not an expression: `{_one_line(source)}`") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"an expression has at most {MAX_NODES} parts")
    for node in nodes:
        _check(node, source)
    return Expression(_one_line(source), tree.body)


def _check(node: ast.AST, source: str) -> None:
    allowed = isinstance(node, _ALLOWED)
    if isinstance(node, ast.Constant):
        allowed = node.value is None or isinstance(node.value, bool | int | float | str)
    elif isinstance(node, ast.Call):
        allowed = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
    elif isinstance(node, ast.Dict):
        allowed = all(key is not None for key in node.keys)
    if not allowed:
        raise ExpressionError(f"{type(node).__name__} is not allowed in `{_one_line(source)}`")


def render(template: str, names: Mapping[str, Any]) -> str:
    """Return `template` with every `{{ expression }}` replaced by its value as text."""
    text = _TEMPLATE.sub(lambda found: text_of(parse(found[1]).evaluate(names)), template)
    if len(text) > MAX_TEXT:
        raise ExpressionError("a text is too long")
    return text


def check_template(template: str) -> None:
    """Raise ExpressionError if a `{{ expression }}` in `template` is invalid."""
    for found in _TEMPLATE.finditer(template):
        parse(found[1])


def text_of(value: Any) -> str:
    """Return a value as text; true, false and null are spelled as in JSON."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    if len(text) > MAX_TEXT:
        raise ExpressionError("a text is too long")
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return _bounded(node.value)
        case ast.Name():
            return _name(node.id, names)
        case ast.Attribute():
            return _key(_value(node.value, names), node.attr)
        case ast.Subscript():
            return _key(_value(node.value, names), _value(node.slice, names))
        case ast.BinOp():
            return _binary(node.op, _value(node.left, names), _value(node.right, names))
        case ast.UnaryOp():
            return _bounded(_UNARY[type(node.op)](_value(node.operand, names)))
        case ast.BoolOp():
            return _boolean(node, names)
        case ast.Compare():
            return _compare(node, names)
        case ast.IfExp():
            return _value(node.body if _value(node.test, names) else node.orelse, names)
        case ast.List() | ast.Tuple():
            return _bounded([_value(item, names) for item in node.elts])
        case _:
            return _composed(node, names)


def _composed(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Dict):
        keys = [text_of(_value(key, names)) for key in node.keys if key is not None]
        return _bounded(dict(zip(keys, (_value(item, names) for item in node.values), strict=True)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        arguments = [_value(argument, names) for argument in node.args]
        return _bounded(FUNCTIONS[node.func.id](*arguments))
    raise ExpressionError(f"{type(node).__name__} is not allowed")


def _name(name: str, names: Mapping[str, Any]) -> Any:
    if name in names:
        return names[name]
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    raise ExpressionError(f"no variable named {name}")


def _key(container: Any, key: Any) -> Any:
    try:
        if isinstance(container, dict) or (isinstance(container, list | str) and isinstance(key, int)):
            return container[key]
    except (KeyError, IndexError):
        pass
    raise ExpressionError(f"nothing at {text_of(key)[:100]}")


def _binary(kind: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(kind, ast.Mod) and not isinstance(left, int | float):
        raise ExpressionError("% needs numbers")
    if isinstance(kind, ast.Mult):
        _check_repetition(left, right)
        _check_repetition(right, left)
    return _bounded(_BINARY[type(kind)](left, right))


def _check_repetition(items: Any, times: Any) -> None:
    if isinstance(items, str | list) and isinstance(times, int):
        limit = MAX_TEXT if isinstance(items, str) else MAX_ITEMS
        if len(items) * times > limit:
            raise ExpressionError("a repeated value is too long")


def _boolean(node: ast.BoolOp, names: Mapping[str, Any]) -> Any:
    value: Any = None
    for operand in node.values:
        value = _value(operand, names)
        if bool(value) != isinstance(node.op, ast.And):
            break
    return value


def _compare(node: ast.Compare, names: Mapping[str, Any]) -> bool:
    left = _value(node.left, names)
    for kind, operand in zip(node.ops, node.comparators, strict=True):
        right = _value(operand, names)
        if not _COMPARE[type(kind)](left, right):
            return False
        left = right
    return True


def _bounded(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ExpressionError("a number is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError("a number is not finite")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ExpressionError("a text is too long")
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        raise ExpressionError("a list is too long")
    if isinstance(value, list | dict):
        _weigh(value)
    return value


def _weigh(value: Any) -> None:
    """Raise ExpressionError for a value with shared parts whose copy or text would be large."""
    weight = 0
    rest = [value]
    while rest:
        item = rest.pop()
        weight += 1 + (len(item) if isinstance(item, str | list | dict) else 0)
        if weight > MAX_WEIGHT:
            raise ExpressionError("a value is too large")
        if isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, dict):
            rest.extend(item.values())
