"""Elementwise records at awkward values: zeros, ties, poles, bounds, huge, tiny, infinite, NaN."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gradcheck_cli.ops  # fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import TABLE, call, const, infix, t, variable
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

AWKWARD = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, 3.0, -3.0, 6.0, 20.0, -40.0, 709.0]
AWKWARD += [1e-200, -1e-200, 1e200, -1e200, np.inf, -np.inf, np.nan]

PLAIN = """
neg positive abs sign exp expm1 exp2 log log1p log2 log10 sqrt rsqrt square reciprocal sin cos
tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid erf erfc erfinv lgamma floor ceil
trunc frac relu relu6 selu silu mish logsigmoid hardswish
"""
ONE: dict[str, list[dict[str, Any]]] = {
    **{name: [{}] for name in PLAIN.split()},
    "round": [{}, {"decimals": 1}, {"decimals": -1}],
    "logit": [{}, {"eps": 0.5}],
    "clamp": [{"min": -0.5, "max": 1.0}, {"min": 0.0}, {"max": 0.0}, {"min": 1.0, "max": -1.0}],
    "threshold": [{"threshold": 0.5, "value": 2.0}],
    "gelu": [{}, {"approximate": "tanh"}],
    "softplus": [{}, {"beta": 2.0, "threshold": 3.0}],
    "elu": [{}, {"alpha": 2.0}],
    "celu": [{}, {"alpha": 2.0}],
    "leaky_relu": [{}, {"negative_slope": 0.2}],
    "hardtanh": [{}, {"min_val": -0.5, "max_val": 0.5}],
    "hardshrink": [{}, {"lambd": 1.0}],
    "softshrink": [{}, {"lambd": 1.0}],
}
TWO = "add sub mul div pow atan2 hypot maximum minimum fmax fmin logaddexp xlogy"


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def close(found: Any, expected: Any, what: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-16, err_msg=what)


def compare(name: str, arrays: list[Any], attributes: dict[str, Any]) -> None:
    """Value and gradient against PyTorch's, NaN and infinities included."""
    values = {f"x{i}": array for i, array in enumerate(arrays)}
    nodes = [variable(key, array.shape) for key, array in values.items()]
    overloads = TABLE.bare(name)
    assert overloads is not None
    out = call(overloads, *nodes, **attributes)
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    reference = function(*leaves, **attributes)
    close(Plan([out])(values)[0], reference.detach().numpy(), "value")
    gradients = torch.autograd.grad(reference.sum(), leaves)
    found = Plan(differentiate(out.sum(), nodes))(values)
    for ours, theirs in zip(found, gradients, strict=True):
        close(ours, theirs.numpy(force=True), "gradient")


@pytest.mark.parametrize(("name", "choices"), ONE.items())
def test_awkward_values_of_one(name: str, choices: list[dict[str, Any]]) -> None:
    for attributes in choices:
        compare(name, [np.array(AWKWARD)], attributes)


@pytest.mark.parametrize("name", TWO.split())
def test_awkward_values_of_two(name: str) -> None:
    pairs = np.array(list(itertools.product(AWKWARD, AWKWARD)))
    compare(name, [pairs[:, 0].copy(), pairs[:, 1].copy()], {})


@pytest.mark.parametrize("name", ["remainder", "fmod"])
def test_awkward_values_of_remainders(name: str) -> None:
    """Where the quotient overflows, PyTorch's answer depends on the vector unit: left out."""
    values = [x for x in AWKWARD if not 0 < abs(x) < 0.1 and not 1000 < abs(x) < np.inf]
    pairs = np.array(list(itertools.product(values, values)))
    compare(name, [pairs[:, 0].copy(), pairs[:, 1].copy()], {})


@pytest.mark.parametrize("name", ["clamp", "lerp"])
def test_awkward_values_of_three(name: str) -> None:
    values = [0.0, 0.49, 0.5, 1.0, -1.0, 2.0, 1e200, np.inf, np.nan]
    triples = np.array(list(itertools.product(values, repeat=3)))
    compare(name, [triples[:, i].copy() for i in range(3)], {})


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.0, 0.5, 1.5, 2.0])
def test_powers_with_a_number(exponent: float) -> None:
    # PyTorch takes -0.5 as 1 / sqrt(x), which differs from the power at -0.0 and minus infinity.
    fraction = exponent != int(exponent)
    values = [x for x in AWKWARD if not (fraction and np.signbit(x) and x in (0.0, -np.inf))]
    compare("pow", [np.array(values)], {"exponent": exponent})


