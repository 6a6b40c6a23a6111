"""Shapes, their order, joining and splitting: what PyTorch refuses, and formulas that hold at any size."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import to_text

SCOPE = {
    "x": variable("x", (2, 3)),
    "v": variable("v", (3,)),
    "s": variable("s", ()),
    "batch": variable("batch", (4, 2, 3)),
    "empty": variable("empty", (0, 3)),
    "i": variable("i", (2, 3), dtypes.int64),
}


def read(text: str) -> Expr:
    return build(parse(Source(text)), SCOPE)


REFUSED = [
    ("x.reshape(4)", "GC015", "(2, 3)"),
    ("x.reshape(-1, -1)", "GC015", "more than one"),
    ("x.reshape(-2, 3)", "GC015", "-2"),
    ("empty.reshape(0, -1)", "GC015", "any size would do"),
    ("x.reshape(4, -1)", "GC015", "(4, -1)"),
    ("x.flatten(1, 0)", "GC014", "before it starts"),
    ("x.unflatten(1, (2, 2))", "GC015", "(3,)"),
    ("x.unflatten(1, ())", "GC014", "sizes"),
    ("x.squeeze((0, -2))", "GC014", "twice"),
    ("x.unsqueeze(3)", "GC014", "out of range"),
    ("x.expand(2, 4)", "GC015", "(2, 4)"),
    ("x.expand(-1, 2, 3)", "GC015", "(-1, 2, 3)"),
    ("x.expand(3)", "GC015", "can't be expanded"),
    ("x.transpose(0, 2)", "GC014", "out of range"),
    ("x.permute(0)", "GC015", "(2, 3)"),
    ("x.permute(0, 0)", "GC014", "twice"),
    ("x.movedim((0, 1), 0)", "GC014", "2 dimensions to 1"),
    ("v.mT", "GC015", "(3,)"),
    ("batch.H", "GC015", "mH"),
    ("batch.t()", "GC015", "(4, 2, 3)"),
    ("s.size(0)", "GC014", "zero-dimensional"),
    ("x.sum_to_size(2, 2)", "GC015", "(2, 2)"),
    ("torch.cat([])", "GC014", "at least one"),
    ("torch.cat([x, s])", "GC015", "zero-dimensional"),
    ("torch.cat([x, v])", "GC015", "(2, 3) and (3,)"),
    ("torch.cat([x, empty], 1)", "GC015", "(0, 3)"),
    ("torch.stack([x, v])", "GC015", "(2, 3) and (3,)"),
    ("x.split(0)[0]", "GC014", "at least one"),
    ("x.split((1, 2))[0]", "GC015", "(1, 2)"),
    ("x.chunk(0)[0]", "GC014", "at least one"),
    ("s.unbind()[0]", "GC015", "zero-dimensional"),
    ("x.repeat(2)", "GC015", "(2, 3)"),
    ("x.repeat(-1, 1)", "GC015", "(-1, 1)"),
    ("x.flip((0, 0))", "GC014", "twice"),
    ("v.fliplr()", "GC015", "at least 2"),
    ("x.roll((1, 2), 0)", "GC014", "2 shifts for 1"),
    ("s.roll(1, 0)", "GC014", "zero-dimensional"),
]


@pytest.mark.parametrize(("text", "code", "fragment"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused_as_in_pytorch(text: str, code: str, fragment: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert (problem.code, fragment in problem.message + (problem.hint or "")) == (code, True), (
        problem.message
    )


FORMULAS = [
    ("x.reshape(-1)", "grad.reshape(x.shape)"),
    ("x.flatten()", "grad.reshape(x.shape)"),
    ("x.unsqueeze(-1)", "grad.squeeze(2)"),
    ("x.T", "grad.T"),
    ("batch.permute(1, 2, 0)", "grad.permute((2, 0, 1))"),
    ("torch.stack([x, x * 2])", "grad[0] + grad[1] * 2"),
    ("x.roll(1, 0)", "grad.roll(-1, 0)"),
    ("x.flip(1)", "grad.flip(1)"),
    ("v.expand(2, 3)", "grad.sum_to_size(v.shape)"),
    ("v.repeat(2)", "grad.reshape((2, v.shape[0])).sum(0)"),
]


@pytest.mark.parametrize(("text", "expected"), FORMULAS, ids=[f[0] for f in FORMULAS])
def test_gradients_are_written_with_symbolic_sizes(text: str, expected: str) -> None:
    node = read(text)
    name = text[: text.index(".")] if text[0] != "t" else "x"
    upstream = variable("grad", node.shape)
    assert to_text(differentiate(node, [SCOPE[name]], upstream)[0]) == expected


def test_gradient_of_cat_slices_at_symbolic_places() -> None:
    node = read("torch.cat([x, batch[0]], 1)")
    upstream = variable("grad", node.shape)
    text = to_text(differentiate(node, [SCOPE["batch"]], upstream)[0])
    assert "grad[:, x.shape[1]:x.shape[1] + batch[0].shape[1]]" in text


def test_a_scalar_result_moves_the_number_one() -> None:
    """The upstream gradient of a scalar is the number 1, which has no methods to print."""
    one = variable("one", (1, 1))
    for node in (one.reshape(()), one.squeeze(), one.sum_to_size(())):
        assert to_text(differentiate(node, [one])[0]) == "full_like(one, 1.0)"


def test_kernels_leave_memory_alone() -> None:
    """Views are views: no shape operator copies a large input."""
    big = np.zeros((4, 2, 3))
    for text in ("batch.permute(2, 0, 1)", "batch.mT", "batch[:, :1].expand(4, 5, 3)"):
        (found,) = Plan([read(text)])({"batch": big})
        assert np.shares_memory(found, big)
