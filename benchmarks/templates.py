"""Expressions with manual formulas, in any size, that the benchmarks draw their checks from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Template:
    """A check's texts; `inputs` maps names to a shape in terms of `n` rows and `m` columns."""

    name: str
    expression: str
    manual: dict[str, str]
    inputs: dict[str, str]
    let: dict[str, str]


def _template(
    name: str,
    expression: str,
    manual: dict[str, str],
    let: dict[str, str] | None = None,
    **inputs: str,
) -> Template:
    return Template(name, expression, manual, inputs, let or {})


# An input is "shape" or "shape sampler"; the first that has a manual formula is the one checked.
TEMPLATES = (
    _template("sse", "(x - y).pow(2).sum()", {"x": "2 * (x - y)"}, x="n m", y="n m"),
    _template("mse", "(x - y).square().mean()", {"x": "2 * (x - y) / x.numel()"}, x="n m", y="n m"),
    _template("l2", "(x * x).sum().sqrt()", {"x": "x / (x * x).sum().sqrt()"}, x="n m"),
    _template("exp", "(x * y).exp().sum()", {"x": "y * (x * y).exp()"}, x="n m", y="n m"),
    _template(
        "tanh chain",
        "((x * y).tanh() / (1 + x.pow(2))).sum()",
        {
            "x": "(1 - (x * y).tanh() ** 2) * y / (1 + x**2) - (x * y).tanh() * 2 * x / (1 + x**2) ** 2"
        },
        x="n m",
        y="n m",
    ),
    _template("sigmoid", "sigmoid(x).sum()", {"x": "sigmoid(x) * (1 - sigmoid(x))"}, x="n m"),
    _template(
        "silu",
        "(x * sigmoid(x)).sum()",
        {"x": "s * (1 + x * (1 - s))"},
        {"s": "sigmoid(x)"},
        x="n m",
    ),
    _template(
        "log", "(x + y).log().sum()", {"x": "1 / (x + y)"}, x="n m positive", y="n m positive"
    ),
    _template("log cosh", "(x - y).cosh().log().sum()", {"x": "(x - y).tanh()"}, x="n m", y="n m"),
    _template(
        "relu", "(x.relu() * y).sum()", {"x": "torch.where(x > 0, y, 0.0)"}, x="n m", y="n m"
    ),
    _template("abs", "((x - y).abs()).sum()", {"x": "(x - y).sign()"}, x="n m", y="n m"),
    _template("softplus", "F.softplus(x).sum()", {"x": "sigmoid(x)"}, x="n m"),
    _template(
        "softmax",
        "(softmax(x, 1) * y).sum()",
        {"x": "s * (y - (s * y).sum(1, keepdim=True))"},
        {"s": "softmax(x, 1)"},
        x="n m",
        y="n m",
    ),
    _template("logsumexp", "x.logsumexp(1).sum()", {"x": "softmax(x, 1)"}, x="n m"),
    _template(
        "row means",
        "x.mean(1).pow(2).sum()",
        {"x": "(2 * x.mean(1, keepdim=True) / x.shape[1]).expand(x.shape)"},
        x="n m",
    ),
    _template(
        "least squares",
        "(x @ w - b).pow(2).sum()",
        {"x": "2 * (x @ w - b).outer(w)"},
        x="n m",
        w="m",
        b="n",
    ),
    _template("product", "(x @ y).sum()", {"x": "(y.sum(1)).expand(x.shape)"}, x="n m", y="m n"),
    _template("bilinear", "((x @ y) * z).sum()", {"x": "z @ y.T"}, x="n m", y="m n", z="n n"),
    _template(
        "transpose", "(x.T @ y).pow(2).sum()", {"x": "2 * y @ (x.T @ y).T"}, x="n m", y="n m"
    ),
    _template(
        "broadcast",
        "(x * w + b).sin().sum()",
        {"x": "(x * w + b).cos() * w"},
        x="n m",
        w="m",
        b="n 1",
    ),
    _template(
        "slice",
        "(x[1:] * x[:-1]).sum()",
        {"x": "torch.cat([x[1:], z]) + torch.cat([z, x[:-1]])"},
        {"z": "torch.zeros_like(x[:1])"},
        x="n m",
    ),
    _template(
        "cosine",
        "(x * y).sum() / (x.norm() * y.norm())",
        {"x": "y / (x.norm() * y.norm()) - (x * y).sum() * x / (x.norm() ** 3 * y.norm())"},
        x="n m",
        y="n m",
    ),
    _template("not reduced", "x.exp() * y", {"x": "grad * x.exp() * y"}, x="n m", y="n m"),
    _template("variance", "x.var()", {"x": "2 * (x - x.mean()) / (x.numel() - 1)"}, x="n m"),
    _template(
        "where",
        "torch.where(x > y, x * x, y).sum()",
        {"x": "torch.where(x > y, 2 * x, 0.0)"},
        x="n m",
        y="n m",
    ),
)


def spec_text(count: int, rows: int, columns: int) -> str:
    """A spec file of `count` checks: every template in turn, each time with another seed."""
    lines = ["version: 1", "checks:"]
    for number in range(count):
        template = TEMPLATES[number % len(TEMPLATES)]
        lines += _check(template, number, rows, columns)
    return "\n".join(lines) + "\n"


def _check(template: Template, number: int, rows: int, columns: int) -> Iterator[str]:
    yield f"  - name: {template.name} {number}"
    yield f"    seed: {number}"
    yield "    inputs:"
    for name, text in template.inputs.items():
        sizes = [{"n": rows, "m": columns}.get(s, s) for s in text.split() if s != "positive"]
        sampler = ", sample: positive" if "positive" in text else ""
        checked = ", requires_grad: true" if name in template.manual else ""
        yield f"      {name}: {{shape: [{', '.join(map(str, sizes))}]{sampler}{checked}}}"
    if template.let:
        yield "    let:"
        yield from (f"      {name}: {text}" for name, text in template.let.items())
    yield f"    expression: {template.expression}"
    yield "    manual:"
    yield from (f"      {name}: {text}" for name, text in template.manual.items())
