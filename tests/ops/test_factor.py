"""Large matrices: factored once for the value and the gradient, with the numbers of one kernel each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.program import Program
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import t, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops import factor
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections import Counter

N = factor.LARGE + 71  # more than one strip, the last one not full


def matrix(kind: str, size: int = N, seed: int = 0) -> Any:
    """A matrix with a condition of about 10."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    values = np.linspace(1, 10, size)
    if kind == "general":
        return (q * values) @ np.linalg.qr(rng.standard_normal((size, size)))[0]
    if kind == "indefinite":
        values[::2] *= -1
    made = (q * values) @ q.T
    return (made + made.T) / 2


def both(expression: str, **arrays: Any) -> tuple[Any, Any]:
    """Value and gradients as planned, and with one kernel after the other."""
    scope = {
        name: variable(name, array.shape, dtypes.BY_NAME[array.dtype.name])
        for name, array in arrays.items()
    }
    value = build(parse(Source(expression)), scope)
    nodes = [value, *differentiate(value, list(scope.values()))]
    return Program(nodes, list(arrays))(*arrays.values()), Plan(nodes)(arrays)


def agree(expression: str, rtol: float = 1e-11, **arrays: Any) -> None:
    before = {name: array.copy() for name, array in arrays.items()}
    planned, single = both(expression, **arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name], err_msg=f"{name} was written into")
    for found, expected in zip(planned, single, strict=True):
        assert (np.shape(found), np.asarray(found).dtype) == (expected.shape, expected.dtype)
        size = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * size)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each routine is called."""
    from collections import Counter

    counted: Counter[str] = Counter()
    routine = factor.routine

    def counting(name: str, dtype: Any) -> Any:
        def run(*args: Any, **options: Any) -> Any:
            counted[name] += 1
            return routine(name, dtype)(*args, **options)

        return run

    monkeypatch.setattr(factor, "routine", counting)
    return counted


EXPRESSIONS = (
    "y @ torch.linalg.solve(A, y)",
    "y @ torch.linalg.solve(A.T, y)",
    "torch.linalg.solve(A.transpose(0, 1).mT, y).sum()",
    "torch.linalg.solve(A, y.unsqueeze(1) * y).square().sum()",
    "torch.linalg.solve(A, y.unsqueeze(1) * y[:5]).square().sum()",
    "torch.linalg.solve(A, y[:5].unsqueeze(1) * y, left=False).square().sum()",
    "torch.linalg.solve(A.mT, y[:5].unsqueeze(1) * y, left=False).square().sum()",
    "(A.inverse() * y).sum()",
    "(A.T.inverse() * y).sum()",
    "A.slogdet().logabsdet * y.sum()",
    "A.T.slogdet().sign * y.sum()",
    "torch.logdet(A @ A) * y.sum()",
    "(A / 7).det() * y.sum()",
    "(A.matrix_power(-2) * y).sum()",
)


@pytest.mark.parametrize("kind", ["positive", "indefinite", "general"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_numbers_are_those_of_single_kernels(expression: str, kind: str) -> None:
    A, y = matrix(kind), np.random.default_rng(1).standard_normal(N)
    agree(expression, A=A, y=y)
    agree(expression, rtol=2e-3, A=A.astype(np.float32), y=y.astype(np.float32))


LIKELIHOOD = "0.5 * (y @ torch.linalg.solve(A, y)) + 0.5 * A.slogdet().logabsdet"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("positive", {"potrf": 1, "potrs": 2, "potri": 1}),
        ("indefinite", {"potrf": 1, "getrf": 1, "getrs": 2, "getri_lwork": 1, "getri": 1}),
        ("general", {"getrf": 1, "getrs": 2, "getri_lwork": 1, "getri": 1}),
    ],
)
def test_one_factorization_for_value_and_gradient(
    kind: str, expected: dict[str, int], calls: Counter[str]
) -> None:
    both(LIKELIHOOD, A=matrix(kind), y=np.ones(N))
    assert calls == expected


def test_all_that_is_asked_of_a_matrix_and_its_transpose_shares_the_factors(
    calls: Counter[str],
) -> None:
    expression = (
        "torch.linalg.solve(A, y).sum() + torch.linalg.solve(A.mT, y).sum() + A.T.det()"
        " + A.inverse().sum() + A.T.inverse().trace() + torch.logdet(A) + A.slogdet()[1]"
    )
    both(expression, A=matrix("general"), y=np.ones(N))
    assert (calls["getrf"], calls["getri"]) == (1, 1)


def test_small_matrices_and_batches_are_left_to_numpy(calls: Counter[str]) -> None:
    small = factor.LARGE - 1
    both(LIKELIHOOD, A=matrix("positive", small), y=np.ones(small))
    batch = np.stack([matrix("general", seed=1), matrix("general", seed=2)])
    both("torch.linalg.solve(A, y).sum() + A.inverse().sum()", A=batch, y=np.ones((2, N)))
    assert not calls


def test_cholesky_is_computed_once(calls: Counter[str]) -> None:
    expression = (
        "0.5 * (y * torch.cholesky_solve(y, torch.linalg.cholesky(A))).sum()"
        " + torch.linalg.cholesky(A).diagonal().log().sum()"
    )
    A, y = matrix("positive"), np.random.default_rng(1).standard_normal((N, 1))
    agree(expression, A=A, y=y)
    # The solution and its gradient, and two triangular systems for that of the factor.
    assert calls == {"potrf": 1, "potrs": 2, "trsm": 2}


@pytest.mark.parametrize(
    "laid_out",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
    ],
)
@pytest.mark.parametrize("kind", ["positive", "general"])
def test_any_layout_in_memory(kind: str, laid_out: Any) -> None:
    A, y = laid_out(matrix(kind)), np.ones(N)
    A.flags.writeable = False
    agree(LIKELIHOOD, A=A, y=y)
    agree("torch.linalg.cholesky(A @ A.T).sum() * y.sum()", A=A, y=y)
    agree("torch.linalg.solve_triangular(A, A + 1, upper=True).sum() * y.sum()", A=A, y=y)


def test_all_but_equal_to_its_transpose_is_not_symmetric(calls: Counter[str]) -> None:
    A = matrix("positive")
    A[-1, 70] += 1e-12
    assert not factor.is_symmetric(A)
    both(LIKELIHOOD, A=A, y=np.ones(N))
    assert not calls["potrf"]


@pytest.mark.parametrize("kind", ["general", "positive"])
@pytest.mark.parametrize(
    ("expression", "words"),
    [("torch.linalg.solve(A, y).sum()", "solve()"), ("A.inverse().sum() + y.sum()", "inverse()")],
)
def test_a_singular_matrix_is_refused(expression: str, words: str, kind: str) -> None:
    A = matrix(kind)
    A[3] = A[:, 3] = 0
    with pytest.raises(Invalid) as caught:
        both(expression, A=A, y=np.ones(N))
    assert caught.value.code == "GC204"
    assert f"the matrix given to {words} is singular" == caught.value.message


def test_determinants_of_negative_and_singular_matrices() -> None:
    x = variable("x", (N, N))
    sign, log = t.slogdet(x)
    program = Program([sign, log, t.det(x), t.logdet(x)], ["x"])
    flipped = np.eye(N)[::-1]
    expected = np.linalg.slogdet(flipped).sign
    assert program(flipped)[:3] == (expected, 0, expected)
    found = program(-np.eye(N) if N % 2 else np.diag([-1.0, *np.ones(N - 1)]))
    assert found[:3] == (-1, 0, -1)
    assert np.isnan(found[3])
    assert program(np.zeros((N, N))) == (0, -np.inf, 0, -np.inf)
    assert np.isnan(program(np.full((N, N), np.nan))[1:]).all()


def test_an_ill_conditioned_matrix_loses_no_more_than_its_condition() -> None:
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))[0]
    A = (q * np.logspace(0, -8, N)) @ q.T
    A = (A + A.T) / 2
    agree(LIKELIHOOD, rtol=1e-6, A=A, y=np.ones(N))


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_takes_the_symmetric_part(upper: bool) -> None:
    A = matrix("positive")
    tilted = A + 1e-3 * (np.triu(np.ones((N, N)), 1) - np.tril(np.ones((N, N)), -1))
    x = variable("x", (N, N))
    (found,) = Program([t.cholesky(x, upper=upper)], ["x"])(tilted)
    expected = np.linalg.cholesky(A)
    np.testing.assert_allclose(found, expected.T if upper else expected, rtol=1e-10, atol=1e-12)


def test_cholesky_refuses_what_is_not_positive_definite() -> None:
    x = variable("x", (N, N))
    with pytest.raises(Invalid, match="not positive definite") as caught:
        Program([t.cholesky(x)], ["x"])(matrix("indefinite"))
    assert caught.value.code == "GC204"


@pytest.mark.parametrize("size", [7, N])
@pytest.mark.parametrize("unitriangular", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("upper", [False, True])
def test_triangular_systems_by_plan_and_by_program(
    upper: bool, left: bool, unitriangular: bool, size: int
) -> None:
    rng = np.random.default_rng(size)
    A = rng.standard_normal((2, 1, size, size)) / size
    A += 2 * np.eye(size)
    B = rng.standard_normal((3, size, 4) if left else (3, 4, size))
    for a, b in ((A, B), (A[0, 0], B), (A, B[0]), (A[0, 0], B[0])):
        x, y = variable("x", a.shape), variable("y", b.shape)
        node = t.solve_triangular(x, y, upper=upper, left=left, unitriangular=unitriangular)
        theirs = torch.linalg.solve_triangular(
            torch.tensor(a), torch.tensor(b), upper=upper, left=left, unitriangular=unitriangular
        )
        for layout in ("C", "F"):
            given = {"x": np.array(a, order=layout), "y": np.array(b, order=layout)}
            for found in (Plan([node])(given)[0], Program([node], ["x", "y"])(*given.values())[0]):
                np.testing.assert_allclose(found, theirs.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("size", [5, N])
@pytest.mark.parametrize("upper", [False, True])
def test_triangular_systems_read_one_triangle_and_keep_nan_where_it_belongs(
    upper: bool, size: int
) -> None:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((size, size)) / size + 2 * np.eye(size)
    A = np.where(
        np.tri(size, dtype=bool) if not upper else ~np.tri(size, k=-1, dtype=bool), A, np.nan
    )
    B = rng.standard_normal((size, 2))
    x, y = variable("x", A.shape), variable("y", B.shape)
    node = t.solve_triangular(x, y, upper=upper)
    for change in (None, np.nan, np.inf, 0.0):
        if change is not None:
            A[size // 2, size // 2] = change
        expected = torch.linalg.solve_triangular(
            torch.tensor(A).triu() if upper else torch.tensor(A).tril(),
            torch.tensor(B),
            upper=upper,
        ).numpy()
        for found in (Plan([node])({"x": A, "y": B})[0], Program([node], ["x", "y"])(A, B)[0]):
            finite = np.isfinite(expected)
            np.testing.assert_array_equal(np.isfinite(found), finite)
            np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-10)
