"""The formulas of a page, typeset: each text is read and built once, each formula stands in the data once.

A formula is MathML as nested lists, from which the page makes elements: a string is a token whose first
character says which, a list is an element with its children. So no text ever becomes markup in the page.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from gradcheck_cli import dtypes
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.typeset import STYLES
from gradcheck_cli.lang.typeset.build import UPSTREAM, Writer
from gradcheck_cli.lang.typeset.mathml import NAMESPACE
from gradcheck_cli.lang.typeset.parts import Part, part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Tree: TypeAlias = "str | list[Any]"
Given: TypeAlias = "tuple[tuple[str, tuple[int, ...], str], ...]"

# Elements by the letter that stands for them; the page has the same table.
TOKENS = {"mi": "i", "mo": "o", "mn": "n", "mtext": "t"}
ELEMENTS = {
    "mrow": "r",
    "mfrac": "f",
    "msup": "p",
    "msub": "b",
    "msqrt": "q",
    "mover": "v",
    "mtable": "m",
    "mtr": "w",
    "mtd": "d",
    "mspace": "s",
}
# A longer text, or one with a longer formula, is shown as code alone: nobody reads it typeset.
MOST_TEXT = 4_000
MOST_MARKUP = 60_000
MOST_DEPTH = 100
# What all formulas of a page take, in characters of markup; the first of those asked for come first.
MOST_MARKUP_OF_A_PAGE = 6_000_000


@dataclass(frozen=True)
class Scope:
    """What names mean in the texts of a check: its inputs and `let` names, in order.

    `broken` says that a definition could not be read, and the texts that use it can't either.
    """

    nodes: Mapping[str, Expr]
    let: tuple[tuple[str, str], ...] = ()

    @property
    def named(self) -> dict[Expr, str]:
        """The nodes that are written as a `let` name, of several the first."""
        names = [name for name, _ in self.let if name in self.nodes]
        return {
            self.nodes[name]: name for name in reversed(names) if self.nodes[name].value is None
        }


@dataclass
class Formulas:
    """The distinct formulas of a page; what is asked for is a formula's number, or None."""

    trees: list[Tree] = field(default_factory=list)
    _numbers: dict[str, int | None] = field(default_factory=dict)
    _scopes: dict[Any, Scope] = field(default_factory=dict)
    _asked: dict[Any, tuple[int, ...]] = field(default_factory=dict)
    _size: int = 0

    def scope(self, inputs: Given, let: tuple[tuple[str, str], ...], expression: str) -> Scope:
        """The names of a check; `grad` is among them where its expression can be read."""
        key = (inputs, let, expression)
        if key not in self._scopes:
            self._scopes[key] = _scope(inputs, let, expression)
        return self._scopes[key]

    def second(self, scope: Scope, wrt: Sequence[str]) -> Scope:
        """The names in formulas of second order: a cotangent, and a direction for each input."""
        from gradcheck_cli.methods.second_order import fresh

        upstream = scope.nodes.get(UPSTREAM)
        if upstream is None:
            return scope
        nodes = dict(scope.nodes)
        del nodes[UPSTREAM]
        taken = set(nodes)
        for name, shape in (
            ("cotangent", upstream.shape),
            *((f"v_{name}", nodes[name].shape) for name in wrt if name in nodes),
        ):
            chosen = fresh(name, taken)
            taken.add(chosen)
            nodes[chosen] = variable(chosen, shape)
        nodes[UPSTREAM] = variable(UPSTREAM, ())
        return Scope(nodes, scope.let)

    def value(self, scope: Scope, text: str) -> tuple[int, ...]:
        """The expression, as what the output is equal to."""
        return self._formulas(scope, text, "value", "")

    def definition(self, scope: Scope, name: str) -> tuple[int, ...]:
        """What a `let` name is; it may use those before it."""
        position = [known for known, _ in scope.let].index(name)
        text = scope.let[position][1]
        later = {known for known, _ in scope.let[position:]} | {UPSTREAM}
        before = {known: node for known, node in scope.nodes.items() if known not in later}
        return self._formulas(Scope(before, scope.let[:position]), text, "let", name)

    def gradient(self, scope: Scope, name: str, text: str, order: int = 1) -> tuple[int, ...]:
        """A formula for the gradient of an input, after the definitions that it comes with."""
        return self._formulas(scope, text, "gradient" if order == 1 else "hessian", name)

    def alone(self, scope: Scope, text: str) -> tuple[int, ...]:
        """A formula that is equal to nothing in particular."""
        return self._formulas(scope, text, "alone", "")

    def _formulas(self, scope: Scope, text: str, kind: str, name: str) -> tuple[int, ...]:
        """The numbers of the lines of a text, or none where one can't be typeset."""
        key = (tuple(scope.nodes.values()), scope.let, text, kind, name)
        if key not in self._asked:
            lines = _typeset(scope, text, kind, name)
            numbers = [self._number(line) for line in lines]
            whole = tuple(number for number in numbers if number is not None)
            self._asked[key] = whole if len(whole) == len(lines) else ()
        return self._asked[key]

    def _number(self, markup: str) -> int | None:
        if markup in self._numbers:
            return self._numbers[markup]
        tree = None
        if len(markup) <= MOST_MARKUP and self._size + len(markup) <= MOST_MARKUP_OF_A_PAGE:
            tree = compact(markup)
        if tree is None:
            number = None
        else:
            number = len(self.trees)
            self.trees.append(tree)
            self._size += len(markup)
        self._numbers[markup] = number
        return number


