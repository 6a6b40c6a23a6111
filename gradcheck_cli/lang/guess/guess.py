"""The guess as a whole: which names are inputs, what they are taken for, and how that is told."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradcheck_cli.dtypes import BY_NAME
from gradcheck_cli.errors import GradcheckError, Problem, Source, did_you_mean
from gradcheck_cli.graph import TABLE, Expr, topological
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.guess import dims
from gradcheck_cli.lang.guess.attempt import Attempt
from gradcheck_cli.lang.guess.calls import arguments, overloads
from gradcheck_cli.lang.guess.search import Found, search
from gradcheck_cli.lang.guess.sizes import Result, Solver
from gradcheck_cli.lang.guess.uses import Uses
from gradcheck_cli.lang.names import MODULES
from gradcheck_cli.lang.parse import Formula, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# How many parts of the expression may be built, all attempts together; and how often a large one may be.
MOST_PARTS = 20_000
MOST_TIMES = 8
# More names than this want their shapes told.
MOST_NAMES = 64
# Names of other libraries, of Python's own functions and of devices; `grad` is a manual formula's.
_NO_INPUTS = frozenset(
    [
        *("np", "numpy", "jnp", "jax", "nn", "tf", "scipy", "sp", "self", "grad", "cuda", "cpu"),
        *(
            "range",
            "len",
            "float",
            "int",
            "bool",
            "str",
            "print",
            "list",
            "tuple",
            "dict",
            "device",
        ),
    ]
)
_ASKING = "every input needs its shape, as in -i x=3,8"
# What reads one triangle of a matrix and takes the other for the same.
_SYMMETRIC = frozenset(["cholesky"])
# Types of parameters that a tensor can be given for.
_TENSORS = frozenset(["Tensor", "Tensor|Scalar", "Tensor[]", "data"])
_WORDS = {"int64": "whole numbers", "bool": "a mask"}


@dataclass(frozen=True)
class Input:
    """One input: its node, the letters of its dimensions (numbers where a size is settled), and why."""

    name: str
    node: Expr
    dims: tuple[str, ...]
    reason: str = ""

    def __str__(self) -> str:
        inner = ", ".join(self.dims) + ("," if len(self.dims) == 1 else "")
        word = _WORDS.get(self.node.dtype.name)
        return f"{self.name}: ({inner})" + (f" {word}" if word else "")


@dataclass(frozen=True)
class Guess:
    """What the inputs of an expression are taken for.

    `inputs` are those guessed, in order of appearance. Their sizes are small, and no two are equal that need
    not be. `facts` are what is assumed, as text and as masks: that an index is in range, that a matrix is
    symmetric. `output` is the graph of the expression.
    """

    inputs: tuple[Input, ...]
    output: Expr
    facts: tuple[tuple[str, Expr], ...] = ()

    @property
    def variables(self) -> dict[str, Expr]:
        """The inputs guessed, by name."""
        return {one.name: one.node for one in self.inputs}

    @property
    def lines(self) -> list[str]:
        """What to tell a person, beside the facts: the inputs with their shapes."""
        return [", ".join(map(str, self.inputs))] if self.inputs else []


def guess(text: str | Source | Formula, given: Mapping[str, Expr] | None = None) -> Guess:
    """What the inputs of an expression must be, as far as `given` doesn't say.

    Raises GradcheckError where the expression is wrong whatever they are, and where nothing that is tried
    can be computed: the problem then says what came nearest.

    >>> guess("(A @ x - b).pow(2).sum()").lines
    ['A: (M, N), x: (N,), b: (M,)']
    """
    formula = text
    if not isinstance(formula, Formula):
        formula = parse(Source(formula) if isinstance(formula, str) else formula)
    known = dict(given or {})
    names = inputs(formula, known)
    if not names or len(names) > MOST_NAMES or formula.refused:
        return Guess((), _built(formula, known, names))
    _whole_numbers(formula, names, known)
    uses = Uses(formula.tree, names, {*names, *known})
    solver = Solver(formula, known, MOST_PARTS, MOST_TIMES)
    found = search(solver, uses)
    if found is None or found.output is None:
        raise _nothing_fits(formula, known, found)
    return _told(formula, known, _smaller(solver, found), uses)


def inputs(formula: Formula, given: Mapping[str, Expr]) -> list[str]:
    """The names that can only be inputs, in order of appearance."""
    called: set[str] = set()
    functions: set[ast.AST] = set()
    member: dict[ast.AST, str] = {}
    places: dict[str, list[ast.Name]] = {}
    for node in ast.walk(formula.tree):
        if isinstance(node, ast.Name):
            places.setdefault(node.id, []).append(node)
        elif isinstance(node, ast.Call):
            parameters = [p for op in overloads(node, ()) for p in op.signature.parameters]
            if any(p.type == "function" for p in parameters):
                functions |= {*node.args, *(keyword.value for keyword in node.keywords)}
            if isinstance(node.func, ast.Name):
                called.add(node.func.id)
            elif isinstance(node.func, ast.Attribute) and node.args:
                member[node.func.value] = node.func.attr
    idle = [name for name in given if name not in places]

    def misspelt_module(name: str) -> bool:
        used = all(f"torch.{member.get(node)}" in TABLE.functions for node in places[name])
        return used and did_you_mean(name, ["torch"]) is not None

    found = [
        name
        for name, nodes in places.items()
        if not (name in given or name in called or name in MODULES or name in _NO_INPUTS)
        and not (name in BY_NAME or name.startswith("__") or functions & {*nodes})
        and not misspelt_module(name)
        and did_you_mean(name, idle) is None
    ]
    return sorted(found, key=lambda name: min(map(formula.span, places[name])))


def _built(formula: Formula, scope: Mapping[str, Expr], names: Collection[str]) -> Expr:
    """The graph where nothing is guessed. Raises GradcheckError, of inputs only if nothing else is wrong."""
    try:
        return build(formula, scope)
    except GradcheckError as error:
        unknown = {f"unknown name `{name}`" for name in names}
        others = [problem for problem in error.problems if problem.message not in unknown]
        asking = [replace(problem, hint=_ASKING) for problem in error.problems]
        raise GradcheckError(*(others or asking)) from None


def _whole_numbers(formula: Formula, names: list[str], given: Mapping[str, Expr]) -> None:
    """Raise GradcheckError where a name stands for a number, such as that of classes: none is guessed."""
    own = {*names, *given}
    problems = []
    for node in ast.walk(formula.tree):
        found = overloads(node, own) if isinstance(node, ast.Call) else []
        tensors: dict[ast.expr, bool] = {}
        for op in found:
            assert isinstance(node, ast.Call)
            kinds = {p.name: p.type in _TENSORS for p in op.signature.parameters}
            for parameter, value in arguments(node, op, own):
                tensors[value] = tensors.get(value, False) or kinds[parameter]
        for value in (value for value, is_tensor in tensors.items() if not is_tensor):
            for item in value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value]:
                if isinstance(item, ast.Name) and item.id in names:
                    message = f"`{item.id}` stands for a number here, and only tensors are guessed"
                    hint = "write the number, or a size of an input: x.shape[1]"
                    problems.append(formula.problem("GC014", message, item, hint))
    if problems:
        raise GradcheckError(*problems)


def _nothing_fits(
    formula: Formula, given: Mapping[str, Expr], found: Found | None
) -> GradcheckError:
    """Why nothing was found, with what was tried last."""
    if found is None:
        message = "the expression is too large for its shapes to be guessed"
        return GradcheckError(Problem("GC012", message, formula.source.where(), _ASKING))
    scope = {**given, **found.result.layout.variables(found.dtypes)}
    try:
        build(formula, scope)
    except GradcheckError as error:
        tried = ", ".join(f"{n}: {scope[n].shape}" for n in scope if n not in given)
        return GradcheckError(*(_with_tried(problem, tried) for problem in error.problems))
    raise AssertionError(formula.flat)


def _with_tried(problem: Problem, tried: str) -> Problem:
    if problem.code not in ("GC015", "GC016"):
        return problem
    return replace(problem, hint=f"shapes are guessed, and {tried} came nearest; {_ASKING}")


def _smaller(solver: Solver, found: Found) -> Found:
    """The same with small sizes, where it can be computed with them too."""
    for layout in dims.small(found.result.layout):
        builder = Attempt(solver.formula, {**solver.given, **layout.variables(found.dtypes)})
        result = Result(layout, builder, builder.run())
        if isinstance(result.value, Expr):
            return Found(result, found.dtypes)
    return found


def _told(formula: Formula, given: Mapping[str, Expr], found: Found, uses: Uses) -> Guess:
    output, layout = found.output, found.result.layout
    assert output is not None
    variables = layout.variables(found.dtypes)
    scope = {**given, **variables}
    bounds = dims.bounds(output, scope)
    of_classes = {layout.dims[of][dim] for of, dim in bounds.values() if of in layout.dims}
    taken = {*formula.names, *given}
    letters = dims.letters(layout, taken, of_classes)
    made = tuple(
        Input(
            name,
            node,
            tuple(
                str(layout.sizes[dim]) if dim in layout.fixed else letters[dim]
                for dim in layout.dims[name]
            ),
            uses[name].reason,
        )
        for name, node in variables.items()
    )
    texts = []
    for name, (of, dim) in bounds.items():
        texts += [f"{name} >= 0", f"{name} < {dims.size_text(scope[of], dim)}"]
    for node in topological([output]):
        matrix = node.inputs[0] if node.inputs else node
        if node.op.python_name in _SYMMETRIC and matrix in variables.values():
            name = matrix.attributes["name"]
            texts.append(f"{name} == {name}.mT")
    facts = tuple((text, build(parse(Source(text)), scope)) for text in dict.fromkeys(texts))
    return Guess(made, output, facts)
