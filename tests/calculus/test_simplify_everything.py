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
from gradcheck_cli.graph import TABLE, Expr, Op, t, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import print_formulas
from gradcheck_cli.ops import known
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

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
        for which in (None, 0, 1, 2, 3):
            given = {n: a if which is None else strewn(a, which) for n, a in arrays.items()}
            expected = run(before, given)
            if expected is None:
                continue
            found = run(after, given)
            assert found is not None
            for node, one, other in zip(before, expected, found, strict=True):
                np.testing.assert_allclose(
                    other, one, rtol=1e-9, atol=1e-12, err_msg=f"{sample.expression}: {node}"
                )
