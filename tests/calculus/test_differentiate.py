"""The chain rule against PyTorch's: broadcasting, paths that meet, several outputs, what has no gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate, fit
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, const, t, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import Formula, parse
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.methods.torch_method import evaluate_formula

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXPRESSIONS: dict[str, dict[str, tuple[int, ...]]] = {
    # broadcasting, undone
    "x + b": {"x": (3, 4), "b": (4,)},
    "x * c": {"x": (3, 4), "c": (3, 1)},
    "x / s": {"x": (3, 4), "s": ()},
    "x ** 2 * b * s": {"x": (2, 3, 4), "b": (3, 1), "s": ()},
    "a * b": {"a": (3, 1), "b": (1, 4)},
    "torch.where(x > 0, a, b)": {"x": (3, 4), "a": (4,), "b": (3, 1)},
    "torch.lerp(x, b, s)": {"x": (3, 4), "b": (4,), "s": ()},
    "(x + b).sum()": {"x": (3, 4), "b": (1, 4)},
    "A @ B": {"A": (2, 1, 3, 4), "B": (5, 4, 2)},
    # zero sizes and no dimensions
    "x * b": {"x": (0, 4), "b": (4,)},
    "x.sum()": {"x": (0, 3)},
    "x.sum(0) * b": {"x": (0, 3), "b": (3,)},
    "x.exp() * s": {"x": (), "s": ()},
    "A @ B.T": {"A": (3, 0), "B": (2, 0)},
    "torch.cat([x, y])": {"x": (0, 2), "y": (3, 2)},
    "x.prod()": {"x": (0,)},
    # paths that meet
    "x * x.sum() + x": {"x": (3,)},
    "(x.exp() * x.sin()).sum() * x": {"x": (3,)},
    "x @ x.T @ x": {"x": (3, 4)},
    "y * y.detach() + x": {"x": (3,), "y": (3,)},
    # several outputs
    "x.max(1).values": {"x": (3, 4)},
    "x.max(1).values + x.min(0).values.sum()": {"x": (3, 4)},
    "x.sort(1).values[:, 0] * x.sum(1)": {"x": (3, 4)},
    "torch.linalg.slogdet(A).logabsdet": {"A": (3, 3)},
    "torch.linalg.slogdet(A).sign * torch.linalg.slogdet(A).logabsdet": {"A": (3, 3)},
    "torch.var_mean(x, 1)[0] * torch.var_mean(x, 1)[1]": {"x": (3, 4)},
    "torch.topk(x, 2).values": {"x": (3, 4)},
    "x.std(0) / x.var()": {"x": (3, 4)},
    # what stops the gradient
    "x.detach() * y": {"x": (3,), "y": (3,)},
    "(x > 0).double() * x": {"x": (3,)},
    "x[x.argmax(0)]": {"x": (5,)},
    "x.floor() + x.round() * y": {"x": (3,), "y": (3,)},
    "torch.where(x.detach() > 0, x, -x)": {"x": (3,)},
    # deeper
    "torch.softmax(torch.tanh(x @ W + b), 1) * y": {
        "x": (3, 4),
        "W": (4, 2),
        "b": (2,),
        "y": (3, 2),
    },
    "(x[:, None] - y[None]).pow(2).sum(-1).sqrt()": {"x": (3, 2), "y": (4, 2)},
    "torch.logdet(A @ A.T + torch.eye(3)) + torch.trace(A)": {"A": (3, 3)},
    "F.cross_entropy(x @ W, torch.tensor([0, 1, 1]))": {"x": (3, 4), "W": (4, 2)},
}


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Case:
    """An expression with random inputs, for us and for PyTorch."""

    def __init__(self, text: str, shapes: dict[str, tuple[int, ...]]) -> None:
        rng = np.random.default_rng(3)
        self.formula: Formula = parse(Source(text))
        self.arrays: dict[str, Any] = {n: rng.standard_normal(s) for n, s in shapes.items()}
        self.nodes = {n: variable(n, s) for n, s in shapes.items()}
        self.output = build(self.formula, self.nodes)
        self.upstream = rng.standard_normal(self.output.shape)
        self.directions = {n: rng.standard_normal(s) for n, s in shapes.items()}
        self.leaves = {n: torch.tensor(a).requires_grad_() for n, a in self.arrays.items()}
        self.value: torch.Tensor = evaluate_formula(self.formula, self.leaves)

    def in_torch(self) -> list[torch.Tensor]:
        leaves = list(self.leaves.values())
        found: Sequence[torch.Tensor | None] = torch.autograd.grad(
            self.value, leaves, torch.tensor(self.upstream), create_graph=True, allow_unused=True
        )
        return [
            torch.zeros_like(leaf) if g is None else g
            for leaf, g in zip(leaves, found, strict=True)
        ]


@pytest.mark.parametrize(("text", "shapes"), EXPRESSIONS.items())
def test_gradient_is_pytorch_s(text: str, shapes: dict[str, tuple[int, ...]]) -> None:
    case = Case(text, shapes)
    upstream = variable("grad", case.output.shape)
    gradients = differentiate(case.output, list(case.nodes.values()), upstream)
    ours = Plan(gradients)({**case.arrays, "grad": case.upstream})
    for name, found, expected in zip(shapes, ours, case.in_torch(), strict=True):
        assert found.shape == shapes[name]
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("text", "shapes"), EXPRESSIONS.items())
def test_second_derivative_is_pytorch_s(text: str, shapes: dict[str, tuple[int, ...]]) -> None:
    case = Case(text, shapes)
    first = case.in_torch()
    along = sum(
        (g * torch.tensor(case.directions[n])).sum() for n, g in zip(shapes, first, strict=True)
    )
    assert isinstance(along, torch.Tensor)
    if not along.requires_grad:
        return
    leaves = list(case.leaves.values())
    expected: Sequence[torch.Tensor | None] = torch.autograd.grad(along, leaves, allow_unused=True)
    upstream = variable("grad", case.output.shape)
    gradients = differentiate(case.output, list(case.nodes.values()), upstream)
    slope: Expr = t.zeros(())
    for name, gradient in zip(shapes, gradients, strict=True):
        slope = slope + (gradient * variable(f"d{name}", shapes[name])).sum()
    second = differentiate(slope, list(case.nodes.values()))
    arrays = {**case.arrays, "grad": case.upstream}
    arrays |= {f"d{name}": direction for name, direction in case.directions.items()}
    for found, reference, leaf in zip(Plan(second)(arrays), expected, leaves, strict=True):
        wanted = torch.zeros_like(leaf) if reference is None else reference
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-8, atol=1e-10)


def test_the_third_derivative_of_a_cube_is_six() -> None:
    x = variable("x", (3,))
    node = (x * x * x).sum()
    for _ in range(2):
        node = differentiate(node, [x])[0].sum()
    (third,) = differentiate(node, [x])
    assert Plan([third])({"x": np.array([1.0, -2.0, 0.0])})[0].tolist() == [6.0, 6.0, 6.0]


def test_an_input_that_the_output_does_not_reach_gets_zeros_of_its_shape() -> None:
    x, y = variable("x", (3,)), variable("y", (2, 2), dtypes.float32)
    gradients = differentiate(x.sum(), [x, y])
    assert gradients[1] is t.zeros_like(y)
    assert gradients[1].dtype is dtypes.float32


def test_the_output_itself_and_nodes_within_can_be_differentiated_for() -> None:
    x = variable("x", (3,))
    inner = x.exp()
    output = (inner * inner).sum()
    ours = differentiate(output, [output, inner, x])
    values = Plan(ours)({"x": np.zeros(3)})
    assert [v.tolist() for v in values] == [1.0, [2.0] * 3, [2.0] * 3]


def test_integers_and_masks_have_no_gradient_and_pass_none_on() -> None:
    n, x = variable("n", (3,), dtypes.int64), variable("x", (3,))
    gradients = differentiate((n * x).sum(), [n, x])
    assert gradients[0] is t.zeros_like(n)
    assert to_text(gradients[1]).count("n")


def test_an_operator_with_several_outputs_is_called_for_those_that_have_a_gradient() -> None:
    x = variable("x", (3, 4))
    found = x.sort(1)
    (gradient,) = differentiate(found.values.sum(), [x])
    values = Plan([gradient])({"x": np.random.default_rng(0).standard_normal((3, 4))})
    np.testing.assert_array_equal(values[0], np.ones((3, 4)))


def test_a_number_as_gradient_fills_the_shape() -> None:
    x = variable("x", (2, 3))
    assert fit(const(1.0), x) is t.full_like(x, 1.0)


def test_shared_parts_are_differentiated_once() -> None:
    x = variable("x", (3,))
    node = x
    for _ in range(40):
        node = node * node
    (gradient,) = differentiate(node.sum(), [x])
    assert len(topological([gradient])) < 300
