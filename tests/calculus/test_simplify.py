"""Every rewrite by the form that it gives, and by the values on both sides, NaN and infinity included."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.calculus import simplify as module
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.simplify import PASSES, simplify
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import Expr, t, variable
from gradcheck_cli.lang.printer import print_formulas, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("x", "y", "mask"), (3, 4)),
    **dict.fromkeys(("A", "B"), (3, 3)),
    "b": (4,),
    "v": (3,),
    "s": (),
    "z": (2, 3, 4),
    "X": (5, 4),
}
REWRITES = {
    # numbers
    "x * 2": "2 * x",
    "2.0 * x": "2 * x",
    "1.0 * x": "x",
    "-1 * x": "-x",
    "2 * (3 * x)": "6 * x",
    "x * (2 * y)": "2 * x * y",
    "(0.5 * x) * (4 * y)": "2 * x * y",
    "-x * -y": "x * y",
    "x * -y": "-x * y",
    "2 * (x @ b)": "2 * x @ b",
    "(2 / x.numel()) * y": "2 * y / x.numel()",
    "-x.numel() * y": "-(x.numel() * y)",
    "x.numel() * (2 * y)": "2 * (x.numel() * y)",
    "(1 / y) * x": "x / y",
    "x * (2 / y)": "2 * x / y",
    "1.0 / x": "1 / x",
    "x / 1": "x",
    "x / (2 * y)": "0.5 * x / y",
    "3 / (2 * y)": "1.5 / y",
    "2 * x / 4": "x / 2",
    "-2 * x / 4": "-x / 2",
    "6 * x / 2": "3 * x",
    "x / -y": "-x / y",
    "(x / y.numel()) * y": "x * y / y.numel()",
    "y * (x / y.numel())": "y * x / y.numel()",
    "x / y.numel() / y": "x / y / y.numel()",
    "1 / x.numel() / y": "1 / y / x.numel()",
    "-(1 / x.numel()) / y": "-1 / y / x.numel()",
    "-(x.numel() / (2 * y))": "-(0.5 * x.numel() / y)",
    # signs and sums
    "-(-x)": "x",
    "-(2 * x)": "-2 * x",
    "-(x - y)": "y - x",
    "-(x / y)": "-x / y",
    "-(3 / y)": "-3 / y",
    "-(x * y)": "-x * y",
    "-(A @ B)": "-A @ B",
    "x + -y": "x - y",
    "x - -y": "x + y",
    "x - -2 * y": "x + 2 * y",
    "-x + y": "y - x",
    "-2 * x + y": "y - 2 * x",
    "x + -1.5": "x - 1.5",
    "x + 0": "x",
    "torch.zeros_like(x) + y": "y",
    "x - torch.zeros_like(x)": "x",
    "torch.zeros_like(x) + b": "b.expand(x.shape)",
    "x + x": "2 * x",
    "-x - 2 * x": "-3 * x",
    "2 * x * y + x * y": "3 * x * y",
    "x / 3 + y / 3": "(x + y) / 3",
    "x / y.numel() - y / y.numel()": "(x - y) / y.numel()",
    # filled tensors
    "torch.ones_like(x) * y": "y",
    "torch.ones(3, 4) * b": "b.expand((3, 4))",
    "torch.ones_like(x) * 2": "full_like(x, 2.0)",
    "torch.ones_like(x) / x.numel()": "full_like(x, 1 / x.numel())",
    "-torch.ones_like(x)": "full_like(x, -1.0)",
    "torch.ones_like(x).T * X[:4, :1]": "X[:4][:, :1].expand((x.shape[1], x.shape[0]))",
    "torch.ones(()).expand(x.shape)": "ones_like(x)",
    "torch.full((3,), 0.0)": "zeros((3,))",
    "torch.ones_like(x).sum(1).unsqueeze(1) * y": "ones_like(x).sum(1).unsqueeze(1) * y",
    "s.expand(x.shape[0]).unsqueeze(1) * y": "s * y",
    "torch.where(mask, torch.ones_like(x), 0.0)": "where(mask, 1.0, 0.0)",
    "torch.full_like(x, 3.0) ** y": "3.0 ** y",
    # broadcasting
    "b.expand(x.shape) * y": "b * y",
    "x * b.unsqueeze(0)": "x * b",
    "x + (b.unsqueeze(0) / 2)": "x + b / 2",
    "2 * b.expand(x.shape)": "(2 * b).expand(x.shape)",
    "b.expand(x.shape) / 3": "(b / 3).expand(x.shape)",
    "b.unsqueeze(0).expand(x.shape)": "b.expand(x.shape)",
    "x.expand(x.shape)": "x",
    "b.expand(x.shape).expand(z.shape)": "b.expand(z.shape)",
    # sizes
    "x * (x + y).numel()": "x.numel() * x",
    "x * (2 * x + b).shape[0]": "x.shape[0] * x",
    "x * ((x * y).sum(1)).numel()": "x.shape[0] * x",
    "x * (X @ x.T).shape[0]": "X.shape[0] * x",
    "x * (X @ x.T).shape[1]": "x.shape[0] * x",
    "x * (X @ x.T).numel()": "X.shape[0] * x.shape[0] * x",
    "x * softmax(x.T, 0).shape[0]": "x.shape[1] * x",
    "x * z.mean((0, 2)).shape[0]": "z.shape[1] * x",
    "x * z.mean((0, 2), keepdim=True).shape[1]": "z.shape[1] * x",
    "x * z.mT.shape[2]": "z.shape[1] * x",
    "x * z.mT.shape[0]": "z.shape[0] * x",
    "x * x.unsqueeze(1).shape[2]": "x.shape[1] * x",
    "x * v.expand(x.shape[1], 3).shape[0]": "x.shape[1] * x",
    "x * x.unsqueeze(1).reshape(-1).numel()": "x.numel() * x",
    "x * (b + 1).exp().numel()": "b.numel() * x",
    "x * b.clamp(max=x).shape[0]": "x.shape[0] * x",
    # reductions and orders
    "x.sum_to_size(b.shape)": "x.sum(0)",
    "x.sum_to_size(())": "x.sum()",
    "x.sum_to_size(3, 1)": "x.sum(1, keepdim=True)",
    "z.sum_to_size(3, 1)": "z.sum((0, 2)).unsqueeze(1)",
    "x.sum_to_size(x.shape)": "x",
    "z.sum((0, 2), keepdim=True).squeeze((0, 2))": "z.sum((0, 2))",
    "x[None, None].squeeze(1).squeeze(0)": "x",
    "x.unsqueeze(1).squeeze(1)": "x",
    "z.sum((0, 2), keepdim=True).squeeze(2).squeeze(0)": "z.sum((0, 2))",
    "x.reshape(x.shape)": "x",
    "x.reshape(-1).reshape(x.shape)": "x",
    "b.reshape(4, 1)": "b.unsqueeze(1)",
    "x.T.T": "x",
    "z.mT.mT": "z",
    "(x.T @ y).T": "y.T @ x",
    "(x @ X.T).T": "X @ x.T",
    "exp(torch.cat([x, X]))[:x.shape[0]]": "exp(x)",
    "torch.cat([x, X])[x.shape[0]:x.shape[0] + X.shape[0]]": "X",
    "(2 * torch.stack([x, y]))[1]": "2 * y",
    "x.to(torch.float64)": "x",
    # linear operators
    "(2 * x).T": "2 * x.T",
    "(-x).sum(0)": "-x.sum(0)",
    "(x / 3).reshape(-1)": "x.reshape((-1,)) / 3",
    "A @ (2 * B)": "2 * A @ B",
    "(A / 3) @ B": "A @ B / 3",
    "torch.outer(2 * v, -b)": "-2 * outer(v, b)",
    "torch.linalg.solve(A, 3 * v)": "3 * solve(A, v)",
    "torch.inverse(2 * A)": "A.inverse() / 2",
    "torch.inverse(A / x.numel())": "x.numel() * A.inverse()",
    # masks
    "2 * torch.where(mask, x, 0.0)": "where(mask, 2 * x, 0.0)",
    "torch.where(mask, x, 0.0) + torch.where(mask, 0.0, y)": "where(mask, x, y)",
    "torch.where(mask, 0.0, x) - torch.where(mask, y, 0.0)": "where(mask, -y, x)",
    # powers
    "x ** 1": "x",
    "x * x": "x ** 2",
}
# Where a value is NaN or infinite, these are not what they look like.
KEPT = (
    *("x * 0", "0 / x", "x - x", "x / x", "x / y * y", "x ** 0", "x * y / y", "(x + y) - y"),
    *(
        "torch.zeros_like(x) * y",
        "torch.eye(3) @ A",
        "A @ A.inverse()",
        "exp(log(x))",
        "log(exp(x))",
    ),
    *("torch.where(mask, x, y) * 2", "sqrt(x) ** 2", "sqrt(x ** 2)", "x / y / y", "y * (x * b)"),
    *(
        "x.T.reshape(x.shape)",
        "1e200 * (1e200 * x)",
        "x + y - x",
        "softmax(x, 1).sum(1)",
        "x.sum() - x.sum()",
    ),
    *("3 * x - 2 * x", "x - 2 * x", "x / 2 - x", "-x + x", "torch.ones(3, 4).T.T * x - x"),
    *(
        "(x / y) * (y / x)",
        "abs(x) * sign(x)",
        "torch.where(mask, x, x)",
        "x * mask",
        "1 / (1 / x)",
    ),
)


def values(node: Expr, arrays: Any) -> Any:
    return Plan([node])(arrays)[0]


def agree(before: Expr, after: Expr, arrays: Any) -> None:
    first, second = values(before, arrays), values(after, arrays)
    assert first.shape == second.shape
    np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("before", "after"), REWRITES.items())
def test_form_and_value(
    before: str, after: str, scope: Callable[..., Any], strewn: Callable[..., Any]
) -> None:
    read = scope(**SHAPES)
    node = read(before)
    (short,) = simplify([node])
    assert to_text(short) == after
    assert simplify([short]) == (short,)
    assert (short.shape, short.dtype) == (node.shape, node.dtype)
    agree(node, short, read.arrays())
    for which in range(4):
        if "inverse" in before or "solve" in before:
            continue  # LAPACK refuses what isn't finite
        agree(node, short, {name: strewn(a, which) for name, a in read.arrays(which).items()})


@pytest.mark.parametrize("text", KEPT)
def test_what_would_change_a_value_is_left_alone(
    text: str, scope: Callable[..., Any], strewn: Callable[..., Any]
) -> None:
    read = scope(**SHAPES)
    node = read(text)
    (short,) = simplify([node])
    if "inverse" in text:
        assert short is node
        return
    for which in range(4):
        agree(node, short, {name: strewn(a, which) for name, a in read.arrays(which).items()})


def test_every_rewrite_has_an_example(
    scope: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fired: set[Any] = set()
    known = {rewrite for table in PASSES for rewrites in table.values() for rewrite in rewrites}

    def watched(node: Expr, table: Any) -> Expr | None:
        for rewrite in table.get(node.op.name, ()):
            found = rewrite(node)
            if found is None or found is node:
                continue
            if found.shape == node.shape and found.dtype is node.dtype:
                fired.add(rewrite)
                return found  # type: ignore[no-any-return]
        return None

    monkeypatch.setattr(module, "_rewritten", watched)
    read = scope(**SHAPES)
    simplify([read(text) for text in REWRITES])
    assert {rewrite.__name__ for rewrite in known - fired} == set()


def test_integers_are_not_treated_as_real_numbers() -> None:
    n = variable("n", (3,), t.arange(3).dtype)
    minus = -n
    for node in (n * 2, n + n, -minus, n - minus, n * 2 / 2, minus + n, 1 - n, n * -1):
        (short,) = simplify([node])
        arrays = {"n": np.array([1, -2, 3])}
        assert short.dtype is node.dtype
        assert values(short, arrays).tolist() == values(node, arrays).tolist()


def chains() -> Iterator[tuple[str, Expr, Expr]]:
    """Deep graphs: name, output, input."""
    x = variable("x", (4,))
    node = x
    for i in range(1000):
        node = (node * 0.999 + x).tanh() if i % 2 else -node.sin()
    yield "a thousand layers", node.sum(), x
    node = x
    for _ in range(200):
        node = node + node * x
    yield "every node used twice", node.sum(), x
    node = x
    for _ in range(100):
        node = (2 * node) / 3 - node.T if node.ndim == 2 else node * node
    yield "squares of squares", node.sum(), x
    node = x
    for i in range(500):
        node = node.unsqueeze(0).squeeze(0) + (1 / (i + 1))
    yield "shapes back and forth", node.sum(), x


@pytest.mark.parametrize(("output", "x"), [pytest.param(o, x, id=n) for n, o, x in chains()])
def test_deep_graphs_neither_recurse_nor_take_long(output: Expr, x: Expr) -> None:
    start = time.process_time()
    (gradient,) = simplify(differentiate(output, [x], t.ones(())))
    printed = print_formulas([gradient])
    assert time.process_time() - start < 3
    assert len(str(printed)) < 10**6


def test_two_hundred_nodes_take_well_under_two_seconds() -> None:
    x, w = variable("x", (8, 8)), variable("w", (8, 8))
    node = x
    for i in range(25):
        node = (node @ w + x / (i + 1)).sigmoid() * node - node.mean(0)
    start = time.process_time()
    gradients = simplify(differentiate(node.sum(), [x, w], t.ones(())))
    print_formulas(gradients)
    assert time.process_time() - start < 1.5


def test_sizes_of_zero_are_left_to_tensors() -> None:
    x = variable("x", (0, 3))
    (gradient,) = simplify(differentiate(x.mean(), [x], t.ones(())))
    assert values(gradient, {"x": np.zeros((0, 3))}).shape == (0, 3)


def test_the_size_of_a_product_of_a_matrix_and_a_batch_is_the_batchs() -> None:
    x, b = variable("x", (2, 5, 3)), variable("b", (12, 3))
    product = b @ x.mT
    (gradient,) = simplify(differentiate(product.reshape(2, 60), [x], variable("grad", (2, 60))))
    found = values(gradient, {"b": np.ones((12, 3)), "grad": np.ones((2, 60))})
    np.testing.assert_array_equal(found, np.full((2, 5, 3), 12.0))
