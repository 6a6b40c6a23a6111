"""Gradients that everybody knows by heart come out as everybody writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.derive import derive_nodes
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import print_formulas

if TYPE_CHECKING:
    from collections.abc import Mapping


class Known(NamedTuple):
    expression: str
    inputs: Mapping[str, tuple[int, ...]]
    forms: Mapping[str, str]
    let: Mapping[str, str] = {}
    facts: tuple[str, ...] = ()
    names: Mapping[str, str] = {}


KNOWN = (
    Known(
        "(predicted - real).pow(2).sum()",
        {"predicted": (3, 4), "real": (3, 4)},
        {"predicted": "2 * (predicted - real)", "real": "-2 * (predicted - real)"},
    ),
    Known(
        "(predicted - real).pow(2).mean()",
        {"predicted": (3, 4), "real": (3, 4)},
        {"predicted": "2 * (predicted - real) / predicted.numel()"},
    ),
    Known(
        "F.mse_loss(predicted, real)",
        {"predicted": (3, 4), "real": (3, 4)},
        {"predicted": "2 * (predicted - real) / predicted.numel()"},
    ),
    Known(
        "(A @ x - b).pow(2).sum()",
        {"A": (5, 3), "x": (3,), "b": (5,)},
        {"x": "2 * A.T @ (A @ x - b)"},
    ),
    Known(
        "F.binary_cross_entropy_with_logits(x @ w, y, reduction='sum')",
        {"x": (5, 3), "w": (3,), "y": (5,)},
        {"w": "x.T @ (sigmoid(x @ w) - y)"},
    ),
    Known(
        "F.cross_entropy(z, t)",
        {"z": (5, 3), "t": (5,)},
        {"z": "(softmax(z, 1) - one_hot(t, z.shape[1])) / z.shape[0]"},
        facts=("t >= 0", "t < 3"),
    ),
    Known(
        "z.logsumexp(1)",
        {"z": (3, 4)},
        {"z": "grad[:, None] * softmax(z, 1)"},
        facts=("torch.isfinite(z)",),
    ),
    Known("logdet(X)", {"X": (4, 4)}, {"X": "X.inverse().T"}),
    Known("trace(A @ X @ B)", {"A": (2, 3), "X": (3, 4), "B": (4, 2)}, {"X": "A.T @ B.T"}),
    Known("x @ A @ x", {"x": (4,), "A": (4, 4)}, {"x": "(A + A.T) @ x"}),
    Known("x @ A @ x", {"x": (4,), "A": (4, 4)}, {"x": "2 * A @ x"}, facts=("A == A.T",)),
    Known("y", {"x": (3, 4)}, {"x": "grad * (1 - y ** 2)"}, names={"y": "tanh(x)"}),
    Known("y", {"x": (3, 4)}, {"x": "grad * y * (1 - y)"}, names={"y": "sigmoid(x)"}),
    Known(
        "s",
        {"x": (3, 4)},
        {"x": "s * (grad - (grad * s).sum(-1, keepdim=True))"},
        names={"s": "softmax(x, -1)"},
    ),
    Known(
        "n",
        {"x": (3, 4)},
        {
            "x": "inv_std * (grad - grad.mean(-1, keepdim=True) - n * (grad * n).mean(-1, keepdim=True))"
        },
        names={
            "inv_std": "rsqrt(x.var(-1, correction=0, keepdim=True) + 1e-5)",
            "n": "F.layer_norm(x, (x.shape[-1],))",
        },
    ),
    Known(
        "n",
        {"x": (3, 4)},
        {
            "x": "inv_std * (grad - grad.mean(-1, keepdim=True) - n * (grad * n).mean(-1, keepdim=True))"
        },
        names={
            "inv_std": "(x.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt()",
            "n": "(x - x.mean(-1, keepdim=True)) * inv_std",
        },
    ),
    Known(
        "softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        {"q": (3, 5), "k": (4, 5), "v": (4, 2)},
        {
            "q": "t2 @ k / q.shape[1] ** 0.5",
            "k": "t2.T @ q / q.shape[1] ** 0.5",
            "v": "t1.T @ grad",
        },
        {
            "t1": "softmax(q @ k.T / q.shape[1] ** 0.5, -1)",
            "t2": "t1 * (grad @ v.T - (grad @ v.T * t1).sum(-1, keepdim=True))",
        },
    ),
)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.expression)
def test_form(known: Known) -> None:
    scope: dict[str, Expr] = {
        name: variable(name, shape, dtypes.int64 if name == "t" else dtypes.float64)
        for name, shape in known.inputs.items()
    }
    names = {}
    for name, text in known.names.items():
        scope[name] = build(parse(Source(text)), scope)
        names[scope[name]] = name
    output = build(parse(Source(known.expression)), scope)
    facts = [build(parse(Source(fact)), scope) for fact in known.facts]
    wrt = [scope[name] for name in known.forms]
    nodes = derive_nodes(output, wrt, variable("grad", output.shape), names, facts=facts)
    printed = print_formulas(nodes, None, [*scope, "grad"])
    assert dict(zip(known.forms, printed.texts, strict=True)) == known.forms
    assert dict(printed.let) == known.let
