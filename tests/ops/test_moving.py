"""Padding, windows, grids, repeats: what PyTorch refuses, and gradients that PyTorch itself gets wrong."""

from __future__ import annotations

from typing import Any

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
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid

SCOPE = {
    "x": variable("x", (2, 3)),
    "v": variable("v", (3,)),
    "w": variable("w", (2, 2)),
    "e": variable("e", (0,)),
    "images": variable("images", (1, 4, 2, 3)),
    "columns": variable("columns", (1, 4, 2)),
    "i": variable("i", (2,), dtypes.int64),
}


def read(text: str) -> Expr:
    return build(parse(Source(text)), SCOPE)


REFUSED = [
    ("F.pad(x, (1,))", "GC014", "pairs"),
    ("F.pad(x, (1, 1), 'mirror')", "GC014", "'mirror'"),
    ("F.pad(x, (1, 1), 'reflect', 1.0)", "GC014", "not from a value"),
    ("F.pad(v, (1, 1, 1, 1))", "GC015", "(3,)"),
    ("F.pad(v, (1, 1), 'reflect')", "GC015", "(3,)"),
    ("F.pad(v, (-2, -2))", "GC015", "leaves nothing"),
    ("F.pad(x, (3, 0), 'reflect')", "GC015", "too wide"),
    ("F.pad(x, (4, 0), 'circular')", "GC015", "3 wide at most"),
    ("F.pad(x, (-2, 2), 'circular')", "GC015", "1 wide at most"),
    ("F.pad(x > 0, (1, 1), 'replicate')", "GC016", "masks"),
    ("F.unfold(x, 2)", "GC015", "(2, 3)"),
    ("F.unfold(images, 3)", "GC015", "no window"),
    ("F.unfold(images, (1, 1, 1))", "GC014", "kernel_size"),
    ("F.fold(columns, (2, 3), 3)", "GC015", "9"),
    ("F.fold(columns, (3, 3), 2)", "GC015", "2 x 2 blocks"),
    ("F.fold(columns, 2, 2, stride=0)", "GC014", "stride"),
    ("v.unfold(0, 4, 1)", "GC015", "3 wide at most"),
    ("v.unfold(0, 1, 0)", "GC014", "step 0"),
    ("v.unfold(0, -1, 1)", "GC014", "size -1"),
    ("v.as_strided((2,), (3,))", "GC015", "reaches element 3"),
    ("v.as_strided((2,), (1, 1))", "GC014", "stride"),
    ("v.as_strided((2,), (-1,))", "GC014", "negative"),
    ("x.T.as_strided((2,), (1,))", "GC014", "transpose"),
    ("v.as_strided_scatter(v, (2,), (1,))", "GC015", "(3,)"),
    ("F.pixel_shuffle(images, 3)", "GC015", "multiple of 9"),
    ("F.pixel_shuffle(x, 2)", "GC015", "(2, 3)"),
    ("F.pixel_unshuffle(images, 2)", "GC015", "multiples of 2"),
    ("F.pixel_unshuffle(images, 0)", "GC014", "positive"),
    ("F.channel_shuffle(images, 3)", "GC015", "3 equal groups"),
    ("torch.meshgrid(x)[0]", "GC015", "(2, 3)"),
    ("torch.meshgrid(v, indexing='yx')[0]", "GC014", "'yx'"),
    ("torch.meshgrid(v, i)[0]", "GC016", "int64"),
    ("torch.cartesian_prod(x)", "GC015", "vectors"),
    ("torch.combinations(x)", "GC015", "vector"),
    ("torch.combinations(v, -1)", "GC014", "-1"),
    ("torch.block_diag(images)", "GC015", "(1, 4, 2, 3)"),
    ("torch.vander(x)", "GC015", "(2, 3)"),
    ("torch.linalg.vander(x, N=1)", "GC014", "not 1"),
    ("torch.chain_matmul(x, v)", "GC015", "(3,)"),
    ("x.repeat_interleave(-1)", "GC014", "-1"),
    ("x.repeat_interleave(2, output_size=5)", "GC014", "12"),
    ("x.repeat_interleave(i, 1, output_size=5)", "GC015", "(2,)"),
    ("x.repeat_interleave(i, 0)", "GC011", "output_size"),
    ("x.tensor_split(i)[0]", "GC011", "values"),
    ("x.tensor_split(torch.tensor([0.5]))[0]", "GC016", "int64"),
    ("x.hsplit(2)[0]", "GC015", "2 equal parts"),
    ("v.vsplit(1)[0]", "GC015", "at least 2 dimensions"),
    ("x.dsplit([1])[0]", "GC015", "at least 3 dimensions"),
    ("v.narrow(0, i, 1)", "GC016", "(2,)"),
    ("v.narrow(0, i[0], 4)", "GC015", "length 4"),
    ("torch.tril_indices(-1, 2)", "GC014", "row"),
    ("torch.triu_indices(2, 2, dtype=torch.float64)", "GC016", "float64"),
    ("torch.linspace(v, 1, 3)", "GC015", "start"),
]


