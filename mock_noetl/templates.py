"""Templates over the variables of a run: Jinja2's sandbox, without loops, so that a template ends soon.

A text that is one expression, such as `{{ workload.n + 1 }}`, keeps the type of its value; another one is a text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2 import Template as CompiledTemplate
from jinja2.runtime import Context

from mock_noetl.template_limits import (
    ENVIRONMENT,
    EVALUATION,
    GLOBALS,
    MAX_CHARACTERS,
    TemplateFailed,
    begin_budget,
    checked,
    end_budget,
    has_budget,
    limited,
)

MAX_TEXT = 10_000
_ALLOWED = (nodes.If, nodes.Output, nodes.Expr, nodes.Assign)

Scope = Mapping[str, Any]
Template = Callable[[Scope], Any]


class _Context(Context):
    """Jinja2's context of a template without blocks, for the cost of a few assignments."""

    def __init__(self, names: dict[str, Any], template: str | None) -> None:
        self.parent = names
        self.vars = {}
        self.environment = ENVIRONMENT
        self.eval_ctx = EVALUATION
        self.exported_vars = set()
        self.name = template
        self.globals_keys = set()
        self.blocks = {}


@lru_cache(maxsize=4096)
def compiled(text: str) -> Template:
    """Return what evaluates a text. Raises TemplateFailed if it is malformed or too long."""
    if len(text) > MAX_TEXT:
        raise TemplateFailed(f"a template has at most {MAX_TEXT} characters")
    if "{{" not in text and "{%" not in text:
        return lambda scope: text
    try:
        tree = ENVIRONMENT.parse(text)
        for node in tree.find_all(nodes.Stmt):
            if not isinstance(node, _ALLOWED):
                raise TemplateFailed(f"{type(node).__name__} is not supported in a template")
        whole = _expression(limited(tree))
        if whole is not None:
            result = nodes.Assign(nodes.Name("result", "store", lineno=1), whole, lineno=1)
            return _value_of(ENVIRONMENT.from_string(nodes.Template([result], lineno=1)))
        return _text_of(ENVIRONMENT.from_string(tree))
    except (TemplateError, RecursionError, SyntaxError, MemoryError) as error:  # the last ones: nested too deeply
        raise TemplateFailed(" ".join(str(error).split()) or "malformed") from None


def _value_of(template: CompiledTemplate) -> Template:
    """Return what evaluates a template that sets `result`; it is not rendered, so that the value keeps its type."""

    def evaluate(scope: Scope) -> Any:
        context = _context(template, scope)
        deque(template.root_render_func(context), maxlen=0)
        value = context.vars["result"]
        if isinstance(value, StrictUndefined):
            str(value)  # raises UndefinedError, which names it
        return checked(value)

    return _safely(evaluate)


def _text_of(template: CompiledTemplate) -> Template:
    def evaluate(scope: Scope) -> str:
        parts, length = [], 0
        for part in template.root_render_func(_context(template, scope)):
            parts.append(part)
            length += len(part)
            if length > MAX_CHARACTERS:
                raise TemplateFailed(f"a text has at most {MAX_CHARACTERS} characters")
        return "".join(parts)

    return _safely(evaluate)


def _context(template: CompiledTemplate, scope: Scope) -> Context:
    return _Context({**GLOBALS, **scope}, template.name)


def _safely(evaluate: Template) -> Template:
    def safe(scope: Scope) -> Any:
        is_alone = not has_budget()
        try:
            if is_alone:
                begin_budget()
            return evaluate(scope)
        except TemplateFailed:
            raise
        except Exception as error:  # a template can raise anything
            raise TemplateFailed(" ".join(str(error).split()) or type(error).__name__) from None
        finally:
            if is_alone:
                end_budget()

    return safe


def _expression(tree: nodes.Template) -> nodes.Expr | None:
    """Return the expression that a template consists of; None if it is more."""
    output = tree.body[0] if len(tree.body) == 1 else None
    parts = [part for part in output.nodes if not _is_blank(part)] if isinstance(output, nodes.Output) else []
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData) else None


def _is_blank(node: nodes.Node) -> bool:
    return isinstance(node, nodes.TemplateData) and not node.data.strip()


def rendered(value: Any, scope: Scope) -> Any:
    """Return JSON data with the templates in its texts evaluated; a text without a value becomes empty."""
    if isinstance(value, str):
        try:
            return compiled(value)(scope)
        except TemplateFailed:
            return ""
    if isinstance(value, dict):
        return {key: rendered(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [rendered(item, scope) for item in value]
    return value


def holds(text: str, scope: Scope) -> bool:
    """Return whether a condition holds; one without a value does not."""
    try:
        found = compiled(text if "{{" in text else f"{{{{ {text} }}}}")(scope)
    except TemplateFailed:
        return False
    return found.strip().lower() not in ("", "false", "none", "0") if isinstance(found, str) else bool(found)
