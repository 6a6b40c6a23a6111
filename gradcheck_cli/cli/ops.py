"""`gradcheck ops`: the operators that an expression can use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from gradcheck_cli.graph import In, Op

# Shape and dtype of an input.
Type: TypeAlias = tuple[tuple[int, ...], str]


def ops(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="One operator: softmax, torch.linalg.det, Tensor.T."),
    ] = None,
) -> int:
    """List the operators, or show one of them."""
    import gradcheck_cli.ops  # noqa: F401 -- fills the table
    from gradcheck_cli.cli.options import misused
    from gradcheck_cli.errors import ExitCode, did_you_mean
    from gradcheck_cli.graph import TABLE
    from gradcheck_cli.report.catalogue import op_list, op_page
    from gradcheck_cli.report.terminal import Terminal

    terminal = Terminal(sys.stdout)
    if name is None:
        op_list(terminal, TABLE)
        return ExitCode.PASSED
    wanted = name.strip().removesuffix("()")
    found = [
        op
        for op in TABLE.by_name.values()
        if wanted in _names(op.name, op.spellings) or wanted == op.infix
    ]
    found += [op for attribute, op in TABLE.attributes.items() if wanted in _names(attribute, ())]
    if not found:
        known = {n for op in TABLE.by_name.values() for n in _names(op.name, op.spellings)}
        hint = did_you_mean(wanted, known) or "`gradcheck ops` lists all operators"
        misused(f"there is no operator `{name}`", hint)
    for op in dict.fromkeys(found):
        op_page(terminal, op, _example(op))
    return ExitCode.PASSED


def _example(op: Op) -> tuple[str, dict[str, str]] | None:
    """An expression of the operator with its gradients, derived as for a person; None without one."""
    from gradcheck_cli.errors import GradcheckError

    samples = [sample for sample in op.samples if sample.grad]
    names = [p.name for p in op.signature.parameters if p.is_tensor and not p.has_default]
    if op.vjp is None and op.define is None:
        return None
    try:
        if samples:
            inputs = {name: _type(given) for name, given in samples[0].inputs.items()}
            return _derived(samples[0].expression, inputs)
        call = next((s for s in op.spellings if not s.startswith("Tensor.")), None)
        if call is None:
            return None
        floating: Type = ((3,), "float64")
        return _derived(f"{call}({', '.join(names)})", dict.fromkeys(names, floating))
    except GradcheckError:
        # Not every signature can be called with vectors alone; such a page has no example.
        return None


def _type(given: In) -> Type:
    import numpy as np

    return (given.shape if given.value is None else np.shape(given.value), given.dtype)


def _derived(text: str, inputs: dict[str, Type]) -> tuple[str, dict[str, str]] | None:
    from gradcheck_cli.calculus.derive import derive
    from gradcheck_cli.dtypes import BY_NAME
    from gradcheck_cli.errors import Source
    from gradcheck_cli.graph import variable
    from gradcheck_cli.lang.build import build
    from gradcheck_cli.lang.parse import parse

    scope = {name: variable(name, shape, BY_NAME[dtype]) for name, (shape, dtype) in inputs.items()}
    output = build(parse(Source(text)), scope)
    wrt = [name for name, node in scope.items() if node.dtype.is_floating]
    if not wrt or not output.dtype.is_floating:
        return None
    formulas = derive(output, [scope[name] for name in wrt], variable("grad", output.shape))
    return text, {name: str(formula) for name, formula in zip(wrt, formulas, strict=True)}


def _names(name: str, spellings: tuple[str, ...]) -> set[str]:
    """Every way to ask for it: full spellings, the last parts of them, and `x.f` of methods."""
    last = {spelling.rpartition(".")[2] for spelling in spellings}
    nn = {s.replace("F.", "torch.nn.functional.", 1) for s in spellings if s.startswith("F.")}
    return {name, f"Tensor.{name}", *spellings, *last, *nn}
