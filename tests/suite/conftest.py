"""What several tests of runs need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import pytest

from gradcheck_cli.verdict.outcome import CheckOutcome

Timeless: TypeAlias = Callable[[Mapping[int, CheckOutcome]], dict[int, CheckOutcome]]


@pytest.fixture
def timeless() -> Timeless:
    """Outcomes without what differs from run to run."""

    def without_times(outcome: CheckOutcome) -> CheckOutcome:
        gradients = tuple(
            replace(g, methods=tuple(replace(m, seconds=0.0) for m in g.methods))
            for g in outcome.gradients
        )
        return replace(outcome, seconds=0.0, gradients=gradients)

    return lambda outcomes: {n: without_times(outcome) for n, outcome in outcomes.items()}
