"""The nodes that subscripts are made of, and their inverses, which put elements back.

Each primitive prints as one subscript: `select` as `x[:, 0]`, `slice` as `x[:, 1:3]`, `index` as `x[:, i]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Shape, Type, make, t
from gradcheck_cli.ops._common import as_tensor, broadcast, dim_of, register
from gradcheck_cli.schema import Invalid

# Functions whose result's shape depends on values: the reason and the way around, for the error message.
DATA_DEPENDENT = {
    "unique": "give the distinct values as an input of their own",
}


def number(value: Any) -> Any:
    """The number that a literal or a symbolic size is."""
    return value.value if isinstance(value, Expr) else value


def position(index: Any, size: int, dim: int) -> int:
    """`index` counted from the front. Raises Invalid (GC015) where there is no such place."""
    value = number(index)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid("GC014", f"an index is a whole number, not {value!r}", argument="index")
    if not -size <= value < size:
        msg = f"index {value} is out of range for dimension {dim} of size {size}"
        hint = f"use {-size} to {size - 1}" if size else "the dimension is empty"
        raise Invalid("GC015", msg, hint, "index")
    return value % size


def stretch(start: Any, end: Any, step: Any, size: int) -> range:
    """The positions of a slice, clamped as Python does. Raises Invalid (GC014) for PyTorch's refusals."""
    bounds = [number(start), number(end), number(step)]
    for bound in bounds:
        if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool)):
            raise Invalid("GC014", f"a slice is made of whole numbers, not {bound!r}")
    if bounds[2] is not None and bounds[2] <= 0:
        msg = f"the step of a slice must be greater than zero, not {bounds[2]}"
        raise Invalid("GC014", msg, "x.flip(dim) reverses a dimension", "step")
    return range(*slice(*bounds).indices(size))


def need_dim(x: Expr, name: str) -> None:
    if x.ndim == 0:
        raise Invalid("GC015", f"{name} needs a tensor of at least one dimension, not a scalar")


def dropped(shape: Shape, dim: int) -> Shape:
    return shape[:dim] + shape[dim + 1 :]


def resized(shape: Shape, dim: int, size: int) -> Shape:
    return (*shape[:dim], size, *shape[dim + 1 :])


def along(dim: int, item: Any) -> tuple[Any, ...]:
    """NumPy's subscript for `item` at `dim`, all of the dimensions before it."""
    return (*(slice(None),) * dim, item)


def writable(x: Any, *sources: Any) -> Any:
    """A contiguous copy of `x` to write into, complex where a source is (complex-step differentiation)."""
    complex_ = any(np.iscomplexobj(source) for source in sources)
    return np.array(x, dtype=np.result_type(x, np.complex64) if complex_ else None, order="C")


def _fits(x: Expr, src: Expr, wanted: Shape) -> Type:
    if src.shape != wanted:
        msg = f"src has the shape {src.shape}, but the part to replace has the shape {wanted}"
        raise Invalid("GC015", msg, argument="src")
    return x_type(x)


def x_type(x: Expr) -> Type:
    return Type(x.shape, x.dtype)


def _select(x: Expr, dim: int, index: Any) -> Type:
    position(index, x.shape[dim], dim)
    return Type(dropped(x.shape, dim), x.dtype)


SELECT = register(
    "select(Tensor input, int dim, Scalar index)",
    doc="One place of a dimension, which falls away: `x[:, 0]`.",
    infer=_select,
    kernel=lambda x, dim, index: x[along(dim, index)],
    vjp=lambda g, out, x, dim, index: t.zeros_like(x).select_scatter(as_tensor(g, out), dim, index),
    on=(),
    analytic=True,
    samples=(
        Sample("x[0]", x=(3, 4)),
        Sample("x[-1]", x=(3,)),
        Sample("x[..., 1]", x=(2, 3, 4)),
        Sample("x[:, -2]", x=(2, 3, 0)),
        Sample("x[1, 2]", x=(2, 3)),
    ),
)


def _call_select(x: Expr, dim: int, index: Any) -> Any:
    need_dim(x, "select()")
    return make(SELECT, (x,), {"dim": dim_of(dim, x.ndim), "index": index})


register(
    "select.int(Tensor input, int dim, Scalar index)",
    doc="One place of a dimension, which falls away.",
    define=_call_select,
    also=("torch.select_copy",),
    samples=(
        Sample("x.select(-1, 2)", x=(2, 3)),
        Sample("torch.select(x, 0, -1)", x=(2,)),
        Sample("torch.select_copy(x, 0, -1)", x=(2, 2)),
    ),
)


