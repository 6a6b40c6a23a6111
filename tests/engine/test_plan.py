"""The planner and executor: what runs once, what is let go, and what is refused before it is allocated."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.graph import TABLE, t, variable

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def counted(name: str) -> Iterator[list[int]]:
    """Count the calls of an operator's kernel."""
    op = TABLE.by_name[name]
    kernel: Any = op.kernel
    calls = [0]

    def counting(*args: Any, **attributes: Any) -> Any:
        calls[0] += 1
        return kernel(*args, **attributes)

    object.__setattr__(op, "kernel", counting)
    try:
        yield calls
    finally:
        object.__setattr__(op, "kernel", kernel)


def test_a_common_subexpression_runs_once() -> None:
    x = variable("x", (3,))
    with counted("exp") as calls:
        plan = Plan([x.exp() + x.exp(), x.exp() * 2.0])
        plan({"x": np.ones(3)})
    assert calls == [1]


def test_an_operator_with_several_outputs_runs_once() -> None:
    A = variable("A", (3, 3))
    sign, logabsdet = t.slogdet(A)
    with counted("slogdet") as calls:
        results = Plan([sign, logabsdet])({"A": 2 * np.eye(3)})
    assert calls == [1]
    assert results[0] == 1
    assert results[1] == pytest.approx(3 * np.log(2))


def test_inputs_are_left_alone_and_runs_repeat() -> None:
    x = variable("x", (4, 5))
    array = np.random.default_rng(0).standard_normal((4, 5))
    kept = array.copy()
    array.setflags(write=False)
    plan = Plan([(x.T @ x).softmax(0), x.cumsum(1)])
    first, second = plan({"x": array}), plan({"x": array})
    assert np.array_equal(array, kept)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_arrays_are_released_after_their_last_use() -> None:
    x = variable("x", (1000,))
    chain = x
    for _ in range(50):
        chain = chain.sin()
    assert Plan([chain]).peak_bytes <= 4 * 8000


def test_what_exceeds_the_limit_is_refused_before_it_is_allocated() -> None:
    x = variable("x", (10**7,))
    with pytest.raises(GradcheckError) as raised:
        Plan([(x.unsqueeze(0) * x.unsqueeze(1)).sum()], limit=10**9)
    (problem,) = raised.value.problems
    assert problem.code == "GC303"
    assert problem.exit_code == ExitCode.CANNOT_RUN
    assert "(10000000, 10000000)" in problem.message


def test_partial_computes_what_stays_once() -> None:
    x, y = variable("x", (3,)), variable("y", (3,))
    plan = Plan([(y.exp() * x).sum()])
    values = {"x": np.arange(3.0), "y": np.ones(3)}
    with counted("exp") as calls:
        plan = Plan([(y.exp() * x).sum()])
        function = plan.partial(values, "x")
        results = [function(np.full(3, k)) for k in (1.0, 2.0)]
    assert calls == [1]
    assert results == [pytest.approx(3 * np.e), pytest.approx(6 * np.e)]


def test_partial_of_the_input_itself() -> None:
    x = variable("x", (2,))
    function = Plan([x]).partial({"x": np.zeros(2)}, "x")
    assert np.array_equal(function(np.ones(2)), np.ones(2))


def test_a_graph_of_ten_thousand_nodes() -> None:
    x = variable("x", (2,))
    chain = x
    for _ in range(10_000):
        chain = chain + 1.0
    assert Plan([chain])({"x": np.zeros(2)})[0].tolist() == [10_000.0, 10_000.0]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1)])
def test_awkward_shapes(shape: tuple[int, ...]) -> None:
    x = variable("x", shape)
    (result,) = Plan([(x * 2.0).exp()])({"x": np.zeros(shape)})
    assert result.shape == shape
    assert (result == 1).all()


def test_non_contiguous_and_zero_stride_arrays() -> None:
    x = variable("x", (3, 4))
    whole = np.random.default_rng(0).standard_normal((8, 6))
    for array in (
        whole[::-2, ::2].T,
        np.broadcast_to(1.5, (3, 4)),
        np.asfortranarray(whole[:3, :4]),
    ):
        (result,) = Plan([x.exp().sum(0)])({"x": array})
        assert np.allclose(result, np.exp(array).sum(0), rtol=1e-15)
