"""The same values in another dtype, or just themselves: to, double, type_as, clone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.schema import Invalid

_BFLOAT16_BITS = np.uint32(16)


def cast(x: Any, dtype: DType | None) -> Any:
    """An array in `dtype`; None leaves it as it is.

    Complex input, on which a complex step runs, stays complex in a floating type: rounding has no
    derivative of its own, so that the derivative passes unchanged.
    """
    if dtype is None:
        return x
    x = np.asarray(x)
    if x.dtype.kind == "c" and dtype.kind != "z":
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
    if g.dtype.kind == "z" and x.dtype.kind != "z":
        g = t.real(g)
    back: Expr = g.to(x.dtype)
    return back


def _converted(x: Expr, dtype: DType) -> Type:
    if x.dtype.kind == "z" and dtype.kind != "z":
        msg = f"a complex tensor can't become {dtype.name}: its imaginary part would be lost"
        raise Invalid("GC016", msg, "take the real part: x.real", "dtype")
    return Type(x.shape, dtype)


# How a tensor lies in memory makes no difference to its values; what is checked is what PyTorch refuses.
_FORMATS = {
    "contiguous_format": None,
    "preserve_format": None,
    "channels_last": 4,
    "channels_last_3d": 5,
}
_FORMAT = "str? memory_format=None"


def _laid_out(x: Expr, memory_format: str | None) -> Expr:
    """The tensor itself. Raises Invalid where PyTorch has no such memory format for it."""
    if memory_format is None:
        return x
    name = memory_format.removeprefix("torch.")
    if name not in _FORMATS or name == memory_format:
        msg = f"a memory format is {', '.join(f'torch.{known}' for known in _FORMATS)}"
        raise Invalid("GC014", f"{msg}, not {memory_format!r}", argument="memory_format")
    rank = _FORMATS[name]
    if rank not in (None, x.ndim):
        msg = f"{memory_format} is for tensors of {rank} dimensions, not for the shape {x.shape}"
        raise Invalid("GC015", msg, "leave it out: values are checked, not memory", "memory_format")
    return x


def _converting(x: Any, out: Any) -> None:
    np.copyto(out, x, casting="unsafe")


register(
    "to(Tensor input, dtype dtype)",
    doc="The same values in another dtype.",
    infer=_converted,
    kernel=cast,
    into=lambda node: None if node.dtype is dtypes.bfloat16 else _converting,
    broadcasts=True,
    vjp=lambda g, out, x, dtype: cast_back(g, x) if dtype.kind in "fz" else None,
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


def _to_dtype(
    input: Expr, dtype: DType | None, *, non_blocking: bool, copy: bool, memory_format: str | None
) -> Expr:
    x = _laid_out(input, memory_format)
    return x if dtype is None else x.to(dtype)


def _to_device(input: Expr, device: str, dtype: DType | None, **rest: Any) -> Expr:
    if device != "cpu":
        msg = f"to() wants a dtype, a tensor or 'cpu', not {device!r}"
        hint = "leave it out: the check's `device` holds"
        if device in dtypes.BY_NAME or device in dtypes.ALIASES:
            hint = f"write x.to(torch.{device})"
        raise Invalid("GC014", msg, hint, "device")
    return _to_dtype(input, dtype, **rest)


_MOVING = f"bool non_blocking=False, bool copy=False, *, {_FORMAT}"

register(
    f"to.dtype(Tensor input, dtype? dtype=None, {_MOVING})",
    doc="The same values in another dtype; how they are copied makes no difference.",
    define=_to_dtype,
    on=("Tensor",),
    samples=(
        Sample("x.to(torch.float64, True, copy=True)", x=(2, 3)),
        Sample("x.to(torch.float64, memory_format=torch.channels_last)", x=(2, 1, 3, 2)),
        Sample("x.to(copy=True) * x", x=()),
    ),
)
register(
    f"to.device(Tensor input, str device, dtype? dtype=None, {_MOVING})",
    doc="The same values on the CPU.",
    define=_to_device,
    on=("Tensor",),
    samples=(
        Sample("x.to('cpu') * x", x=(2, 3)),
        Sample("x.to('cpu', torch.float64, True, True)", x=(2, 3)),
    ),
)
register(
    f"to.other(Tensor input, Tensor other, {_MOVING})",
    doc="The same values in the dtype of another tensor.",
    define=lambda input, other, **rest: _to_dtype(input, other.dtype, **rest),
    on=("Tensor",),
    samples=(
        Sample("i.to(x) * x", x=(3,), i=In((3,), dtype="int64", low=0, high=5)),
        Sample("x.to(y, False, True) * y", x=(3,), y=(3,)),
    ),
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


def _cast(x: Expr, dtype: DType, memory_format: str | None) -> Expr:
    x = _laid_out(x, memory_format)
    return x if x.dtype is dtype else x.to(dtype)


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
    "cfloat": dtypes.complex64,
    "cdouble": dtypes.complex128,
}.items():
    register(
        f"{_name}(Tensor input, {_FORMAT})",
        doc=f"The same values as {_dtype.name}.",
        define=lambda input, memory_format, dtype=_dtype: _cast(input, dtype, memory_format),
        on=("Tensor",),
        # NumPy has no bfloat16, so results are compared after widening.
        samples=(
            Sample(f"x.{_name}().double()", x=(2, 3), grad=_dtype is dtypes.float64),
            Sample(f"i.{_name}().to(torch.int64)", i=In((3,), dtype="int64", low=0, high=5)),
        )
        if _dtype.kind != "z"
        else (Sample(f"x.{_name}().real.double()", x=(2, 3), grad=_dtype is dtypes.complex128),),
    )

# Copies and memory layouts make no difference to values that never change.
register(
    f"clone(Tensor input, *, {_FORMAT})",
    doc="A copy.",
    define=_laid_out,
    samples=(
        Sample("x.clone()", x=(2, 3)),
        Sample("torch.clone(x) * x", x=()),
        Sample("x.clone(memory_format=torch.contiguous_format)", x=(2, 3)),
    ),
)
register(
    "alias_copy(Tensor input)",
    doc="A copy.",
    define=lambda input: input,
    on=("torch",),
    samples=(Sample("torch.alias_copy(x) * x", x=(3,)),),
)
register(
    f"contiguous(Tensor input, {_FORMAT})",
    doc="The same values, stored in order.",
    define=_laid_out,
    on=("Tensor",),
    samples=(
        Sample("x.T.contiguous()", x=(2, 3)),
        Sample("x.contiguous(memory_format=torch.channels_last)", x=(1, 2, 3, 2)),
    ),
)

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
