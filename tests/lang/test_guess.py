"""What inputs are taken for where nobody says their shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.dtypes import BY_NAME
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import TABLE, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.guess import Guess, guess
from gradcheck_cli.lang.guess.calls import patterns
from gradcheck_cli.lang.guess.sizes import Layout, Result, Solver
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import to_text

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is written, and what the inputs are taken for.
GUESSES = {
    # Elementwise: one shape.
    "(predicted - real).pow(2).sum()": "predicted: (N, D), real: (N, D)",
    "x ** 3 + 2 * x": "x: (N, D)",
    "y * log(p) + (1 - y) * log(1 - p)": "y: (N, D), p: (N, D)",
    "torch.maximum(x, y)": "x: (N, D), y: (N, D)",
    "alpha * x + (1 - alpha) * y": "alpha: (), x: (N, D), y: (N, D)",
    "mean - median": "mean: (N, D), median: (N, D)",
    "exp(t)": "t: (N, D)",
    "θ + φ": "θ: (N, D), φ: (N, D)",
    # Losses.
    "F.mse_loss(predicted, real)": "predicted: (N, D), real: (N, D)",
    "F.huber_loss(x, y)": "x: (N, D), y: (N, D)",
    "F.kl_div(p.log(), q)": "p: (N, D), q: (N, D)",
    "F.gaussian_nll_loss(mu, y, var)": "mu: (N, D), y: (N, D), var: (N, D)",
    "F.cosine_similarity(x, y)": "x: (N, D), y: (N, D)",
    "F.cross_entropy(z, t)": "z: (N, C), t: (N,) whole numbers",
    "F.cross_entropy(logits, labels)": "logits: (N, C), labels: (N,) whole numbers",
    "F.cross_entropy(z, p)": "z: (N, D), p: (N, D)",
    "-(log_softmax(z, 1).gather(1, t[:, None])).mean()": "z: (N, C), t: (N,) whole numbers",
    "F.nll_loss(log_softmax(x @ W, 1), t)": "x: (N, D), W: (D, C), t: (N,) whole numbers",
    "F.binary_cross_entropy_with_logits(x @ w, y)": "x: (N, D), w: (D,), y: (N,)",
    # Linear models.
    "A @ x - b": "A: (M, N), x: (N,), b: (M,)",
    "(A @ x - b).pow(2).sum()": "A: (M, N), x: (N,), b: (M,)",
    "((X @ w - y) ** 2).mean() + lam * (w ** 2).sum()": "X: (N, D), w: (D,), y: (N,), lam: ()",
    "((X @ w - y) ** 2).sum() + c * w.norm()": "X: (N, D), w: (D,), y: (N,), c: ()",
    "(A @ x - b).norm() ** 2 + lam * x.norm(1)": "A: (M, N), x: (N,), b: (M,), lam: ()",
    "-(y * log(sigmoid(x @ w)) + (1 - y) * log(1 - sigmoid(x @ w))).sum()": (
        "y: (N,), x: (N, D), w: (D,)"
    ),
    "softplus(-y * (X @ w)).mean()": "y: (N,), X: (N, D), w: (D,)",
    "x.T @ (sigmoid(x @ w) - y)": "x: (N, D), w: (D,), y: (N,)",
    "sigmoid(X @ w + b)": "X: (N, D), w: (D,), b: ()",
    "x @ W + b": "x: (N, D), W: (D, M), b: (M,)",
    "F.linear(x, w, b)": "x: (N, D), w: (M, D), b: (M,)",
    "F.softmax(x @ W, dim=-1)": "x: (N, D), W: (D, M)",
    # Forms of linear algebra.
    "x.T @ A @ x": "x: (N,), A: (N, N)",
    "x @ A @ x": "x: (N,), A: (N, N)",
    "x @ A @ y": "x: (M,), A: (M, N), y: (N,)",
    "x.T @ x": "x: (N,)",
    "X.T @ X": "X: (N, D)",
    "(x - mu).T @ S.inverse() @ (x - mu)": "x: (N,), mu: (N,), S: (N, N)",
    "trace(A @ X @ B)": "A: (M, N), X: (N, D), B: (D, M)",
    "logdet(X)": "X: (N, N)",
    "X.inverse().sum()": "X: (N, N)",
    "torch.linalg.solve(A, b)": "A: (N, N), b: (N,)",
    "(X - U @ V.T).pow(2).sum()": "X: (N, D), U: (N, M), V: (D, M)",
    "A @ B - B @ A": "A: (N, N), B: (N, N)",
    "torch.outer(u, v).sum()": "u: (N,), v: (D,)",
    "x.dot(y) / (x.norm() * y.norm())": "x: (N,), y: (N,)",
    "torch.linalg.cholesky(A).diagonal().log().sum()": "A: (N, N)",
    "torch.linalg.cross(a, b)": "a: (N, 3), b: (N, 3)",
    "x @ A @ x + b @ x": "x: (N,), A: (N, N), b: (N,)",
    "(B @ x + b) @ C @ (D @ x + d)": ("B: (M, N), x: (N,), b: (M,), C: (M, K), D: (K, N), d: (K,)"),
    "(y - X @ w).square().sum() + penalty * w @ w": "y: (N,), X: (N, D), w: (D,), penalty: ()",
    "((A @ x) @ (A @ x)) / (x @ x)": "A: (M, N), x: (N,)",
    # Networks.
    "relu(x @ w1 + b1) @ w2 + b2": "x: (N, D), w1: (D, M), b1: (M,), w2: (M, K), b2: (K,)",
    "softmax(q @ k.T / q.shape[-1] ** 0.5, -1) @ v": "q: (N, D), k: (M, D), v: (M, K)",
    "F.scaled_dot_product_attention(q, k, v)": "q: (N, D), k: (M, D), v: (M, K)",
    "F.layer_norm(x, (x.shape[-1],))": "x: (N, D)",
    "F.layer_norm(x, (8,), gamma, beta)": "x: (N, 8), gamma: (8,), beta: (8,)",
    "F.conv2d(x, w, b)": "x: (N, C, H, W), w: (D, C, M, K), b: (D,)",
    "F.conv2d(F.conv2d(x, w1), w2)": "x: (N, C, H, W), w1: (D, C, M, K), w2: (L, D, P, Q)",
    "F.conv1d(x, w)": "x: (B, N, D), w: (M, N, K)",
    "F.max_pool2d(x, 2)": "x: (N, C, H, W)",
    "F.embedding(t, w)": "t: (N, D) whole numbers, w: (C, M)",
    "F.batch_norm(x, None, None, training=True)": "x: (N, D)",
    "F.glu(x)": "x: (N, D)",
    # Subscripts, masks, dimensions.
    "x[:, 0].sum()": "x: (N, D)",
    "x[1:] - x[:-1]": "x: (N,)",
    "table[i]": "table: (C, N), i: (D,) whole numbers",
    "x[:, t]": "x: (N, C), t: (D,) whole numbers",
    "(x[:, None] - y[None]).pow(2).sum(-1)": "x: (N, D), y: (M, D)",
    "where(mask, a, b)": "mask: (N, D) a mask, a: (N, D), b: (N, D)",
    "x * ~m": "x: (N, D), m: (N, D) a mask",
    "x.masked_fill(mask, 0.0).sum()": "x: (N, D), mask: (N, D) a mask",
    "softmax(z, 1)": "z: (N, D)",
    "x.sum(2)": "x: (B, N, D)",
    "torch.einsum('ij,jk->ik', a, b)": "a: (N, D), b: (D, M)",
    "torch.einsum('bij,bjk->bik', a, b)": "a: (B, N, D), b: (B, D, M)",
    "torch.cat([a, b]).sum()": "a: (N, D), b: (M, D)",
    "torch.stack([a, b]).prod()": "a: (N, D), b: (N, D)",
    "torch.cdist(x, y)": "x: (N, D), y: (M, D)",
    "x @ torch.eye(4)": "x: (N, 4)",
    "F.one_hot(t, 5) * x": "t: (N,) whole numbers, x: (N, 5)",
}


@pytest.mark.parametrize(("text", "expected"), GUESSES.items())
def test_inputs_are_what_people_mean(text: str, expected: str) -> None:
    assert guess(text).lines == [expected]


@pytest.mark.parametrize("text", GUESSES)
def test_what_is_guessed_can_be_computed_and_its_sizes_are_told_apart(text: str) -> None:
    found = guess(text)
    assert build(parse(Source(text)), found.variables) is found.output
    size_of: dict[str, int] = {}
    for one in found.inputs:
        assert len(one.dims) == one.node.ndim
        for letter, size in zip(one.dims, one.node.shape, strict=True):
            assert size_of.setdefault(letter, size) == size
    assert len(set(size_of.values())) == len(size_of)
    assert max(size_of.values(), default=0) < 100


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was tried to be built."""
    tried: list[object] = []
    attempt = Solver.attempt

    def counted(solver: Solver, layout: Layout, dtypes: Mapping[str, str]) -> Result:
        tried.append(layout)
        return attempt(solver, layout, dtypes)

    monkeypatch.setattr(Solver, "attempt", counted)
    return tried


