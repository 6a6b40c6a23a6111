"""Closed forms as a person sees them: their text, that it is read back, and that it holds at other sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.calculus.derive import derive, read_back
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import Expr, t, variable

if TYPE_CHECKING:
    from collections.abc import Callable

Scope = Any
M, N, K = 3, 4, 5
SHAPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("x", "y", "predicted", "real"), ("M", "N")),
    **dict.fromkeys(("w", "u"), ("K", "N")),
    "A": ("M", "N"),
    "W": ("N", "K"),
    "X": ("N", "N"),
    "b": ("N",),
    "c": ("M",),
    "d": ("K",),
    "s": (),
    "z": ("K", "M", "N"),
}
# The expression with what is printed for each input; general in the sizes M, N and K.
FORMS: dict[str, dict[str, str]] = {
    "(predicted - real).pow(2).sum()": {
        "predicted": "2 * (predicted - real)",
        "real": "-2 * (predicted - real)",
    },
    "((x - y)**2).mean()": {"x": "2 * (x - y) / x.numel()", "y": "-2 * (x - y) / x.numel()"},
    "F.mse_loss(x, y)": {"x": "2 * (x - y) / x.numel()"},
    "F.mse_loss(x, y, reduction='none').mean(1)": {"x": "2 * grad[:, None] * (x - y) / x.shape[1]"},
    "(A @ b - c).pow(2).sum()": {
        "A": "2 * outer(A @ b - c, b)",
        "b": "2 * A.T @ (A @ b - c)",
        "c": "-2 * (A @ b - c)",
    },
    "torch.logdet(X)": {"X": "X.inverse().T"},
    "torch.trace(w @ x.T @ A @ W)": {"x": "A @ W @ w", "W": "A.T @ (x @ w.T)"},
    "torch.det(X)": {"X": "det(X) * X.inverse().T"},
    "torch.matrix_exp(X).trace()": {"X": "matrix_exp(X).T"},
    "b @ torch.linalg.solve(X, b)": {
        "b": "solve(X, b) + solve(X.T, b)",
        "X": "-outer(solve(X.T, b), solve(X, b))",
    },
    "(x @ b).norm() ** 2": {"b": "2 * x.T @ (x @ b)", "x": "2 * outer(x @ b, b)"},
    "F.binary_cross_entropy_with_logits(x @ b, c, reduction='sum')": {
        "b": "x.T @ (sigmoid(x @ b) - c)"
    },
    "torch.einsum('mi,ij,mj->m', x, X, x)": {"X": "x.T @ (grad[:, None] * x)"},
    "torch.logdet(3 * X)": {"X": "X.inverse().T"},
    "b @ X @ b": {"b": "(X + X.T) @ b", "X": "outer(b, b)"},
    "torch.sigmoid(x).sum()": {"x": "sigmoid(x) * (1 - sigmoid(x))"},
    "torch.tanh(x)": {"x": "grad * (1 - tanh(x) ** 2)"},
    "torch.softmax(x, 1)": {
        "x": "softmax(x, 1) * (grad - (grad * softmax(x, 1)).sum(1, keepdim=True))"
    },
    "torch.logsumexp(x, 1).sum()": {"x": "exp(x - x.logsumexp(1, keepdim=True))"},
    "x.mean()": {"x": "full_like(x, 1 / x.numel())"},
    "x.mean(0)": {"x": "(grad / x.shape[0]).expand(x.shape)"},
    "x.sum()": {"x": "ones_like(x)"},
    "x.norm()": {"x": "where(x.norm() == 0.0, 0.0, x / x.norm())"},
    "(x + b).sum(0)": {"x": "grad.expand(x.shape)", "b": "x.shape[0] * grad"},
    "(x * b).sum()": {"x": "b.expand(x.shape)", "b": "x.sum(0)"},
    "(x * s).sum()": {"x": "s.expand(x.shape)", "s": "x.sum()"},
    "F.l1_loss(x, y)": {"x": "sign(x - y) / x.numel()", "y": "sign(y - x) / x.numel()"},
    "F.huber_loss(x, y)": {"x": "(x - y).clamp(-1.0, 1.0) / x.numel()"},
    "F.binary_cross_entropy_with_logits(x, y)": {"x": "(sigmoid(x) - y) / x.numel()"},
    "x @ W": {"x": "grad @ W.T", "W": "x.T @ grad"},
    "F.linear(x, w, d)": {"x": "grad @ w", "w": "grad.T @ x", "d": "grad.sum(0)"},
    "(x @ W).relu().sum()": {"x": "where(x @ W <= 0, 0.0, 1.0) @ W.T"},
    "x.T @ x": {"x": "x @ (grad + grad.T)"},
    "torch.inverse(X)": {"X": "-X.inverse().T @ grad @ X.inverse().T"},
    "(x * x).sum().sqrt()": {"x": "x / x.norm()"},
    "x.exp().sum().log()": {"x": "exp(x) / exp(x).sum()"},
    "-(x * x).sum() / 2": {"x": "-x"},
    "torch.where(x > 0, x, 0.1 * x).sum()": {"x": "where(x > 0, 1.0, 0.1)"},
    "torch.where(x > 0, x, 0.1 * x)": {"x": "where(x > 0, grad, 0.1 * grad)"},
    "x.clamp(0, 1).sum()": {"x": "where((x >= 0) & (x <= 1), 1.0, 0.0)"},
    "x / y": {"x": "grad / y", "y": "-grad * (x / y / y)"},
    "x ** 3": {"x": "3 * grad * x ** 2"},
    "x - c[:, None]": {"x": "grad", "c": "-grad.sum(1)"},
    "(x.unsqueeze(1) - u).pow(2).sum(-1)": {
        "x": "2 * (grad[..., None] * (x[:, None] - u)).sum(1)",
        "u": "-2 * (grad[..., None] * (x[:, None] - u)).sum(0)",
    },
    "torch.cat([x, u]).exp().sum()": {"x": "exp(x)", "u": "exp(u)"},
    "torch.stack([x, y])": {"x": "grad[0]", "y": "grad[1]"},
    "torch.outer(b, c)": {"b": "grad @ c", "c": "grad.T @ b"},
    "torch.einsum('ij,jk->ik', x, W)": {"x": "grad @ W.T"},
    "(predicted - real).cosh().log().mean()": {
        "predicted": "tanh(predicted - real) / predicted.numel()"
    },
}
# Further expressions whose formulas, whatever they look like, must hold at other sizes.
GENERAL = (
    *(
        "x.var(0).sum()",
        "x.std(1)",
        "x.prod(1)",
        "x.max(1).values",
        "x.amax(0)",
        "x.max()",
        "x.norm(dim=1)",
    ),
    *(
        "F.layer_norm(x, x.shape[1:])",
        "F.cross_entropy(x, y.softmax(1))",
        "F.kl_div(x, y.softmax(1))",
    ),
    *(
        "F.cosine_similarity(x, y)",
        "x.reshape(-1)[1:]",
        "x.reshape(-1, 1, x.shape[0])",
        "x.flatten()",
    ),
    *("z.permute(1, 0, 2) @ z.mean(1).T[None, :, :2]", "z.mean((0, 2)).exp()", "x.cumsum(0)[1:]"),
    *(
        "(z - z.mean(-1, keepdim=True)) / (z.var(-1, keepdim=True) + 1e-5).sqrt()",
        "x.tril().sum(1)",
    ),
    *(
        "torch.softmax(x @ u.T / x.shape[-1] ** 0.5, -1) @ u",
        "x[:, None, :] * u[None]",
        "x.diagonal()",
    ),
    *(
        "(x + b).sum(0) * b.mean()",
        "x.expand(z.shape) * z",
        "x / x.shape[0] + x.numel()",
        "x[-1] * x[:, 0].sum()",
    ),
    *(
        "x.T.reshape(x.shape)",
        "torch.full((x.shape[0],), 2.0)[:, None] * x",
        "x.unsqueeze(0).repeat(2, 1, 1)",
    ),
    *(
        "torch.trace(x @ x.T)",
        "x.sum(0, keepdim=True).expand(u.shape) * u",
        "x.flip(0) + x.roll(1, 1)",
    ),
    *(
        "torch.logsumexp(x, (0, 1))",
        "x.square().mean(1, keepdim=True).rsqrt() * x",
        "x @ b * (c + s)",
    ),
)


def read_at(scope: Callable[..., Scope], sizes: dict[str, int]) -> Scope:
    return scope(**{name: tuple(sizes[d] for d in dims) for name, dims in SHAPES.items()})


@pytest.mark.parametrize("text", FORMS)
def test_the_printed_form(text: str, scope: Callable[..., Scope]) -> None:
    read = read_at(scope, {"M": M, "N": N, "K": K})
    output = read(text)
    wrt = list(FORMS[text])
    upstream = variable("grad", output.shape)
    printed = derive(output, [read.nodes[name] for name in wrt], upstream)
    assert {name: str(formula) for name, formula in zip(wrt, printed, strict=True)} == FORMS[text]


@pytest.mark.parametrize("text", [*FORMS, *GENERAL])
def test_formulas_hold_at_other_sizes(text: str, scope: Callable[..., Scope]) -> None:
    small = read_at(scope, {"M": M, "N": N, "K": K})
    output = small(text)
    used = [n for n, node in small.nodes.items() if n in text and node.dtype.is_floating]
    printed = derive(output, [small.nodes[n] for n in used], variable("grad", output.shape))
    for sizes in ({"M": 4, "N": 2, "K": 6}, {"M": 4, "N": 4, "K": 4}, {"M": 2, "N": 7, "K": 3}):
        large = read_at(scope, sizes)
        output = large(text)
        upstream = variable("grad", output.shape)
        arrays = large.arrays()
        arrays["X"] = arrays["X"] @ arrays["X"].T + np.eye(sizes["N"])
        arrays["grad"] = np.random.default_rng(9).standard_normal(output.shape)
        wrt = [large.nodes[n] for n in used]
        expected = differentiate(output, wrt, upstream if output.ndim else t.ones(()))
        formulas = [read_back(formula, {**large.nodes, "grad": upstream}) for formula in printed]
        for name, one, other in zip(
            used, Plan(expected)(arrays), Plan(formulas)(arrays), strict=True
        ):
            assert one.shape == other.shape, f"{name}: {printed}"
            np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12, err_msg=name)


def test_let_names_stand_for_their_nodes_and_are_not_taken_apart(
    scope: Callable[..., Scope],
) -> None:
    read = scope(x=(3, 4), y=(4,))
    error = read("1.0 * 2.0 * (x - y)")
    read.nodes["error"] = error
    output = read("(error * error).sum()")
    (printed,) = derive(output, [read.nodes["x"]], variable("grad", ()), {error: "error"})
    assert str(printed) == "4 * error"
    assert read_back(printed, read.nodes) is read("4 * error")


def test_names_that_mean_something_else_are_not_used(scope: Callable[..., Scope]) -> None:
    read = scope(x=(3,), exp=(3,), t1=(3,))
    output = read("(torch.exp(x) * x.sin()).sum()")
    plain, careful = (
        str(derive(output, [read.nodes["x"]], variable("grad", ()), taken=taken)[0])
        for taken in ((), read.nodes)
    )
    assert "exp(x)" in plain
    assert "torch.exp" not in plain
    assert careful == plain.replace("exp(x)", "torch.exp(x)")


def test_definitions_are_made_for_what_would_be_repeated_and_avoid_taken_names(
    scope: Callable[..., Scope],
) -> None:
    read = scope(x=(3, 4), t1=(4, 2), t3=(2,))
    output = read("torch.softmax(torch.tanh(x @ t1 + t3 * 2.5), 1).pow(3).sum()")
    (printed,) = derive(output, [read.nodes["x"]], variable("grad", ()), taken=read.nodes)
    names = [name for name, _ in printed.let]
    assert names
    assert not set(names) & set(read.nodes)
    again = read_back(printed, read.nodes)
    (gradient,) = differentiate(output, [read.nodes["x"]], t.ones(()))
    one, other = Plan([gradient, again])(read.arrays())
    np.testing.assert_allclose(other, one, rtol=1e-12)


def test_an_input_that_is_not_used_has_a_gradient_of_zeros(scope: Callable[..., Scope]) -> None:
    read = scope(x=(3,), y=(2, 2))
    (printed,) = derive(read("x.sum()"), [read.nodes["y"]], variable("grad", ()))
    assert str(printed) == "zeros_like(y)"


def test_the_upstream_gradient_stays_a_name(scope: Callable[..., Scope]) -> None:
    read = scope(x=(3,))
    printed = derive(read("x * 2"), [read.nodes["x"]], variable("grad", (3,)))
    assert [str(p) for p in printed] == ["2 * grad"]
    node: Expr = read_back(printed[0], {"grad": variable("grad", (3,))})
    assert node.shape == (3,)
