"""The numeric method against known derivatives: how sure it is, kinks, edges, probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import TABLE
from gradcheck_cli.methods import manual_method, numeric_method, sweep
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.methods.probes import PROBES
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.verdict.compare import Allowances
from gradcheck_cli.verdict.judge import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.methods.gradients import Array, Estimate

L = np.longdouble


def estimate(expression: str, x: Any, wrt: str = "x", **others: Any) -> Estimate:
    """The numeric gradient of the sum of an expression with respect to one input."""
    arrays = {"x": np.asarray(x, np.float64)}
    arrays.update({name: np.asarray(value, np.float64) for name, value in others.items()})
    inputs = "".join(
        f"  {name}: {{shape: {list(array.shape)}, requires_grad: {str(name == wrt).lower()}}}\n"
        for name, array in arrays.items()
    )
    text = f"version: 1\ninputs:\n{inputs}expression: {expression}\ncotangent: ones\n"
    case = prepare(load_text(text)[0])
    case.__dict__["arrays"] = {**arrays, "grad": np.ones(case.output.shape)}
    return numeric_method.run(case).estimates[wrt]


def points() -> Array:
    rng = np.random.default_rng(0)
    return np.concatenate(
        [
            rng.standard_normal(300),
            1e-3 * rng.standard_normal(100),
            10 ** rng.uniform(-8, 1, 200),
        ]
    )


KNOWN: list[tuple[str, Callable[[Any], Any]]] = [
    ("sin(x)", np.cos),
    ("sin(1000*x)", lambda x: 1000 * np.cos(1000 * x)),
    ("exp(x)", np.exp),
    ("x**7 - x**6", lambda x: 7 * x**6 - 6 * x**5),
    ("log(x.abs())", lambda x: 1 / x),
    ("tanh(50*x)", lambda x: 50 / np.cosh(50 * x) ** 2),
    ("1 / x", lambda x: -1 / x**2),
    ("(exp(x) + 1e6) - 1e6", np.exp),
    ("(exp(x) + 1e10) - 1e10", np.exp),
    ("cos(x) - 1", lambda x: -np.sin(x)),
    ("(1 + x*x).sqrt() - 1", lambda x: x / np.sqrt(1 + x * x)),
    ("relu(x)", lambda x: L(1) * (x > 0)),
    ("x * x.abs()", lambda x: 2 * np.abs(x)),
    ("F.huber_loss(x, torch.zeros_like(x), reduction='none')", lambda x: np.clip(x, -1, 1)),
    ("x.sin() / x", lambda x: (x * np.cos(x) - np.sin(x)) / x**2),
]


@pytest.mark.parametrize(("expression", "derivative"), KNOWN, ids=[text for text, _ in KNOWN])
def test_differences_know_how_wrong_they_are(
    expression: str, derivative: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numeric_method._Task, "analytic", False)
    x = points()
    found = estimate(f'"{expression}"', x)
    assert found.error is not None
    assert found.low is not None
    assert found.high is not None
    with np.errstate(all="ignore"):
        true = derivative(x.astype(L))
    error = np.abs(found.gradient - true).astype(float)
    known = np.isfinite(found.error) & (found.low == found.high)
    assert known.mean() > 0.9
    assert (error <= found.error)[known].mean() >= 0.95
    assert (error <= 10 * found.error)[known].all()
    kinks = found.low < found.high
    inside = (found.low - found.error <= true) & (true <= found.high + found.error)
    assert inside[kinks].all()


@pytest.mark.parametrize("scale", [1e-150, 1e-6, 1.0, 1e6, 1e100])
@pytest.mark.parametrize("analytic", [True, False])
def test_steps_fit_inputs_of_any_magnitude(
    scale: float, analytic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not analytic:
        monkeypatch.setattr(numeric_method._Task, "analytic", False)
    x = scale * np.array([1.0, -2.0, 0.5])
    found = estimate(f"(x / {scale!r}).exp().sum()", x)
    np.testing.assert_allclose(found.gradient, np.exp(x / scale) / scale, rtol=1e-8)


def test_a_complex_step_is_exact_where_all_is_analytic() -> None:
    x = points()[:300]
    found = estimate("(x * x.exp()).sin()", x)
    np.testing.assert_allclose(
        found.gradient, np.cos(x * np.exp(x)) * (1 + x) * np.exp(x), rtol=1e-12, atol=1e-14
    )
    assert found.low is None


def test_a_kernel_that_only_claims_to_be_analytic_is_found_out() -> None:
    op = TABLE.by_name["abs"]
    object.__setattr__(op, "analytic", True)
    try:
        found = estimate("x.abs() * x", [1.0, -2.0, 3.0])
    finally:
        object.__setattr__(op, "analytic", False)
    assert found.low is not None
    np.testing.assert_allclose(found.gradient, [2.0, 4.0, 6.0], rtol=1e-8)


KINKS = [
    ("relu(x)", [0.0, 1.0, -2.0], 0, 0.0, 1.0),
    ("x.abs()", [0.0, 1.0, -2.0], 0, -1.0, 1.0),
    ("F.leaky_relu(x, 0.999)", [0.0, 1.0], 0, 0.999, 1.0),
    ("x.clamp(-1, 1)", [0.5, -1.0, 3.0], 1, 0.0, 1.0),
    ("x.amax()", [1.0, 1.0, 0.0], 1, 0.0, 1.0),
    ("x.max()", [1.0, 1.0, 0.0], 0, 0.0, 1.0),
    ("x.norm()", [0.0, 0.0], 1, -1.0, 1.0),
    ("(x ** 2).sqrt()", [3.0, 0.0], 1, -1.0, 1.0),
    ("x.sort()[0][0]", [2.0, 2.0], 0, 0.0, 1.0),
]


@pytest.mark.parametrize(("expression", "x", "index", "low", "high"), KINKS)
def test_a_kink_gives_the_two_one_sided_slopes(
    expression: str, x: list[float], index: int, low: float, high: float
) -> None:
    found = estimate(expression, x)
    assert found.kinks >= 1
    assert found.low is not None
    assert found.high is not None
    assert found.error is not None
    assert found.low[index] == pytest.approx(low, abs=1e-6)
    assert found.high[index] == pytest.approx(high, abs=1e-6)
    assert np.isfinite(found.error).all()


def test_a_kink_nearby_is_not_at_the_point() -> None:
    found = estimate("relu(x)", [1e-12, -1e-12, 1.0])
    assert found.kinks == 0
    np.testing.assert_allclose(found.gradient, [1.0, 0.0, 1.0], atol=1e-9)


@pytest.mark.parametrize(
    ("expression", "x", "index"),
    [
        ("x.floor()", [0.5, 1.0, -2.0], [1, 2]),
        ("x.sign()", [0.0, 2.0], [0]),
        ("x.sqrt()", [0.0, 4.0], [0]),
        ("x.log()", [0.0, 1.0], [0]),
        ("x.log()", [-1.0, 1.0], [0]),
        ("x.acos()", [1.0, 0.5, -1.0], [0, 2]),
        ("x ** 0.7", [0.0, 0.5], [0]),
        ("x.abs().log() * x", [0.0, 0.5], [0]),
        ("x * 1.0", [np.nan, 1.0], [0]),
        ("x.exp()", [1000.0, 1.0], [0]),
    ],
)
def test_what_has_no_derivative_is_left_open(
    expression: str, x: list[float], index: list[int]
) -> None:
    found = estimate(expression, x)
    assert found.error is not None
    assert np.flatnonzero(np.isinf(found.error)).tolist() == index
    assert found.kinks == 0


def test_a_second_derivative_that_jumps_is_no_kink() -> None:
    found = estimate("x * x.abs()", [0.0, 1.0])
    assert found.kinks == 0
    assert found.error is not None
    assert abs(found.gradient[0]) <= found.error[0] < 1e-5


def count_evaluations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls = [0]
    plain = sweep.Problem.evaluate

    def counting(self: Any, x: Array) -> Array:
        calls[0] += 1
        return plain(self, x)

    monkeypatch.setattr(sweep.Problem, "evaluate", counting)
    return calls


@pytest.mark.parametrize(
    ("expression", "most"),
    [("(x * y).tanh()", 3), ("softmax(x, 1)", 45), ("softmax(x, 0)", 45), ("x @ y.T", 45)],
)
def test_elements_that_never_meet_move_together(
    expression: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 20, 20))
    calls = count_evaluations(monkeypatch)
    together = estimate(expression, x, y=y) if "y" in expression else estimate(expression, x)
    assert calls[0] <= most
    monkeypatch.setattr(numeric_method, "sweeps_of", lambda *_, **__: sweep.one_by_one(400))
    apart = estimate(expression, x, y=y) if "y" in expression else estimate(expression, x)
    np.testing.assert_allclose(together.gradient, apart.gradient, rtol=1e-12, atol=1e-13)


def test_rows_that_meet_only_sometimes_are_taken_apart() -> None:
    """NaN does not show this dependence: the threshold's branch holds it back."""
    x = np.random.default_rng(0).standard_normal((4, 8))
    found = estimate("F.threshold(x, 0.1, 7.0) + x.flip(0)", x)
    np.testing.assert_allclose(found.gradient, 1.0 + (x > 0.1), rtol=1e-8)


