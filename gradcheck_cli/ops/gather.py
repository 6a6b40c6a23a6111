"""Gathering and scattering along a dimension by a tensor of indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Shape, Type, make, t
from gradcheck_cli.ops._common import FEW, as_tensor, broadcast, dim_of, register
from gradcheck_cli.ops.accumulate import add_at, few_rows, sum_rows
from gradcheck_cli.ops.index import resized, within, writable
from gradcheck_cli.schema import Invalid

Key = tuple[Any, ...]


def need_int64(index: Expr, name: str, *, int32: bool = True) -> None:
    allowed = ("int64", "int32") if int32 else ("int64",)
    if index.dtype.name not in allowed:
        msg = (
            f"{name}() needs an index tensor of type {' or '.join(allowed)}, not {index.dtype.name}"
        )
        raise Invalid("GC016", msg, "draw it with `sample: integers`", "index")


def _need_fit(name: str, x: Expr, index: Expr, d: int | None, whole: str) -> None:
    """Refuse an index that has other dims than `x`, or is larger anywhere but at `d`."""
    if max(x.ndim, 1) != max(index.ndim, 1):
        msg = (
            f"{name}() needs an index with as many dimensions as {whole}: "
            f"shapes {index.shape} and {x.shape}"
        )
        raise Invalid(
            "GC015", msg, "add dimensions with unsqueeze(), expand() repeats them", "index"
        )
    pairs = zip(index.shape or (1,), x.shape or (1,), strict=True)
    if any(wanted > there and k != d for k, (wanted, there) in enumerate(pairs)):
        msg = f"the index of {name}() has the shape {index.shape}, larger than {whole}, {x.shape}"
        hint = "it may be larger only at `dim`" if d is not None else None
        raise Invalid("GC015", msg, hint, "index")


def _gather(x: Expr, index: Expr, *, dim: int, sparse_grad: bool) -> Type:
    need_int64(index, "gather")
    d = dim_of(dim, x.ndim)
    if index.elements:
        _need_fit("gather", x, index, d, "the input")
    return Type(index.shape, x.dtype)


def _grid(x: Any, dim: int, index: Any, *, name_dim: int | None = None) -> Key:
    """NumPy's subscript that names, for each place of `index`, the element of `x` it points to."""
    d = dim % x.ndim
    index = within(index, x.shape[d], d if name_dim is None else name_dim, negative=False)
    places = np.ogrid[tuple(slice(size) for size in index.shape)]
    return tuple(index if k == d else place for k, place in enumerate(places))


def _take(x: Any, index: Any, dim: int) -> Any:
    index = np.asarray(index)
    if not index.size:
        return np.empty(index.shape, np.asarray(x).dtype)
    whole = np.atleast_1d(x)
    return whole[_grid(whole, dim, np.atleast_1d(index))].reshape(index.shape)


def _rows(node: Expr) -> int:
    """Over how many leading dims all tensors go side by side."""
    dim = dim_of(node.attributes["dim"], node.ndim)
    leads = {x.shape[:dim] for x in (node, *node.inputs)}
    return dim if len(leads) == 1 else 0


def _one_a_row(node: Expr) -> bool:
    """Whether the index names one place in each row of a matrix."""
    return node.ndim == 2 and _rows(node) == 1 and node.inputs[1].shape[1] == 1


def _taking_one(node: Expr) -> Any:
    if not _one_a_row(node):
        return None
    size = node.inputs[0].shape[1]
    return lambda x, index: x[np.arange(len(x))[:, None], within(index, size, 1, negative=False)]


def _adding_one(node: Expr) -> Any:
    """With one place in each row, none is added to twice: no need for the unbuffered `np.add.at`."""
    if not _one_a_row(node) or node.inputs[2].shape[1] != 1:
        return None
    size = node.inputs[0].shape[1]

    def into(x: Any, index: Any, src: Any, out: Any) -> None:
        if out is not x:
            np.copyto(out, x)
        out[np.arange(len(out))[:, None], within(index, size, 1, negative=False)] += src

    return into


register(
    "gather(Tensor input, int dim, Tensor index, *, bool sparse_grad=False)",
    doc="Along a dimension, the elements at the places that an index tensor names.",
    infer=_gather,
    kernel=lambda x, index, dim, sparse_grad: _take(x, index, dim),
    prepare=lambda node: _taking_one(node),
    leading=lambda node: _rows(node),
    vjp=lambda g, out, x, index, dim, sparse_grad: (
        t.zeros_like(x).scatter_add(dim, index, as_tensor(g, out)),
        None,
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.gather(1, i)", x=(3, 4), i=In((3, 2), 0, 4, "int64")),
        Sample("torch.gather(x, 0, i)", x=(3, 4), i=In((5, 2), 0, 3, "int64")),
        Sample("x.gather(-2, i)", x=(2, 3, 2), i=In((2, 4, 1), 0, 3, "int32")),
        Sample("x.gather(0, i)", x=(), i=In((), 0, 1, "int64")),
        Sample("x.gather(0, i)", x=(3,), i=In((0,), 0, 3, "int64")),
    ),
)


