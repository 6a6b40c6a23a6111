"""What a formula would be with a part of it changed: only what is above the change is built anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import Expr, const
from gradcheck_cli.lang.build import _WRONG, _Builder, _Wrong
from gradcheck_cli.lang.edits import HOLE, template_formula

if TYPE_CHECKING:
    import ast
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.lang.edits import Change, Edits


class _Quiet(_Builder):
    """A builder that tells nothing of what doesn't fit, which here is most of what is tried."""

    def wrong(self, *_: object, **__: object) -> _Wrong:
        """Nothing but that it is wrong."""
        return _WRONG

    def failed(self, *_: object) -> _Wrong:
        """The same."""
        return _WRONG


class Draft(_Quiet):
    """A formula over named nodes, each part of which is built once.

    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.lang.edits import Change, Edits
    >>> from gradcheck_cli.lang.printer import to_text
    >>> edits = Edits.of("2 * sin(x)")
    >>> draft = Draft(edits, {"x": variable("x", (3,))})
    >>> change = Change(edits.tree.right, "cos({0})", tuple(edits.tree.right.args))
    >>> to_text(draft.changed([change]))
    '2 * cos(x)'
    """

    def __init__(self, edits: Edits, scope: Mapping[str, Expr]) -> None:
        super().__init__(edits.formula, scope)
        self.edits = edits
        self.shown: dict[ast.AST, str] = {}  # how parts are called in messages
        self._built: dict[ast.AST, Any] = {}
        self._made: dict[ast.AST, Any] = {}
        self._above: set[ast.AST] = set()

    def value(self, node: ast.AST) -> Any:
        """What a part is: an Expr, a Python number, string, tuple ...; None where nothing fits."""
        value = self.visit(node)
        return None if value is _WRONG else value

    def tensor(self, node: ast.AST) -> Expr | None:
        """The graph of a part that is a tensor and no number."""
        value = self.visit(node)
        return value if isinstance(value, Expr) and value.value is None else None

    def filled(self, change: Change) -> Any:
        """What a change puts in its node's place."""
        parts = {f"{HOLE}{i}": self.visit(part) for i, part in enumerate(change.parts)}
        if _WRONG in parts.values():
            return _WRONG
        formula = template_formula(change.template)
        return _Quiet(formula, {**self.scope, **parts}).visit(formula.tree)

    def changed(self, changes: Sequence[Change]) -> Expr | None:
        """The graph of the whole with parts replaced, none a part of another; None where nothing fits."""
        return self._rebuilt({change.node: self.filled(change) for change in changes})

    def holding(self, node: ast.AST, value: Expr) -> Expr | None:
        """The graph of the whole with a part replaced by a node; None where it doesn't fit."""
        return self._rebuilt({node: value})

    def _rebuilt(self, made: Mapping[ast.AST, Any]) -> Expr | None:
        for node in made:
            above = self.edits.parent(node)
            while above is not None and above not in self._above:
                self._above.add(above)
                above = self.edits.parent(above)
        self._made = dict(made)
        try:
            value = self.visit(self.edits.tree)
        finally:
            self._made, self._above = {}, set()
        if isinstance(value, (int, float)):
            return const(value)
        return value if isinstance(value, Expr) else None

    def visit(self, node: ast.AST) -> Any:
        """What a part is, from what is known of it."""
        if node in self._made:
            return self._made[node]
        if node in self._above:
            return super().visit(node)
        if node not in self._built:
            self._built[node] = super().visit(node)
        return self._built[node]