def _scope(inputs: Given, let: tuple[tuple[str, str], ...], expression: str) -> Scope:
    nodes: dict[str, Expr] = {}
    for name, shape, dtype in inputs:
        known = dtypes.BY_NAME.get(dtype)
        if known is not None:
            # The graphs of a check are in float64, whatever its dtype.
            nodes[name] = variable(name, shape, dtypes.float64 if known.is_floating else known)
    for name, text in let:
        node = _read(text, nodes)
        if node is not None:
            nodes[name] = node
    output = _read(expression, nodes)
    if output is not None and UPSTREAM not in nodes:
        nodes[UPSTREAM] = variable(UPSTREAM, output.shape)
    return Scope(nodes, let)


def _read(text: str, nodes: Mapping[str, Expr]) -> Expr | None:
    """The node of a text, or None where it can't be read: shapes may depend on values, unknown here."""
    if len(text) > MOST_TEXT:
        return None
    try:
        return build(parse(Source(text)), nodes)
    except GradcheckError:
        return None


def _typeset(scope: Scope, text: str, kind: str, name: str) -> list[str]:
    """MathML of each line of a formula: of its definitions, then of itself."""
    node = _read(text, scope.nodes)
    if node is not None:
        return _written(scope, [], node, kind, name)
    # What the tool prints may begin with definitions, a line each.
    *lines, last = text.splitlines() or [""]
    nodes = dict(scope.nodes)
    definitions = []
    for line in lines:
        left, _, right = line.partition(" = ")
        definition = _read(right, nodes)
        if definition is None:
            return []
        nodes[left] = definition
        definitions.append((left, definition))
    node = _read(last, nodes) if lines else None
    return [] if node is None else _written(scope, definitions, node, kind, name)


def _written(
    scope: Scope, definitions: Sequence[tuple[str, Expr]], node: Expr, kind: str, name: str
) -> list[str]:
    taken = [*scope.nodes, *(left for left, _ in definitions), *([name] if name else [])]
    every = [*(definition for _, definition in definitions), node]
    writer = Writer(every, scope.named, taken=taken)
    render = STYLES["mathml"]().render
    found = []
    for left, definition in definitions:
        written = writer.define(definition, left)
        found.append(_equation(render(writer.names.part(left)), render(written)))
    right = render(writer.write(node))
    if kind == "alone":
        return [*found, right]
    output = part("name", text=writer.names.bars[UPSTREAM])
    upstream = scope.nodes.get(UPSTREAM)
    number = upstream is not None and upstream.ndim == 0
    left = _left(kind, output, writer.names.part(name) if name else output, number=number)
    return [*found, _equation(left, right)]


def _left(kind: str, output: Part, name: Part, *, number: bool) -> str:
    """What a formula is equal to: the gradient of a contracted output is an adjoint, x with a bar."""
    render = STYLES["mathml"]().render
    letter = _inside(render(output))
    below = _inside(render(name))
    if kind == "hessian":
        return f"<msub><mrow><mo>(</mo><mi>H</mi><mi>v</mi><mo>)</mo></mrow>{below}</msub>"
    if kind == "gradient" and number:
        above = f"<mrow><mo>∂</mo>{letter}</mrow>"
        return f"<mfrac>{above}<mrow><mo>∂</mo>{below}</mrow></mfrac>"
    if kind == "gradient":
        return render(part("bar", name))
    return render(name)


def _equation(left: str, right: str) -> str:
    return (
        f'<math xmlns="{NAMESPACE}"><mrow>{_inside(left)}<mo>=</mo>{_inside(right)}</mrow></math>'
    )


def _inside(markup: str) -> str:
    """What stands within a `math` element; other markup as it is."""
    if not markup.startswith("<math"):
        return markup
    return markup.partition(">")[2].removesuffix("</math>")


def compact(markup: str) -> Tree | None:
    """A `math` element as nested lists, or None where it holds what XML can't.

    >>> compact("<math><msup><mi>x</mi><mn>2</mn></msup></math>")
    ['p', 'ix', 'n2']
    """
    try:
        root = ET.fromstring(markup)  # noqa: S314 -- made by this program, without a document type
    except ET.ParseError:
        return None
    trees = [_tree(child, 1) for child in root]
    if any(tree is None for tree in trees):
        return None
    return trees[0] if len(trees) == 1 else ["r", *trees]


def _tree(element: ET.Element, depth: int) -> Tree | None:
    tag = element.tag.rpartition("}")[2]
    if tag in TOKENS:
        return TOKENS[tag] + (element.text or "")
    if tag not in ELEMENTS or depth == MOST_DEPTH:
        return None
    below = [_tree(child, depth + 1) for child in element]
    return None if any(tree is None for tree in below) else [ELEMENTS[tag], *below]
