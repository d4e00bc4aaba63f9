"""Renders a model's own chat template under caps: a template comes with a base model and is not trusted.

The sandbox of jinja2 keeps attributes and globals away. Beside it the parsed template is rewritten so that loops and
calls are counted, and the sizes of what it joins and writes are checked before memory is taken; going beyond a cap
ends in InvalidTemplate, in any thread. Names, filters and string methods are allow-lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from gyropilot.errors import GyropilotError

MAX_SOURCE_CHARACTERS = 256 * 1024
MAX_STEPS = 100_000
"""Loop steps and calls of one rendering."""
MAX_CHARACTERS = 128 * 2**20
"""Text that one rendering may build and write; a row holds at most 16 MiB, and joining parts counts it each time."""
_MAX_NUMBER_BITS = 4096

_FILTERS = frozenset(
    [
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "first",
        "float",
        "int",
        "items",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "reverse",
        "round",
        "safe",
        "select",
        "selectattr",
        "sort",
        "string",
        "sum",
        "title",
        "trim",
        "unique",
        "upper",
    ]
)
_METHODS = frozenset(
    [
        "capitalize",
        "count",
        "endswith",
        "find",
        "get",
        "index",
        "isalnum",
        "isalpha",
        "isdigit",
        "isspace",
        "items",
        "join",
        "keys",
        "lower",
        "lstrip",
        "removeprefix",
        "removesuffix",
        "replace",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
        "values",
    ]
)
_BUDGET = "_budget"


class InvalidTemplate(GyropilotError):
    """A chat template cannot be rendered; the message says why."""


class ChatTemplate:
    """A parsed chat template."""

    def __init__(self, source: str) -> None:
        """Parse `source`.

        Raises:
            InvalidTemplate: it is no template, or too long.
        """
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise InvalidTemplate(f"the chat template has {len(source)} characters, more than {MAX_SOURCE_CHARACTERS}")
        environment = _Environment()
        try:
            code = environment.compile(_Accountant().visit(environment.parse(source)))
            self._template = jinja2.Template.from_code(environment, code, environment.make_globals(None))
        except (jinja2.TemplateError, RecursionError, SyntaxError) as error:
            raise InvalidTemplate(f"the chat template cannot be read: {error}") from error

    def render(self, messages: Sequence[Mapping[str, str]], special_tokens: Mapping[str, str]) -> str:
        """Give the prompt text for `messages`, up to where the assistant's answer begins.

        Args:
            messages: each with `role` and `content`.
            special_tokens: as bos_token and eos_token, with their text.

        Raises:
            InvalidTemplate: the template failed, refused the messages, or went beyond a cap.
        """
        values = {"messages": [dict(one) for one in messages], "add_generation_prompt": True, **special_tokens}
        try:
            return self._template.render(raise_exception=_refuse_messages, **{**values, _BUDGET: _Budget()})
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise InvalidTemplate(f"the chat template failed: {type(error).__name__}: {error}") from error
        except (RecursionError, MemoryError) as error:
            raise InvalidTemplate(f"the chat template goes beyond what it may use: {type(error).__name__}") from error


class _Budget:
    """What one rendering has left."""

    def __init__(self) -> None:
        self._steps = MAX_STEPS
        self._characters = MAX_CHARACTERS

    def take_step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise InvalidTemplate(f"the chat template takes more than {MAX_STEPS} steps")

    def take_characters(self, count: int) -> None:
        self._characters -= count
        if self._characters < 0:
            raise InvalidTemplate(f"the chat template builds more than {MAX_CHARACTERS} characters")


class _GenerationTag(Extension):
    """Takes `{% generation %}`, with which some templates mark the assistant's part, as its content."""

    tags = {"generation"}  # noqa: RUF012  # the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag])
        self.globals = {name: self.globals[name] for name in ("range", "namespace", "dict")}
        self.filters = {name: value for name, value in self.filters.items() if name in _FILTERS}
        self.filters |= {"tojson": _to_json, "join": _join_filter, "replace": _replace_filter}
        self.filters |= {"_steps": _steps, "_written": _written, "_concat": _concat, "_weighed": _weighed}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401  # jinja2's types
        if isinstance(obj, (str, list, tuple, dict)):
            return attr in _METHODS
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ANN401
        """Leave str.format to is_safe_attribute, which refuses it: its widths take memory at will."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise InvalidTemplate(f"the chat template uses the operator {operator}, which is not allowed here")
        if operator == "*" or not isinstance(left, (int, float)):
            _budget(context).take_characters(_size_after(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, ANN401
        budget = _budget(__context)
        budget.take_step()
        text, method = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(text, str) and method == "join":
            return _join(budget, args[0], text)
        if isinstance(text, str) and method == "replace":
            return _replace(budget, text, *args)
        return super().call(__context, __obj, *args, **kwargs)


class _Accountant(NodeTransformer):
    """Sends loops, joins and writes of a parsed template through the budget."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  # jinja2's naming
        if node.recursive:
            raise InvalidTemplate("the chat template has a recursive loop, which is not allowed here")
        self.generic_visit(node)
        node.iter = _through("_steps", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through("_concat", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _through("_weighed", node.expr)
        for operand in node.ops:
            operand.expr = _through("_weighed", operand.expr)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if node.node is not None:
            node.node = _through("_weighed", node.node)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [
            _through("_written", nodes.Const(one.data) if isinstance(one, nodes.TemplateData) else one)
            for one in node.nodes
        ]
        return node


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    assert isinstance(node, nodes.Expr)
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _budget(context: Context) -> _Budget:
    """Give the rendering's budget: from the context's parent, which a template cannot set."""
    budget = context.parent[_BUDGET]
    assert isinstance(budget, _Budget)
    return budget


@jinja2.pass_context
def _steps(context: Context, values: Iterable[object]) -> Iterator[object]:
    for value in values:
        _budget(context).take_step()
        yield value


@jinja2.pass_context
def _written(context: Context, value: object) -> str:
    text = str(_weighed(context, value))
    _budget(context).take_characters(len(text))
    return text


@jinja2.pass_context
def _weighed(context: Context, value: object) -> object:
    """Give `value` after a step for each thing it holds: lists in lists double in size with each level."""
    held = [value]
    while held:
        one = held.pop()
        for thing in _inside(one):
            _budget(context).take_step()
            held.append(thing)
    return value


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Namespace):
        return (getattr(value, "_Namespace__attrs"),)  # noqa: B009 -- jinja2 names it privately
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


@jinja2.pass_context
def _concat(context: Context, values: Sequence[object]) -> str:
    return _join(_budget(context), values, "")


@jinja2.pass_context
def _join_filter(context: Context, values: Iterable[object], separator: str = "") -> str:
    return _join(_budget(context), values, separator)


@jinja2.pass_context
def _replace_filter(context: Context, text: object, old: str, new: str) -> str:
    return _replace(_budget(context), str(text), old, new)


def _join(budget: _Budget, values: Iterable[object], separator: str) -> str:
    texts = []
    for value in values:
        texts.append(str(value))
        budget.take_characters(len(texts[-1]) + len(separator))
    return separator.join(texts)


def _replace(budget: _Budget, text: str, old: str, new: str, count: int = -1) -> str:
    budget.take_characters(len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


def _size_after(operator: str, left: object, right: object) -> int:
    sizes = [len(one) if isinstance(one, (str, list, tuple)) else None for one in (left, right)]
    if operator != "*":
        return sum(size or 0 for size in sizes)
    if sizes == [None, None]:
        bits = sum(one.bit_length() for one in (left, right) if isinstance(one, int))
        return bits if bits <= _MAX_NUMBER_BITS else MAX_CHARACTERS + 1
    factors = (one if size is None else size for one, size in zip((left, right), sizes, strict=True))
    first, second = (int(one) if isinstance(one, (int, float)) else 1 for one in factors)
    return max(first, 0) * max(second, 0)


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(indent, 8))


def _refuse_messages(message: str) -> None:
    raise InvalidTemplate(f"the chat template refuses the messages: {message}")
