"""What `derive` and `trace` are about: an expression with its inputs, or checks of a spec file."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.suite.selection.values import misused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.errors import Problem
    from gradcheck_cli.graph import Expr
    from gradcheck_cli.spec.check import Check

_MOST_DIGITS = 18


def _is_file(what: str) -> bool:
    from gradcheck_cli.suite.selection.collect import STDIN, SUFFIXES

    path = what.partition("::")[0]
    return what == STDIN or path.lower().endswith(SUFFIXES) or os.path.exists(path)  # noqa: PTH110


def names_a_file(what: str, inputs: Sequence[str] | None, check: str | None) -> bool:
    """Whether an argument names a spec file, and is not an expression; refuses options of the other."""
    if _is_file(what):
        if inputs:
            misused("-i goes with an expression; a spec file has its own inputs", "leave -i out")
        return True
    if check is not None:
        misused("--check goes with a spec file, and this is an expression", "leave it out")
    return False


def checks_of(what: str, check: str | None) -> list[Check]:
    """The checks of a spec file, without their siblings in other dtypes and sizes.

    Raises GradcheckError with all that is wrong with the file.
    """
    from gradcheck_cli.cli.running import show_notes
    from gradcheck_cli.suite.selection.collect import collect

    found = collect([what if check is None else f"{what}::{check}"])
    show_notes(found.notes)
    if found.problems:
        raise GradcheckError(*found.problems)
    distinct = {(check.file, check.line): check for check in reversed(found.checks)}
    return list(distinct.values())[::-1]


def variables(inputs: Sequence[str]) -> dict[str, Expr]:
    """The inputs that `-i` describes."""
    from gradcheck_cli.dtypes import BY_NAME
    from gradcheck_cli.errors import did_you_mean
    from gradcheck_cli.graph import variable

    scope: dict[str, Expr] = {}
    for given in inputs:
        name, equals, rest = given.partition("=")
        sizes, _, dtype = rest.partition(":")
        parts = [part.strip() for part in sizes.strip(" ()[]").split(",") if part.strip()]
        right = equals and name.isidentifier() and name != "grad" and name not in scope
        if not right or not all(_is_size(part) for part in parts):
            misused(f"-i {given}: not an input", "write NAME=SHAPE with each name once: -i x=3,8")
        if dtype and dtype not in BY_NAME:
            listed = f"choose from {', '.join(BY_NAME)}"
            misused(
                f"-i {given}: there is no dtype `{dtype}`", did_you_mean(dtype, BY_NAME) or listed
            )
        scope[name] = variable(name, [int(part) for part in parts], BY_NAME[dtype or "float64"])
    return scope


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def asking_for_shapes(error: GradcheckError) -> GradcheckError:
    """The error of an expression, saying of unknown names that `-i` makes them known."""
    hint = "every input needs its shape, as in -i x=3,8"
    return GradcheckError(*(replace(p, hint=hint) if _is_unknown(p) else p for p in error.problems))


def _is_unknown(problem: Problem) -> bool:
    """Whether an input without a shape is to blame, and not a slip of the pen."""
    return problem.code == "GC012" and not (problem.hint or "").startswith("did you mean")


def no_floating_input(text: str) -> GradcheckError:
    """What is wrong with an expression that has no gradient."""
    from gradcheck_cli.errors import Problem, Source

    message = "the expression has no floating-point input"
    return GradcheckError(
        Problem("GC024", message, Source(text).where(), "give one, as in -i x=3,8")
    )


def check_of(text: str, inputs: Sequence[str]) -> Check:
    """An expression as a check, its inputs drawn as those of a spec file are."""
    given = variables(inputs)
    for name, node in given.items():
        if node.dtype.kind == "z":
            misused(f"-i {name}: {node.dtype.name} can't be drawn", "give a real dtype")
    return check_for(text, given)


def check_for(text: str, inputs: Mapping[str, Expr]) -> Check:
    """An expression over `inputs` as a check.

    Whole numbers are 0 or 1, so that they are classes and indices of nearly anything.
    """
    from gradcheck_cli.errors import Source
    from gradcheck_cli.spec.check import FLOATING, Check, InputSpec
    from gradcheck_cli.spec.samplers import SAMPLERS

    specs = []
    for name, node in inputs.items():
        floating = node.dtype.name in FLOATING or node.dtype.kind == "z"
        sampler = SAMPLERS["normal" if floating else "bernoulli"]
        specs.append(
            InputSpec(
                name,
                node.shape,
                Source(name),
                dtype=node.dtype.name,
                sampler=sampler.name,
                parameters=dict(sampler.parameters),
            )
        )
    wrt = tuple(spec.name for spec in specs if spec.is_floating)
    return Check(text, text, None, 1, tuple(specs), Source(text), wrt)