@pytest.mark.parametrize("base", [0.0, 2.0, -2.0, 0.5])
def test_powers_of_a_number(base: float) -> None:
    x = np.array(AWKWARD)
    node, leaf = variable("x", x.shape), torch.tensor(x, requires_grad=True)
    (ours,) = Plan(differentiate((base**node).sum(), [node]))({"x": x})
    (theirs,) = torch.autograd.grad((base**leaf).sum(), [leaf])
    close(ours, theirs.numpy(), "gradient")


def test_a_square_has_the_textbook_derivative() -> None:
    x, g = variable("x", (3,)), variable("grad", (3,))
    assert differentiate(x**2, [x], g)[0] is g * (2 * x)
    assert differentiate(x**3, [x], g)[0] is g * (3 * x**2)


def test_a_masked_branch_that_is_infinite_does_no_harm() -> None:
    """`where` keeps the gradient of the branch not taken at zero, not at 0 * inf."""
    x = variable("x", (2,))
    out = t.where(x > 0, x, t.elu(x)).sum()
    first = differentiate(out, [x])[0]
    second = differentiate(first.sum(), [x])[0]
    found = Plan([first, second])({"x": np.array([1000.0, -1.0])})
    np.testing.assert_allclose(found, [[1.0, np.exp(-1.0)], [0.0, np.exp(-1.0)]], rtol=1e-12)