@pytest.mark.parametrize(("text", "code", "fragment"), REFUSED)
def test_refused_as_in_pytorch(text: str, code: str, fragment: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert fragment in f"{problem.message} {problem.hint}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("F.pad(v, (1, -1))", "F.pad(grad, (-1, 1))"),
        (
            "F.pad(x, (1, 0), 'reflect')",
            (
                "zeros_like(x).put(pad(arange(x.numel()).reshape(x.shape), (1, 0), 'reflect'), "
                "grad, accumulate=True)"
            ),
        ),
        ("F.unfold(images, 2)", "fold(grad, (images.shape[2], images.shape[3]), 2)"),
        (
            "torch.combinations(v)",
            "zeros_like(v).index_put([combinations(arange(v.numel()))], grad, accumulate=True)",
        ),
    ],
)
def test_gradients_hold_at_any_size(text: str, expected: str) -> None:
    node = read(text)
    wrt = next(arg for arg in node.inputs)
    (gradient,) = differentiate(node, [wrt], variable("grad", node.shape))
    assert gradient is build(
        parse(Source(expected)), {**SCOPE, "grad": variable("grad", node.shape)}
    ), to_text(gradient)


WRONG_IN_PYTORCH = [
    # The elements that src replaces get a gradient, and those that stay get none.
    "torch.as_strided_scatter(v, i.double(), (2,), (2,))",
    # The gradient is that of the rows above, because the empty row is passed over.
    "torch.block_diag(e, w)",
    # It raises: a running product in place overwrites what its gradient needs.
    "torch.vander(v, 4)",
]


@pytest.mark.parametrize("text", WRONG_IN_PYTORCH)
def test_gradients_that_pytorch_gets_wrong_are_those_of_differences(text: str) -> None:
    """The samples of these operators can't be held to PyTorch's gradient."""
    node = read(text)
    rng = np.random.default_rng(0)
    names = [name for name in SCOPE if name in parse(Source(text)).names]
    values: dict[str, Any] = {
        name: rng.integers(0, 2, SCOPE[name].shape)
        if SCOPE[name].dtype.kind == "i"
        else rng.standard_normal(SCOPE[name].shape)
        for name in names
    }
    wrt = [name for name in names if SCOPE[name].dtype.is_floating]
    upstream = rng.standard_normal(node.shape)
    gradients = differentiate(node, [SCOPE[n] for n in wrt], variable("grad", node.shape))
    along = {name: rng.standard_normal(SCOPE[name].shape) for name in wrt}
    found = Plan(gradients)({**values, "grad": upstream})
    slope = sum((g * along[name]).sum() for name, g in zip(wrt, found, strict=True))

    def at(step: float) -> Any:
        moved = {name: values[name] + step * along[name] for name in wrt}
        return (Plan([node])({**values, **moved})[0] * upstream).sum()

    assert slope == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-7, abs=1e-9)
    assert slope != 0


def test_pytorch_still_gets_them_wrong() -> None:
    """When this fails, the samples of as_strided_scatter and block_diag can be compared again."""
    v, w = torch.arange(3.0, requires_grad=True), torch.ones(2, 2, requires_grad=True)
    scattered = torch.as_strided_scatter(v, torch.ones(2), (2,), (2,))
    (found,) = torch.autograd.grad(scattered.sum(), [v])
    assert found.tolist() == [1, 0, 1]  # rather than [0, 1, 0]
    upstream = torch.arange(6.0).reshape(3, 2)
    below = torch.block_diag(torch.ones(0), w)  # type: ignore[no-untyped-call]
    (found,) = torch.autograd.grad(below, [w], upstream)
    assert found.tolist() == upstream[:2].tolist()  # rather than upstream[1:]


def test_a_circle_is_of_what_a_negative_margin_leaves() -> None:
    x = np.arange(4.0).reshape(1, 4)
    node = build(parse(Source("F.pad(x, (-1, 2), 'circular')")), {"x": variable("x", (1, 4))})
    assert Plan([node])({"x": x})[0].tolist() == [[1, 2, 3, 1, 2]]


def test_repeats_are_counted_when_their_values_are_there() -> None:
    node = read("x.repeat_interleave(i, 0, output_size=3)")
    values = {"x": np.ones((2, 3)), "i": np.array([2, 1])}
    assert Plan([node])(values)[0].shape == (3, 3)
    for wrong, words in ([2, 2], "add up to 4"), ([4, -1], "-1"):
        with pytest.raises(Invalid, match=words):
            Plan([node])({**values, "i": np.array(wrong)})


def test_known_is_what_no_input_decides() -> None:
    assert known(read("2 * torch.tensor([1, 3]).cumsum(0)")).tolist() == [2, 8]
    assert known(read("torch.sort(torch.tensor([3, 1])).indices")).tolist() == [1, 0]
    assert known(read("i + 1")) is None
    assert known(read("torch.tensor([1, 2]) * i.sum()")) is None
