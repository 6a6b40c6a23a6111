"""Max pooling of a given number of parts in one to three dimensions."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Op, Sample, Type, make
from gradcheck_cli.ops import pool
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.average import part_sizes, parts
from gradcheck_cli.ops.pooling import Pooled, added_at
from gradcheck_cli.ops.windows import require_input

if TYPE_CHECKING:
    from collections.abc import Sequence

Sizes = tuple[int | None, ...]


def _type(name: str, ndim: int, x: Expr, output_size: Sizes) -> tuple[Type, Type]:
    require_input(name, x, ndim, batch=True)
    shape = (*x.shape[:-ndim], *part_sizes(name, x, ndim, output_size))
    return Type(shape, x.dtype), Type(shape, dtypes.int64)


def _kernel(ndim: int, x: Any, output_size: Sizes) -> tuple[Any, Any]:
    given = output_size * ndim if len(output_size) == 1 else output_size
    counts = (n if size is None else size for n, size in zip(x.shape[-ndim:], given, strict=True))
    return pool.part_maxima(x, tuple(counts))


def _vjp(op: Op, ndim: int, g: Expr, x: Expr, output_size: Sizes, output: int) -> Any:
    if output:
        return None
    return added_at(ndim, g, x, make(op, (x,), {"output_size": output_size})[1])


def _gap(ndim: int, x: Expr, output_size: Sizes) -> tuple[Expr, ...]:
    """How far the largest element of each part is above the next."""
    counts = part_sizes("", x, ndim, output_size)
    if 0 in counts:
        return ()
    cut: Any = x
    inner = 1
    for d in range(1, ndim + 1):  # the elements of a part are gathered in the last dim
        if cut.ndim == x.ndim:
            cut = cut.unsqueeze(-1)
        cut = parts(cut, -1 - d, counts[-d], -math.inf).movedim(-1 - d, -1).flatten(-2)
        inner = cut.shape[-1]
    if inner == 1:
        return ()
    largest = cut.topk(2, -1).values
    return (largest[..., 0] - largest[..., 1],)


def _choose(ndim: int, x: Expr, output_size: Sizes, return_indices: bool) -> Any:
    found = Pooled(*make(RECORDS[ndim], (x,), {"output_size": output_size}))
    return found if return_indices else found.values


RECORDS: dict[int, Op] = {}
_TIED = In(value=[[[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [2.0, 1.0, 2.0, 0.0]]])


def _register(ndim: int, size: Sequence[int], uneven: Sizes) -> None:
    name = f"adaptive_max_pool{ndim}d"
    tied = (
        # At a tie the difference quotient is one-sided; the convention has a test of its own.
        (Sample(f"F.{name}_with_indices(x, 2)[0]", x=_TIED, grad=False),) if ndim < 3 else ()
    )
    RECORDS[ndim] = register(
        f"{name}_with_indices(Tensor input, int?[] output_size)",
        doc="The largest elements of a given number of parts, and their places in the flattened input.",
        infer=partial(_type, name, ndim),
        kernel=partial(_kernel, ndim),
        vjp=lambda g, out, x, output_size, output: _vjp(
            RECORDS[ndim], ndim, g, x, output_size, output
        ),
        kink=partial(_gap, ndim),
        convention="of equal elements in a part, the first gets the gradient",
        leading=lambda node: node.ndim - ndim,
        on=("F",),
        outputs=("values", "indices"),
        samples=(
            Sample(f"F.{name}_with_indices(x, {uneven})[0]", x=(2, 3, *size)),
            Sample(f"F.{name}_with_indices(x, 1)[1]", x=(2, *size)),
            Sample(f"F.{name}_with_indices(x, 3)[0]", x=(0, 2, *size)),
            *tied,
        ),
    )
    register(
        f"{name}(Tensor input, int?[] output_size, bool return_indices=False)",
        doc="The largest elements of a given number of parts.",
        define=partial(_choose, ndim),
        on=("F",),
        samples=(
            Sample(f"F.{name}(x, 2)", x=(2, *size)),
            Sample(f"F.{name}(x, {uneven})", x=(1, 2, *size)),
            Sample(f"F.{name}(x, {(None,) * ndim if ndim > 1 else 5})", x=(2, *size)),
            Sample(f"F.{name}(x, 3, True)[0]", x=(1, 2, *size)),
            Sample(f"F.{name}(x, 2, return_indices=True)[1]", x=(1, 2, *size)),
        ),
    )


_register(1, (5,), (3,))
_register(2, (4, 5), (3, None))
_register(3, (2, 4, 3), (None, 3, 2))