def _scatter(name: str, x: Expr, index: Expr, src: Expr | None, dim: int) -> Type:
    need_int64(index, name)
    d = dim_of(dim, x.ndim)
    if src is not None and src.dtype is not x.dtype:
        msg = f"{name}() needs one dtype, not {x.dtype.name} and {src.dtype.name}"
        raise Invalid("GC016", msg, argument="src")
    if index.elements:
        _need_fit(name, x, index, d, "the input")
        if src is not None:
            _need_fit(name, src, index, None, "src")
    return Type(x.shape, x.dtype)


def _put(x: Any, index: Any, src: Any, dim: int, *, add: bool = False) -> Any:
    out = writable(x, src)
    whole, index = np.atleast_1d(out), np.atleast_1d(index)
    if not index.size:
        return out
    key = _grid(whole, dim, index)
    if np.ndim(src):
        src = src[tuple(slice(size) for size in index.shape)]
    if add:
        add_at(whole, key, src)
    else:
        whole[key] = src
    return whole.reshape(out.shape)


def _src_gradient(g: Expr, index: Expr, src: Expr, dim: int) -> Any:
    """What `src` receives: only the part of it that `index` covers was used."""
    gathered = g.gather(dim, index)

    def embed(part: Expr, whole: Expr, d: int) -> Any:
        while d < src.ndim and src.shape[d] == index.shape[d]:
            d += 1
        if d == src.ndim:
            return part
        inner = embed(part, whole.narrow(d, 0, index.size(d)), d + 1)
        return t.zeros_like(whole).slice_scatter(inner, d, 0, index.size(d))

    return embed(gathered, src, 0)


_PLACES = In(value=[[0, 3], [1, 0], [2, 1]], dtype="int64")

register(
    "scatter.value(Tensor input, int dim, Tensor index, Scalar value)",
    doc="The input with a number put at the places that an index tensor names.",
    infer=lambda x, index, dim, value: _scatter("scatter", x, index, None, dim),
    kernel=lambda x, index, dim, value: _put(x, index, value, dim),
    vjp=lambda g, out, x, index, dim, value: (as_tensor(g, out).scatter(dim, index, 0.0), None),
    method=True,
    analytic=True,
    samples=(
        Sample("x.scatter(1, i, 2.5)", x=(3, 4), i=_PLACES),
        Sample("torch.scatter(x, -1, i, 1)", x=(2, 2), i=In((2, 1), 0, 2, "int64")),
    ),
)
register(
    "scatter(Tensor input, int dim, Tensor index, Tensor src)",
    doc="The input with the elements of src put at the places that an index tensor names.",
    infer=lambda x, index, src, dim: _scatter("scatter", x, index, src, dim),
    kernel=_put,
    vjp=lambda g, out, x, index, src, dim: (
        as_tensor(g, out).scatter(dim, index, 0.0),
        None,
        _src_gradient(as_tensor(g, out), index, src, dim),
    ),
    method=True,
    analytic=True,
    convention="where two elements of src go to one place, which of them stays is not defined",
    samples=(
        Sample("x.scatter(1, i, y)", x=(3, 4), y=(3, 2), i=_PLACES),
        Sample("torch.scatter(x, 0, i, y)", x=(3,), y=(2,), i=In(value=[2, 0], dtype="int64")),
        Sample("x.scatter(0, i, y)", x=(), y=(), i=In((), 0, 1, "int64")),
        # PyTorch has no gradient where src is larger than index
        Sample("x.scatter(1, i, y)", grad=False, x=(3, 4), y=(4, 3), i=_PLACES),
    ),
)
register(
    "scatter_add(Tensor input, int dim, Tensor index, Tensor src)",
    doc="The input with the elements of src added at the places that an index tensor names.",
    infer=lambda x, index, src, dim: _scatter("scatter_add", x, index, src, dim),
    kernel=lambda x, index, src, dim: _put(x, index, src, dim, add=True),
    into=lambda node: _adding_one(node),
    leading=lambda node: _rows(node),
    vjp=lambda g, out, x, index, src, dim: (
        g,
        None,
        _src_gradient(as_tensor(g, out), index, src, dim),
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.scatter_add(1, i, y)", x=(3, 4), y=(3, 3), i=In((3, 3), 0, 4, "int64")),
        Sample("torch.scatter_add(x, -2, i, y)", x=(2, 3), y=(4, 2), i=In((4, 2), 0, 2, "int64")),
        Sample("x.scatter_add(0, i, y)", x=(2,), y=(0,), i=In((0,), 0, 2, "int64")),
    ),
)


