"""Formulas as they are written on paper: LaTeX, Unicode in one line, MathML.

What stands for what, besides the usual: products of elements are marked by a ringed dot, scalars and
matrices stand side by side; vectors are columns; a subscript of an operation is the dimension it works
over, counted from 0; `N(x)` is the number of elements of `x` and N with a subscript the size of one
dimension; a condition in brackets is 1 where it holds and 0 elsewhere; `:` and `None` in a subscript are
PyTorch's. The upstream gradient `grad` is the adjoint of the output: a `y` with a bar (another letter
where `y` means something else). Kept dimensions of size 1 are not written, as little as broadcasting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradcheck_cli.lang.printer import Printed, Printer
from gradcheck_cli.lang.typeset.build import Writer
from gradcheck_cli.lang.typeset.latex import Latex
from gradcheck_cli.lang.typeset.mathml import MathML
from gradcheck_cli.lang.typeset.unicode import Unicode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradcheck_cli.graph import Expr

StyleName = Literal["latex", "unicode", "mathml"]
STYLES = {"latex": Latex, "unicode": Unicode, "mathml": MathML}


def to_latex(node: Expr, names: Mapping[Expr, str] | None = None) -> str:
    r"""A node as LaTeX for math mode; `names` are nodes that are written as a name.

    >>> from gradcheck_cli.graph import variable
    >>> x, y = variable("x", (3,)), variable("sigma_0", ())
    >>> print(to_latex((2 * x).exp() / y**2))
    \frac{\exp(2 x)}{\sigma_{0}^{2}}
    """
    return _one(node, names, "latex")


def to_unicode(node: Expr, names: Mapping[Expr, str] | None = None) -> str:
    """A node as one line of text.

    >>> from gradcheck_cli.graph import variable
    >>> A, x = variable("A", (4, 3)), variable("x", (3,))
    >>> to_unicode(2 * A.T @ (A @ x))
    '2 Aᵀ (A x)'
    """
    return _one(node, names, "unicode")


def to_mathml(node: Expr, names: Mapping[Expr, str] | None = None) -> str:
    """A node as a `math` element.

    >>> from gradcheck_cli.graph import variable
    >>> to_mathml(variable("x", ()) ** 2).partition(">")[2]
    '<msup><mi>x</mi><mn>2</mn></msup></math>'
    """
    return _one(node, names, "mathml")


def _one(node: Expr, names: Mapping[Expr, str] | None, style: StyleName) -> str:
    return STYLES[style]().render(Writer([node], names or {}).write(node))


def typeset(
    nodes: Sequence[Expr],
    names: Mapping[Expr, str] | None,
    style: StyleName,
    taken: Iterable[str] = (),
) -> Printed:
    """Nodes as formulas, with definitions for what they would repeat: those that the printer makes."""
    writer = Writer(nodes, names or {}, taken=taken)
    render = STYLES[style]().render
    let: list[tuple[str, str]] = []
    for name, node in shared(nodes, names or {}, taken):
        definition = writer.define(node, name)
        let.append((render(writer.names.part(name)), render(definition)))
    return Printed(tuple(let), tuple(render(writer.write(node)) for node in nodes))


def shared(
    nodes: Sequence[Expr], names: Mapping[Expr, str], taken: Iterable[str] = ()
) -> tuple[tuple[str, Expr], ...]:
    """What the printer gives a name of its own, in the order of the definitions."""
    printer = Printer(names, share=True)
    printer.taken.update(taken)
    named = printer.print(nodes).let
    owners = {text: node for node, (text, _) in printer.done.items()}
    return tuple((name, owners[name]) for name, _ in named)


__all__ = ["STYLES", "StyleName", "to_latex", "to_mathml", "to_unicode", "typeset"]
