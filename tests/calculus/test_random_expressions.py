"""Random expressions and their gradients: simplifying changes no value, printing and parsing no node.

Programs of a few lines: each line applies an operator to earlier lines or inputs. What doesn't build is
left out, so that shrinking a failure leaves the few operators that it takes.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.derive import read_back
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.facts import assuming
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, t, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import print_formulas
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

Arrays = dict[str, Any]

INPUTS: dict[str, Expr] = {
    "x": variable("x", (3, 4)),
    "y": variable("y", (3, 4)),
    "A": variable("A", (3, 3)),
    "W": variable("W", (4, 3)),
    "z": variable("z", (2, 3, 4)),
    "b": variable("b", (4,)),
    "v": variable("v", (3,)),
    "s": variable("s", ()),
    "mask": variable("mask", (3, 4), dtypes.bool_),
    "t": variable("t", (3,), dtypes.int64),
}
WRT = [node for node in INPUTS.values() if node.dtype.is_floating]
# `p` and `q` are earlier lines or inputs.
LINES = (
    *("-p", "2 * p", "p / 3", "p * 0.5", "1 - p", "p + 1", "p ** 2", "p ** 3", "1 / p", "p ** 0.5"),
    *("p + q", "p - q", "p * q", "p / q", "p @ q", "q @ p", "p * p", "p + p", "p - 2 * q"),
    *("exp(p)", "log(p)", "sqrt(p)", "sin(p)", "tanh(p)", "sigmoid(p)", "abs(p)", "sign(p)"),
    *("log1p(p)", "F.softplus(p)", "F.relu(p)", "F.gelu(p)", "F.silu(p)", "F.logsigmoid(p)"),
    *("expm1(p)", "cosh(p)", "sinh(p)", "erf(p)", "p.rsqrt()", "p.clamp(-1, 1)", "p.square()"),
    *("p.sum()", "p.sum(0)", "p.sum(-1)", "p.sum(-1, keepdim=True)", "p.sum(0, keepdim=True)"),
    *("p.mean()", "p.mean(0)", "p.mean(-1, keepdim=True)", "p.var(-1, keepdim=True)", "p.norm()"),
    *("p.norm(dim=-1, keepdim=True)", "p.logsumexp(-1)", "p.logsumexp(-1, keepdim=True)"),
    *("p.softmax(-1)", "p.log_softmax(-1)", "F.layer_norm(p, p.shape[-1:])", "p.amax(-1)"),
    *("p.T", "p.mT", "p.unsqueeze(0)", "p.unsqueeze(-1)", "p.squeeze(0)", "p.reshape(-1)"),
    *("p.expand(3, 4)", "p.expand(x.shape)", "p.transpose(0, 1)", "p.flip(0)", "p.cumsum(0)"),
    *(
        "p[0]",
        "p[:, 0]",
        "p[1:]",
        "p[t]",
        "p[..., None]",
        "p.diagonal()",
        "p.tril()",
        "p.flatten()",
    ),
    *("torch.where(mask, p, q)", "torch.where(p > 0, p, q)", "torch.where(p > q, p, 0.0)"),
    *("torch.where(mask, p, 0.0)", "p * mask", "torch.maximum(p, q)", "p.masked_fill(mask, 0.0)"),
    *("torch.outer(p, q)", "torch.trace(p)", "torch.eye(3) * p", "torch.ones_like(p) * q"),
    *("p * p.numel()", "p / p.shape[0]", "torch.cat([p, q])", "torch.stack([p, q])", "p.detach()"),
    *("F.one_hot(t, 4) * p", "F.cross_entropy(p, t)", "F.nll_loss(p, t)", "F.mse_loss(p, q)"),
    *("F.binary_cross_entropy_with_logits(p, q)", "F.huber_loss(p, q)", "torch.linalg.inv(p)"),
    *("torch.logdet(p)", "torch.linalg.solve(p, q)", "torch.einsum('ij,jk->ik', p, q)"),
)
_MOST_NODES = 400
# Where a line doesn't fit its arguments, so many of the lines before it are tried.
_TRIES = 6
# Beyond these, a product of a few such numbers overflows or loses its last digits.
_HUGE, _TINY = 1e60, 1e-60


def programs() -> st.SearchStrategy[list[tuple[int, int, int]]]:
    line = st.tuples(st.integers(0, len(LINES) - 1), st.integers(0, 40), st.integers(0, 40))
    return st.lists(line, min_size=1, max_size=7)


def built(line: str, p: Expr, q: Expr) -> Expr | None:
    try:
        return build(parse(Source(line)), {**INPUTS, "p": p, "q": q})
    except GradcheckError:
        return None


def run_program(program: list[tuple[int, int, int]]) -> Expr | None:
    """The last line that builds."""
    pool = list(INPUTS.values())
    made: Expr | None = None
    for which, first, second in program:
        # The newest lines come first, so that small numbers mean a chain.
        p, q = pool[-1 - first % len(pool)], pool[-1 - second % len(pool)]
        for line in (LINES[which - n] for n in range(_TRIES)):
            node = built(line, p, q)
            if node is not None and node.dtype is dtypes.float64 and node.value is None:
                pool.append(node)
                made = node
                break
    return made


def arrays(kind: str, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    found: Arrays = {}
    for name, node in INPUTS.items():
        if node.dtype is dtypes.bool_:
            found[name] = rng.random(node.shape) < 0.5
        elif node.dtype is dtypes.int64:
            found[name] = rng.integers(0, 3, node.shape)
        else:
            array = np.asarray(rng.standard_normal(node.shape))
            if kind == "positive":
                array = abs(array) + 0.1
            if kind == "simple":  # zeros of both signs, ties, whole numbers
                array = rng.choice([0.0, -0.0, 1.0, -1.0, 2.0, 0.5], node.shape)
            if kind == "undefined" and array.size:
                array.reshape(-1)[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
            found[name] = np.asarray(array)
    return found


def evaluate(nodes: list[Expr], given: Mapping[str, Any]) -> list[Any] | None:
    """Values; None where a matrix can't be factored."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return Plan(nodes)(given)
        except (Invalid, np.linalg.LinAlgError):
            return None


