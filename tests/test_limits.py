"""How much memory a check may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck_cli import limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file in which a container's limit stands."""
    path = tmp_path / "memory.max"
    monkeypatch.setattr(limits, "_CONTAINER", (str(tmp_path / "absent"), str(path)))
    limits.physical_memory.cache_clear()
    limits.memory_limit.cache_clear()
    yield path
    limits.physical_memory.cache_clear()
    limits.memory_limit.cache_clear()


def test_a_container_has_less_than_the_machine(told: Path) -> None:
    told.write_text(f"{2**28}\n")
    assert limits.physical_memory() == 2**28
    assert limits.memory_limit() == 2**27


@pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n"])
def test_a_container_without_a_limit_has_all(told: Path, text: str) -> None:
    whole = limits.physical_memory()
    limits.physical_memory.cache_clear()
    told.write_text(text)
    assert limits.physical_memory() == whole > 2**28
