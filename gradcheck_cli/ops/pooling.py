"""Max pooling in one to three dimensions."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Op, Sample, Shape, Type, concrete, make, t
from gradcheck_cli.ops import pool
from gradcheck_cli.ops._common import FEW, register, shape_of
from gradcheck_cli.ops.windows import (
    offsets,
    out_sizes,
    product,
    require_input,
    window_of,
)
from gradcheck_cli.schema import Invalid

Numbers = tuple[int, ...]


class Pooled(NamedTuple):
    """What max pooling with return_indices=True gives."""

    values: Expr
    indices: Expr


class Records(NamedTuple):
    """The primitives for one number of dimensions."""

    max: Op
    places: Op


RECORDS: dict[int, Records] = {}


def _max_type(
    name: str,
    ndim: int,
    x: Expr,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    dilation: Numbers,
    ceil_mode: bool,
) -> Type:
    require_input(name, x, ndim)
    if x.dtype.kind != "f" and (ndim == 1 or x.dtype.kind != "i"):
        msg = f"{name}() isn't defined for {x.dtype.name}"
        raise Invalid("GC016", msg, "convert it: x.double()")
    window = window_of(ndim, kernel_size, stride, padding, dilation)
    out = out_sizes(name, x.shape[-ndim:], window, ceil_mode=ceil_mode)
    return Type((*x.shape[:-ndim], *out), x.dtype)


def _places_type(name: str, ndim: int, x: Expr, **window: Any) -> tuple[Type, Type]:
    values = _max_type(name, ndim, x, **window)
    return values, Type(values.shape, dtypes.int64)


def _on_windows(
    kernel: Any,
    ndim: int,
    x: Any,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    dilation: Numbers,
    ceil_mode: bool,
) -> Any:
    window = window_of(ndim, kernel_size, stride, padding, dilation)
    out = out_sizes("", x.shape[-ndim:], window, ceil_mode=ceil_mode)
    return kernel(x, out, window)


def _planned_maxima(ndim: int, node: Expr) -> Any:
    """`pool.maxima` of windows that are settled beforehand."""
    attributes = concrete(node.attrs)
    attributes.pop("ceil_mode")
    window = window_of(ndim, **attributes)
    out = node.shape[-ndim:]
    (x,) = node.inputs
    tiles = pool.tiles_of(x.shape[-ndim:], window[0], window[1], window[2])
    if tiles is not None and window[3] == (1,) * ndim and x.elements < FEW:
        return partial(pool.few_maxima, tiles)
    return lambda x: pool.maxima(x, out, window)


def plane(x: Expr, ndim: int) -> Any:
    """The last dims flattened to one."""
    return x if ndim == 1 else x.flatten(-ndim)


def disjoint(window: tuple[Shape, ...]) -> bool:
    """Whether no element is in two windows."""
    kernel, stride, _, dilation = window
    return all(s >= k and d == 1 for k, s, d in zip(kernel, stride, dilation, strict=True))


def _max_vjp(
    ndim: int,
    g: Expr,
    out: Expr,
    x: Expr,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    dilation: Numbers,
    ceil_mode: bool,
) -> Any:
    attributes = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    found = make(RECORDS[ndim].places, (x,), {"kernel_size": kernel_size, **attributes})
    size = tuple(x.size(d) for d in range(-ndim, 0))
    if disjoint(window_of(ndim, kernel_size, stride, padding, dilation)):
        unpool = getattr(t, f"max_unpool{ndim}d")
        return unpool(g, found.indices, kernel_size, stride, padding, size)
    return added_at(ndim, g, x, found.indices)


def added_at(ndim: int, g: Expr, x: Expr, indices: Expr) -> Any:
    """What `x` receives from elements that were taken at `indices`, where several may be the same."""
    zeros = plane(t.zeros_like(x), ndim)
    added = zeros.scatter_add(-1, plane(indices, ndim), plane(g, ndim))
    return added if ndim == 1 else added.reshape(shape_of(x))


def _places_vjp(ndim: int, g: Expr, out: Expr, x: Expr, *, output: int, **window: Any) -> Any:
    return None if output else _max_vjp(ndim, g, out, x, **window)


def _gap(ndim: int, x: Expr, **window: Any) -> tuple[Expr, ...]:
    """How far the largest element of each window is above the next."""
    kernel, stride, padding, dilation = window_of(
        ndim, *(window[name] for name in ("kernel_size", "stride", "padding", "dilation"))
    )
    if product(kernel) == 1:
        return ()
    size = x.shape[-ndim:]
    out = out_sizes("", size, (kernel, stride, padding, dilation), ceil_mode=window["ceil_mode"])
    needed = tuple(
        (o - 1) * s + d * (k - 1) + 1
        for o, s, d, k in zip(out, stride, dilation, kernel, strict=True)
    )
    for d, (n, p, whole) in enumerate(zip(size, padding, needed, strict=True), x.ndim - ndim):
        if p or whole > n:
            shape = (*x.shape[:d], max(whole, p + n), *x.shape[d + 1 :])
            x = t.full(shape, -np.inf, dtype=x.dtype).slice_scatter(x, d, p, p + n)
    places = [x[(..., *key)] for key in offsets(kernel, out, stride, dilation)]
    largest = t.stack(places).topk(2, 0).values
    return (largest[0] - largest[1],)


def _with_places(ndim: int, x: Expr, *, return_indices: bool, **window: Any) -> Any:
    records = RECORDS[ndim]
    if not return_indices:
        return make(records.max, (x,), window)
    return Pooled(*make(records.places, (x,), window))


_WINDOW = (
    "int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool ceil_mode=False"
)
_FIRST = "of equal elements in a window, the first gets the gradient"
_TIED = In(value=[[[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]])


def _register(ndim: int, samples: dict[str, tuple[Sample, ...]]) -> None:
    name = f"max_pool{ndim}d"
    largest = register(
        f"{name}(Tensor input, {_WINDOW})",
        doc="The largest element of each sliding window.",
        infer=partial(_max_type, name, ndim),
        kernel=partial(_on_windows, pool.maxima, ndim),
        prepare=partial(_planned_maxima, ndim),
        leading=lambda node: node.ndim - ndim,
        vjp=partial(_max_vjp, ndim),
        kink=partial(_gap, ndim),
        convention=_FIRST,
        on=("torch", "F"),
        samples=samples["max"],
    )
    register(
        f"{name}.indices(Tensor input, {_WINDOW}, bool return_indices=False)",
        doc="The largest element of each sliding window, with their places in the flattened input.",
        define=partial(_with_places, ndim),
        on=("F",),
        samples=samples["indices"],
    )
    places = register(
        f"{name}_with_indices(Tensor input, {_WINDOW})",
        doc="The largest element of each sliding window, and their places in the flattened input.",
        infer=partial(_places_type, f"{name}_with_indices", ndim),
        kernel=partial(_on_windows, pool.places, ndim),
        vjp=partial(_places_vjp, ndim),
        kink=partial(_gap, ndim),
        convention=_FIRST,
        on=("F",),
        outputs=("values", "indices"),
        samples=samples["places"],
    )
    RECORDS[ndim] = Records(largest, places)


_register(
    1,
    {
        "max": (
            Sample("F.max_pool1d(x, 2)", x=(2, 3, 5)),
            Sample("torch.max_pool1d(x, 3, 1, 1, 2)", x=(2, 6)),
            Sample("F.max_pool1d(x, (3,), stride=2, ceil_mode=True)", x=(1, 2, 6)),
            Sample("F.max_pool1d(x, 2)", x=(0, 2, 4)),
            # At a tie the difference quotient is one-sided; the convention has a test of its own.
            Sample("F.max_pool1d(x, 2)", x=_TIED, grad=False),
        ),
        "indices": (
            Sample("F.max_pool1d(x, 2, return_indices=True)[0]", x=(1, 2, 5)),
            Sample("F.max_pool1d(x, 3, 2, 1, 1, False, True)[1]", x=(1, 2, 5)),
        ),
        "places": (
            Sample("F.max_pool1d_with_indices(x, 2)[0]", x=(2, 3, 5)),
            Sample("F.max_pool1d_with_indices(x, 2, stride=1)[1]", x=_TIED),
        ),
    },
)
_register(
    2,
    {
        "max": (
            Sample("F.max_pool2d(x, 2)", x=(2, 3, 4, 6)),
            Sample("torch.max_pool2d(x, (2, 3), (1, 2), (1, 0), (2, 1))", x=(2, 5, 6)),
            Sample("F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)", x=(1, 2, 6, 5)),
            Sample("F.max_pool2d(x, 2, 3)", x=(1, 2, 6, 7)),
            Sample("F.max_pool2d(x, 3, padding=1)", x=(1, 1, 7, 5)),
            Sample("F.max_pool2d(x, 2)", x=(0, 2, 4, 4)),
            # At a tie the difference quotient is one-sided; the convention has a test of its own.
            Sample("F.max_pool2d(x, 2)", x=_TIED, grad=False),
            Sample("F.max_pool2d(i, 2)", i=In((1, 3, 4), -5, 5, "int64")),
        ),
        "indices": (
            Sample("F.max_pool2d(x, 2, return_indices=True)[0]", x=(1, 2, 5, 4)),
            Sample("F.max_pool2d(x, 3, 2, 1, 1, False, True)[1]", x=(1, 2, 5, 4)),
        ),
        "places": (
            Sample("F.max_pool2d_with_indices(x, 2)[0]", x=(2, 3, 5, 4)),
            Sample("F.max_pool2d_with_indices(x, 3, 2, 1, 2, True)[1]", x=(1, 2, 6, 7)),
            Sample("F.max_pool2d_with_indices(x, 2, stride=1)[1]", x=_TIED),
        ),
    },
)
_register(
    3,
    {
        "max": (
            Sample("F.max_pool3d(x, 2)", x=(2, 1, 2, 4, 3)),
            Sample("torch.max_pool3d(x, (2, 1, 3), 1, (1, 0, 1), (1, 2, 2))", x=(2, 3, 2, 5)),
            Sample("F.max_pool3d(x, 3, stride=2, padding=1, ceil_mode=True)", x=(1, 1, 4, 5, 3)),
            Sample("F.max_pool3d(x, 2)", x=(0, 2, 4, 2, 2)),
            Sample("F.max_pool3d(i, 2)", i=In((1, 3, 4, 2), -5, 5, "int64")),
        ),
        "indices": (
            Sample("F.max_pool3d(x, 2, return_indices=True)[0]", x=(1, 2, 3, 2, 4)),
            Sample("F.max_pool3d(x, 3, 2, 1, 1, False, True)[1]", x=(1, 2, 3, 2, 4)),
        ),
        "places": (
            Sample("F.max_pool3d_with_indices(x, 2)[0]", x=(1, 1, 3, 2, 4)),
            Sample("F.max_pool3d_with_indices(x, 2, 1, 1, 2, True)[1]", x=(1, 3, 3, 4)),
        ),
    },
)