def _index_vector(name: str, index: Expr) -> int:
    need_int64(index, name)
    if index.ndim > 1:
        msg = f"{name}() needs a vector of indices, not a tensor of shape {index.shape}"
        raise Invalid("GC015", msg, "index.flatten(), or a subscript: x[:, index]", "index")
    return index.elements


def _index_select(x: Expr, index: Expr, *, dim: int) -> Type:
    count = _index_vector("index_select", index)
    d = dim_of(dim, x.ndim)
    if not x.ndim and count != 1:
        raise Invalid("GC015", f"a scalar has one element to select, not {count}", None, "index")
    return Type(resized(x.shape, d, count) if x.ndim else (), x.dtype)


def _vector(x: Any, index: Any, dim: int) -> Key:
    d = dim % np.ndim(x)
    index = within(np.atleast_1d(index), np.shape(x)[d], d, negative=False)
    return (*(slice(None),) * d, index)


def _slices(x: Any, index: Any, dim: int) -> Any:
    whole = np.atleast_1d(x)
    found = whole[_vector(whole, index, dim)]
    return found if np.ndim(x) else found.reshape(())


register(
    "index_select(Tensor input, int dim, Tensor index)",
    doc="The slices of a dimension that a vector of indices names.",
    infer=_index_select,
    kernel=_slices,
    vjp=lambda g, out, x, index, dim: (
        t.zeros_like(x).index_add(dim, index, as_tensor(g, out)),
        None,
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.index_select(0, i)", x=(3, 4), i=In((5,), 0, 3, "int64")),
        Sample("torch.index_select(x, -1, i)", x=(2, 3), i=In((2,), 0, 3, "int32")),
        Sample("x.index_select(0, i)", x=(3, 2), i=In((), 0, 3, "int64")),
        Sample("x.index_select(0, i)", x=(), i=In((1,), 0, 1, "int64")),
        Sample("x.index_select(1, i)", x=(2, 3), i=In((0,), 0, 3, "int64")),
    ),
)


def _index_add(x: Expr, index: Expr, source: Expr, *, dim: int, alpha: Any) -> Type:
    count = _index_vector("index_add", index)
    d = dim_of(dim, x.ndim)
    if source.dtype is not x.dtype:
        msg = f"index_add() needs one dtype, not {x.dtype.name} and {source.dtype.name}"
        raise Invalid("GC016", msg, argument="source")
    wanted = resized(x.shape, d, count) if x.ndim else ()
    if source.shape != wanted:
        msg = f"the source of index_add() has the shape {source.shape}, {wanted} is needed"
        raise Invalid("GC015", msg, argument="source")
    return Type(x.shape, x.dtype)


def _add_slices(x: Any, index: Any, source: Any, dim: int, alpha: Any) -> Any:
    out = writable(x, source)
    whole = np.atleast_1d(out)
    d = dim % whole.ndim
    *_, places = _vector(whole, index, d)
    lead = np.ogrid[tuple(slice(size) for size in whole.shape[:d])] if d else ()
    key = (*(k[..., None] for k in lead), places)
    add_at(whole, key, np.atleast_1d(_times(source, alpha)))
    return whole.reshape(out.shape)


def _times(x: Any, alpha: Any) -> Any:
    return x if alpha == 1 else alpha * x


def _summing_few(node: Expr) -> Any:
    index, source = node.inputs
    if index.ndim != 1 or source.ndim != 2 or not 0 < source.elements < FEW:
        return None
    if not source.dtype.is_floating:
        return None
    count = node.shape[0]
    return lambda index, source: few_rows(within(index, count, 0, negative=False), source, count)


# What the planner makes of index_add into zeros; it can't be written.
_SUM_ROWS = Op(
    schema="sum_rows(Tensor index, Tensor source, int count)",
    infer=lambda index, source, count: Type((count, *source.shape[1:]), source.dtype),
    kernel=lambda index, source, count: sum_rows(
        within(np.atleast_1d(index), count, 0, negative=False), source, count
    ),
    prepare=lambda node: _summing_few(node),
)


def _into_zeros(x: Expr, index: Expr, source: Expr, *, dim: int, alpha: Any) -> Expr | None:
    if x.op.name != "zeros_like" or not x.ndim or dim % x.ndim or alpha != 1:
        return None
    return make(_SUM_ROWS, (index, source), {"count": x.shape[0]})  # type: ignore[no-any-return]


