"""Tensors made from nothing that count: ranges, evenly spaced numbers, the places of a triangle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, infix, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.cast import cast
from gradcheck_cli.ops.create import count, dtype_of_numbers, new_shape, or_default, plain
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType


def _steps(start: Any, end: Any, step: Any, dtype: DType) -> int:
    """How many numbers arange() gives: in int64 by whole numbers, else rounded in float64."""
    if dtype is dtypes.int64:
        start, end, step = int(start), int(end), int(step)
        return -((start - end) // step) if step else 0
    return math.ceil((float(end) - float(start)) / float(step))


def _arange(start: Any, end: Any, step: Any, dtype: DType | None) -> Type:
    start, end, step = plain(start), plain(end), plain(step)
    result = dtype or dtype_of_numbers(start, end, step)
    if result is dtypes.bool_:
        if dtype is not None:
            raise Invalid("GC016", "arange() makes no masks", "use another dtype", "dtype")
        result = dtypes.int64
    if not all(map(math.isfinite, (start, end, step))):
        raise Invalid("GC014", "the bounds and the step of arange() are finite", argument="end")
    if step == 0 or (result.kind == "i" and int(step) == 0):
        raise Invalid("GC014", "the step of arange() can't be 0", argument="step")
    if (end - start) * step < 0:
        msg = f"arange() doesn't get from {start} to {end} in steps of {step}"
        raise Invalid("GC014", msg, "change the sign of the step", "step")
    return Type(new_shape((_steps(start, end, step, result),)), result)


def _arange_kernel(start: Any, end: Any, step: Any, dtype: DType | None) -> Any:
    result = _arange(start, end, step, dtype).dtype
    places = np.arange(_steps(start, end, step, result))
    if result.kind == "i":
        return (int(start) + places * int(step)).astype(result.numpy)
    return cast(start + places * float(step), result)


register(
    "arange(Scalar end, *, dtype? dtype=None)",
    doc="The numbers from 0 up to, but without, end.",
    define=lambda end, dtype: t.arange(0, end, dtype=dtype),
    on=("torch",),
    samples=(
        Sample("torch.arange(3) * x", x=(3,)),
        Sample("torch.arange(2.5)"),
        Sample("torch.arange(x.size(0))", x=(2, 3)),
        Sample("torch.arange(3, dtype=torch.float32)"),
    ),
)
register(
    "arange.start_step(Scalar start, Scalar end, Scalar step=1, *, dtype? dtype=None)",
    doc="The numbers from start up to, but without, end.",
    infer=_arange,
    kernel=_arange_kernel,
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.arange(1, 7, 2) * x", x=(3,)),
        Sample("torch.arange(0, 1, 0.1)"),
        Sample("torch.arange(4, 1, -0.7)"),
        Sample("torch.arange(start=1, end=1)"),
        Sample("torch.arange(0.5, 3.7, dtype=torch.int64)"),
        Sample("torch.arange(0, 1.5, dtype=torch.int32)"),
    ),
)


def _linspace(start: Any, end: Any, steps: Any, dtype: DType | None) -> Type:
    return Type((count(steps, "steps"),), or_default(dtype))


def _linspace_kernel(start: Any, end: Any, steps: int, dtype: DType | None) -> Any:
    """From both ends to the middle, as PyTorch does, so that the last number is `end` itself."""
    result = or_default(dtype)
    if result.kind == "i":
        start, end = int(start), int(end)
    step = (end - start) / max(steps - 1, 1)
    i = np.arange(steps)
    numbers = np.where(i < steps // 2, start + i * step, end - (steps - 1 - i) * step)
    return cast(numbers if steps != 1 else np.full(1, float(start)), result)


register(
    "linspace(Scalar start, Scalar end, Scalar steps, *, dtype? dtype=None)",
    doc="Evenly spaced numbers from start to end, both included.",
    infer=_linspace,
    kernel=_linspace_kernel,
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.linspace(0, 1, 3) * x", x=(3,)),
        Sample("torch.linspace(-0.1, 1.7, steps=6)"),
        Sample("torch.linspace(2, 10, 1)"),
        Sample("torch.linspace(2, 10, 0)"),
        Sample("torch.linspace(0, 10, 5, dtype=torch.int64)"),
        Sample("torch.linspace(x.size(0), 0, x.size(0)) * x", x=(3,)),
    ),
)


def _between(start: Expr, end: Expr, *, steps: Any, dtype: DType | None) -> Type:
    for name, bound in (("start", start), ("end", end)):
        if bound.ndim:
            msg = f"`{name}` is a number or a tensor without dimensions, not one of shape {bound.shape}"
            raise Invalid("GC015", msg, None, name)
    return _linspace(0, 0, steps, dtype)


register(
    "linspace.tensors(Tensor|Scalar start, Tensor|Scalar end, Scalar steps, *, dtype? dtype=None)",
    doc="Evenly spaced numbers between scalar tensors, through which no gradient flows.",
    infer=_between,
    kernel=lambda start, end, steps, dtype: _linspace_kernel(
        np.asarray(start).item(), np.asarray(end).item(), steps, dtype
    ),
    on=("torch",),
    samples=(
        # PyTorch takes the bounds as numbers: its gradient is zero, whatever a difference quotient says.
        Sample("torch.linspace(x, 1, 3)", x=(), grad=False),
        Sample("torch.linspace(0.5, x, steps=4) * y", x=(), y=(4,), grad=False),
        Sample("torch.linspace(i, i, 2, dtype=torch.int32)", i=In((), 1, 5, "int64")),
    ),
)
register(
    "logspace(Scalar start, Scalar end, Scalar steps, float base=10.0, *, dtype? dtype=None)",
    doc="Powers of base with evenly spaced exponents.",
    define=lambda start, end, steps, base, dtype: infix(
        "pow", base, t.linspace(start, end, steps, dtype=dtype)
    ),
    on=("torch",),
    samples=(Sample("torch.logspace(0, 2, 3) * x", x=(3,)), Sample("torch.logspace(-1, 1, 4, 2)")),
)
register(
    "logspace.tensors(Tensor|Scalar start, Tensor|Scalar end, Scalar steps, float base=10.0, *, "
    "dtype? dtype=None)",
    doc="Powers of base with evenly spaced exponents between scalar tensors.",
    define=lambda start, end, steps, base, dtype: infix(
        "pow", base, t.linspace(start, end, steps, dtype=dtype)
    ),
    on=("torch",),
    samples=(Sample("torch.logspace(i, 3, 4)", i=In((), 1, 3, "int64")),),
)

# Triangles.


def _triangle(row: Any, col: Any, offset: int, dtype: DType, *, lower: bool) -> Type:
    if dtype not in (dtypes.int64, dtypes.int32):
        msg = f"places are int64 or int32, not {dtype.name}"
        raise Invalid("GC016", msg, "leave `dtype` out", "dtype")
    rows, columns = count(row, "row"), count(col, "col")
    below = np.clip(np.arange(rows) + (offset + lower), 0, columns)  # how many in each row
    total = int(below.sum() if lower else (columns - below).sum())
    return Type(new_shape((2, total)), dtype)


for _name, _lower, _places in (
    ("tril_indices", True, np.tril_indices),
    ("triu_indices", False, np.triu_indices),
):
    register(
        f"{_name}(Scalar row, Scalar col, int offset=0, *, dtype? dtype=None)",
        doc=f"The rows and columns of the {'lower' if _lower else 'upper'} triangle of a matrix.",
        infer=lambda row, col, offset, dtype, lower=_lower: _triangle(
            row, col, offset, dtype or dtypes.int64, lower=lower
        ),
        kernel=lambda row, col, offset, dtype, places=_places: np.stack(
            places(row, offset, col)
        ).astype((dtype or dtypes.int64).numpy),
        on=("torch",),
        samples=(
            Sample(f"torch.{_name}(3, 3)"),
            Sample(f"torch.{_name}(2, 4, -1, dtype=torch.int32)"),
            Sample(f"torch.{_name}(4, 2, offset=1)"),
            Sample(f"torch.{_name}(0, 2)"),
            Sample(f"x[torch.{_name}(x.size(0), 3)[0], torch.{_name}(x.size(0), 3)[1]]", x=(3, 3)),
        ),
    )
