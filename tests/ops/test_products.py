"""Products: the formulas that people read, refusals with both shapes, einsum's equations."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import Expr, t, variable
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.ops.einsum import subscripts
from gradcheck_cli.schema import Invalid


@pytest.mark.parametrize(
    ("left", "right", "first", "second"),
    [
        ((3, 4), (4, 2), "g @ y.T", "x.T @ g"),
        ((4,), (4,), "g * y", "g * x"),
        ((3, 4), (4,), "outer(g, y)", "x.T @ g"),
        ((3,), (3, 4), "y @ g", "outer(x, g)"),
        ((2, 3, 4), (2, 4, 5), "g @ y.mT", "x.mT @ g"),
        ((2, 3, 4), (4, 5), "g @ y.T", "x.flatten(end_dim=-2).T @ g.flatten(end_dim=-2)"),
    ],
)
def test_gradient_of_matmul_as_people_write_it(
    left: tuple[int, ...], right: tuple[int, ...], first: str, second: str
) -> None:
    x, y = variable("x", left), variable("y", right)
    out = x @ y
    upstream = variable("g", out.shape)
    texts = [to_text(node) for node in differentiate(out, [x, y], upstream)]
    assert texts == [first, second]


@pytest.mark.parametrize(
    ("left", "right", "hint"),
    [
        ((3, 4), (3, 4), "left one transposed: .T"),
        ((4,), (3, 4), "right one transposed: .T"),
        ((2, 3, 4), (3, 5), "left one transposed: .mT"),
        ((3, 4), (5, 6), "inner sizes"),
    ],
)
def test_unfitting_shapes_are_both_named(
    left: tuple[int, ...], right: tuple[int, ...], hint: str
) -> None:
    with pytest.raises(Invalid) as caught:
        variable("x", left) @ variable("y", right)
    assert caught.value.code == "GC015"
    assert str(left) in caught.value.message
    assert str(right) in caught.value.message
    assert hint in str(caught.value.hint)


def test_batches_that_do_not_broadcast() -> None:
    with pytest.raises(Invalid, match=r"\(2, 3, 4\) and \(3, 4, 5\)"):
        variable("x", (2, 3, 4)) @ variable("y", (3, 4, 5))


def test_dtypes_are_not_promoted() -> None:
    with pytest.raises(Invalid, match="float64 and float32") as caught:
        variable("x", (2,)) @ variable("y", (2,), dtypes.float32)
    assert caught.value.code == "GC016"


def test_beta_zero_ignores_the_input_even_where_it_is_nan() -> None:
    x, y = variable("x", (1,)), variable("y", (2, 2))
    node = t.addmm(x, y, y, beta=0)
    (found,) = Plan([node])({"x": np.array([np.nan]), "y": np.eye(2)})
    np.testing.assert_array_equal(found, np.eye(2))


@pytest.mark.parametrize(
    ("equation", "ranks", "expected"),
    [
        ("ij,jk", (2, 2), (("ij", "jk"), "ik")),
        ("bA", (2,), (("bA",), "Ab")),
        ("ii", (2,), (("ii",), "")),
        ("...ij->ij", (4,), (("abij",), "ij")),
        ("...i,...i->...", (3, 2), (("abi", "bi"), "ab")),
        (" i j -> j i ", (2,), (("ij",), "ji")),
    ],
)
def test_einsum_equations(
    equation: str, ranks: tuple[int, ...], expected: tuple[tuple[str, ...], str]
) -> None:
    assert subscripts(equation, ranks) == expected


@pytest.mark.parametrize(
    ("equation", "words"),
    [
        ("ij->k", "'k'"),
        ("ij->ii", "twice"),
        ("ij,jk", "2 operands"),
        ("ijk", "names 3 dimensions"),
        ("..ij", "can't read"),
        ("ii->i", "sizes differ"),
    ],
)
def test_einsum_refuses(equation: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        t.einsum(equation, variable("x", (3, 4)))


def test_gradient_of_einsum_is_an_einsum() -> None:
    x, y = variable("x", (2, 3)), variable("y", (3, 4))
    out: Expr = t.einsum("ij,jk->ik", x, y)
    (gradient,) = differentiate(out, [x], variable("g", (2, 4)))
    assert to_text(gradient) == "einsum('ik,jk->ij', g, y)"
