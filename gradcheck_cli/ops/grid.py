"""Every choice of elements: grids of coordinates, pairs of vectors' elements, combinations of one's own."""

from __future__ import annotations

from itertools import chain, combinations, combinations_with_replacement
from math import comb
from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import as_tensor, register
from gradcheck_cli.schema import Invalid


def _meshgrid(*tensors: Expr, indexing: str | None) -> tuple[Expr, ...]:
    _vectors("meshgrid", tensors, least=0)
    if indexing not in (None, "ij", "xy"):
        msg = f"meshgrid() has no indexing {indexing!r}"
        raise Invalid("GC014", msg, 'use "ij" for rows first, or "xy"', "indexing")
    order = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        order[:2] = [1, 0]
    shape = tuple(_length(tensors[place]) for place in order)
    return tuple(
        x.reshape(tuple(-1 if of == place else 1 for of in order)).expand(shape)
        for place, x in enumerate(tensors)
    )


def _length(x: Expr) -> Any:
    return x.size(0) if x.ndim else 1


def _vectors(name: str, tensors: tuple[Expr, ...], *, least: int) -> None:
    """Refuse anything but one or more vectors of one dtype. Raises Invalid."""
    if not tensors:
        raise Invalid("GC014", f"{name}() needs at least one tensor", argument="tensors")
    for x in tensors:
        if not least <= x.ndim <= 1:
            msg = f"{name}() takes vectors, not a tensor of shape {x.shape}"
            raise Invalid("GC015", msg, "flatten() makes a vector of any tensor", "tensors")
        if x.dtype is not tensors[0].dtype:
            msg = f"{name}() needs one dtype, not {tensors[0].dtype.name} and {x.dtype.name}"
            raise Invalid("GC016", msg, f"convert one of them: x.to({x.dtype})", "tensors")


register(
    "meshgrid(Tensor[]... tensors, *, str? indexing=None)",
    doc="The coordinates of a grid: each vector along a dimension of its own.",
    define=_meshgrid,
    on=("torch",),
    samples=(
        Sample("torch.meshgrid(x, y)[0]", x=(2,), y=(3,)),
        Sample('torch.meshgrid([x, y], indexing="xy")[1] * x', x=(2,), y=(3,)),
        Sample('torch.meshgrid(x, y, z, indexing="ij")[2]', x=(2,), y=(), z=(3,)),
        Sample('torch.meshgrid(x, indexing="xy")[0]', x=()),
        Sample("torch.meshgrid(x, y)[1]", x=(0,), y=(2,)),
    ),
)


def _cartesian_prod(*tensors: Expr) -> Any:
    _vectors("cartesian_prod", tensors, least=1)
    if len(tensors) == 1:
        return tensors[0]
    grid = _meshgrid(*tensors, indexing="ij")
    return t.stack([x.flatten() for x in grid], 1)


register(
    "cartesian_prod(Tensor[]... tensors)",
    doc="All tuples of one element of each vector, as rows.",
    define=_cartesian_prod,
    on=("torch",),
    samples=(
        Sample("torch.cartesian_prod(x, y)", x=(2,), y=(3,)),
        Sample("torch.cartesian_prod(x)", x=(2,)),
        Sample("torch.cartesian_prod(x, y, x)", x=(1,), y=(2,)),
    ),
)


def _combinations(x: Expr, r: int, *, with_replacement: bool) -> Type:
    if x.ndim != 1:
        msg = f"combinations() takes the elements of a vector, not of a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "flatten() makes a vector of any tensor", "input")
    if r < 0:
        raise Invalid("GC014", f"combinations() of {r} elements: it must be 0 or more", None, "r")
    if r == 0:
        return Type((0,), x.dtype)
    size = x.elements
    count = comb(size + r - 1, r) if with_replacement and size else comb(size, r)
    return Type((count, r), x.dtype)


def _combined(x: Any, r: int, with_replacement: bool) -> Any:
    if r == 0:
        return x[:0]
    choose = combinations_with_replacement if with_replacement else combinations
    flat = np.fromiter(chain.from_iterable(choose(range(len(x)), r)), np.int64)
    return x[flat.reshape(-1, r)]


def _combinations_vjp(g: Expr, out: Expr, x: Expr, r: int, *, with_replacement: bool) -> Any:
    if r == 0:
        return t.zeros_like(x)
    places = t.combinations(t.arange(x.numel()), r, with_replacement)
    return t.zeros_like(x).index_put((places,), as_tensor(g, out), accumulate=True)


register(
    "combinations(Tensor input, int r=2, bool with_replacement=False)",
    doc="All choices of r elements of a vector, in order, as rows.",
    infer=_combinations,
    kernel=_combined,
    vjp=_combinations_vjp,
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.combinations(x)", x=(4,)),
        Sample("torch.combinations(x, 3, with_replacement=True)", x=(3,)),
        Sample("torch.combinations(x, r=1)", x=(2,)),
        Sample("torch.combinations(x, 3)", x=(2,)),
        Sample("torch.combinations(x, 0)", x=(2,)),
        Sample("torch.combinations(x)", x=(0,)),
        Sample("torch.combinations(i)", i=In((3,), 0, 9, "int64")),
    ),
)
