"""Every operator as eager code has it, beside the planner."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli import (
    Tensor,
    dtypes,
    functions,
    grad,
    set_default_dtype,
    tensor,
)
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import TABLE, Expr, In, Op, Sample, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops.known import given

if TYPE_CHECKING:
    from collections.abc import Iterator

F = functions.nn.functional


@pytest.fixture
def double() -> Iterator[None]:
    """The default dtype of checks, in which operators are compared."""
    set_default_dtype(dtypes.float64)
    yield
    set_default_dtype(dtypes.float32)


# Every operator, as its record's samples write it.


# Whose gradients are not compared, and why.
OTHERWISE = {
    "det": "its rule at singular matrices needs their values, and eager plans are kept by structure",
}


class Names(dict[str, Any]):
    """The language's names: a bare function is looked for in all modules."""

    def __missing__(self, name: str) -> Any:
        for module in (functions, F, functions.linalg, functions.special):
            if name in dir(module):
                return getattr(module, name)
        raise KeyError(name)


def drawn(spec: In, rng: np.random.Generator) -> Any:
    dtype = dtypes.BY_NAME[spec.dtype]
    if spec.value is not None:
        return np.array(spec.value, dtype.numpy)
    if dtype.kind == "b":
        return rng.random(spec.shape) < 0.5
    if dtype.kind == "i":
        low = int(spec.low or 0)
        high = int(spec.high if spec.high is not None else low + 2)
        return rng.integers(low, high, spec.shape).astype(dtype.numpy)
    found = rng.standard_normal(spec.shape)
    if spec.structure == "spd":
        found = found @ found.swapaxes(-1, -2) + spec.shape[-1] * np.eye(spec.shape[-1])
    elif spec.structure is not None:
        found = np.tril(found) + spec.shape[-1] * np.eye(spec.shape[-1])
    elif spec.low is not None or spec.high is not None:
        found = rng.uniform(spec.low or 0.0, 1.0 if spec.high is None else spec.high, spec.shape)
    return found.astype(dtype.numpy)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in TABLE.by_name.values()])
def test_an_operator_gives_what_the_planner_gives(op: Op) -> None:
    for sample in op.samples:
        compare_with_plan(op, sample)


def compare_with_plan(op: Op, sample: Sample) -> None:
    rng = np.random.default_rng(zlib.crc32((op.name + sample.expression).encode()))
    arrays = {name: drawn(spec, rng) for name, spec in sample.inputs.items()}
    nodes = {
        name: variable(name, array.shape, dtypes.BY_NAME[sample.inputs[name].dtype])
        for name, array in arrays.items()
    }
    with given(lambda: arrays):
        expr = build(parse(Source(sample.expression)), nodes)
    expected = Plan([expr])(arrays)[0]
    xs = {
        name: tensor(array, requires_grad=nodes[name].dtype.is_floating)
        for name, array in arrays.items()
    }
    modules = {"torch": functions, "F": F, "math": math}
    found = eval(sample.expression, {}, Names({**modules, **xs}))
    if not isinstance(found, Tensor):
        assert found == expected
        return
    assert tuple(found.shape) == expr.shape
    np.testing.assert_allclose(found.held, expected, rtol=1e-12, atol=1e-14)
    compared = sample.grad and op.name not in OTHERWISE
    if compared and expr.dtype.kind == "f" and not expr.dtype.weak:
        compare_gradients(found, expr, xs, nodes, arrays)


def compare_gradients(
    found: Tensor,
    expr: Expr,
    xs: dict[str, Tensor],
    nodes: dict[str, Expr],
    arrays: dict[str, Any],
) -> None:
    wrt = [name for name in xs if xs[name].requires_grad]
    cotangent = np.cos(np.arange(expr.elements)).reshape(expr.shape).astype(expr.dtype.numpy)
    upstream = variable("upstream", expr.shape, expr.dtype)
    expected = Plan(differentiate(expr, [nodes[name] for name in wrt], upstream))(
        {**arrays, "upstream": cotangent}
    )
    if not found.requires_grad:
        assert not any(np.any(gradient) for gradient in expected)
        return
    for again in (False, True):
        gradients = grad(
            found,
            [xs[name] for name in wrt],
            tensor(cotangent, dtype=expr.dtype),
            retain_graph=True,
            create_graph=again,
            allow_unused=True,
        )
        for name, ours, planned in zip(wrt, gradients, expected, strict=True):
            if ours is None:
                assert not np.any(planned)
                continue
            assert ours.shape == xs[name].shape
            assert ours.dtype is xs[name].dtype
            np.testing.assert_allclose(ours.held, planned, rtol=1e-6, atol=1e-8)