@pytest.mark.parametrize("text", GUESSES)
def test_a_guess_is_quick(text: str, attempts: list[object]) -> None:
    guess(text)
    assert len(attempts) <= 40


def facts(found: Guess) -> list[str]:
    return [text for text, _ in found.facts]


def test_an_index_stays_below_the_size_that_it_indexes() -> None:
    assert facts(guess("F.cross_entropy(z, t)")) == ["t >= 0", "t < z.shape[1]"]
    assert facts(guess("F.embedding(i, w)")) == ["i >= 0", "i < w.shape[0]"]
    assert facts(guess("x[:, i].sum()")) == ["i >= 0", "i < x.shape[1]"]
    assert facts(guess("F.nll_loss(log_softmax(x @ W, 1), t)")) == ["t >= 0", "t < W.shape[1]"]
    for _, node in guess("F.cross_entropy(z, t)").facts:
        assert node.dtype is BY_NAME["bool"]


def test_a_matrix_is_symmetric_only_where_that_is_needed() -> None:
    assert facts(guess("torch.linalg.cholesky(A).sum()")) == ["A == A.mT"]
    assert facts(guess("logdet(A) + A.inverse().sum()")) == []


def test_what_is_given_is_not_guessed() -> None:
    x = variable("x", (7, 5))
    found = guess("x @ w - y", {"x": x})
    assert found.lines == ["w: (5,), y: (7,)"]
    assert guess("x.sum()", {"x": x}).lines == []
    assert to_text(guess("x.sum()", {"x": x}).output) == "x.sum()"


