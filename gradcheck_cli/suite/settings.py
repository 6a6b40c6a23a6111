"""What the run of a check depends on besides the check itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Sent to every worker beside the check.

    `grids` asks for the picture of every gradient, not only of those that disagree. `allow_imports` names
    the packages whose code a spec's `implementation` may import.
    """

    grids: bool = False
    allow_imports: tuple[str, ...] = ()
