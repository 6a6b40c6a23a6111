"""Gathering and scattering along a dimension by a tensor of indices.

With reductions other than a sum: `scatter_reduce.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import as_tensor, dim_of, register
from gradcheck_cli.ops.accumulate import add_at
from gradcheck_cli.ops.index import within, writable
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
    if index.elements:
        need_int64(index, "gather")
    d = dim_of(dim, x.ndim)
    if index.elements:
        _need_fit("gather", x, index, d, "the input")
    return Type(index.shape, x.dtype)


def grid(x: Any, dim: int, index: Any, *, name_dim: int | None = None) -> Key:
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
    return whole[grid(whole, dim, np.atleast_1d(index))].reshape(index.shape)


def _rows(node: Expr) -> int:
    """Over how many leading dims all tensors go side by side.

    Blocks may have them as one, so that a dim counted from the front is only right behind a single one.
    """
    dim = dim_of(node.attributes["dim"], node.ndim)
    if dim > 1 and node.attributes["dim"] > 0:
        return 0
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
        Sample("x.gather(2, i)", x=(2, 3, 4), i=In((2, 3, 2), 0, 4, "int64")),
        Sample("x.gather(0, i)", x=(), i=In((), 0, 1, "int64")),
        Sample("x.gather(0, i)", x=(3,), i=In((0,), 0, 3, "int64")),
    ),
)


def scatter_type(name: str, x: Expr, index: Expr, src: Expr | None, dim: int) -> Type:
    """What all that scatter check, and their type. Raises Invalid (GC014, GC015, GC016)."""
    if index.elements:
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
    key = grid(whole, dim, index)
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
    infer=lambda x, index, dim, value: scatter_type("scatter", x, index, None, dim),
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
    infer=lambda x, index, src, dim: scatter_type("scatter", x, index, src, dim),
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


def _scatter_reduce(x: Expr, index: Expr, src: Expr, *, dim: int, reduce: str) -> Any:
    if reduce == "add":
        return x.scatter_add(dim, index, src)
    if reduce == "multiply":
        return x.scatter_reduce(dim, index, src, "prod")
    msg = f"scatter() has no reduce {reduce!r}"
    raise Invalid("GC014", msg, "use 'add' or 'multiply'; scatter_reduce() has more", "reduce")


register(
    "scatter.reduce(Tensor input, int dim, Tensor index, Tensor src, *, str reduce)",
    doc="The input with the elements of src added to, or multiplied by, those that an index tensor names.",
    define=_scatter_reduce,
    samples=(
        # PyTorch has no gradient of it.
        Sample("x.scatter(1, i, y, reduce='add')", grad=False, x=(3, 4), y=(3, 2), i=_PLACES),
        Sample("x.scatter(1, i, y, reduce='multiply')", grad=False, x=(3, 4), y=(3, 2), i=_PLACES),
    ),
)
register(
    "scatter.value_reduce(Tensor input, int dim, Tensor index, Scalar value, *, str reduce)",
    doc="The input with a number added to, or multiplied by, the elements that an index tensor names.",
    define=lambda x, index, *, dim, value, reduce: _scatter_reduce(
        x, index, t.full_like(index, value, dtype=x.dtype), dim=dim, reduce=reduce
    ),
    samples=(
        Sample("x.scatter(1, i, 2.5, reduce='add')", grad=False, x=(3, 4), i=_PLACES),
        Sample(
            "torch.scatter(x, 0, i, 3, reduce='multiply')",
            grad=False,
            x=(4,),
            i=In(value=[1, 1], dtype="int64"),
        ),
    ),
)
register(
    "scatter_add(Tensor input, int dim, Tensor index, Tensor src)",
    doc="The input with the elements of src added at the places that an index tensor names.",
    infer=lambda x, index, src, dim: scatter_type("scatter_add", x, index, src, dim),
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