ANALYTIC = [op for op in TABLE.by_name.values() if op.analytic and op.elementwise]


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in ANALYTIC])
def test_the_kernel_continues_beside_the_real_axis(op: Any) -> None:
    """The real part keeps all its digits, the imaginary one nearly all of the derivative's."""
    rng = np.random.default_rng(0)
    low, high = gradcheck_cli.ops._common.DOMAINS[op.domain]
    count = sum(p.is_tensor for p in op.signature.parameters)
    draws = [
        rng.standard_normal(99) * np.repeat([0.01, 1, 6], 33)
        if low is None or high is None
        else rng.uniform(low, high, 99)
        for _ in range(count)
    ]
    attributes = {p.name: p.default for p in op.signature.parameters if not p.is_tensor}
    values = {f"x{i}": x for i, x in enumerate(draws)}
    nodes = [variable(key, (99,)) for key in values]
    out = call([op], *nodes)
    expected = Plan([out])(values)[0]
    for i, gradient in enumerate(Plan(differentiate(out.sum(), nodes))(values)):
        moved = [x + 1e-30j if i == j else x for j, x in enumerate(draws)]
        found = op.kernel(*moved, **attributes)
        np.testing.assert_allclose(found.real, expected, rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(found.imag / 1e-30, gradient, rtol=1e-9, atol=1e-13)


def test_powers_beside_the_real_axis_with_a_large_exponent_or_none() -> None:
    x = np.array([-1.01, -0.5, 0.7, 1.01])
    found = TABLE.by_name["pow"].kernel(x + 1e-30j, 301)  # type: ignore[misc]
    np.testing.assert_allclose(found.imag / 1e-30, 301 * x**300, rtol=1e-11)
    found = TABLE.by_name["pow"].kernel(x + 1e-30j, 0.5)  # type: ignore[misc]
    assert list(np.isnan(found.imag)) == [True, True, False, False]


def test_numbers_are_computed_at_once() -> None:
    size = variable("x", (6, 4)).shape
    three = const(3)
    assert infix("div", const(1), const(2)).value == 0.5
    assert infix("floor_divide", const(-7), const(2)).value == -4
    assert infix("remainder", const(-7), const(2)).value == 1
    assert infix("pow", const(2), const(-1)).value == 0.5
    assert infix("neg", three).value == -3
    assert infix("lt", three, const(size[0])).value is True
    assert infix("bitwise_not", const(True)).value == -2
    with pytest.raises(Invalid, match="division by zero") as error:
        infix("div", const(1), const(0))
    assert error.value.code == "GC014"


@pytest.mark.parametrize(
    ("name", "arguments", "code", "message"),
    [
        ("sub", ["mask", "x"], "GC016", "`-` isn't defined for masks"),
        ("neg", ["mask"], "GC016", "neg() isn't defined for masks"),
        ("abs", ["mask"], "GC016", "abs() isn't defined for masks"),
        ("relu", ["mask"], "GC016", "relu() isn't defined for masks"),
        ("gelu", ["n"], "GC016", "gelu() needs a floating-point tensor, not int64"),
        ("where", ["x", "x", "x"], "GC016", "where() chooses by a mask (dtype bool)"),
        ("bitwise_and", ["x", "mask"], "GC016", "is for masks and integers, not for float64"),
        ("add", ["x", "wide"], "GC015", "shapes (3,) and (4,) can't be broadcast together"),
        ("clamp", ["x"], "GC014", "clamp() needs min or max"),
        ("pow", ["n", -1], "GC014", "whole numbers can't be raised to a negative whole power"),
        ("lerp", ["x", "n", 0.5], "GC016", "lerp() wants one dtype"),
        ("maximum", ["x", 1.0], "GC014", "maximum() wants a tensor for `other`"),
        ("prelu", ["x", "wide"], "GC015", "not a weight of shape (4,)"),
    ],
)
def test_what_pytorch_refuses_is_refused_with_a_sentence(
    name: str, arguments: list[Any], code: str, message: str
) -> None:
    nodes = {
        "x": variable("x", (3,)),
        "wide": variable("wide", (4,)),
        "n": variable("n", (3,), dtypes.int64),
        "mask": variable("mask", (3,), dtypes.bool_),
    }
    overloads = TABLE.bare(name)
    assert overloads is not None
    given = [nodes.get(a, a) if isinstance(a, str) else a for a in arguments]
    with pytest.raises(Invalid) as error:
        call(overloads, *given, strict=True)
    assert (error.value.code, message in error.value.message) == (code, True)


def test_inplace_activations_are_refused() -> None:
    with pytest.raises(Invalid) as error:
        call(TABLE.functions["F.relu"], variable("x", (3,)), inplace=True)
    assert error.value.code == "GC018"


OPERANDS: dict[str, Any] = {
    "mask": np.array([True, False]),
    "uint8": np.array([3, 5], "uint8"),
    "int8": np.array([3, 5], "int8"),
    "int64": np.array([2, 5]),
    "float32": np.array([0.5, 0.25], "float32"),
    "float64": np.array([0.5, 0.25]),
    "float64 of no dimension": np.array(0.5),
    "float32 of no dimension": np.array(0.5, "float32"),
    "int64 of no dimension": np.array(2),
    "number": 1.5,
    "whole number": -3,
    "True": True,
}


@pytest.mark.parametrize(
    "name", [*["add", "sub", "mul", "div", "pow", "eq", "lt", "bitwise_and", "xlogy"], "where"]
)
def test_types_are_promoted_as_in_pytorch(name: str) -> None:
    """Every pair of operand types: the same type, shape and value, or both refuse."""
    overloads = TABLE.bare(name)
    assert overloads is not None
    mask = np.array([True, False])
    compared = 0
    for (_, a), (other, b) in itertools.product(OPERANDS.items(), OPERANDS.items()):
        if not hasattr(a, "dtype") or (name == "pow" and a.dtype == bool and other == "True"):
            continue
        given = [mask, a, b] if name == "where" else [a, b]
        arrays = {f"x{i}": v for i, v in enumerate(given) if hasattr(v, "dtype")}
        nodes = [
            variable(f"x{i}", v.shape, dtypes.BY_NAME[v.dtype.name]) if hasattr(v, "dtype") else v
            for i, v in enumerate(given)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = getattr(torch, name)(
                    *[torch.tensor(v) if hasattr(v, "dtype") else v for v in given]
                )
            except (RuntimeError, TypeError):
                with pytest.raises(Invalid):
                    call(overloads, *nodes, strict=True)
                continue
        out = call(overloads, *nodes, strict=True)
        found = Plan([out])(arrays)[0]
        assert (repr(out.dtype), out.shape) == (str(expected.dtype), tuple(expected.shape))
        assert found.dtype == out.dtype.numpy
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)
        compared += 1
    assert compared > 20
