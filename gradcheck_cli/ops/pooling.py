"""Max pooling in one and two dimensions, and its inverse."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Op, Sample, Shape, Type, concrete, make, t
from gradcheck_cli.ops import pool
from gradcheck_cli.ops._common import FEW, register, sizes
from gradcheck_cli.ops.windows import (
    offsets,
    out_sizes,
    per_dim,
    product,
    require_input,
    spread,
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
    unpool: Op
    spread: Op


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


def _planned_spread(ndim: int, node: Expr) -> Any:
    attributes = concrete(node.attrs)
    kernel = spread(attributes["kernel_size"], ndim)
    step = spread(attributes["stride"] or attributes["kernel_size"], ndim)
    tiles = pool.tiles_of(node.shape[-ndim:], kernel, step, spread(attributes["padding"], ndim))
    floating = all(x.dtype.is_floating for x in node.inputs)
    if tiles is None or not 0 < node.elements < FEW or not floating:
        return None
    otherwise = partial(_spread_kernel, ndim, **attributes)
    return pool.few_spread(tiles, otherwise)


def _plane(x: Expr, ndim: int) -> Any:
    """The last dims flattened to one."""
    return x.flatten(-2) if ndim == 2 else x


def _disjoint(ndim: int, window: tuple[Shape, ...]) -> bool:
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
    if _disjoint(ndim, window_of(ndim, kernel_size, stride, padding, dilation)):
        attributes = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        return make(RECORDS[ndim].unpool, (g, found.indices), {**attributes, "output_size": size})
    zeros = _plane(t.zeros_like(x), ndim)
    added = zeros.scatter_add(-1, _plane(found.indices, ndim), _plane(g, ndim))
    return added if ndim == 1 else added.reshape((*(x.size(d) for d in range(x.ndim)),))


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


def _unpool_type(
    name: str,
    ndim: int,
    x: Expr,
    indices: Expr,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    output_size: Any,
) -> Type:
    require_input(name, x, ndim)
    if indices.dtype is not dtypes.int64 or indices.shape != x.shape:
        msg = (
            f"{name}() needs int64 indices of the input's shape {x.shape}, "
            f"not {indices.dtype.name} of shape {indices.shape}"
        )
        raise Invalid(
            "GC015", msg, "they come from max pooling with return_indices=True", "indices"
        )
    out = _unpooled_size(ndim, x.shape, kernel_size, stride, padding, output_size)
    return Type((*x.shape[:-ndim], *out), x.dtype)


def _unpooled_size(
    ndim: int,
    shape: Shape,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    output_size: Any,
) -> Shape:
    kernel = per_dim(kernel_size, ndim, "kernel_size", 1)
    step = per_dim(stride or (), ndim, "stride", 1, default=kernel)
    padding = per_dim(padding, ndim, "padding", 0)
    usual = tuple(
        (n - 1) * s + k - 2 * p
        for n, s, k, p in zip(shape[-ndim:], step, kernel, padding, strict=True)
    )
    if output_size is None:
        return usual
    size = sizes(output_size)
    if len(size) == ndim + 2:
        size = size[2:]
    fits = len(size) == ndim and all(
        u - s < n < u + s for n, u, s in zip(size, usual, step, strict=True)
    )
    if not fits:
        msg = f"output_size {size} is not within a stride {step} of {usual}"
        raise Invalid("GC014", msg, "give the size of what was pooled", "output_size")
    return size


def _unpool_kernel(
    ndim: int,
    x: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    output_size: Any,
) -> Any:
    size = _unpooled_size(ndim, x.shape, kernel_size, stride, padding, output_size)
    flat = product(size)
    if indices.size and not (indices.min() >= 0 and indices.max() < flat):
        msg = f"an index of max unpooling is out of range for {flat} elements"
        raise Invalid("GC014", msg, "check the values of the index tensor", "indices")
    return pool.put(x, indices, size)


def _unpool_vjp(
    ndim: int, g: Expr, out: Expr, x: Expr, indices: Expr, **_: Any
) -> tuple[Any, None]:
    taken = _plane(g, ndim).gather(-1, _plane(indices, ndim))
    if ndim == 2:
        taken = taken.reshape(tuple(x.size(d) for d in range(x.ndim)))
    return taken, None


def _without_places(ndim: int, g: Expr, indices: Expr, **attributes: Any) -> Expr | None:
    """The gradient of max pooling from the maxima, which are there already, instead of their places."""
    records = RECORDS[ndim]
    if indices.op is not records.places or indices.output != 1:
        return None
    pooled = indices.attributes
    (x,) = indices.inputs
    window = ("kernel_size", "stride", "padding")
    if (
        any(pooled[name] != attributes[name] for name in window)
        or sizes(attributes["output_size"] or ())[-ndim:] != x.shape[-ndim:]
        or not _disjoint(ndim, window_of(ndim, *(pooled[n] for n in (*window, "dilation"))))
    ):
        return None
    best = make(records.max, (x,), pooled)
    return make(records.spread, (g, x, best), {name: pooled[name] for name in window})  # type: ignore[no-any-return]


def _spread_kernel(
    ndim: int,
    g: Any,
    x: Any,
    best: Any,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
) -> Any:
    kernel, step = spread(kernel_size, ndim), spread(stride or kernel_size, ndim)
    return pool.spread_to_maxima(g, x, best, kernel, step, spread(padding, ndim))


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
    unpool = register(
        f"max_unpool{ndim}d(Tensor input, Tensor indices, int[] kernel_size, int[]? stride=None, "
        "int[] padding=0, size? output_size=None)",
        doc="Zeros with the input's elements at the places that max pooling took its maxima from.",
        infer=partial(_unpool_type, f"max_unpool{ndim}d", ndim),
        kernel=partial(_unpool_kernel, ndim),
        vjp=partial(_unpool_vjp, ndim),
        fused=partial(_without_places, ndim),
        on=("F",),
        analytic=True,
        samples=samples["unpool"],
    )
    spread_out = Op(  # what the planner makes of max unpooling; it can't be written
        schema=f"max_pool{ndim}d_backward(Tensor grad, Tensor input, Tensor best, int[] kernel_size, "
        "int[]? stride=None, int[] padding=0)",
        infer=lambda g, x, best, **_: Type(x.shape, x.dtype),
        kernel=partial(_spread_kernel, ndim),
        prepare=partial(_planned_spread, ndim),
        leading=lambda node: node.ndim - ndim,
    )
    RECORDS[ndim] = Records(largest, places, unpool, spread_out)


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
        "unpool": (
            Sample("F.max_unpool1d(x, i, 2)", x=(1, 1, 2), i=In(value=[[[1, 2]]], dtype="int64")),
            Sample(
                "F.max_unpool1d(x, i, 3, 3, 1, (5,))", x=(1, 2), i=In(value=[[4, 0]], dtype="int64")
            ),
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
        "unpool": (
            Sample(
                "F.max_unpool2d(x, i, 2)", x=(1, 1, 1, 2), i=In(value=[[[[1, 6]]]], dtype="int64")
            ),
            Sample(
                "F.max_unpool2d(x, i, (1, 2), 3, output_size=(1, 4))",
                x=(1, 1, 2),
                i=In(value=[[[0, 3]]], dtype="int64"),
            ),
            Sample(
                "F.max_unpool2d(y, F.max_pool2d(x, 2, return_indices=True)[1], 2, output_size=x.shape)",
                x=(1, 2, 5, 4),
                y=(1, 2, 2, 2),
            ),
        ),
    },
)