def _select_scatter(x: Expr, src: Expr, dim: int, index: Any) -> Type:
    need_dim(x, "select_scatter()")
    d = dim_of(dim, x.ndim)
    position(index, x.shape[d], d)
    return _fits(x, src, dropped(x.shape, d))


def _put(x: Any, src: Any, key: tuple[Any, ...]) -> Any:
    out = writable(x, src)
    out[key] = src
    return out


register(
    "select_scatter(Tensor input, Tensor src, int dim, Scalar index)",
    doc="The input with one place of a dimension replaced by src.",
    infer=_select_scatter,
    kernel=lambda x, src, dim, index: _put(x, src, along(dim % x.ndim, index)),
    vjp=lambda g, out, x, src, dim, index: (
        g.select_scatter(t.zeros_like(src), dim, index),
        g.select(dim, index),
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.select_scatter(y, 1, -1)", x=(3, 4), y=(3,)),
        Sample("torch.select_scatter(x, y, -2, 0)", x=(2, 3, 4), y=(2, 4)),
        Sample("x.select_scatter(y, 0, 1)", x=(2,), y=()),
    ),
)


SLICE = register(
    "slice(Tensor input, int dim, Scalar? start=0, Scalar? end=None, Scalar step=1)",
    doc="A stretch of a dimension: `x[:, 1:3]`.",
    infer=lambda x, dim, start, end, step: Type(
        resized(x.shape, dim, len(stretch(start, end, step, x.shape[dim]))), x.dtype
    ),
    kernel=lambda x, dim, start, end, step: x[along(dim, slice(start, end, step))],
    vjp=lambda g, out, x, dim, start, end, step: t.zeros_like(x).slice_scatter(
        g, dim, start, end, step
    ),
    on=(),
    analytic=True,
    samples=(
        Sample("x[1:]", x=(4,)),
        Sample("x[:, :-1]", x=(2, 3)),
        Sample("x[..., ::2]", x=(2, 5)),
        Sample("x[1:9:3, -2:]", x=(5, 3)),
        Sample("x[2:1]", x=(3, 2)),
        Sample("x[:, None, 1:]", x=(2, 3)),
    ),
)


def _slice_scatter(x: Expr, src: Expr, dim: int, start: Any, end: Any, step: Any) -> Type:
    need_dim(x, "slice_scatter()")
    d = dim_of(dim, x.ndim)
    return _fits(x, src, resized(x.shape, d, len(stretch(start, end, step, x.shape[d]))))


register(
    "slice_scatter(Tensor input, Tensor src, int dim=0, Scalar? start=None, Scalar? end=None, "
    "Scalar step=1)",
    doc="The input with a stretch of a dimension replaced by src.",
    infer=_slice_scatter,
    kernel=lambda x, src, dim, start, end, step: _put(
        x, src, along(dim % x.ndim, slice(start, end, step))
    ),
    vjp=lambda g, out, x, src, dim, start, end, step: (
        g.slice_scatter(t.zeros_like(src), dim, start, end, step),
        g[along(dim % x.ndim, slice(start, end, step))],
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.slice_scatter(y, 1, 1, 3)", x=(2, 4), y=(2, 2)),
        Sample("x.slice_scatter(y, -1, end=9, step=2)", x=(2, 3), y=(2, 2)),
        Sample("torch.slice_scatter(x, y, start=-1)", x=(3,), y=(1,)),
        Sample("torch.slice_scatter(x, y)", x=(3,), y=(3,)),
    ),
)


def index_shape(shape: Shape, indices: tuple[Expr | None, ...]) -> Shape:
    """Shape of advanced indexing: adjacent indices keep their place, separated ones come first."""
    for i in indices:
        require_index(i)
    given = [d for d, i in enumerate(indices) if i is not None]
    if not given or len(indices) > len(shape):
        msg = f"{len(indices)} indices do not fit a tensor of shape {shape}"
        raise Invalid("GC015", msg, argument="indices")
    common = broadcast(*(i.shape for i in indices if i is not None))
    rest = tuple(s for d, s in enumerate(shape) if d not in given)
    first = given[0] if _adjacent(given) else 0
    return rest[:first] + common + rest[first:]


def _adjacent(dims: list[int]) -> bool:
    return dims == list(range(dims[0], dims[0] + len(dims)))


