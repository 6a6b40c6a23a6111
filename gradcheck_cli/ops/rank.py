"""Order statistics: the element of a given rank, the median, and the most frequent element.

Sorting whole dimensions is in `sort.py`, values between the elements in `quantile.py`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Op, Sample, Type, t
from gradcheck_cli.ops._common import as_tensor, dim_of, reduced, register
from gradcheck_cli.schema import Invalid

_ONE = "of equal elements one gets the gradient; which one, PyTorch leaves open"
_ALL = "equal elements share the gradient evenly"


def _selected(name: str, x: Expr, dim: int, *, keepdim: bool) -> tuple[Type, Type]:
    d = dim_of(dim, x.ndim)
    if x.ndim and not x.shape[d]:
        msg = f"{name}() has nothing to choose from in dimension {d} of shape {x.shape}"
        raise Invalid("GC015", msg, "reduce over a dimension that is not empty", "dim")
    shape = reduced(x.shape, (d,), keepdim=keepdim)
    return Type(shape, x.dtype), Type(shape, dtypes.int64)


def _without_masks(name: str, x: Expr) -> None:
    if x.dtype.kind == "b":
        msg = f"{name}() isn't defined for masks (dtype bool)"
        raise Invalid("GC016", msg, "make numbers of it first: x.long()")


def _take(x: Any, index: Any, dim: int, *, keepdim: bool) -> tuple[Any, Any]:
    """The elements at `index`, which has size 1 along `dim`."""
    values = np.take_along_axis(x, index, dim)
    return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


def _select_vjp(g: Expr, out: Expr, x: Expr, *, output: int, **attributes: Any) -> Any:
    """The gradient goes where each element came from."""
    if output:
        return None
    dim, keepdim = attributes["dim"], attributes["keepdim"]
    places = getattr(x, out.op.python_name)(**attributes).indices
    g = as_tensor(g, out)
    if x.ndim and not keepdim:
        places, g = places.unsqueeze(dim), g.unsqueeze(dim)
    return t.zeros_like(x).scatter(dim, places, g)


def _gaps(name: str, x: Expr, **attributes: Any) -> tuple[Expr, ...]:
    """How far the others are from the chosen element."""
    if not x.dtype.is_floating:
        return ()
    chosen = getattr(x, name)(**{**attributes, "keepdim": True})
    gap = x - chosen.values
    return (gap.scatter(attributes["dim"], chosen.indices, float("inf")),)


def _register(schema: str, **fields: Any) -> Op:
    """An operator that picks one element of a dimension and says where it stood."""
    return register(
        schema,
        vjp=_select_vjp,
        outputs=("values", "indices"),
        method=True,
        kink=partial(_gaps, schema.partition("(")[0].partition(".")[0]),
        convention=_ONE,
        **fields,
    )


# The k-th smallest.


def _kthvalue(x: Expr, k: int, dim: int, *, keepdim: bool) -> tuple[Type, Type]:
    _without_masks("kthvalue", x)
    types = _selected("kthvalue", x, dim, keepdim=keepdim)
    size = x.shape[dim_of(dim, x.ndim)] if x.ndim else 1
    if not 1 <= k <= size:
        msg = f"kthvalue() can't take element {k} of dimension {dim}, which has {size}"
        raise Invalid("GC014", msg, f"use 1 to {size}", "k")
    return types


def _kthvalue_kernel(x: Any, k: int, dim: int, keepdim: bool) -> tuple[Any, Any]:
    if not np.ndim(x):
        return x, np.zeros((), np.int64)
    order = np.argsort(x, axis=dim, kind="stable")
    return _take(x, np.take(order, [k - 1], dim), dim, keepdim=keepdim)


_TIED = In(value=[[1.0, 3.0, 3.0, 2.0], [3.0, -2.0, 0.0, 0.0]])
_NAN = In(value=[[1.0, float("nan"), -2.0, 0.5], [0.5, 3.0, 7.0, float("nan")]])

_register(
    "kthvalue(Tensor input, int k, int dim=-1, bool keepdim=False)",
    doc="The k-th smallest elements along a dimension, and where they stood.",
    infer=_kthvalue,
    kernel=_kthvalue_kernel,
    samples=(
        Sample("torch.kthvalue(x, 2).values", x=(3, 4)),
        Sample("x.kthvalue(3, 0, keepdim=True)[0]", x=(3, 4)),
        Sample("x.kthvalue(1, dim=-2).indices", x=(3, 4)),
        Sample("x.kthvalue(2).values", x=(5,)),
        Sample("x.kthvalue(1).values", x=()),
        Sample("i.kthvalue(2, 0).values", i=In((3, 4), dtype="int32", low=0, high=9)),
    ),
)

# The median: of an even number of elements, the lower of the two in the middle.


def _median_kernel(x: Any, dim: int, keepdim: bool, *, ignore_nan: bool) -> tuple[Any, Any]:
    if not np.ndim(x):
        return x, np.zeros((), np.int64)
    x = np.asarray(x)
    order = np.argsort(x, axis=dim, kind="stable")
    missing = np.sum(x != x, axis=dim, keepdims=True)
    known = x.shape[dim] - missing
    rank = np.maximum(known - 1, 0) // 2
    if not ignore_nan:  # NaN, which stands last, is the median where there is one
        rank = np.where(missing > 0, np.minimum(known, x.shape[dim] - 1), rank)
    return _take(x, np.take_along_axis(order, rank, dim), dim, keepdim=keepdim)


def _median_of_all(x: Any, *, ignore_nan: bool) -> Any:
    x = np.reshape(x, -1)
    if not x.size:
        return np.full((), np.nan, x.dtype)
    return _median_kernel(x, 0, keepdim=False, ignore_nan=ignore_nan)[0]


def _median_of_all_type(name: str, x: Expr) -> Type:
    _without_masks(name, x)
    if not x.elements and not x.dtype.is_floating:
        msg = f"{name}() of no elements is NaN, which {x.dtype.name} doesn't have"
        raise Invalid("GC015", msg, "give the input elements, or a floating dtype")
    return Type((), x.dtype)


def _median_vjp(g: Expr, out: Expr, x: Expr, *, ignore_nan: bool) -> Expr:
    """With NaN among the elements the median is NaN, and the NaNs share the gradient."""
    unknown = out.isnan() if ignore_nan else x.isnan()
    mask = t.eq(x, out) | unknown
    return t.where(mask, g / mask.sum(), 0.0)  # type: ignore[no-any-return]


def _median_gaps(x: Expr, *, name: str) -> tuple[Expr, ...]:
    flat = x.reshape((-1,))
    chosen = getattr(flat, name)(0, keepdim=True)
    return ((flat - chosen.values).scatter(0, chosen.indices, float("inf")),) if x.elements else ()


def _register_median(name: str, *, ignore_nan: bool, doc: str) -> None:
    register(
        f"{name}(Tensor input)",
        doc=f"The median of the elements{doc}; of two in the middle, the lower.",
        infer=partial(_median_of_all_type, name),
        kernel=partial(_median_of_all, ignore_nan=ignore_nan),
        vjp=partial(_median_vjp, ignore_nan=ignore_nan),
        method=True,
        kink=partial(_median_gaps, name=name),
        convention=_ALL,
        samples=(
            Sample(f"x.{name}()", x=(3, 4)),
            Sample(f"torch.{name}(x)", x=(5,)),
            Sample(f"x.{name}()", x=()),
            Sample(f"x.{name}()", x=_NAN),
            # At a tie the difference quotient is one-sided; PyTorch's convention is tested apart.
            Sample(f"x.{name}()", x=_TIED, grad=False),
            Sample(f"i.{name}()", i=In((6,), dtype="int64", low=0, high=9)),
        ),
    )

    def infer(x: Expr, dim: int, *, keepdim: bool) -> tuple[Type, Type]:
        _without_masks(name, x)
        return _selected(name, x, dim, keepdim=keepdim)

    _register(
        f"{name}.dim(Tensor input, int dim, bool keepdim=False)",
        doc=f"The medians along a dimension{doc}, and where they stood.",
        infer=infer,
        kernel=partial(_median_kernel, ignore_nan=ignore_nan),
        samples=(
            Sample(f"x.{name}(0).values", x=(3, 4)),
            Sample(f"torch.{name}(x, -1, keepdim=True)[0]", x=(3, 4)),
            Sample(f"x.{name}(dim=1).indices", x=(3, 4)),
            Sample(f"x.{name}(1).values", x=_NAN),
            Sample(f"x.{name}(1).indices", x=_NAN),
            Sample(f"x.{name}(0).values", x=()),
            Sample(f"x.{name}(1).values", x=(0, 3)),
        ),
    )


_register_median("median", ignore_nan=False, doc="")
_register_median("nanmedian", ignore_nan=True, doc=" that are not NaN")

# The most frequent.


def _mode_kernel(x: Any, dim: int, keepdim: bool) -> tuple[Any, Any]:
    """Runs of equal elements in sorted order: of the longest ones, the first, where it ends."""
    if not np.ndim(x):
        return x, np.zeros((), np.int64)
    order = np.argsort(x, axis=dim, kind="stable")
    ranked = np.moveaxis(np.take_along_axis(x, order, dim), dim, -1)
    place = np.arange(ranked.shape[-1])
    starts = np.ones(ranked.shape, bool)
    starts[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    length = place - np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
    last = np.expand_dims(np.argmax(length, axis=-1), dim % np.ndim(x))
    return _take(x, np.take_along_axis(order, last, dim), dim, keepdim=keepdim)


_register(
    "mode(Tensor input, int dim=-1, bool keepdim=False)",
    doc="The most frequent elements along a dimension, of equally frequent ones the smallest.",
    infer=lambda x, dim, keepdim: _selected("mode", x, dim, keepdim=keepdim),
    kernel=_mode_kernel,
    samples=(
        Sample("torch.mode(x).values", x=(3, 4)),
        Sample("x.mode(0, keepdim=True)[0]", x=(3, 4)),
        Sample("x.mode().values", x=()),
        Sample("x.mode(-1).indices", x=_TIED),
        Sample("i.mode(1).values", i=In((4, 6), dtype="int64", low=0, high=3)),
        Sample("m.mode().values", m=In((3, 5), dtype="bool")),
    ),
)
