"""The gallery's entries: each check of the specs with its textbook forms, derived forms and their sizes.

A derived form counts as verified where what is printed, read back, gives the engine's gradient: at the
spec's own sizes, and at two larger ones for every size that the spec's expressions leave free.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.calculus.derive import read_back
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.graph import t
from gradcheck_cli.methods.assumptions import assumed, facts_of
from gradcheck_cli.methods.case import UPSTREAM, Case, prepare, values_of
from gradcheck_cli.methods.closed_form import closed_form
from gradcheck_cli.methods.sizes import size_at, tied, with_sizes
from gradcheck_cli.schema import Invalid
from gradcheck_cli.spec.load import load_file
from gradcheck_cli.spec.nodes import Entries, Items, document
from gradcheck_cli.spec.yaml_reader import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.printer import Printed
    from gradcheck_cli.methods.closed_form import Form
    from gradcheck_cli.methods.sizes import Slot
    from gradcheck_cli.spec.check import Check

ROOT = Path(__file__).resolve().parent.parent
TEXTBOOK = ROOT / "docs" / "textbook"
SPECS = ROOT / "specs"
# How much is added to each free size; an even one is then odd.
GROWTH = (1, 3)
# Two float64 evaluations of one formula differ by rounding, some digits of it in ill-conditioned inverses.
_AGREEMENT = 1e-8


@dataclass(frozen=True)
class Derivation:
    """The gradient of one input: the textbook form and the derived form, with their sizes in nodes.

    `same` says that both are one graph, `assumed` what the derived form takes for granted. `verified`
    are the points (0 the check's own, 1 and more the further ones) at which it gives the engine's gradient,
    `wrong` those at which it doesn't.
    """

    name: str
    textbook: str | None
    derived: Printed
    textbook_size: int | None
    derived_size: int
    same: bool
    assumed: tuple[str, ...]
    verified: tuple[int, ...]
    wrong: tuple[int, ...]

    @property
    def ratio(self) -> float | None:
        """Nodes of the derived form per node of the textbook form."""
        return None if self.textbook_size is None else self.derived_size / self.textbook_size


@dataclass(frozen=True)
class Entry:
    """One check with what its file says of it under `x-` keys."""

    check: Check
    file: Path
    domain: str
    intro: str
    notes: Mapping[str, Any]
    derivations: tuple[Derivation, ...]
    resized: bool

    @property
    def textbook(self) -> bool:
        """Whether it stands in the collection of textbook derivatives."""
        return self.file.is_relative_to(TEXTBOOK)


def files() -> list[Path]:
    """The spec files of the gallery, textbook derivatives first."""
    specs = [p for p in sorted(SPECS.rglob("*.yaml")) if p.parent.name != "mistakes"]
    return [*sorted(TEXTBOOK.glob("*.yaml")), *specs]


def entries(paths: Iterable[Path]) -> Iterator[Entry]:
    """One entry for each check; of those that a list expands a check to, the first."""
    for path in paths:
        about = _about(path)
        seen: set[int] = set()
        for check in load_file(path):
            if check.line not in seen:
                seen.add(check.line)
                yield entry(check, path, about)


def entry(check: Check, path: Path, about: Mapping[int | str, Any]) -> Entry:
    """The entry of one check; `about` is what its file says besides."""
    folder = "the first one" if path.parent == SPECS else path.parent.name.replace("_", " ")
    domain = str(about["name"]) if path.is_relative_to(TEXTBOOK) else f"Specs: {folder}"
    notes = about.get(check.line, {})
    points = list(_points(check))
    found = derivations(check, points, notes.get("x-assume", ()))
    resized = any(point.inputs != check.inputs for point in points)
    intro = " ".join(str(about.get("description", "")).split())
    return Entry(check, path, domain, intro, notes, found, resized)


def _about(path: Path) -> dict[int | str, Any]:
    """What a file says besides its checks: its name, its description, and each check's `x-` keys by line."""
    made = document(path.read_text("utf-8"), str(path))
    about: dict[int | str, Any] = {}
    for root in read_yaml(made):
        if not isinstance(root, Entries):
            continue
        about |= {key: root.value[key] for key in ("name", "description") if key in root.value}
        listed = root.entries.get("checks")
        items = listed.items if isinstance(listed, Items) else [root]
        common = root.value.get("defaults", {})
        for item in items:
            if isinstance(item, Entries):
                both = {**common, **item.value}
                about[made.line(item)] = {k: v for k, v in both.items() if k.startswith("x-")}
    return about


def derivations(
    check: Check, points: Sequence[Check], assume: Sequence[str]
) -> tuple[Derivation, ...]:
    """The derivations of a check's inputs, verified at `points`; `assume` is what may be put to use."""
    with values_of(check):
        case = prepare(check)
        facts = (*facts_of(check, case.scope), *assumed(assume, case.scope))
        forms = {name: closed_form(case, (name,), facts=facts) for name in case.wrt}
    found = [_agreement(point, forms, assume) for point in points]
    additions = _additions(case)
    return tuple(
        Derivation(
            name,
            None if text is None else one_line(text),
            form.printed,
            None if text is None else written(text, additions),
            written(form.printed.texts[0], additions | dict(form.printed.let)),
            case.manual.get(name) is _node(form, case),
            tuple(fact.text for fact in form.assumptions),
            tuple(i for i, right in enumerate(found) if right[name]),
            tuple(i for i, right in enumerate(found) if not right[name]),
        )
        for name, form in forms.items()
        for text in [check.manual[name].text if name in check.manual else None]
    )


def _node(form: Form, case: Case) -> Expr | None:
    """What a printed form stands for; None where it can't be read, which verification reports."""
    try:
        return read_back(form.printed, {**case.scope, UPSTREAM: case.upstream})
    except GradcheckError:
        return None


def _agreement(check: Check, forms: Mapping[str, Form], assume: Sequence[str]) -> dict[str, bool]:
    """Whether each formula, read back, gives the engine's gradient with a check's numbers.

    Raises ValueError where what is assumed doesn't hold of these.
    """
    with values_of(check):
        case = prepare(check)
        masks = [fact.node for fact in assumed(assume, case.scope)]
        if not all(np.all(mask) for mask in Plan(masks)(case.arrays)):
            raise ValueError(f"{check.id}: what is assumed doesn't hold, of seed {check.seed}")
        scope = {**case.scope, UPSTREAM: case.upstream}
        wrt = [case.variables[name] for name in case.wrt]
        cotangent = t.ones(()) if case.output.ndim == 0 else case.upstream
        expected = Plan(differentiate(case.output, wrt, cotangent))(case.arrays)
        found = {}
        for name, want in zip(case.wrt, expected, strict=True):
            try:
                have = Plan([read_back(forms[name].printed, scope)])(case.arrays)[0]
            except GradcheckError:  # a formula for the check's own sizes can't be read at others
                found[name] = False
            else:
                found[name] = _close(np.asarray(have), np.asarray(want))
    return found


def _close(have: Any, want: Any) -> bool:
    have = np.broadcast_to(have, want.shape)
    scale = float(np.abs(want).max(initial=1.0))
    return bool(np.allclose(have, want, rtol=_AGREEMENT, atol=_AGREEMENT * scale))


def _points(check: Check) -> Iterator[Check]:
    """The check, then further draws of it, with all sizes larger that its expressions leave free."""
    yield check
    groups = tied(check)
    free = [group for group in groups if _fits(_grown(check, [group], GROWTH[0]))]
    for growth in GROWTH:
        grown = _grown(check, free, growth)
        yield replace(grown if _fits(grown) else check, seed=check.seed + growth)


def _grown(check: Check, groups: Sequence[set[Slot]], growth: int) -> Check:
    return with_sizes(check, {s: size_at(check, s) + growth for group in groups for s in group})


def _fits(check: Check) -> bool:
    """Whether a check's texts can be read at its sizes."""
    try:
        with values_of(check):
            prepare(check)
    except (GradcheckError, Invalid):
        return False
    return True


def _additions(case: Case) -> dict[str, str]:
    """The `let` lines that the expression doesn't use: they stand there for the formulas."""
    used = set(case.expression.names)
    for name, formula in reversed([*case.let.items()]):
        if name in used:
            used |= formula.names
    return {name: f.source.text for name, f in case.let.items() if name not in used}


def written(text: str, definitions: Mapping[str, str]) -> int:
    """Nodes of a formula and of the definitions that it needs: a name and a text for each of these."""
    needed: dict[str, int] = {}
    waiting = [text]
    while waiting:
        for node in ast.walk(_tree(waiting.pop())):
            if isinstance(node, ast.Name) and node.id in definitions and node.id not in needed:
                needed[node.id] = 1 + size(definitions[node.id])
                waiting.append(definitions[node.id])
    return size(text) + sum(needed.values())


def size(text: str) -> int:
    """Nodes of a written formula.

    Each name, number, operator, function call, subscript and tensor attribute counts one; so do a
    constant of a module (`math.pi`) and a negative number. Whole numbers, slices and None within a
    subscript belong to it: `x.shape[0]` is three.

    >>> size("2 * (predicted - real)")
    5
    >>> size("(p * grad).sum(-1, keepdim=True) / x.shape[0]")
    10
    """
    return _size(_tree(text))


def one_line(text: str) -> str:
    """A formula's text without the spaces and line ends that a spec file lays it out with."""
    return " ".join(text.split()).replace("( ", "(").replace(" )", ")")


def _tree(text: str) -> ast.expr:
    return ast.parse(one_line(text), mode="eval").body


def _size(node: ast.AST) -> int:
    match node:
        case ast.Attribute(value=ast.Name(id="math" | "torch")):
            return 1
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return 1
        case ast.Call(func=ast.Attribute() as function):
            receiver = 0 if _is_module(function.value) else _size(function.value)
            return 1 + receiver + _arguments(node)
        case ast.Call():
            return 1 + _arguments(node)
        case ast.Subscript():
            return 1 + _size(node.value) + _index(node.slice)
        case ast.Attribute():
            return 1 + _size(node.value)
        case ast.Compare():
            return len(node.ops) + _size(node.left) + sum(map(_size, node.comparators))
        case ast.Tuple() | ast.List():
            return sum(map(_size, node.elts))
        case ast.BinOp() | ast.UnaryOp():
            return 1 + sum(
                _size(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)
            )
        case ast.Name() | ast.Constant():
            return 1
    raise ValueError(f"not a formula's syntax: {ast.dump(node)}")


def _arguments(node: ast.Call) -> int:
    return sum(map(_size, node.args)) + sum(_size(keyword.value) for keyword in node.keywords)


def _is_module(node: ast.AST) -> bool:
    """Whether it is `torch`, `F`, `torch.linalg` and the like, before a function's name."""
    match node:
        case ast.Name(id="torch" | "F" | "math"):
            return True
        case ast.Attribute(value=inner):
            return _is_module(inner)
    return False


def _index(node: ast.AST | None) -> int:
    match node:
        case None | ast.Constant() | ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return 0
        case ast.Tuple():
            return sum(map(_index, node.elts))
        case ast.Slice():
            return _index(node.lower) + _index(node.upper) + _index(node.step)
    return _size(node)
