"""Tables of rewrites: by the name of the operator that they look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck_cli.graph import Expr

    Rewrite = Callable[[Expr], Expr | None]
    Rewrites = Mapping[str, Sequence[Rewrite]]


def joined(*tables: Rewrites) -> dict[str, tuple[Rewrite, ...]]:
    """Several tables as one, the rewrites of the first tried first."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: tuple(r for table in tables for r in table.get(name, ())) for name in names}