def require_index(i: Expr | None) -> None:
    """Refuse what is no tensor of indices. Raises Invalid (GC011 for masks, GC016)."""
    if i is None or i.dtype.name in ("int64", "int32") or i.value is not None:
        return
    if i.dtype.kind == "b":
        msg = "a mask can't be one of several index tensors here"
        raise Invalid("GC011", msg, "use its places: mask.nonzero(as_tuple=True)")
    msg = f"indices are int64 or int32 tensors, not {i.dtype.name}"
    raise Invalid("GC016", msg, "give the input `sample: integers`, or use i.long()")


def within(i: Any, size: int, dim: int, *, negative: bool) -> Any:
    """The indices `i` after a check of their bounds. Raises Invalid (GC014), for kernels."""
    i = np.asarray(i)
    low = -size if negative else 0
    plain = i.dtype == np.int64 and i.size and not negative and i.flags.c_contiguous
    # Read without sign, a negative number is a huge one: one comparison for both ends.
    if plain and np.maximum.reduce(i.view(np.uint64), None) < size:
        return i
    if i.size and not (low <= i.min() and i.max() < size):
        wrong = i.min() if i.min() < low else i.max()
        msg = f"index {wrong} is out of range for dimension {dim} of size {size}"
        raise Invalid("GC014", msg, "check the values of the index tensor", "index")
    return i


def checked(x: Any, indices: tuple[Any, ...]) -> tuple[Any, ...]:
    """NumPy's subscript for index tensors with None holes."""
    return tuple(
        slice(None) if i is None else within(i, x.shape[d], d, negative=True)
        for d, i in enumerate(indices)
    )


def _index_vjp(g: Expr, out: Expr, x: Expr, *indices: Expr | None) -> tuple[Expr | None, ...]:
    g = as_tensor(g, out)
    given = [d for d, i in enumerate(indices) if i is not None]
    tensors = tuple(i for i in indices if i is not None)
    zeros = t.zeros_like(x)
    if len(given) == len(indices):
        into = zeros.index_put(tensors, g, accumulate=True)
    else:  # index_put takes no holes: the indexed dimensions are brought to the front and back
        rest = [d for d in range(x.ndim) if d not in given]
        order = given + rest
        first = given[0] if _adjacent(given) else 0
        moved = list(range(first, first + out.ndim - len(rest)))
        front = moved + [d for d in range(out.ndim) if d not in moved]
        put = _permuted(zeros, order).index_put(tensors, _permuted(g, front), accumulate=True)
        into = _permuted(put, sorted(range(x.ndim), key=order.__getitem__))
    return (into, *(None for _ in indices))


def _permuted(x: Expr, order: list[int]) -> Any:
    if order == sorted(order):
        return x
    return x.T if x.ndim == 2 else x.permute(tuple(order))


INDEX = register(
    "index(Tensor input, Tensor[] indices)",
    doc="Elements at the places that index tensors name: `x[:, i]`, `x[i, j]`.",
    infer=lambda x, *indices: Type(index_shape(x.shape, indices), x.dtype),
    kernel=lambda x, *indices: x[checked(x, indices)],
    vjp=_index_vjp,
    on=(),
    analytic=True,
    samples=(
        Sample("x[i]", x=(3, 4), i=In(value=[0, 2, 0, -1], dtype="int64")),
        Sample("x[:, i]", x=(2, 3), i=In(value=[[2, 0], [1, 1]], dtype="int64")),
        Sample(
            "x[i, j]", x=(3, 4), i=In(value=[[0], [2]], dtype="int64"), j=In((3,), 0, 4, "int64")
        ),
        Sample(
            "x[:, i, :, j]", x=(2, 3, 2, 4), i=In((3,), 0, 3, "int64"), j=In((3,), 0, 4, "int64")
        ),
        Sample("x[:, i, j]", x=(2, 3, 4), i=In((3,), 0, 3, "int64"), j=In((3,), 0, 4, "int64")),
        Sample("x[i, None, j]", x=(2, 3), i=In((4,), 0, 2, "int64"), j=In((4,), 0, 3, "int64")),
        Sample("x[..., i, 0]", x=(2, 3, 4), i=In((), 0, 3, "int64")),
        Sample("x[i]", x=(3,), i=In((), 0, 3, "int64")),
        Sample("x[i]", x=(3, 2), i=In((0,), 0, 3, "int64")),
    ),
)
