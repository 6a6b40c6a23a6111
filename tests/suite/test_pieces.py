"""An expression in pieces: what each is called, where it stands, and that together they are the whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods import run
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.ops.known import given
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.nodes import inner_cases
from gradcheck_cli.suite.pieces import case_of, pieces

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case

INPUTS = {
    "x": "{shape: [3, 4], requires_grad: true}",
    "y": "{shape: [4], requires_grad: false}",
    "A": "{shape: [4, 4], sample: spd, requires_grad: true}",
}


def case_from(expression: str, let: str = "", more: str = "", **inputs: str) -> Case:
    names = parse(Source(expression)).names | set(re.findall(r"\b[xyA]\b", let))
    used = inputs or {name: text for name, text in INPUTS.items() if name in names}
    listed = ", ".join(f"{name}: {text}" for name, text in used.items())
    text = f"version: 1\ninputs: {{{listed}}}\nexpression: {expression!r}\n{more}"
    return prepare(load_text(text + (f"let: {{{let}}}\n" if let else ""))[0])


EXPRESSIONS = (
    "torch.linalg.svd(x @ A, full_matrices=False).S[0] * x.max(0).values.sum()",
    "torch.stack(torch.split(x * 2, 2, dim=1)).sum() + A[0, 0]",
    "torch.fft.fft(x).abs() @ A",
    "torch.cat([x[0] * 2, A.T[1].contiguous()]).softmax(dim=-1)",
    "torch.where(x > 0, x.exp(), -x).reshape(-1, x.shape[0]) * A.sum()",
    "F.layer_norm(x, x.shape[-1:]).mean() + A.masked_select(A > 0).sum()",
    "torch.einsum('ij,jk->ik', x, A).view(-1)[::2].logsumexp(0)",
    "x.unflatten(1, (2, 2)).amax(dim=(0, 2)) * A[:2, 0]",
)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_piece_stands_alone_and_has_the_value_it_has_in_the_whole(expression: str) -> None:
    case = case_from(expression)
    found = pieces(case)
    assert found
    nodes = list({node: 0 for piece in found for node in (piece.node, *piece.operands.values())})
    arrays = dict(zip(nodes, Plan(nodes)(case.arrays), strict=True))
    for piece in found:
        small = case_of(piece, case.check, arrays, ("torch", "engine"))
        assert small is not None, piece
        assert isinstance(small.given, dict)
        with given(small.given.copy):
            ours, theirs = (run(method, small) for method in ("engine", "torch"))
        assert theirs.unavailable is None
        expected = arrays[piece.node]
        if expected.dtype.kind == "c":
            expected = np.stack([expected.real, expected.imag], axis=-1)
        for result in (ours, theirs):
            np.testing.assert_allclose(np.asarray(result.value), expected, rtol=1e-9, atol=1e-12)
        for name, estimate in ours.estimates.items():
            np.testing.assert_allclose(
                estimate.gradient, theirs.estimates[name].gradient, rtol=1e-7, atol=1e-9
            )


def test_pieces_are_called_and_placed_as_they_are_written() -> None:
    case = case_from("F.relu(h).sum(0) @ A - 1", "h: torch.sin(x) * y")
    found = pieces(case)
    assert [piece.operator for piece in found][:5] == [
        "torch.sin",
        "*",
        "F.relu",
        "Tensor.sum",
        "@",
    ]
    marks = [
        piece.place.source[piece.place.column - 1 :][: piece.place.width]
        for piece in found
        if piece.place.source is not None and piece.place.column is not None
    ]
    assert marks[:5] == ["torch.sin(x)", "*", "F.relu(h)", "sum(0)", "@"]


def test_what_no_gradient_flows_through_is_no_piece() -> None:
    case = case_from("(x * y.exp()).sum() * x.detach().sin().sum() * A.sum()")
    operators = [piece.operator for piece in pieces(case)]
    assert "Tensor.exp" not in operators
    assert "Tensor.sin" not in operators


def test_the_same_operation_twice_is_one_piece() -> None:
    case = case_from("x.sin() * x.sin() + x.sin().exp()")
    assert [piece.operator for piece in pieces(case)].count("Tensor.sin") == 1


def test_operands_are_rounded_to_the_precision_of_the_check() -> None:
    case = case_from("x.sin().exp()", more="dtype: bfloat16\n", x="{shape: [5]}")
    piece = pieces(case)[1]
    (operand,) = piece.operands.values()
    small = case_of(piece, case.check, {operand: np.full(5, 1 + 2.0**-12)}, ("engine",))
    assert small is not None
    assert small.arrays[next(iter(piece.operands))].tolist() == [1.0] * 5


def test_a_composite_has_an_inside_and_a_single_operator_has_none() -> None:
    inside = inner_cases(case_from("torch.dist(x, y)"))
    assert [name for name, _ in inside] == ["sub", "norm"]
    assert not [*inner_cases(case_from("x.exp()"))]
