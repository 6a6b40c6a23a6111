"""Matrices that lack what is asked of them, and gradients that the generated tests can't compare."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops.known import given
from gradcheck_cli.ops.matrices import symmetrized
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from gradcheck_cli.graph import Expr

SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])


def written(text: str, **arrays: Any) -> Expr:
    scope = {name: variable(name, array.shape) for name, array in arrays.items()}
    return build(parse(Source(text)), scope)


def value(text: str, **arrays: Any) -> Any:
    return Plan([written(text, **arrays)])(arrays)[0]


def gradient(text: str, **arrays: Any) -> Any:
    """Of the sum, with respect to the first input."""
    name = next(iter(arrays))
    with given(lambda: arrays):
        node = written(f"({text}).sum()", **arrays)
        (found,) = differentiate(node, [variable(name, arrays[name].shape)])
    return Plan([found])(arrays)[0]


def by_differences(text: str, **arrays: Any) -> Any:
    name, x = next(iter(arrays.items()))
    plan = Plan([written(f"({text}).sum()", **arrays)])
    step, slopes = 1e-6, np.empty(x.shape)
    for place in np.ndindex(x.shape):
        moved = np.zeros(x.shape)
        moved[place] = step
        ahead, behind = (plan({**arrays, name: x + sign * moved})[0] for sign in (1, -1))
        slopes[place] = (ahead - behind) / (2 * step)
    return slopes


def positive(size: int = 3) -> Any:
    a = np.random.default_rng(3).standard_normal((size, size))
    return a @ a.T + np.eye(size)


def test_the_gradient_of_a_determinant_that_is_zero() -> None:
    np.testing.assert_allclose(gradient("torch.det(x)", x=SINGULAR), [[4, -2], [-2, 1]], atol=1e-14)
    rank_one = np.outer([1.0, 2.0, 3.0], [1.0, 1.0, 2.0])
    np.testing.assert_allclose(gradient("torch.det(x)", x=rank_one), np.zeros((3, 3)), atol=1e-14)


def test_the_second_derivative_of_determinants_with_equal_singular_values() -> None:
    weights = np.arange(9.0).reshape(3, 3)
    x = variable("x", (3, 3))
    node = build(parse(Source("torch.det(x)")), {"x": x})
    (first,) = differentiate(node, [x])
    (second,) = differentiate((first * variable("w", (3, 3))).sum(), [x])
    found = Plan([second])({"x": np.eye(3), "w": weights})[0]
    np.testing.assert_allclose(found, np.trace(weights) * np.eye(3) - weights.T, atol=1e-14)


@pytest.mark.parametrize("p", ["1", "-1", "math.inf", "-math.inf", "'fro'"])
def test_condition_numbers_of_which_pytorch_has_no_gradient(p: str) -> None:
    text, x = f"torch.linalg.cond(x, {p})", positive() + np.triu(np.ones((3, 3)))
    leaf = torch.tensor(x)
    theirs = torch.linalg.cond(leaf, {"'fro'": "fro"}.get(p) or eval(p, {"math": math}))
    np.testing.assert_allclose(value(text, x=x), theirs.numpy())
    found, expected = gradient(text, x=x), by_differences(text, x=x)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "torch.linalg.eigvalsh(x)[1:]",
        "torch.linalg.eigh(x, 'U').eigenvectors",
        "torch.linalg.cholesky_ex(x).L",
        "torch.linalg.pinv(x, hermitian=True)",
    ],
)
def test_differences_around_a_symmetric_matrix_see_the_gradient(text: str) -> None:
    found, expected = gradient(text, x=positive()), by_differences(text, x=positive())
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("text", ["torch.cholesky_solve(y, x)", "torch.cholesky_inverse(x) @ y"])
def test_differences_around_a_triangle_see_the_gradient_of_its_factor(text: str) -> None:
    arrays = {"x": np.linalg.cholesky(positive()), "y": np.array([[1.0], [2.0], [-1.0]])}
    found, expected = gradient(text, **arrays), by_differences(text, **arrays)
    assert found[0, 2] != 0
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_what_is_nowhere_near_symmetric_is_not_averaged() -> None:
    x = np.array([[[1.0, 9.0], [2.0, 3.0]], [[1.0, 2.0 + 1e-6], [2.0 - 1e-6, 3.0]]])
    found = symmetrized(x)
    np.testing.assert_array_equal(found[0], [[1, 2], [2, 3]])
    np.testing.assert_allclose(found[1], [[1, 2], [2, 3]], rtol=1e-15)
    np.testing.assert_array_equal(symmetrized(x, lower=False)[0], [[1, 9], [9, 3]])


def test_the_ex_variants_say_which_matrix_is_at_fault() -> None:
    batch = np.stack([np.eye(2), SINGULAR])
    np.testing.assert_array_equal(value("torch.linalg.inv_ex(x).info", x=batch), [0, 2])
    np.testing.assert_array_equal(value("torch.linalg.lu_factor_ex(x).info", x=batch), [0, 2])
    np.testing.assert_array_equal(value("torch.linalg.cholesky_ex(-x).info", x=batch), [1, 1])
    inverses = value("torch.linalg.inv_ex(x).inverse", x=batch)
    np.testing.assert_array_equal(inverses[0], np.eye(2))
    assert np.isnan(inverses[1]).all()
    ones = np.ones((2, 2))
    solutions = value("torch.linalg.solve_ex(x, y).result", x=batch, y=ones)
    np.testing.assert_array_equal(solutions[0], ones[0])
    assert np.isnan(solutions[1]).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch.linalg.inv_ex(x, check_errors=True).info", "is singular"),
        ("torch.linalg.solve_ex(x, x, check_errors=True).info", "is singular"),
        ("torch.linalg.lu_factor(x).LU", "is singular"),
        ("torch.linalg.cholesky_ex(x - 1, check_errors=True).info", "not positive definite"),
    ],
)
def test_a_matrix_at_fault_is_a_sentence_where_errors_are_checked(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        value(text, x=SINGULAR)
    assert caught.value.code == "GC204"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch.linalg.svd(x, driver='gesvd').S", "on CUDA devices only"),
        ("torch.linalg.qr(x, 'raw').Q", "'reduced', 'complete' and 'r'"),
        ("torch.linalg.eigvalsh(x, 'M')", "'L'"),
        ("torch.linalg.lu(x, pivot=False).L", "not available on the CPU"),
        ("torch.linalg.cond(x, 3)", "order 3"),
        ("torch.linalg.cond(x[:1], 1)", "needs square matrices"),
        ("torch.linalg.matrix_norm(x, 'max')", "order 'max'"),
        ("torch.linalg.tensorinv(x, ind=0)", "positive number"),
        ("torch.linalg.tensorinv(x[:1], ind=1)", "not 1 and 2"),
        ("torch.linalg.tensorsolve(x, x)", r"shapes \(2, 2\) and \(2, 2\)"),
        ("torch.linalg.lstsq(x, x, driver='qr').rank", "driver 'qr'"),
        ("torch.linalg.lstsq(x, x[:1, :1]).rank", r"fit shape \(2, 2\)"),
        ("torch.linalg.householder_product(x[:1], x[0])", "more columns than rows"),
        ("torch.linalg.householder_product(x, x)", "a vector tau"),
        ("torch.ormqr(x, x[0, :1], x)", "needs 2 factors"),
        ("torch.lu_unpack(x, x).L", "int32"),
        ("torch.cholesky_solve(x[:1], x)", "factor of shape"),
    ],
)
def test_calls_that_pytorch_refuses(text: str, words: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        written(text, x=SINGULAR)
    assert re.search(words, caught.value.problems[0].message)


@pytest.mark.parametrize(
    "text",
    [
        "torch.linalg.svdvals(x)",
        "torch.linalg.eigvalsh(x)",
        "torch.linalg.eigvals(x).abs()",
        "torch.linalg.pinv(x)",
        "torch.linalg.pinv(x, hermitian=True)",
        "torch.linalg.matrix_rank(x)",
        "torch.linalg.lstsq(x, x).solution",
    ],
)
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_no_iteration_on_numbers_that_are_none(text: str, wrong: float) -> None:
    """OpenBLAS would iterate for ever."""
    with pytest.raises(Invalid, match="NaN or infinity"):
        value(text, x=np.array([[1.0, wrong], [0.0, 1.0]]))


@pytest.mark.parametrize("mode", ["complete", "r"])
def test_qr_without_a_gradient_says_so(mode: str) -> None:
    x = variable("x", (3, 2))
    node = build(parse(Source(f"torch.linalg.qr(x, '{mode}').R")), {"x": x})
    with pytest.raises(Invalid, match="gradient"):
        differentiate(node.sum(), [x])


def test_ranks_and_tolerances() -> None:
    x = np.diag([1.0, 1e-3, 0.0])
    assert value("torch.linalg.matrix_rank(x)", x=x) == 2
    assert value("torch.linalg.matrix_rank(x, 1e-2)", x=x) == 1
    assert value("torch.linalg.matrix_rank(x, rtol=1e-2, hermitian=True)", x=x) == 1
    np.testing.assert_array_equal(
        value("torch.linalg.pinv(x, rtol=1e-2)", x=x), np.diag([1.0, 0.0, 0.0])
    )


def test_of_a_deficient_system_the_shortest_solution() -> None:
    A, B = np.diag([2.0, 0.0]), np.array([4.0, 1.0])
    np.testing.assert_array_equal(value("torch.linalg.lstsq(x, y).solution", x=A, y=B), [2, 0])
    assert value("torch.linalg.lstsq(x, y).rank", x=A, y=B) == 1
