"""The gradients of all operators' samples, simplified: same values, same node when printed and read."""

from __future__ import annotations

import warnings
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.derive import read_back
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import TABLE, Expr, Op, t, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import print_formulas
from gradcheck_cli.ops import known
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Arrays = dict[str, Any]


def run(nodes: list[Expr], arrays: Arrays) -> list[Any] | None:
    """The values; None where a kernel refuses awkward numbers: a matrix that can't be factored."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # huge numbers in a smaller type
            return Plan(nodes)(arrays)
    except Invalid:
        return None


@pytest.mark.parametrize("op", TABLE.by_name.values(), ids=lambda op: op.name)
def test_gradients(op: Op, drawn: Callable[..., Any], strewn: Callable[..., Any]) -> None:
    for sample in op.samples:
        seed = zlib.crc32(sample.expression.encode())
        arrays = {
            name: drawn(spec, seed + i) for i, (name, spec) in enumerate(sample.inputs.items())
        }
        scope = {
            name: variable(name, array.shape, dtypes.BY_NAME[sample.inputs[name].dtype])
            for name, array in arrays.items()
        }
        with known.given(partial(dict, arrays)):
            output = build(parse(Source(sample.expression)), scope)
            wrt = [node for node in scope.values() if node.dtype.kind == "f"]
            if output.dtype.kind != "f" or output.value is not None or not wrt:
                continue
            upstream = variable("grad", output.shape)
            cotangent = upstream if output.ndim else t.ones(())
            gradients = differentiate(output, wrt, cotangent) if sample.grad else ()
            before = [output, *gradients]
            after = list(simplify(before))
            assert list(simplify(after)) == after, sample.expression
            for node, short in zip(before, after, strict=True):
                assert (short.shape, short.dtype) == (node.shape, node.dtype)
                for either in (node, short):
                    printed = print_formulas([either], None, [*scope, "grad"])
                    again = read_back(printed, {**scope, "grad": upstream})
                    assert again is either, f"{sample.expression}: {printed}"
        arrays["grad"] = drawn(type(sample.inputs[next(iter(scope))])(output.shape), seed)
        for which, given in awkward(arrays, strewn):
            expected = run(before, given)
            if expected is None:
                continue
            found = run(after, given)
            assert found is not None
            rounding = (
                rounded_away(before, given, expected) if which == "huge" else [0] * len(found)
            )
            # Divided by zero, a summand is infinite though none of the inputs is and no result shows it.
            kind = "infinite" if which == "zeros" and has_infinities(before, given) else which
            for node, one, other, lost in zip(before, expected, found, rounding, strict=True):
                agree(one, other, kind, f"{sample.expression}: {node}", lost)


def has_infinities(nodes: list[Expr], given: Arrays) -> bool:
    """Whether something that is computed on the way is infinite."""
    order = [n for n in topological(nodes) if n.dtype.is_floating and n.value is None]
    found = run(order, given)
    return found is None or any(np.isinf(array).any() for array in found)


def awkward(arrays: Arrays, strewn: Callable[..., Any]) -> Iterator[tuple[str, Arrays]]:
    """The arrays as they are, and with NaN, infinities, zeros, and numbers that overflow in products."""
    yield "plain", arrays
    for which, name in enumerate(("infinite", "zeros", "huge", "huge")):
        given = {n: strewn(a, which) for n, a in arrays.items()}
        yield name, given
        if name == "infinite":
            finite = {n: np.where(np.isinf(a), a.dtype.type(2), a) for n, a in given.items()}
            yield "nan", finite


def rounded_away(nodes: list[Expr], given: Arrays, values: list[Any]) -> list[float]:
    """How far the values move with the last digits of the numbers given: what cancels is lost in these."""
    rng = np.random.default_rng(7)
    nudged = {
        name: a * (1 + 1e-15 * rng.choice((-1, 1), a.shape)) if a.dtype == np.float64 else a
        for name, a in given.items()
    }
    moved = run(nodes, nudged)
    if moved is None:
        return [0] * len(values)
    with np.errstate(invalid="ignore"):
        steps = [np.abs(there - here) for there, here in zip(moved, values, strict=True)]
    return [100 * float(step[np.isfinite(step)].max(initial=0)) for step in steps]


def agree(one: Any, other: Any, which: str, message: str, lost: float = 0) -> None:
    """Both are equal up to rounding, within what `calculus/simplify.py` says that rewrites may change.

    NaN may become a number where infinities come in, or arise by a division by zero, but some NaN remains
    where one went in. Where numbers are huge, what overflows or is rounded away on one side alone is left
    out.
    """
    compared = ~np.isnan(one)
    floor = 1e-12
    if which == "huge":
        compared &= np.isfinite(one) & np.isfinite(other)
        floor = 1e-9 * np.abs(one[compared]).max(initial=1)
        floor = max(floor, lost)
    elif which == "nan":
        # Beside the diagonal a unit matrix has no numbers but places, see `products.sum_with_unit`.
        visible = np.isnan(other).any() or not np.isnan(one).any()
        assert visible or "torch.eye" in message, message
    elif which != "infinite" and not np.isinf(one).any():
        np.testing.assert_array_equal(np.isnan(other), ~compared, err_msg=message)
    np.testing.assert_allclose(
        other[compared], one[compared], rtol=1e-9, atol=floor, err_msg=message
    )
