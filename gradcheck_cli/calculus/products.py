"""Rewrites of matrix products: identities, transposes, outer products, traces, inverses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.graph import Expr

REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {}
# Taken only where the form becomes cheaper, see `cost`.
SHORTER: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {}
