"""What the calculus tests share: reading expressions, drawing arrays, and values that break things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli import dtypes
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, In, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops import known

if TYPE_CHECKING:
    from collections.abc import Callable

Shapes = dict[str, tuple[int, ...]]
# Each set is strewn over an array in turn: NaN and infinity, zeros of both signs, huge and tiny numbers.
AWKWARD = (
    (np.nan, np.inf, -np.inf, 0.0),
    (0.0, -0.0, 1.0, -1.0),
    (1e150, -1e-150, 3.0, 0.5),
    (1e300, -1e300, 1e-300, 2.0),
)
# Inputs by these names are no real numbers: a mask, and class indices.
DTYPES = {"mask": dtypes.bool_, **dict.fromkeys(("t", "i", "j"), dtypes.int64)}


class Scope:
    """Named inputs, and the expressions over them."""

    def __init__(self, shapes: Shapes) -> None:
        self.nodes: dict[str, Expr] = {
            name: variable(name, shape, DTYPES.get(name, dtypes.float64))
            for name, shape in shapes.items()
        }

    def __call__(self, text: str) -> Expr:
        with known.given(self.arrays):
            return build(parse(Source(text)), self.nodes)

    def arrays(self, seed: int = 0) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        return {
            # As often true for every seed: shapes may depend on it.
            name: np.roll(np.arange(node.elements) % 3 > 0, seed).reshape(node.shape)
            if node.dtype is dtypes.bool_
            else rng.integers(0, 3, node.shape)
            if node.dtype is dtypes.int64
            else rng.standard_normal(node.shape)
            for name, node in self.nodes.items()
        }


@pytest.fixture
def scope() -> Callable[..., Scope]:
    return lambda **shapes: Scope(shapes)


@pytest.fixture
def strewn() -> Callable[[Any, int], Any]:
    """A copy of an array with one of the sets of awkward values at some of its places."""

    def strew(array: Any, which: int) -> Any:
        array = np.array(array)
        if array.dtype.kind == "f" and array.size:
            rng = np.random.default_rng(which)
            places = rng.integers(0, array.size, min(array.size, 4))
            with np.errstate(over="ignore"):  # 1e300 is infinite in float32
                array.reshape(-1)[places] = rng.permutation(AWKWARD[which])[: len(places)]
        return array

    return strew


@pytest.fixture
def drawn() -> Callable[[In, int], Any]:
    """An input of a record's sample."""

    def draw(spec: In, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        dtype = dtypes.BY_NAME[spec.dtype]
        array: Any
        if spec.value is not None:
            array = np.array(spec.value)
        elif spec.structure is not None:
            array = rng.standard_normal(spec.shape)
            array = array @ array.swapaxes(-1, -2) + spec.shape[-1] * np.eye(spec.shape[-1])
            array = np.tril(array) if spec.structure == "lower_triangular" else array
        elif dtype.kind == "b":
            array = rng.random(spec.shape) < 0.5
        elif dtype.kind == "i":
            low = int(spec.low or 0)
            array = rng.integers(low, low + 2 if spec.high is None else int(spec.high), spec.shape)
        elif spec.low is not None:
            array = rng.uniform(spec.low, 1.0 if spec.high is None else spec.high, spec.shape)
        else:
            array = rng.standard_normal(spec.shape)
        return np.asarray(array, dtype.numpy)

    return draw
