"""What arrays take, and what to say where there is not enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.limits import readable_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.graph import Expr


def bytes_of(node: Expr) -> int:
    """What a node's array takes."""
    return node.elements * node.dtype.numpy.itemsize


def too_large(peak: int, limit: int, order: Sequence[Expr]) -> GradcheckError:
    """What to say of a graph that needs more memory than it may have, before any is allocated."""
    largest = max(order, key=bytes_of)
    msg = (
        f"this needs about {readable_bytes(peak)} of memory, more than the limit of "
        f"{readable_bytes(limit)}; its largest array has the shape {largest.shape}"
    )
    return GradcheckError(
        Problem("GC303", msg, hint="use smaller shapes", exit_code=ExitCode.CANNOT_RUN)
    )
