"""Large elementwise inputs: in pieces the same as whole, kinks and edges of single elements included."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck_cli.methods import numeric_method
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.methods.gradients import EDGE, JUMP, KINK
from gradcheck_cli.spec.load import load_text

if TYPE_CHECKING:
    from gradcheck_cli.methods.gradients import Array, Estimate

N = 70_001


def estimate(expression: str, x: Array, cotangent: str = "ones", **others: Array) -> Estimate:
    """The numeric gradient with respect to x."""
    inputs = f"  x: {{shape: {list(x.shape)}, requires_grad: true}}\n" + "".join(
        f"  {name}: {{shape: {list(array.shape)}}}\n" for name, array in others.items()
    )
    text = f'version: 1\ninputs:\n{inputs}expression: "{expression}"\ncotangent: {cotangent}\n'
    case = prepare(load_text(text)[0])
    upstream = case.arrays["grad"]
    case.__dict__["arrays"] = {"x": x, **others, "grad": upstream}
    return numeric_method.run(case).estimates["x"]


@pytest.mark.parametrize(
    "expression",
    [
        "x * x",
        "(x * y + 1.0).tanh()",
        "torch.where(y > 0, x.exp(), x * row)",
        "x.relu() * y",
        "F.leaky_relu(x, 0.3) + x.clamp(-0.5, 0.5)",
        "torch.maximum(x, y) - torch.minimum(x, 0.1 * y)",
        "F.elu(x, 0.7) + F.softsign(x) + F.hardtanh(x) + F.relu6(3 * x)",
        "x.abs() ** 1.5",
        "torch.lgamma(x.abs() + 1)",
    ],
)
@pytest.mark.parametrize("cotangent", ["ones", "random"])
def test_pieces_are_the_same_as_the_whole(
    expression: str, cotangent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    others = {"y": rng.standard_normal((N, 1)), "row": rng.standard_normal(1)}
    used = {name: others[name] for name in others if re.search(rf"\b{name}\b", expression)}
    x = rng.standard_normal((N, 1))
    found = estimate(expression, x, cotangent, **used)
    monkeypatch.setattr(numeric_method, "LARGE", 10 * N)
    whole = estimate(expression, x, cotangent, **used)
    for one in (found, whole):
        assert one.error is not None
        assert one.probes is None
        assert not one.kinks
    assert found.error is not None
    assert whole.error is not None
    apart = np.abs(found.gradient - whole.gradient)
    assert (apart <= found.error + whole.error + 1e-14 * np.abs(whole.gradient)).all()
    assert (found.error <= 1e-6 * (1 + np.abs(found.gradient))).all()


def test_what_single_elements_of_many_are_like_is_told() -> None:
    x = np.random.default_rng(0).uniform(1.0, 2.0, N)
    x[[5, 40_000, N - 1]] = 0.0
    found = estimate("x.relu()", x)
    assert found.kinks == 3
    assert np.flatnonzero(found.at_kink).tolist() == [5, 40_000, N - 1]
    assert found.low is not None
    assert found.high is not None
    assert [found.low[5], found.high[5]] == pytest.approx([0.0, 1.0], abs=1e-6)
    assert found.gradient[6] == 1.0
    for expression, place in (("x.sqrt()", EDGE), ("x.floor() * x", JUMP)):
        found = estimate(expression, x if place == EDGE else x + (x == 0))
        assert found.places is not None
        assert np.flatnonzero(found.places).tolist() == [5, 40_000, N - 1]
        assert (found.places[[5, 40_000, N - 1]] == place).all()
    found = estimate("x.abs() ** 3", x)
    assert found.places is None
    assert np.abs(found.gradient - 3 * x**2).max() <= 1e-7
    # Where a branch that isn't taken would be a kink, none is seen.
    assert not estimate("torch.where(x > 0.5, x * x, x.abs())", x + 0.6).kinks
    found = estimate("x.abs()", x)
    assert found.places is not None
    assert np.count_nonzero(found.places == KINK) == 3


def test_an_element_near_a_kink_is_not_at_it() -> None:
    x = np.random.default_rng(0).standard_normal(N)
    x[7], x[8] = 1e-9, -1e-9
    found = estimate("x.relu()", x)
    assert not found.kinks
    np.testing.assert_allclose(found.gradient, x > 0, atol=1e-8)
