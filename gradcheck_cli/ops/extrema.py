"""The largest and smallest elements, over all dimensions or some, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import dim_of, dims_of, reduced, reducing, register, restore
from gradcheck_cli.schema import Invalid

Dims = Sequence[int] | None

_TIES = "ties share the gradient evenly"
_FIRST = "of several, the first gets the gradient"


class Chosen(NamedTuple):
    """What max() and min() along a dimension give."""

    values: Expr
    indices: Expr


class Extremes(NamedTuple):
    """What aminmax() gives."""

    min: Expr
    max: Expr


def _check(x: Expr, dims: Sequence[int], name: str) -> None:
    """Refuse what has no largest element. Raises Invalid (GC015)."""
    if any(x.shape[d] == 0 for d in dims):
        msg = f"{name}() has no elements to choose from in a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "reduce over dimensions that are not empty", "dim")


def _gaps(x: Expr, dim: Dims, sign: int) -> tuple[Expr, ...]:
    """How far each element is from the chosen one of its group; the chosen one itself left out."""
    dims = dims_of(dim, x.ndim)
    kept = tuple(d for d in range(x.ndim) if d not in dims)
    groups = x.permute((*kept, *dims)).flatten(len(kept)) if dims else x.reshape((1,))
    groups = groups if sign > 0 else -groups
    index = groups.argmax(-1, keepdim=True)
    return ((groups.amax((-1,), keepdim=True) - groups).scatter(-1, index, float("inf")),)


def _mask(x: Expr, out: Expr, dim: Dims, *, keepdim: bool) -> tuple[Expr, Expr]:
    """Which elements were chosen, and how many in each group."""
    mask: Expr = t.eq(x, restore(out, x, dim, keepdim=keepdim))
    dims = dims_of(dim, x.ndim)
    return mask, mask.sum() if len(dims) == x.ndim else mask.sum(dims, keepdim=True)


def _shared(g: Expr, out: Expr, x: Expr, dim: Dims, keepdim: bool) -> Expr:
    mask, count = _mask(x, out, dim, keepdim=keepdim)
    return restore(g, x, dim, keepdim=keepdim) * mask / count


def _shared_by_all(g: Expr, out: Expr, x: Expr) -> Expr:
    """Where there is a NaN, it is the extreme."""
    mask = t.eq(x, out) | x.isnan() if x.dtype.is_floating else t.eq(x, out)
    return t.where(mask, g / mask.sum(), 0.0)  # type: ignore[no-any-return]


_UINT8 = In((2, 3), dtype="uint8", low=0, high=5)
_TIED = In(value=[[1.0, 3.0, 3.0], [3.0, -2.0, 0.0]])


def _register_over_dims(name: str, kernel: Any, ufunc: np.ufunc, what: str, sign: int) -> None:
    def infer(x: Expr, dim: Dims, *, keepdim: bool) -> Type:
        dims = dims_of(dim, x.ndim)
        _check(x, dims, name)
        return Type(reduced(x.shape, dims, keepdim=keepdim), x.dtype)

    register(
        f"{name}(Tensor input, int[] dim=[], bool keepdim=False)",
        doc=f"The {what} elements.",
        infer=infer,
        kernel=lambda x, dim, keepdim: kernel(x, axis=dims_of(dim, np.ndim(x)), keepdims=keepdim),
        reduction=ufunc,
        prepare=reducing(ufunc),
        vjp=_shared,
        method=True,
        kink=lambda x, dim, keepdim: _gaps(x, dim, sign),
        convention=_TIES,
        samples=(
            Sample(f"x.{name}()", x=(2, 3)),
            Sample(f"torch.{name}(x, -1)", x=(2, 3)),
            Sample(f"x.{name}((0, 2), keepdim=True)", x=(2, 3, 2)),
            Sample(f"x.{name}(0)", x=()),
            Sample(f"x.{name}(1)", x=(0, 3)),
            # At a tie the difference quotient is one-sided; the convention has a test of its own.
            Sample(f"x.{name}(1)", x=_TIED, grad=False),
            Sample(f"i.{name}(0)", i=_UINT8),
        ),
    )


def _register_max(name: str, kernel: Any, ufunc: np.ufunc, what: str, sign: int) -> None:
    def infer(x: Expr) -> Type:
        _check(x, range(x.ndim), name)
        return Type((), x.dtype)

    register(
        f"{name}(Tensor input)",
        doc=f"The {what} element.",
        infer=infer,
        kernel=kernel,
        reduction=ufunc,
        prepare=reducing(ufunc),
        vjp=_shared_by_all,
        method=True,
        kink=lambda x: _gaps(x, None, sign),
        convention=_TIES,
        samples=(
            Sample(f"x.{name}()", x=(2, 3)),
            Sample(f"torch.{name}(x)", x=()),
            # At a tie the difference quotient is one-sided; the convention has a test of its own.
            Sample(f"x.{name}()", x=_TIED, grad=False),
            Sample(f"i.{name}()", i=_UINT8),
        ),
    )

    def along(x: Expr, dim: int, *, keepdim: bool) -> Any:
        d = dim_of(dim, x.ndim)
        _check(x, range(x.ndim)[d : d + 1], name)
        if x.ndim == 0:
            return Chosen(x, t.zeros_like(x, dtype=dtypes.int64))
        numbers = x.to(dtypes.uint8) if x.dtype is dtypes.bool_ else x
        index = getattr(numbers, f"arg{name}")(d, keepdim=True)
        values = x.gather(d, index)
        return Chosen(values, index) if keepdim else Chosen(values.squeeze(d), index.squeeze(d))

    register(
        f"{name}.dim(Tensor input, int dim, bool keepdim=False)",
        doc=f"The {what} elements along a dimension, and their places.",
        define=along,
        convention=_FIRST,
        samples=(
            Sample(f"x.{name}(1).values", x=(2, 3)),
            Sample(f"torch.{name}(x, dim=0, keepdim=True).values", x=(2, 3)),
            Sample(f"x.{name}(-2)[0]", x=(2, 3, 2)),
            Sample(f"x.{name}(1).indices", x=(2, 3)),
            Sample(f"x.{name}(0).values", x=()),
            Sample(f"x.{name}(0).indices", x=()),
            Sample(f"x.{name}(1).values", x=(0, 3)),
            Sample(f"x.{name}(1).indices", x=_TIED),
            Sample(f"m.{name}(1).values", m=In((2, 3), dtype="bool")),
        ),
    )
    register(
        f"{name}.other(Tensor input, Tensor other)",
        doc=f"The {what} of two, element by element.",
        define=lambda x, other: getattr(t, f"{name}imum")(x, other),
        samples=(
            Sample(f"torch.{name}(x, y)", x=(2, 3), y=(3,)),
            Sample(f"x.{name}(other=y)", x=(2, 1), y=(2, 3)),
        ),
    )


def _register_arg(name: str, kernel: Any, what: str, sign: int) -> None:
    def infer(x: Expr, dim: int | None, *, keepdim: bool) -> Type:
        if x.dtype is dtypes.bool_:
            msg = f"{name}() isn't defined for masks (dtype bool)"
            raise Invalid("GC016", msg, "convert it: x.long()")
        dims = dims_of(dim, x.ndim)
        _check(x, dims, name)
        return Type(reduced(x.shape, dims, keepdim=keepdim), dtypes.int64)

    def run(x: Any, dim: int | None, *, keepdim: bool) -> Any:
        if np.ndim(x) == 0:
            return np.zeros((), np.int64)
        return kernel(np.real(x), axis=dim, keepdims=keepdim)

    register(
        f"{name}(Tensor input, int? dim=None, bool keepdim=False)",
        doc=f"The place of the {what} element, the first of several; without dim, in the flattened tensor.",
        infer=infer,
        kernel=run,
        method=True,
        kink=lambda x, dim, keepdim: _gaps(x, None if dim is None else (dim,), sign),
        convention=_FIRST,
        samples=(
            Sample(f"x.{name}()", x=(2, 3)),
            Sample(f"torch.{name}(x, -1)", x=(2, 3)),
            Sample(f"x.{name}(0, keepdim=True)", x=(2, 3, 2)),
            Sample(f"x.{name}(keepdim=True)", x=(2, 3)),
            Sample(f"x.{name}(0)", x=()),
            Sample(f"x.{name}(1)", x=(0, 3)),
            Sample(f"x.{name}(1)", x=_TIED),
            Sample(f"i.{name}()", i=_UINT8),
        ),
    )


_register_over_dims("amax", np.max, np.maximum, "largest", 1)
_register_over_dims("amin", np.min, np.minimum, "smallest", -1)
_register_max("max", np.max, np.maximum, "largest", 1)
_register_max("min", np.min, np.minimum, "smallest", -1)
_register_arg("argmax", np.argmax, "largest", 1)
_register_arg("argmin", np.argmin, "smallest", -1)


def _aminmax(x: Expr, dim: int | None, keepdim: bool) -> Any:
    dims = () if dim is None else (dim_of(dim, x.ndim),)
    return Extremes(x.amin(dims, keepdim), x.amax(dims, keepdim))


register(
    "aminmax(Tensor input, *, int? dim=None, bool keepdim=False)",
    doc="The smallest and the largest elements.",
    define=_aminmax,
    samples=(
        Sample("torch.aminmax(x).max", x=(2, 3)),
        Sample("x.aminmax(dim=-1, keepdim=True).min", x=(2, 3)),
    ),
)
