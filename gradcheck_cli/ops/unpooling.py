"""Max unpooling in one to three dimensions: max pooling undone, zeros where there was no maximum."""

from __future__ import annotations

from functools import partial
from typing import Any

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Op, Sample, Shape, Type, concrete, make
from gradcheck_cli.ops import pool
from gradcheck_cli.ops._common import FEW, register, sizes
from gradcheck_cli.ops.pooling import RECORDS, disjoint, plane
from gradcheck_cli.ops.windows import per_dim, product, require_input, spread, window_of
from gradcheck_cli.schema import Invalid

Numbers = tuple[int, ...]

# The gradient of max pooling without the places of the maxima, by the number of dimensions.
_SPREAD: dict[int, Op] = {}


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
    if x.dtype.kind != "f":
        msg = f"{name}() needs a floating-point tensor, not {x.dtype.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype")
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
    taken = plane(g, ndim).gather(-1, plane(indices, ndim))
    if ndim > 1:
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
        or not disjoint(window_of(ndim, *(pooled[n] for n in (*window, "dilation"))))
    ):
        return None
    best = make(records.max, (x,), pooled)
    return make(_SPREAD[ndim], (g, x, best), {name: pooled[name] for name in window})  # type: ignore[no-any-return]


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


def _register(ndim: int, *samples: Sample) -> None:
    register(
        f"max_unpool{ndim}d(Tensor input, Tensor indices, int[] kernel_size, int[]? stride=None, "
        "int[] padding=0, size? output_size=None)",
        doc="Zeros with the input's elements at the places that max pooling took its maxima from.",
        infer=partial(_unpool_type, f"max_unpool{ndim}d", ndim),
        kernel=partial(_unpool_kernel, ndim),
        vjp=partial(_unpool_vjp, ndim),
        fused=partial(_without_places, ndim),
        on=("F",),
        analytic=True,
        samples=samples,
    )
    _SPREAD[ndim] = Op(  # what the planner makes of max unpooling; it can't be written
        schema=f"max_pool{ndim}d_backward(Tensor grad, Tensor input, Tensor best, int[] kernel_size, "
        "int[]? stride=None, int[] padding=0)",
        infer=lambda g, x, best, **_: Type(x.shape, x.dtype),
        kernel=partial(_spread_kernel, ndim),
        prepare=partial(_planned_spread, ndim),
        leading=lambda node: node.ndim - ndim,
    )


_register(
    1,
    Sample("F.max_unpool1d(x, i, 2)", x=(1, 1, 2), i=In(value=[[[1, 2]]], dtype="int64")),
    Sample("F.max_unpool1d(x, i, 3, 3, 1, (5,))", x=(1, 2), i=In(value=[[4, 0]], dtype="int64")),
)
_register(
    2,
    Sample("F.max_unpool2d(x, i, 2)", x=(1, 1, 1, 2), i=In(value=[[[[1, 6]]]], dtype="int64")),
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
)
_register(
    3,
    Sample(
        "F.max_unpool3d(x, i, 2)", x=(1, 1, 1, 1, 2), i=In(value=[[[[[1, 12]]]]], dtype="int64")
    ),
    Sample(
        "F.max_unpool3d(x, i, (1, 2, 2), (1, 3, 2), output_size=(1, 2, 5))",
        x=(1, 1, 1, 2),
        i=In(value=[[[[8, 3]]]], dtype="int64"),
    ),
)