@pytest.mark.parametrize(
    "expression",
    [
        "x.sum()",
        "x.mean()",
        "x.detach().sum() + 0 * x.sum()",
        "x.detach().exp().sum() + 0 * x.sum()",
    ],
)
@pytest.mark.parametrize("shape", [(), (1,), (3, 4)])
def test_simple_shapes(expression: str, shape: tuple[int, ...]) -> None:
    found = estimate(expression, np.ones(shape))
    count = int(np.prod(shape))
    slope = {"x.sum()": 1.0, "x.mean()": 1.0 / count}.get(expression, 0.0)
    np.testing.assert_allclose(found.gradient, np.full(shape, slope), rtol=1e-12)


def test_an_empty_input_has_an_empty_gradient() -> None:
    assert estimate("x.sum()", np.ones((0, 3))).gradient.shape == (0, 3)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-0.5 * (x * x).sum()", -1.0),
        ("(x * x).sum() * 3 / x.numel()", 6.0 / 40),
        ("-(x * x).mean() / 2", -1.0 / 40),
        ("0 * (x * x).sum()", 0.0),
    ],
)
def test_factors_of_a_sum_go_to_the_weights(
    expression: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_evaluations(monkeypatch)
    x = np.random.default_rng(0).standard_normal(40)
    np.testing.assert_allclose(estimate(f'"{expression}"', x).gradient, value * x, rtol=1e-12)
    assert calls[0] <= 3 or not value


@pytest.mark.parametrize(
    ("expression", "x", "derivative"),
    [
        ("x.sqrt() * x.abs()", [1e-12, 1e-3, 1.0, 4.0], lambda x: 1.5 * np.sqrt(x)),
        ("x.log() + x.abs()", [1e-200, 1e-12, 1.0], lambda x: 1 / x + 1),
        ("x.acos() + x.abs()", [1 - 2.0**-9, 1 - 2.0**-16, 0.5], lambda x: 1 - (1 - x * x) ** -0.5),
        ("x.atanh() * x.abs()", [1 - 2.0**-12, 0.5], lambda x: np.arctanh(x) + x / (1 - x * x)),
        ("(x - 3).log1p() + x.abs()", [2 + 2.0**-10, 5.0], lambda x: 1 / (x - 2) + 1),
        ("(1 - x) ** 2.5 + x.abs()", [1.0, 0.5], lambda x: 1 - 2.5 * (1 - x) ** 1.5),
    ],
)
def test_near_the_edge_of_a_domain_differences_are_taken_from_inside(
    expression: str, x: list[float], derivative: Callable[[Any], Any]
) -> None:
    found = estimate(f'"{expression}"', x)
    assert found.error is not None
    true = derivative(np.array(x))
    assert (found.error <= 1e-3 * np.abs(true)).all()
    assert (np.abs(found.gradient - true) <= found.error + 1e-14 * np.abs(true)).all()


@pytest.mark.parametrize("expression", ["x.logsumexp((0, 1))", "x.norm()", "x.norm(3)"])
def test_large_inputs_are_probed(expression: str) -> None:
    x = np.random.default_rng(0).standard_normal((400, 500))
    found = estimate(expression, x)
    right = np.exp(x) / np.exp(x).sum() if "log" in expression else x / np.linalg.norm(x)
    if "3" in expression:
        size = np.abs(x)
        right = np.sign(x) * size**2 / (size**3).sum() ** (2 / 3)
    assert found.probes is not None
    assert found.note is not None
    assert "200000 elements by 2 random probes" in found.note
    for k, (slope, error) in enumerate(zip(found.probes.slopes, found.probes.errors, strict=True)):
        direction = found.probes.direction(k)
        assert np.array_equal(direction, found.probes.direction(k))
        length = np.linalg.norm(right * direction)
        assert error < 1e-6 * length
        assert abs((right * direction).sum() - slope) <= error + 1e-9 * length


def test_probes_at_a_kink_can_not_tell() -> None:
    found = estimate("x.norm()", np.zeros((400, 500)))
    assert found.probes is not None
    assert np.isinf(found.probes.errors).all()


def test_signs_of_probes_have_magnitudes_that_do_not_cancel() -> None:
    """Two equal errors cancel in every second probe of signs alone, and in none of these."""
    found = estimate("x.norm()", np.ones(500_000))
    assert found.probes is not None
    for k in range(PROBES):
        moved = np.abs(found.probes.direction(k))
        assert moved.min() >= 1.0
        assert moved.max() <= 2.0
        assert np.unique(moved).size > 30_000


N = 1_000_000
WRONG = 765_432


def spec(expression: str, manual: str, count: int = N) -> str:
    return (
        f"version: 1\ninputs: {{x: {{shape: [{count}]}}}}\nexpression: {expression}\n"
        f"manual: {{x: {manual}}}\nmethods: [manual, numeric]\n"
    )


def wrong_elements(
    expression: str, manual: str, monkeypatch: pytest.MonkeyPatch, count: int = N
) -> tuple[Any, float]:
    """The judgement of a wrong formula, and how often the function was evaluated on all elements."""
    evaluated = [0]

    def counting(plain: Any) -> Any:
        def made(self: Any, arrays: Any, varying: str) -> Any:
            function = plain(self, arrays, varying)

            def counted(x: Array, *args: Any) -> Array:
                evaluated[0] += x.size
                return np.asarray(function(x, *args))

            return counted

        return made

    case = prepare(load_text(spec(expression, manual, count))[0])
    with monkeypatch.context() as patch:
        patch.setattr(Plan, "partial", counting(Plan.partial))
        results = [manual_method.run(case), numeric_method.run(case)]
        verdict = judge("x", (count,), results, Allowances(None, None, lambda _: None))
        return verdict, evaluated[0] / count


BUMP = f" + (torch.arange(x.numel()) == {WRONG}) * 1.0"


@pytest.mark.parametrize("shortcut", [True, False])
def test_one_wrong_element_among_a_million_is_found(
    shortcut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the numeric method alone: element by element, or by probes and bisection."""
    if not shortcut:
        monkeypatch.setattr(numeric_method, "is_diagonal", lambda *_: False)
        monkeypatch.setattr(sweep, "is_diagonal", lambda *_: False)
    verdict, evaluations = wrong_elements("(x * x).sum()", f"2 * x{BUMP}", monkeypatch)
    assert verdict.status == "failed"
    assert verdict.outcome.outliers == ("manual",)
    row = verdict.outcome.methods[0]
    assert row.worst_index == (WRONG,)
    assert row.value - row.expected == pytest.approx(1.0, abs=1e-9)
    assert row.mismatched == 1
    assert evaluations <= (4 if shortcut else 60)
    assert evaluations > 2


@pytest.mark.parametrize(
    ("expression", "manual"),
    [
        ("x.logsumexp(0)", f"x.softmax(0) * (1 {BUMP})"),
        ("x.norm()", f"x / x.norm() {BUMP}"),
        ("(x * x).sum().sqrt()", f"x / x.norm() {BUMP} - (torch.arange(x.numel()) == 3) * 1.0"),
    ],
)
def test_bisection_takes_as_many_evaluations_as_there_are_halvings(
    expression: str, manual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict, evaluations = wrong_elements(expression, manual, monkeypatch)
    row = verdict.outcome.methods[0]
    several = "== 3" in manual
    assert row.worst_index in ([(WRONG,), (3,)] if several else [(WRONG,)])
    assert row.mismatched == 1 + several
    assert row.reason == "found by bisection" + several * "; others are wrong too"
    assert evaluations <= 60


def test_bisection_by_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """No complex step: each halving is one difference; noise and the two probes take the rest."""
    verdict, evaluations = wrong_elements(
        "(x.abs() ** 3).sum().sqrt()",
        "1.5 * x * x.abs() / (x.abs() ** 3).sum().sqrt() + (torch.arange(x.numel()) == 54321) * 1.0",
        monkeypatch,
        200_000,
    )
    assert verdict.outcome.methods[0].worst_index == (54321,)
    assert evaluations <= 120