def tame(nodes: list[Expr], given: Mapping[str, Any]) -> bool:
    """Whether no intermediate result is so large or small that the order of operations matters."""
    order = [n for n in topological(nodes) if n.dtype is dtypes.float64 and n.value is None]
    found = evaluate(order, given)
    if found is None:
        return False
    for array in found:
        size = abs(np.asarray(array))
        size = size[np.isfinite(size) & (size != 0)]
        if size.size and (size.max() > _HUGE or size.min() < _TINY):
            return False
    return True


def overflowed(nodes: list[Expr], given: Mapping[str, Any]) -> bool:
    order = [n for n in topological(nodes) if n.dtype is dtypes.float64 and n.value is None]
    found = evaluate(order, given)
    return found is None or any(np.isinf(array).any() for array in found)


def compares_undefined(nodes: list[Expr], given: Mapping[str, Any]) -> bool:
    """Whether NaN stands in a comparison: that is False, and numbers come of it again."""
    compared = [
        arg
        for n in topological(nodes)
        if n.dtype is dtypes.bool_
        for arg in n.inputs
        if arg.dtype is dtypes.float64
    ]
    found = evaluate(compared, given) if compared else []
    return found is None or any(np.isnan(array).any() for array in found)


def agree(before: list[Expr], after: list[Expr], kind: str, seed: int) -> None:
    given = arrays(kind, seed)
    given["grad"] = np.random.default_rng(seed + 1).standard_normal(before[0].shape)
    expected, found = evaluate(before, given), evaluate(after, given)
    if expected is None or found is None or not (tame(before, given) and tame(after, given)):
        return
    if kind == "undefined" and compares_undefined(before, given):
        return
    rng = np.random.default_rng(seed + 2)
    nearby = evaluate(
        before,
        {
            name: array * (1 + 1e-13 * rng.standard_normal(array.shape))
            if array.dtype.kind == "f"
            else array
            for name, array in given.items()
        },
    )
    if nearby is None:  # a matrix that is singular as far as rounding goes
        return
    finite = kind != "undefined" and not overflowed(before, given)
    for node, *rest in zip(before, expected, found, nearby, strict=True):
        one, other, near = (np.asarray(array, float) for array in rest)
        assert one.shape == other.shape == node.shape
        defined = ~np.isnan(one)
        if finite:
            np.testing.assert_array_equal(np.isnan(other), ~defined)
        elif not defined.all() and any(np.isnan(a).any() for a in given.values()):
            continue
        both = defined & np.isfinite(one)
        np.testing.assert_array_equal(other[defined & ~both], one[defined & ~both])
        if not both.any():
            continue
        # What a relative change of 1e-13 of the inputs does is what rounding may do a few times over.
        shaken = np.nan_to_num(abs(near[both] - one[both]))
        scale = abs(one[both]).max()
        allowed = 1e-10 * abs(one[both]) + 1e3 * shaken.max() + 1e-12 * scale + 1e-14
        assert (abs(other[both] - one[both]) <= allowed).all(), (one, other)


def examine(program: list[tuple[int, int, int]], seed: int) -> None:
    output = run_program(program)
    if output is None:
        return
    upstream = variable("grad", output.shape)
    used = set(topological([output]))
    try:
        gradients = differentiate(
            output, [n for n in WRT if n in used], upstream if output.ndim else t.ones(())
        )
    except Invalid:
        return
    before = [output, *gradients]
    if len(topological(before)) > _MOST_NODES:
        return
    after = list(simplify(before))
    scope = {**INPUTS, "grad": upstream}
    for node, short in zip(before, after, strict=True):
        assert (short.shape, short.dtype) == (node.shape, node.dtype)
        printed = print_formulas([short], None, list(scope))
        assert read_back(printed, scope) is short, str(printed)
    assert list(simplify(after)) == after
    for number, kind in enumerate(("plain", "positive", "simple", "undefined")):
        agree(before, after, kind, seed + 10 * number)
    with assuming([node > 0 for node in used if node in WRT]):
        shorter = list(simplify(before))
        assert list(simplify(shorter)) == shorter
    for node, short in zip(before, shorter, strict=True):
        assert read_back(print_formulas([short], None, list(scope)), scope) is short
        assert (short.shape, short.dtype) == (node.shape, node.dtype)
    agree(before, shorter, "positive", seed)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(programs(), st.integers(0, 1000))
def test_some_random_expressions(program: list[tuple[int, int, int]], seed: int) -> None:
    examine(program, seed)


@pytest.mark.slow
@settings(
    max_examples=12_000,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(programs(), st.integers(0, 1000))
def test_many_random_expressions(program: list[tuple[int, int, int]], seed: int) -> None:
    examine(program, seed)
