"""Order statistics at ties and with NaN, where PyTorch's answer is a convention; and what is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import TABLE, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops.known import given

if TYPE_CHECKING:
    from collections.abc import Callable

NAN = math.nan


@pytest.mark.parametrize(
    "value", [[1.0, 3.0, 3.0, 3.0, 5.0], [1.0, NAN, NAN, 2.0], [NAN, NAN], [2.0, 2.0]], ids=str
)
@pytest.mark.parametrize("name", ["median", "nanmedian", "max", "min"])
def test_equal_elements_share_the_gradient_of_the_whole(
    name: str, value: list[float], slope_of: Callable[..., Any]
) -> None:
    leaf = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    getattr(leaf, name)().backward()
    assert leaf.grad is not None
    np.testing.assert_array_equal(slope_of(f"x.{name}()", x=value), leaf.grad.numpy())


@pytest.mark.parametrize(
    "text", ["x.kthvalue(2).values", "x.median(0).values", "x.nanmedian(0).values", "x.mode()[0]"]
)
def test_one_of_equal_elements_gets_the_gradient_along_a_dimension(
    text: str, slope_of: Callable[..., Any]
) -> None:
    slope = slope_of(text, x=[3.0, 1.0, 3.0, 3.0])
    assert sorted(slope) == [0, 0, 0, 1]
    assert slope[1] == 0


@pytest.mark.parametrize("text", ["x.kthvalue(2).values", "x.median(0).values", "x.median()"])
def test_kinks_are_where_another_element_is_as_large(text: str) -> None:
    x = variable("x", (4,))
    node = build(parse(Source(text)), {"x": x})
    assert node.op.kink is not None
    plan = Plan(node.op.kink(*node.args, **node.attributes))
    assert np.abs(plan({"x": np.array([3.0, 1.0, 3.0, 5.0])})[0]).min() == 0.0
    assert np.abs(plan({"x": np.array([3.0, 1.0, 2.5, 5.0])})[0]).min() == 0.5


def test_the_mode_is_the_smallest_of_the_most_frequent(value_of: Callable[..., Any]) -> None:
    rows = np.random.default_rng(0).integers(0, 4, (200, 9)).astype(float)
    expected = torch.tensor(rows).mode()
    np.testing.assert_array_equal(value_of("x.mode().values", x=rows), expected.values.numpy())
    np.testing.assert_array_equal(value_of("x.mode().indices", x=rows), expected.indices.numpy())


def test_a_quantile_of_known_fractions_outside_of_0_to_1_is_refused() -> None:
    scope = {"x": variable("x", (3,)), "q": variable("q", (2,))}
    formula = parse(Source("x.quantile(q)"))
    assert build(formula, scope).shape == (2,)
    with (
        given(lambda: {"q": np.array([0.5, 1.5])}),
        pytest.raises(GradcheckError, match="fractions from 0 to 1"),
    ):
        build(formula, scope)


SCOPE = {
    "x": variable("x", (2, 3)),
    "empty": variable("empty", (0, 3)),
    "q": variable("q", (2, 2)),
    "i": build(parse(Source("x.long()")), {"x": variable("x", (2, 3))}),
    "m": build(parse(Source("x > 0")), {"x": variable("x", (2, 3))}),
}
REFUSED = [
    ("x.kthvalue(4)", "GC014", "which has 3"),
    ("x.kthvalue(0)", "GC014", "use 1 to 3"),
    ("x.kthvalue(1, 2)", "GC014", "out of range"),
    ("empty.kthvalue(1, 0)", "GC015", "(0, 3)"),
    ("empty.median(0)", "GC015", "(0, 3)"),
    ("empty.mode(0)", "GC015", "(0, 3)"),
    ("m.median()", "GC016", "masks"),
    ("i.quantile(0.5)", "GC016", "int64"),
    ("x.quantile(1.5)", "GC014", "from 0 to 1"),
    ("x.quantile(q)", "GC015", "(2, 2)"),
    ("x.quantile(0.5, interpolation='cubic')", "GC014", "midpoint"),
    ("empty.nanquantile(0.5)", "GC015", "(0, 3)"),
]


@pytest.mark.parametrize(("text", "code", "fragment"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused_as_in_pytorch(text: str, code: str, fragment: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        build(parse(Source(text)), SCOPE)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert fragment in problem.message + (problem.hint or "")


def test_order_statistics_are_not_analytic() -> None:
    for name in ("kthvalue", "median", "median.dim", "nanmedian", "mode", "cummax", "cummin"):
        assert not TABLE.by_name[name].analytic