def test_a_name_of_a_function_can_be_an_input() -> None:
    assert list(guess("t.pow(2).sum() + norm").variables) == ["t", "norm"]


def codes(text: str) -> list[tuple[str, str]]:
    with pytest.raises(GradcheckError) as caught:
        guess(text)
    return [(problem.code, problem.hint or "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("relux(x) + y", "GC012", "did you mean `relu`?"),
        ("torhc.exp(x)", "GC012", "did you mean `torch`?"),
        ("np.exp(x)", "GC012", "write PyTorch's functions: torch.f, F.f"),
        ("x.summ()", "GC013", "did you mean `sum`?"),
        ("grad * x", "GC012", "a gradient is named `grad` only in manual formulas"),
        ("x + (lambda y: y)", "GC011", "write it with tensor operations"),
        ("x.__class__", "GC011", ""),
        ("x.add_(y)", "GC018", "use `add`"),
        ("x.to(float)", "GC012", "use x.float()"),
        ("qqq(x)", "GC012", "known names are x"),
        ("one_hot(t, C)", "GC014", "write the number, or a size of an input"),
        ("x.view(n, -1)", "GC014", "write the number, or a size of an input"),
        ("x.sum(9)", "GC014", "use -2 to 1"),
        ("x[1, 2, 3, 4, 5, 6, 7]", "GC015", "every input needs its shape"),
        ("x.reshape(2, 3, 5, 7)", "GC015", "x: ("),
        ("x +", "GC010", "remove it"),
        ("(x, y)", "GC011", "take its items"),
        ("", "GC010", ""),
    ],
)
def test_what_no_shape_mends_is_told_plainly(text: str, code: str, hint: str) -> None:
    found = codes(text)
    assert len(found) == 1
    assert found[0][0] == code
    assert hint in found[0][1]


def test_a_misspelt_name_of_a_given_input_is_no_new_input() -> None:
    with pytest.raises(GradcheckError) as caught:
        guess("(predcted ** 2).sum()", {"predicted": variable("predicted", (3,))})
    assert [problem.hint for problem in caught.value.problems] == ["did you mean `predicted`?"]


@pytest.mark.parametrize(
    "text",
    [
        " + ".join(f"v{i}" for i in range(30)),
        "(" + " + ".join(f"v{i}" for i in range(30)) + ").sum(3)",
        " @ ".join(f"M{i}" for i in range(30)),
        " + ".join(f"A{i} @ B{i}" for i in range(15)),
        "sin(" * 90 + "x" + ")" * 90,
        "-" * 150 + "x",
        "softmax(" * 30 + "q @ k.T" + ", -1)" * 30,
    ],
)
def test_long_and_deep_expressions_are_guessed(text: str) -> None:
    assert guess(text).lines


@pytest.mark.parametrize(
    "text",
    [
        " + ".join(f"v{i}" for i in range(200)),
        " + ".join(f"(a{i} @ b{i}).view({i + 3}, {i + 5})" for i in range(20)),
        "(" + " + ".join(f"v{i}" for i in range(40)) + ").sum(9)",
        " + ".join(["(A @ x - b).sum(7)"] * 150),
    ],
)
def test_a_search_ends(text: str, attempts: list[object]) -> None:
    assert codes(text)
    assert len(attempts) < 1000


def test_samples_of_all_operators_can_be_read() -> None:
    read = [patterns(op) for op in TABLE.by_name.values()]
    assert sum(map(bool, read)) > 300
