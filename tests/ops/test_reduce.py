"""Reductions at ties, zeros, NaN and infinity, where PyTorch's answer is a convention."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import TABLE, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import to_text

if TYPE_CHECKING:
    from collections.abc import Iterator

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def agree(text: str, value: list[float], *, second: bool = False) -> None:
    """Value, gradient and, if asked, the gradient's gradient are PyTorch's."""
    leaf = torch.tensor(value, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(text, {"x": leaf, "math": math, "torch": torch})
    (gradient,) = torch.autograd.grad(result.sum(), leaf, create_graph=True)
    expected = [result, gradient]
    x = variable("x", tuple(leaf.shape))
    node = build(parse(Source(text)), {"x": x})
    ours = [node, differentiate(node.sum(), [x])[0]]
    if second:
        expected += torch.autograd.grad(gradient.sum(), leaf)
        ours += differentiate(ours[1].sum(), [x])
    for found, reference in zip(Plan(ours)({"x": np.array(value)}), expected, strict=True):
        np.testing.assert_allclose(found, reference.numpy(force=True), rtol=1e-12, atol=1e-15)


AWKWARD = [[0.0, 0.0], [1.0, 0.0], [3.0, -3.0], [INF, 1.0], [NAN, 1.0], [1e200, 1e200], [1e-320]]


@pytest.mark.parametrize("value", AWKWARD, ids=str)
@pytest.mark.parametrize("order", ["0.5", "1", "1.5", "2", "3", "-1", "math.inf", "-math.inf"])
def test_norm(order: str, value: list[float]) -> None:
    agree(f"x.norm({order})", value)
    agree(f"x.norm({order}, 0, True)", value)


@pytest.mark.parametrize("text", ["x.amax()", "x.amin(0)", "x.max()", "x.min()", "x.max(0).values"])
@pytest.mark.parametrize("value", [[1.0, 1.0, 0.0], [INF, INF, 1.0], [-INF, -INF], [2.0]], ids=str)
def test_ties(text: str, value: list[float]) -> None:
    agree(text, value)


@pytest.mark.parametrize(
    "value", [[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [1.5, 2]], ids=str
)
@pytest.mark.parametrize("text", ["x.prod()", "x.prod(0)", "x.cumprod(0)"])
def test_products_with_zeros_to_the_second_order(text: str, value: list[float]) -> None:
    agree(text, value, second=True)


@pytest.mark.parametrize(
    "value", [[1.0, 1.0], [1.0], [1.0, 2.0], [NAN, 1.0], [1e200, -1e200]], ids=str
)
@pytest.mark.parametrize(
    "arguments", ["", "0", "0, correction=2", "correction=3", "0, correction=2.5"]
)
@pytest.mark.parametrize("name", ["var", "std"])
def test_spread_without_degrees_of_freedom(name: str, arguments: str, value: list[float]) -> None:
    agree(f"x.{name}({arguments})", value)


@pytest.mark.parametrize(
    "value", [[-INF, -INF], [INF, 1.0], [-INF, 1.0], [NAN, 1.0], [1e3, 0.0]], ids=str
)
def test_logsumexp_at_the_ends(value: list[float]) -> None:
    agree("x.logsumexp(0)", value)


def test_nan_is_left_out() -> None:
    agree("x.nansum()", [NAN, 1.0, 2.0])
    agree("x.nanmean()", [NAN, 1.0, 2.0])


def test_product_costs_no_square() -> None:
    """The gradient of prod() is made of running products: memory grows with the size, not its square."""
    x = variable("x", (20_000,))
    plan = Plan(differentiate(x.prod(), [x]))
    assert plan.peak_bytes < 20 * 8 * x.elements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x.mean()", "full_like(x, 1.0 / x.numel())"),
        (
            "x.mean(0).sum()",
            "(full_like(x.mean(0), 1.0) / x.shape[0])[None].expand(x.shape)",
        ),
        ("x.cumsum(0).sum()", "full_like(x.cumsum(0), 1.0).flip(0).cumsum(0).flip(0)"),
        ("x.logsumexp((0, 1))", "1.0 * exp(x - x.logsumexp((0, 1)))"),
    ],
)
def test_formulas_hold_at_any_size(text: str, expected: str) -> None:
    x = variable("x", (3, 4))
    node = build(parse(Source(text)), {"x": x})
    assert to_text(differentiate(node, [x])[0]) == expected


def test_kinks_are_zero_at_ties_only() -> None:
    x = variable("x", (2, 3))
    for text in ("x.amax(1)", "x.argmax(1)", "(-x).amin(1)", "x.norm(math.inf, 1)"):
        node = build(parse(Source(text)), {"x": x})
        assert node.op.kink is not None
        plan = Plan(node.op.kink(*node.args, **node.attributes))
        (tied,) = plan({"x": np.array([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]])})
        (free,) = plan({"x": np.array([[1.0, 3.0, 2.5], [2.0, 1.0, 0.0]])})
        assert (np.abs(tied).min(), np.abs(free).min()) == (0.0, 0.5), text


SCOPE = {
    "x": variable("x", (2, 3)),
    "empty": variable("empty", (0, 3)),
    "i": variable("i", (2, 3), dtypes.int64),
    "m": variable("m", (2, 3), dtypes.bool_),
}
REFUSED = [
    ("x.sum(0, 1)", "GC014", "keepdim"),
    ("x.sum((0, -2))", "GC014", "twice"),
    ("x.sum(2)", "GC014", "out of range"),
    ("i.mean()", "GC016", "int64"),
    ("x.mean(dtype=torch.int64)", "GC016", "int64"),
    ("i.var()", "GC016", "int64"),
    ("i.nanmean()", "GC016", "int64"),
    ("empty.amax()", "GC015", "(0, 3)"),
    ("empty.max(0).values", "GC015", "(0, 3)"),
    ("empty.argmin()", "GC015", "(0, 3)"),
    ("m.argmax()", "GC016", "masks"),
    ("x.logsumexp(())", "GC014", "dimensions"),
    ("i.norm()", "GC016", "int64"),
    ("x.norm(dtype=torch.float32)", "GC016", "narrower"),
    ("empty.norm(math.inf, 0)", "GC015", "(0, 3)"),
    ("empty.norm(-1)", "GC015", "order -1"),
    ("x.cumsum(2)", "GC014", "out of range"),
    ("x.prod((0, 1))", "GC014", "prod"),
]


@pytest.mark.parametrize(("text", "code", "fragment"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused_as_in_pytorch(text: str, code: str, fragment: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        build(parse(Source(text)), SCOPE)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert fragment in problem.message + (problem.hint or "")


def test_reductions_with_kinks_are_not_analytic() -> None:
    for name in ("amax", "amin", "max", "min", "norm", "argmax", "any", "all"):
        assert not TABLE.by_name[name].analytic
