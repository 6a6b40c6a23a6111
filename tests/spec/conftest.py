"""Fixtures of the spec tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.spec.load import load_text

if TYPE_CHECKING:
    from pathlib import Path

Problems = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def problems() -> Problems:
    """A function that loads a text which must be wrong, and returns everything that is."""

    def load(text: str, file: str | None = None, base: Path | None = None) -> tuple[Problem, ...]:
        with pytest.raises(GradcheckError) as caught:
            load_text(text, file, base)
        return caught.value.problems

    return load