register(
    "index_add(Tensor input, int dim, Tensor index, Tensor source, *, Scalar alpha=1)",
    doc="The input with slices of a source added at the places of a dimension that a vector names.",
    infer=_index_add,
    kernel=_add_slices,
    fused=_into_zeros,
    vjp=lambda g, out, x, index, source, dim, alpha: (
        g,
        None,
        _times(as_tensor(g, out).index_select(dim, index), alpha),
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.index_add(0, i, y)", x=(3, 2), y=(4, 2), i=In((4,), 0, 3, "int64")),
        Sample(
            "torch.index_add(x, -1, i, y, alpha=-2)", x=(2, 3), y=(2, 2), i=In((2,), 0, 3, "int64")
        ),
        Sample("x.index_add(0, i, y)", x=(), y=(), i=In((), 0, 1, "int64")),
    ),
)


def _take_along_dim(x: Expr, indices: Expr, *, dim: int | None) -> Type:
    need_int64(indices, "take_along_dim", int32=False)
    if dim is None:
        return Type((indices.elements,), x.dtype)
    if not x.ndim:
        raise Invalid("GC015", "a scalar has no dimension to take along", "leave dim out", "dim")
    if x.ndim != indices.ndim:
        msg = (
            "take_along_dim() needs indices with as many dimensions as the input: "
            f"shapes {indices.shape} and {x.shape}"
        )
        raise Invalid("GC015", msg, argument="indices")
    return Type(_along(x.shape, indices.shape, dim_of(dim, x.ndim)), x.dtype)


def _along(x: Shape, indices: Shape, d: int) -> Shape:
    """The indices' shape, broadcast with the input's everywhere but at `d`."""
    return broadcast(indices, resized(x, d, 1))


def _taken(x: Any, indices: Any, dim: int) -> Any:
    d = dim % x.ndim
    indices = within(indices, x.shape[d], d, negative=True)
    shape = _along(x.shape, indices.shape, d)
    whole = np.broadcast_to(x, resized(shape, d, x.shape[d]))
    return np.take_along_axis(whole, np.broadcast_to(indices, shape), d)


def _take_along_vjp(g: Expr, x: Expr, indices: Expr, dim: int | None) -> Any:
    if dim is None:
        spread = t.zeros_like(x.flatten()).index_put((indices.flatten(),), g, accumulate=True)
        return spread.reshape(sizes(x))
    d = dim_of(dim, x.ndim)
    from_start = t.remainder(indices, x.size(d))  # scatter_add takes no negative indices
    shape = g.shape
    if indices.shape != shape:
        from_start = from_start.expand_as(g)
    if resized(x.shape, d, 0) != resized(shape, d, 0):  # x was broadcast: a sum over its copies
        x = x.expand(resized(sizes(g), d, x.size(d)))
    return t.zeros_like(x).scatter_add(d, from_start, g)


def sizes(x: Expr) -> tuple[Any, ...]:
    """The sizes of `x`, symbolic."""
    return tuple(x.size(d) for d in range(x.ndim))


register(
    "take_along_dim(Tensor input, Tensor indices, int? dim=None)",
    doc="Along a dimension, the elements that indices name, broadcast against the input.",
    infer=_take_along_dim,
    kernel=lambda x, indices, dim: (
        _taken(np.ravel(x), np.ravel(indices), 0) if dim is None else _taken(x, indices, dim)
    ),
    vjp=lambda g, out, x, indices, dim: (_take_along_vjp(g, x, indices, dim), None),
    analytic=True,
    samples=(
        Sample("torch.take_along_dim(x, i, 1)", x=(3, 4), i=In((3, 2), -4, 4, "int64")),
        Sample("x.take_along_dim(i, dim=0)", x=(3, 4), i=In((2, 1), 0, 3, "int64")),
        Sample("x.take_along_dim(i)", x=(2, 3), i=In((2, 2), 0, 6, "int64")),
        Sample("x.take_along_dim(x.argmax(-1, keepdim=True), -1)", x=(2, 3)),
    ),
)


def _take_flat(x: Expr, index: Expr) -> Any:
    need_int64(index, "take", int32=False)
    return x.flatten()[index]


register(
    "take(Tensor input, Tensor index)",
    doc="Elements by their place in the flattened input.",
    define=_take_flat,
    samples=(
        Sample("x.take(i)", x=(2, 3), i=In((2, 2), -6, 6, "int64")),
        Sample("torch.take(x, i)", x=(), i=In((2,), 0, 1, "int64")),
    ),
)
