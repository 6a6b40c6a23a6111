"""Mistakes of numbers: undefined ones, rounded ones, a lower precision, none at all."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.verdict.mutants.record import Edit, Kind, Subject
from gradcheck_cli.verdict.mutants.terms import is_epsilon

if TYPE_CHECKING:
    from collections.abc import Iterator

# exp of it is beyond every format of floating point.
_OVERFLOWING = "1000"


def _zero_by_zero(subject: Subject) -> Iterator[Edit]:
    name = subject.name
    yield Edit(f"{subject.whole} * ({name} - {name}) / ({name} - {name})", "0 / 0 everywhere")
    for name in subject.masking:
        text = f"{subject.whole} * relu({name}) / relu({name})"
        yield Edit(text, f"0 / 0 where `{name} < 0`")


def _overflow(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(
                func=ast.Attribute(attr="softmax") | ast.Name(id="softmax"), args=[argument, axis]
            ):
                shifted = f"({grouped(edits.segment(argument))} + {_OVERFLOWING}).exp()"
                text = f"{shifted} / {shifted}.sum({edits.segment(axis)}, keepdim=True)"
            case ast.Call(
                func=ast.Attribute(attr="sigmoid") | ast.Name(id="sigmoid"), args=[argument]
            ):
                shifted = f"({grouped(edits.segment(argument))} + {_OVERFLOWING}).exp()"
                text = f"{shifted} / ({shifted} + exp(torch.tensor({_OVERFLOWING})))"
            case _:
                continue
        yield Edit(
            edits.replaced(part, text), f"`{edits.segment(part)}` written so that it overflows"
        )
    exponential = f"exp({subject.name} + {_OVERFLOWING})"
    text = f"{subject.whole} * {exponential} / {exponential}"
    yield Edit(text, "a quotient of exponentials that overflow")


def _infinite(subject: Subject) -> Iterator[Edit]:
    """The logarithm of zero, where something is negative."""
    yield Edit(f"{subject.summand} + relu({subject.name}).log()", "the logarithm of 0")


def _rounded(subject: Subject) -> Iterator[Edit]:
    """Constants with many digits to three, and roots of numbers as decimals."""
    edits = subject.edits
    for part in subject.parts():
        parent = edits.parent(part)
        match part:
            case ast.Attribute() | ast.Constant(value=float()) | ast.BinOp(op=ast.Pow()):
                node = subject.node(part)
            case _:
                continue
        if node is None or not isinstance(node.value, float) or is_epsilon(part):
            continue
        if (
            isinstance(parent, ast.BinOp)
            and isinstance(parent.op, ast.Pow)
            and parent.right is part
        ):
            continue
        for digits in (2, 3):
            new = float(f"{node.value:.{digits}g}")
            if new != node.value:
                what = f"`{edits.segment(part)}` rounded to {new}"
                yield Edit(edits.replaced(part, repr(new)), what)


def _slightly(subject: Subject) -> Iterator[Edit]:
    for factor in ("1.001", "0.9999", "1.00001"):
        yield Edit(f"{factor} * {subject.whole}", f"everything by {factor} too large")


def _epsilon(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.Add(), right=right) if is_epsilon(right):
                text = edits.replaced(part, edits.segment(left))
                yield Edit(text, f"the epsilon {edits.segment(right)} dropped")
                for scale in (10, 0.1):
                    new = f"{ast.literal_eval(right) * scale:g}"
                    text = edits.replaced(right, new)
                    yield Edit(text, f"the epsilon {new} for {edits.segment(right)}")


def _epsilon_added(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(op=ast.Div(), right=right):
                node = subject.node(right)
                if node is not None and node.value is None:
                    segment = edits.segment(right)
                    text = edits.replaced(right, f"{segment} + 1e-4")
                    yield Edit(text, f"an epsilon beside `{segment}` that the function hasn't")


def _single(subject: Subject) -> Iterator[Edit]:
    yield Edit(f"{subject.whole}.to(torch.float32)", "in single precision")


def _half(subject: Subject) -> Iterator[Edit]:
    for dtype in ("float16", "bfloat16"):
        yield Edit(f"{subject.whole}.to(torch.{dtype})", f"in {dtype}")


def _zeros(subject: Subject) -> Iterator[Edit]:
    yield Edit(f"torch.zeros_like({subject.name})", "zeros")


def _ones(subject: Subject) -> Iterator[Edit]:
    yield Edit(f"torch.ones_like({subject.name})", "ones")


KINDS = (
    Kind(
        "zero by zero", ("GC110",), _zero_by_zero, "0 / 0, where something vanishes.", local=False
    ),
    Kind("overflow", ("GC110",), _overflow, "A form that is right on paper and overflows."),
    Kind(
        "logarithm of zero",
        ("GC110",),
        _infinite,
        "Infinity, where something vanishes.",
        local=False,
    ),
    Kind("constant rounded", ("GC111",), _rounded, "3.14 for math.pi."),
    Kind(
        "slightly off",
        ("GC111", "GC101"),
        _slightly,
        "Everything by a little too large.",
        local=False,
    ),
    Kind(
        "epsilon changed", ("GC111",), _epsilon, "The epsilon of a root is forgotten, or another."
    ),
    Kind("epsilon added", ("GC111",), _epsilon_added, "A quotient gets an epsilon it hasn't."),
    Kind("single precision", ("GC111",), _single, "The result is rounded to float32.", local=False),
    Kind("half precision", ("GC111",), _half, "The result is rounded to 16 bits.", local=False),
    Kind("zeros", ("GC112",), _zeros, "No gradient flows.", local=False),
    Kind("ones", ("GC113", "GC106"), _ones, "One, as if it were the input itself.", local=False),
)
