"""The elements that a mask selects, and where they stand: as many as the mask's values say.

Every node knows its shape, so that these need the mask's values while the graph is built (`known`). The
count is kept in an attribute that isn't written: the text says it already.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, make, t
from gradcheck_cli.ops._common import as_tensor, broadcast, register
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid


def _count(mask: Expr) -> int:
    """How many elements of `mask` aren't zero. Raises Invalid (GC011) where that isn't known yet."""
    values = known(mask)
    if values is None:
        msg = (
            "how many elements a mask selects depends on its values, which aren't known here, and "
            "every shape must be known before anything is computed"
        )
        hint = "use torch.where(mask, x, 0.0) or x * mask, which keep the shape"
        raise Invalid("GC011", msg, hint)
    return int(np.count_nonzero(values))


def _require_mask(mask: Expr) -> None:
    if mask.dtype.kind != "b":
        msg = f"masked_select() needs a bool mask, not {mask.dtype.name}"
        raise Invalid("GC016", msg, "compare: mask > 0", "mask")


def selected(x: Expr, mask: Expr) -> Expr:
    """The elements of `x` where `mask` is true, both broadcast, in order. Raises Invalid."""
    _require_mask(mask)
    shape = broadcast(x.shape, mask.shape)
    count = _count(mask if mask.shape == shape else mask.expand(shape))
    node: Expr = make(_SELECTED, (x, mask), {"_count": count})
    return node


def _still(found: Any, count: int) -> Any:
    """What was found, as many as when the graph was built. Raises Invalid (GC011)."""
    if len(found) != count:
        msg = f"the mask selects {len(found)} elements here, and {count} at the sampled point"
        hint = "a value stands on the border of the mask: keep samples off it with `avoid`"
        raise Invalid("GC011", msg, hint)
    return found


def _selected_kernel(x: Any, mask: Any, _count: int) -> Any:
    x, mask = np.broadcast_arrays(x, mask)
    return _still(x[mask], _count)


def _selected_vjp(g: Expr, out: Expr, x: Expr, mask: Expr, _count: int) -> tuple[Expr, None]:
    shape = broadcast(x.shape, mask.shape)
    zeros = t.zeros_like(x) if x.shape == shape else t.zeros_like(x + t.zeros_like(mask))
    return zeros.masked_scatter(mask, as_tensor(g, out)), None


register(
    "masked_select(Tensor input, Tensor mask)",
    doc="The elements where the mask is true, in a vector: x[mask].",
    define=selected,
    samples=(
        Sample("torch.masked_select(x, m)", x=(2, 3), m=In((2, 3), dtype="bool")),
        Sample("x.masked_select(x > 0)", x=(4,)),
    ),
)
_SELECTED = register(
    "masked_select.known(Tensor input, Tensor mask)",
    doc="The elements where the mask is true, in a vector, their number known.",
    infer=lambda x, mask, _count: Type((_count,), x.dtype),
    kernel=_selected_kernel,
    vjp=_selected_vjp,
    method=True,
    analytic=True,
    samples=(
        Sample("x[m]", x=(2, 3), m=In((2, 3), dtype="bool")),
        Sample("x[x > 0.2] ** 2", x=(3, 3)),
        Sample("torch.masked_select(x, m)", x=(3,), m=In(value=[[True], [False]], dtype="bool")),
        Sample("torch.masked_select(x, m)", x=(2, 1), m=In((3,), dtype="bool")),
        Sample("x[m]", x=(2,), m=In(value=[False, False], dtype="bool")),
        Sample("x[m]", x=(), m=In(value=True, dtype="bool")),
    ),
)


def _nonzero(x: Expr, as_tuple: bool) -> Any:
    places: Expr = make(_PLACES, (x,), {"_count": _count(x)})
    if not as_tuple:
        return places
    return tuple(places.select(1, d) for d in range(max(x.ndim, 1)))


register(
    "nonzero(Tensor input, *, bool as_tuple=False)",
    doc="The indices of the elements that aren't zero, one row each; as a tuple, one vector a dimension.",
    define=_nonzero,
    samples=(
        Sample("m.nonzero()", m=In((2, 3), dtype="bool")),
        Sample("x[torch.nonzero(m, as_tuple=True)[0]]", x=(4,), m=In((4,), dtype="bool")),
    ),
)
register(
    "argwhere(Tensor input)",
    doc="The indices of the elements that aren't zero, one row each.",
    define=lambda x: _nonzero(x, as_tuple=False),
    samples=(Sample("torch.argwhere(x > 0)", x=(2, 3)),),
)
_PLACES = register(
    "nonzero.known(Tensor input)",
    doc="The indices of the elements that aren't zero, their number known.",
    infer=lambda x, _count: Type((_count, x.ndim), dtypes.int64),
    kernel=lambda x, _count: _still(np.argwhere(np.real(x)), _count),
    method=True,
    samples=(
        Sample("m.nonzero()", m=In((2, 3), dtype="bool")),
        Sample("x[:, m, 1]", x=(2, 3, 2), m=In(value=[True, False, True], dtype="bool")),
        Sample("x[m]", x=(2, 3, 2), m=In((2, 3), dtype="bool")),
        Sample("x[m, 0]", x=(3, 2), m=In((3,), dtype="bool")),
        Sample("torch.nonzero(i)", i=In(value=3, dtype="int64")),
    ),
)
