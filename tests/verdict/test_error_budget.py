"""Defaults that need no tuning: tiny and huge inputs, cancellation, ill-conditioning, overflow.

Right formulas must not fail in any dtype, and the same formulas with one element slightly off must fail.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check

DTYPES = ("float64", "float32", "bfloat16", "float16")
_SHARP = 1e-6
HILBERT = [[1 / (i + j + 1) for j in range(8)] for i in range(8)]
_STEPS = 20
CHAIN = {f"h{k}": f"({f'h{k - 1}' if k else 'x'} * w + x).tanh()" for k in range(_STEPS)}


class Hard(NamedTuple):
    """A right formula; `x` is the input that is checked, `seen` the relative error that must be seen.

    The condition number of Hilbert's matrix is 1.5e10: in float64, elements are known to 1e-6 at best.
    """

    name: str
    x: str
    expression: str
    manual: str | None
    others: str = ""
    seen: float | None = _SHARP


BATTERY = (
    Hard("tiny", "shape: [4, 5], std: 1.0e-8", "(x * x * 3.0).sum()", "6 * x"),
    Hard("tiny, to be rooted", "shape: [4, 5], std: 1.0e-6", "x.norm()", "x / x.norm()"),
    Hard("huge", "shape: [4, 5], std: 1.0e8", "x.norm()", "x / x.norm()"),
    Hard(
        "huge, saturated",
        "shape: [20], std: 1.0e8",
        "x.tanh().sum()",
        "1 - x.tanh() ** 2",
        seen=None,
    ),
    Hard("mixed magnitudes", "value: [1.0e-8, 1.0, 1.0e4]", "(x * x).sum()", "2 * x"),
    Hard(
        "Hilbert's inverse",
        f"value: {HILBERT}",
        "x.inverse()",
        "-x.inverse().T @ grad @ x.inverse().T",
        seen=1e-3,
    ),
    Hard(
        "Hilbert's system",
        f"value: {HILBERT}",
        "torch.linalg.solve(x, b).sum()",
        "-torch.outer(torch.linalg.solve(x.T, torch.ones_like(b)), torch.linalg.solve(x, b))",
        ", b: {shape: [8]}",
        seen=1e-3,
    ),
    Hard("Hilbert's determinant", f"value: {HILBERT}", "x.logdet()", "x.inverse().T", seen=1e-3),
    Hard("a long sum", "shape: [50000]", "(x * x).sum() / x.numel()", "2 * x / x.numel()"),
    Hard("a long sum's root", "shape: [30000]", "x.exp().sum().log()", "x.softmax(0)"),
    Hard(
        "variance of a large offset",
        "shape: [50], mean: 1.0e6",
        "x.var()",
        "2 * (x - x.mean()) / (x.numel() - 1)",
    ),
    Hard(
        "centred",
        "shape: [50], mean: 1000",
        "(x - x.mean()).pow(3).sum()",
        "3 * ((x - x.mean()) ** 2 - ((x - x.mean()) ** 2).mean())",
    ),
    Hard("log(1 + x)", "shape: [20], std: 1.0e-10", "(1 + x).log().sum()", "1 / (1 + x)"),
    Hard("log1p", "shape: [20], std: 1.0e-10", "x.log1p().sum()", "1 / (1 + x)"),
    Hard("exp(x) - 1 - x", "shape: [20], std: 1.0e-4", "(x.exp() - 1 - x).sum()", "x.exp() - 1"),
    Hard("absorbed", "shape: [20]", "((x + 1.0e8) - 1.0e8).sum()", "torch.ones_like(x)"),
    Hard("sigmoid far out", "shape: [20], std: 30", "sigmoid(x).sum()", "sigmoid(x) * sigmoid(-x)"),
    Hard(
        "softmax of large logits",
        "shape: [4, 6], std: 50",
        "(softmax(x, 1) * y).sum()",
        "softmax(x, 1) * (y - (softmax(x, 1) * y).sum(1, keepdim=True))",
        ", y: {shape: [4, 6]}",
        seen=None,
    ),
    Hard(
        "logsumexp", "shape: [4, 6], std: 200", "x.logsumexp(1).sum()", "softmax(x, 1)", seen=None
    ),
    Hard("a long product", "shape: [60], sample: positive", "x.prod()", "x.prod() / x"),
    Hard("a recurrence", "shape: [12]", f"h{_STEPS - 1}.sum()", None, ", w: {shape: [12]}"),
    Hard("squares that overflow", "shape: [20], std: 300", "(x * x).mean()", "2 * x / x.numel()"),
    Hard(
        "squares that underflow", "shape: [20], std: 1.0e-4", "(x * x).sum() * 1.0e4", "2.0e4 * x"
    ),
    Hard(
        "a normaliser near zero",
        "shape: [3, 8], std: 1.0e-3",
        "(F.layer_norm(x, [8]) * y).sum()",
        None,
        ", y: {shape: [3, 8]}",
    ),
)
# What may be said of a right formula that can't be shown to be right in a dtype.
LIMITS = {"GC202", "GC304", "GC306"}


def text_of(hard: Hard, dtype: str, *, error: float = 0.0) -> str:
    lines = ["version: 1", f"dtype: {dtype}"]
    lines.append(f"inputs: {{x: {{{hard.x}, requires_grad: true}}{hard.others}}}")
    let = dict(CHAIN) if hard.name == "a recurrence" else {}
    if error:
        let["bump"] = "torch.where(torch.arange(x.numel()).reshape(x.shape) == 2, 1.0, 0.0)"
    if let:
        lines += ["let:", *(f"  {name}: {formula}" for name, formula in let.items())]
    lines.append(f"expression: {hard.expression}")
    if hard.manual:
        manual = f"({hard.manual})"
        if error and hard.seen == _SHARP:
            manual += f" * (1 + {error} * bump)"
        elif error:
            # Of an inverse, small elements are known no better than the largest.
            manual += f" + {error} * bump * {manual}.abs().max()"
        lines.append(f"manual: {{x: '{manual}'}}")
    return "\n".join(lines)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hard", BATTERY, ids=lambda hard: hard.name)
def test_right_formulas_are_no_failures(hard: Hard, dtype: str) -> None:
    (check,) = load_text(text_of(hard, dtype))
    outcome = run_check(check)
    if outcome.error is not None:
        assert dtype in ("float16", "bfloat16")
        assert outcome.error.code in ("GC002", "GC304")
        return
    codes = {diagnosis.code for diagnosis in outcome.diagnoses}
    told = [(d.code, d.method, d.message) for d in outcome.diagnoses]
    assert outcome.status == "passed" or (outcome.status == "inconclusive" and codes & LIMITS), told
    if dtype == "float64" or (dtype == "float32" and hard.seen == _SHARP):
        assert outcome.status == "passed", told


@pytest.mark.parametrize(("dtype", "error"), [("float64", _SHARP), ("float32", 1e-2)])
@pytest.mark.parametrize(
    "hard", [h for h in BATTERY if h.manual and h.seen], ids=lambda hard: hard.name
)
def test_one_element_slightly_off_is_seen(hard: Hard, dtype: str, error: float) -> None:
    assert hard.seen is not None
    (check,) = load_text(text_of(hard, dtype, error=max(error, hard.seen)))
    outcome = run_check(check)
    assert outcome.error is None
    assert outcome.status == "failed"
    (row,) = [m for m in outcome.gradients[0].methods if m.method == "manual"]
    assert row.status == "disagrees"
    if hard.seen == _SHARP:
        assert outcome.gradients[0].outliers == ("manual",)
        assert row.worst_index is not None
        assert np.ravel_multi_index(row.worst_index, outcome.gradients[0].shape) == 2


def test_what_would_have_been_seen_is_what_is_seen() -> None:
    """An error just above the smallest visible one fails, one just below it passes."""
    text = (
        "version: 1\ninputs: {x: {shape: [6], requires_grad: true}, e: {value: [0, 0, 0, E, 0, 0]}}\n"
        "expression: (x.sin() * x).sum()\nmanual: {x: x.sin() + x * x.cos() + e}\n"
    )
    (check,) = load_text(text.replace("E", "0.0"))
    visible = run_check(check).gradients[0].smallest_visible_error
    assert visible is not None
    assert 0 < visible < 1e-7
    (check,) = load_text(text.replace("E", f"{1.01 * visible:.17e}"))
    assert run_check(check).status == "failed"
    (check,) = load_text(text.replace("E", f"{1e-3 * visible:.17e}"))
    assert run_check(check).status == "passed"


@pytest.mark.parametrize("name", ["Hilbert's inverse", "Hilbert's determinant", "centred"])
def test_rounding_counts_in_what_would_have_been_seen(name: str) -> None:
    """Methods that agree to the last bit prove nothing about bits that rounding has spoilt."""
    hard = next(h for h in BATTERY if h.name == name)
    (gradient,) = run_check(load_text(text_of(hard, "float64"))[0]).gradients
    visible, relative = gradient.smallest_visible_error, gradient.smallest_visible_relative_error
    assert visible is not None
    assert relative is not None
    least = 1e-7 if hard.seen != _SHARP else 1.0e-9
    assert least < relative < 1e-2
    manual = f"({hard.manual}) + bump * {2 * visible:.17e}"
    text = text_of(hard, "float64", error=_SHARP)
    (check,) = load_text(text[: text.index("manual:")] + f"manual: {{x: '{manual}'}}")
    assert run_check(check).status == "failed"


@pytest.mark.parametrize(
    ("dtype", "share"), [("float32", 1e-5), ("bfloat16", 0.3), ("float16", 0.03)]
)
def test_in_low_precision_the_row_of_pytorch_says_what_it_proves(dtype: str, share: float) -> None:
    text = (
        f"version: 1\ndtype: {dtype}\ninputs: {{x: {{shape: [30]}}}}\nexpression: x.tanh().sum()\n"
    )
    (gradient,) = run_check(load_text(text)[0]).gradients
    allowance = {row.method: row.allowance for row in gradient.methods}
    assert allowance["torch"] is not None
    assert allowance["derived"] is not None
    assert 1e-7 < allowance["torch"] < share
    assert allowance["derived"] < 1e-8
