"""Tensors from nothing, and casts: every bit is PyTorch's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops.cast import cast

if TYPE_CHECKING:
    from collections.abc import Iterator

SCOPE = {"x": variable("x", (2, 3)), "i": variable("i", (2, 3), dtypes.uint8)}


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def read(text: str) -> Expr:
    return build(parse(Source(text)), SCOPE)


RANGES = [
    *(f"torch.linspace({a}, {b}, {n})" for a, b in ((0.1, 1.7), (3, -2)) for n in (2, 3, 7, 10)),
    "torch.linspace(-7, 8, 6, dtype=torch.int32)",
    "torch.linspace(0.1, 0.7, 5, dtype=torch.float32)",
    *(f"torch.arange({a})" for a in ("0.1, 5, 0.3", "1, -3, -0.7", "-3, 3", "0, 7, 3", "2.5")),
    "torch.arange(0.5, 3.7, dtype=torch.int64)",
    "torch.arange(0, 1.5, dtype=torch.int32)",
    "torch.arange(5, 0, -2, dtype=torch.float32)",
]


@pytest.mark.parametrize("text", RANGES)
def test_ranges(text: str) -> None:
    expected = eval(text)
    node = read(text)
    (found,) = Plan([node])({})
    assert (repr(node.dtype), node.shape) == (str(expected.dtype), tuple(expected.shape))
    # The last bit may differ: PyTorch fuses the multiplication and addition where the CPU can.
    np.testing.assert_allclose(found, expected.numpy(), rtol=4e-16 if found.itemsize == 8 else 2e-7)


REFUSED = [
    ("torch.zeros(-1)", "GC014", "(-1,)"),
    ("torch.zeros(10**10, 10**10)", "GC019", "memory"),
    ("torch.full((2,), 300, dtype=torch.int8)", "GC014", "300"),
    ("torch.full_like(i, math.nan)", "GC014", "nan"),
    ("torch.full_like(x, 1e60, dtype=torch.float32)", "GC014", "1e+60"),
    ("torch.full(2, 1.0)", "GC014", "fill_value"),
    ("torch.eye(-1)", "GC014", "-1"),
    ("torch.eye(2.0)", "GC014", "2.0"),
    ("torch.arange(4, 1)", "GC014", "sign"),
    ("torch.arange(1, 4, 0)", "GC014", "0"),
    ("torch.arange(0, math.inf)", "GC014", "finite"),
    ("torch.linspace(0, 1, -1)", "GC014", "-1"),
    ("torch.linspace(0, 1, 2.0)", "GC014", "2.0"),
    ("torch.tensor([[1], [2, 3]])", "GC014", "(1,) and (2,)"),
    ("torch.tensor([1, [2]])", "GC014", "() and (1,)"),
    ("torch.tensor(300, dtype=torch.uint8)", "GC014", "uint8"),
]


@pytest.mark.parametrize(("text", "code", "fragment"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused_as_in_pytorch(text: str, code: str, fragment: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert fragment in problem.message + (problem.hint or "")


def test_numbers_decide_the_dtype() -> None:
    for text in (
        *("[1.0]", "[1, 2]", "[True]", "[True, 2]", "[True, 2.5]", "[]", "[[], []]", "3"),
        *("3.7, dtype=torch.int64", "-1, dtype=torch.uint8", "1e60, dtype=torch.float16"),
    ):
        expected = eval(f"torch.tensor({text})")
        node = read(f"torch.tensor({text})")
        assert (repr(node.dtype), node.shape) == (str(expected.dtype), tuple(expected.shape))
        np.testing.assert_array_equal(Plan([node])({})[0], expected.numpy())


def test_the_default_dtype_is_the_checks() -> None:
    token = dtypes.default_dtype.set(dtypes.float32)
    try:
        for text in ("torch.zeros(2)", "torch.eye(2)", "torch.tensor(0.5)", "torch.arange(2.5)"):
            node = read(text)
            assert node.dtype is dtypes.float32
            assert Plan([node])({})[0].dtype == np.float32
    finally:
        dtypes.default_dtype.reset(token)


def test_rounding_to_bfloat16() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32)
    # Ties, their neighbours, the largest finite number, infinities and subnormals.
    edges = [0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 1, 0x8000]
    values = np.concatenate([bits, np.array(edges, np.uint32)]).view(np.float32)
    values = np.concatenate([values[~np.isnan(values)], np.array([np.nan], np.float32)])
    expected = torch.tensor(values).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(cast(values, dtypes.bfloat16), expected)


def test_casting_passes_the_gradient_in_the_inputs_dtype() -> None:
    single = variable("x", (3,), dtypes.float32)
    (gradient,) = differentiate(single.double().sum(), [single])
    assert gradient.dtype is dtypes.float32


def test_detach_stops_the_gradient() -> None:
    x = variable("x", (3,))
    (gradient,) = differentiate((x.detach() * x).sum(), [x])
    values = {"x": np.array([1.0, -2.0, math.pi])}
    np.testing.assert_array_equal(Plan([gradient])(values)[0], values["x"])
