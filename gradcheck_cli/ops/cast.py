"""The same values in another dtype, or just themselves: to, double, type_as, clone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type
from gradcheck_cli.ops._common import register

_BFLOAT16_BITS = np.uint32(16)


def cast(x: Any, dtype: DType | None) -> Any:
    """An array in `dtype`; None leaves it as it is.

    Complex input, on which a complex step runs, stays complex in a floating type: rounding has no
    derivative of its own, so that the derivative passes unchanged.
    """
    if dtype is None:
        return x
    x = np.asarray(x)
    if x.dtype.kind == "c":
        return x if dtype.is_floating else x.real.astype(dtype.numpy)
    if dtype is dtypes.bfloat16:
        return _to_bfloat16(x.astype(np.float32))
    return x.astype(dtype.numpy, copy=False)


def _to_bfloat16(x: Any) -> Any:
    """float32 rounded to the nearest of the numbers that bfloat16 has, ties to even."""
    bits = x.view(np.uint32)
    odd = (bits >> _BFLOAT16_BITS) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))


def cast_back(g: Expr, x: Expr) -> Expr:
    """A gradient in the dtype of what it belongs to."""
    if g.value is not None or g.dtype is x.dtype:
        return g
    back: Expr = g.to(x.dtype)
    return back


def _converting(x: Any, out: Any) -> None:
    np.copyto(out, x, casting="unsafe")


register(
    "to(Tensor input, dtype dtype)",
    doc="The same values in another dtype.",
    infer=lambda x, dtype: Type(x.shape, dtype),
    kernel=cast,
    into=lambda node: None if node.dtype is dtypes.bfloat16 else _converting,
    broadcasts=True,
    vjp=lambda g, out, x, dtype: cast_back(g, x) if dtype.is_floating else None,
    on=("Tensor",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.to(torch.float64)", x=(2, 3)),
        # Rounding to fewer bits has no derivative that a difference quotient would see.
        Sample("x.to(torch.float32)", x=(2, 3), grad=False),
        Sample("x.to(dtype=torch.int64)", x=(2, 3), grad=False),
        Sample("x.to(torch.bool)", x=In(value=[0.0, -0.5, 2.0])),
        Sample("i.to(torch.float64) * x", x=(3,), i=In((3,), dtype="int64", low=0, high=5)),
        Sample("x.to(torch.float64)", x=In((2, 3), dtype="float32"), grad=False),
    ),
)
register(
    "to.other(Tensor input, Tensor other)",
    doc="The same values in the dtype of another tensor.",
    define=lambda x, other: x.to(other.dtype),
    on=("Tensor",),
    samples=(Sample("i.to(x) * x", x=(3,), i=In((3,), dtype="int64", low=0, high=5)),),
)
register(
    "type_as(Tensor input, Tensor other)",
    doc="The same values in the dtype of another tensor.",
    define=lambda x, other: x.to(other.dtype),
    on=("Tensor",),
    samples=(Sample("i.type_as(x) * x", x=(3,), i=In((3,), dtype="int64", low=0, high=5)),),
)
register(
    "type(Tensor input, dtype dtype)",
    doc="The same values in another dtype.",
    define=lambda x, dtype: x.to(dtype),
    on=("Tensor",),
    samples=(Sample("x.type(torch.float64)", x=(2, 3)),),
)

for _name, _dtype in {
    "double": dtypes.float64,
    "float": dtypes.float32,
    "half": dtypes.float16,
    "bfloat16": dtypes.bfloat16,
    "long": dtypes.int64,
    "int": dtypes.int32,
    "short": dtypes.int16,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bool": dtypes.bool_,
}.items():
    register(
        f"{_name}(Tensor input)",
        doc=f"The same values as {_dtype.name}.",
        define=lambda x, dtype=_dtype: x if x.dtype is dtype else x.to(dtype),
        on=("Tensor",),
        # NumPy has no bfloat16, so results are compared after widening.
        samples=(
            Sample(f"x.{_name}().double()", x=(2, 3), grad=_dtype is dtypes.float64),
            Sample(f"i.{_name}().to(torch.int64)", i=In((3,), dtype="int64", low=0, high=5)),
        ),
    )

# Copies and memory layouts make no difference to values that never change.
register(
    "clone(Tensor input)",
    doc="A copy.",
    define=lambda x: x,
    samples=(Sample("x.clone()", x=(2, 3)), Sample("torch.clone(x) * x", x=())),
)
register(
    "contiguous(Tensor input)",
    doc="The same values, stored in order.",
    define=lambda x: x,
    on=("Tensor",),
    samples=(Sample("x.T.contiguous()", x=(2, 3)),),
)

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
