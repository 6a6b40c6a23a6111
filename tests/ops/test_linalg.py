"""Matrices: refusals when it runs, and what the generated tests don't reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import Expr, t, variable
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.schema import Invalid

A = variable("a", (3, 3))
B = variable("b", (3,))


def run(node: Expr, a: Any, b: Any = None) -> Any:
    arrays = {"a": np.asarray(a)}
    if b is not None:
        arrays["b"] = np.asarray(b)
    return Plan([node])(arrays)[0]


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (A.inverse(), "inverse() is singular"),
        (t.solve(A, A), "solve() is singular"),
        (t.cholesky(A), "cholesky() is not positive definite"),
    ],
)
def test_a_matrix_that_does_not_allow_it_is_a_sentence(node: Expr, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        run(node, np.zeros((3, 3)))
    assert caught.value.code == "GC204"
    assert words in caught.value.message


@pytest.mark.parametrize("name", ["inverse", "det", "logdet", "slogdet", "cholesky"])
def test_square_floating_matrices_only(name: str) -> None:
    with pytest.raises(Invalid, match=r"square matrices, not shape \(2, 3\)"):
        getattr(variable("x", (2, 3)), name)()
    with pytest.raises(Invalid, match="float16"):
        getattr(variable("x", (2, 2), dtypes.float16), name)()
    with pytest.raises(Invalid, match="needs a matrix"):
        getattr(variable("x", (2,)), name)()


def test_closed_forms_as_people_write_them() -> None:
    assert [to_text(differentiate(f, [A])[0]) for f in (t.logdet(A), t.trace(A))] == [
        "1.0 * a.inverse().T",
        "1.0 * eye(a.shape[0])",
    ]


def test_logdet_of_negative_and_singular_matrices() -> None:
    assert np.isnan(run(t.logdet(A), -np.eye(3)))
    assert run(t.logdet(A), np.zeros((3, 3))) == -np.inf
    assert run(t.slogdet(A).sign, -np.eye(3)) == -1


@pytest.mark.parametrize("make", [t.det, t.logdet, lambda a: t.slogdet(a).logabsdet, t.cholesky])
def test_complex_step_has_no_cancellation(make: Any) -> None:
    rng = np.random.default_rng(1)
    a = rng.standard_normal((3, 3))
    a = a @ a.T + 0.1 * np.eye(3)
    direction = rng.standard_normal((3, 3))
    node = make(A)
    step = run(node, a + 1e-30j * direction).imag / 1e-30
    upstream = variable("g", node.shape)
    (gradient,) = differentiate(node, [A], upstream)
    weight = rng.standard_normal(node.shape)
    (found,) = Plan([gradient])({"a": a, "g": weight})
    np.testing.assert_allclose((step * weight).sum(), (found * direction).sum(), rtol=1e-11)


def test_negative_determinant_in_the_complex_step() -> None:
    a = -np.diag([1.0, 2.0, 4.0])
    step = run(t.slogdet(A).logabsdet, a + 1e-30j * np.eye(3)).imag / 1e-30
    np.testing.assert_allclose(step, -1.75, rtol=1e-14)


def test_solve_triangular_reads_one_triangle_and_divides_by_zero_quietly() -> None:
    a = np.array([[2.0, np.nan, np.nan], [1.0, 0.0, np.nan], [0.0, 0.0, 1.0]])
    found = run(t.solve_triangular(A, A.tril()[:, :1], upper=False), a)
    theirs = torch.linalg.solve_triangular(
        torch.tensor(a).tril(), torch.tensor(a).tril()[:, :1], upper=False
    )
    np.testing.assert_array_equal(found, theirs.numpy())


SYMMETRIC = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]])
TILT = np.triu(np.ones((3, 3)), 1) - np.tril(np.ones((3, 3)), -1)


def test_cholesky_takes_the_symmetric_part_of_what_is_nearly_symmetric() -> None:
    tilted = SYMMETRIC + 1e-3 * TILT
    expected = np.linalg.cholesky(SYMMETRIC)
    np.testing.assert_allclose(run(t.cholesky(A), tilted), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("upper", [False, True])
def test_of_what_is_not_symmetric_the_triangle_is_read_that_pytorch_reads(upper: bool) -> None:
    tilted = SYMMETRIC + TILT
    theirs = torch.tensor(tilted)
    for node, expected in (
        (t.cholesky(A, upper), torch.linalg.cholesky(theirs, upper=upper)),
        (
            t.eigvalsh(A, "U" if upper else "L"),
            torch.linalg.eigvalsh(theirs, "U" if upper else "L"),
        ),
    ):
        np.testing.assert_allclose(run(node, tilted), expected.numpy(), rtol=1e-14, atol=1e-15)


def test_a_vector_on_the_right_is_told_from_a_matrix_by_its_shape() -> None:
    batch = variable("x", (3, 3, 3))
    assert t.solve(batch, variable("y", (3, 3))).shape == (3, 3)
    assert t.solve(batch, variable("y", (3, 2))).shape == (3, 3, 2)
    with pytest.raises(Invalid, match="solve X A = B"):
        t.solve(A, B, left=False)


def test_matrix_power_multiplies_few_times() -> None:
    node = t.matrix_power(A, 8)
    count = 0
    while node.args:
        node, count = node.args[0], count + 1
    assert count == 3
    with pytest.raises(Invalid, match="too large"):
        t.matrix_power(A, 10**9)
