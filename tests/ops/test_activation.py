"""Activations with arguments that decide whether they can be checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_rrelu_without_training_has_the_mean_slope(slope_of: Callable[..., Any]) -> None:
    assert slope_of("F.rrelu(x, 0.25, 0.75)", x=[-2.0, 3.0]).tolist() == [0.5, 1.0]


def test_glu_gates_the_first_half_with_the_second(value_of: Callable[..., Any]) -> None:
    found = value_of("F.glu(x)", x=[[2.0, 4.0, 0.0, 100.0]])
    np.testing.assert_allclose(found, [[1.0, 4.0]])


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("F.rrelu(x, training=True)", "GC017", "random"),
        ("torch.rrelu(x, 0.5, 0.25)", "GC014", "lower 0.5 is above upper 0.25"),
        ("F.glu(x)", "GC015", "its size 3 is odd"),
        ("F.glu(x.sum())", "GC015", "a tensor without dimensions"),
        ("F.glu(n)", "GC016", "needs a floating-point tensor"),
    ],
)
def test_what_is_refused(text: str, code: str, says: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError) as caught:
        value_of(text, x=[1.0, 2.0, 3.0], n=[1, 2])
    problem = caught.value.problems[0]
    assert (problem.code, says in problem.message) == (code, True)
