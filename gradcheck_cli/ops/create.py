"""Tensors made from nothing or after the shape of another; detach."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Shape, Type, t
from gradcheck_cli.ops._common import register, sizes
from gradcheck_cli.ops.cast import cast
from gradcheck_cli.schema import Invalid

_INT64_MAX = 2**63 - 1


def plain(number: Any) -> Any:
    """A number of a call, a symbolic size evaluated."""
    return number.value if isinstance(number, Expr) else number


def or_default(dtype: DType | None) -> DType:
    """`dtype`, or the default floating type where there is none."""
    return dtype or dtypes.default_dtype.get()


def dtype_of_numbers(*numbers: Any) -> DType:
    """What PyTorch makes of Python's numbers: bool, int64, or the default floating type."""
    if numbers and all(isinstance(n, bool) for n in numbers):
        return dtypes.bool_
    whole = numbers and all(isinstance(n, int) for n in numbers)
    return dtypes.int64 if whole else dtypes.default_dtype.get()


def new_shape(size: tuple[Any, ...]) -> Shape:
    """A shape that can be allocated in principle. Raises Invalid."""
    shape = sizes(size)
    if any(s < 0 for s in shape):
        raise Invalid("GC014", f"{shape} is no shape: sizes are 0 or more", argument="size")
    if 8 * math.prod(shape) > _INT64_MAX or any(s > _INT64_MAX for s in shape):
        raise Invalid("GC019", f"no memory holds a tensor of shape {shape}", argument="size")
    return shape


def count(number: Any, name: str) -> int:
    """A number of elements that can be allocated in principle. Raises Invalid."""
    found = plain(number)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        msg = f"`{name}` is a whole number, 0 or more, not {found}"
        raise Invalid("GC014", msg, argument=name)
    return new_shape((found,))[0]


def _fits(number: Any, dtype: DType, name: str, *, infinite: bool = False) -> None:
    """Refuse a number that `dtype` can't hold where PyTorch does; it lets -1 wrap around in uint8.

    `infinite`: numbers too large for a floating type become infinite instead. Raises Invalid (GC014).
    """
    if dtype.kind == "i":
        high = int(np.iinfo(dtype.numpy.name).max)
        low = -high if dtype is dtypes.uint8 else -high - 1
        fits = math.isfinite(number) and low <= number <= high
    elif dtype.kind == "f" and not infinite and not isinstance(number, bool):
        fits = not math.isfinite(number) or abs(number) <= float(np.finfo(dtype.numpy.name).max)
    else:
        fits = True
    if not fits:
        hint = f"{dtype.name} holds no such number; choose another `dtype`"
        raise Invalid("GC014", f"{number} doesn't fit into {dtype.name}", hint, name)


def _filled(shape: Shape, number: Any, dtype: DType) -> Any:
    return np.full(shape, cast(np.asarray(number), dtype))


def _like(x: Expr, dtype: DType | None) -> Type:
    return Type(x.shape, dtype or x.dtype)


def _full_like(x: Expr, fill_value: Any, dtype: DType | None) -> Type:
    result = _like(x, dtype)
    _fits(plain(fill_value), result.dtype, "fill_value")
    return result


def _like_kernel(x: Any, fill_value: Any, dtype: DType | None) -> Any:
    if dtype is None:
        return np.full(np.shape(x), np.asarray(fill_value).astype(np.asarray(x).dtype))
    return _filled(np.shape(x), fill_value, dtype)


register(
    "zeros_like(Tensor input, *, dtype? dtype=None)",
    doc="Zeros in the shape of the input.",
    infer=_like,
    kernel=lambda x, dtype: _like_kernel(x, 0, dtype),
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.zeros_like(x)", x=(2, 3)),
        Sample("torch.zeros_like(x, dtype=torch.int64)", x=(0, 3)),
        Sample("x + torch.zeros_like(x)", x=()),
    ),
)
register(
    "ones_like(Tensor input, *, dtype? dtype=None)",
    doc="Ones in the shape of the input.",
    infer=_like,
    kernel=lambda x, dtype: _like_kernel(x, 1, dtype),
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.ones_like(x)", x=(2, 3)),
        Sample("torch.ones_like(x, dtype=torch.bool)", x=()),
        Sample("x * torch.ones_like(x)", x=(0, 3)),
    ),
)
register(
    "full_like(Tensor input, Scalar fill_value, *, dtype? dtype=None)",
    doc="One number in the shape of the input.",
    infer=_full_like,
    kernel=_like_kernel,
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.full_like(x, 2)", x=(2, 3)),
        Sample("torch.full_like(x, -1.5, dtype=torch.float32)", x=()),
        Sample("x * torch.full_like(x, fill_value=x.size(0))", x=(3,)),
        Sample("torch.full_like(i, 2.7)", i=In((2, 3), dtype="int64", low=0, high=5)),
        Sample("torch.full_like(i, 2.7)", i=In((2,), dtype="bool")),
    ),
)
register(
    "zeros(size size, *, dtype? dtype=None)",
    doc="Zeros.",
    infer=lambda size, dtype: Type(new_shape(size), or_default(dtype)),
    kernel=lambda size, dtype: np.zeros(size, or_default(dtype).numpy),
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.zeros(2, 3) + x", x=(3,)),
        Sample("torch.zeros((0, 3), dtype=torch.bool)"),
        Sample("torch.zeros(x.shape) + x", x=()),
        Sample("torch.zeros(size=(2,), dtype=torch.float32)"),
    ),
)
register(
    "ones(size size, *, dtype? dtype=None)",
    doc="Ones.",
    infer=lambda size, dtype: Type(new_shape(size), or_default(dtype)),
    kernel=lambda size, dtype: np.ones(size, or_default(dtype).numpy),
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.ones(2, 3) * x", x=(3,)),
        Sample("torch.ones(x.size(0), 1, dtype=torch.int64)", x=(2, 3)),
        Sample("torch.ones(())"),
    ),
)


def _full(size: tuple[Any, ...], fill_value: Any, dtype: DType | None) -> Type:
    number = plain(fill_value)
    result = dtype or dtype_of_numbers(number)
    _fits(number, result, "fill_value")
    return Type(new_shape(size), result)


register(
    "full(size size, Scalar fill_value, *, dtype? dtype=None)",
    doc="One number in every place; its type is the result's.",
    infer=_full,
    kernel=lambda size, fill_value, dtype: _filled(
        size, fill_value, dtype or dtype_of_numbers(fill_value)
    ),
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.full((2, 3), 0.5) * x", x=(3,)),
        Sample("torch.full((2,), 3)"),
        Sample("torch.full((), True)"),
        Sample("torch.full((2,), 2.7, dtype=torch.int32)"),
        Sample("torch.full(size=x.shape, fill_value=x.numel()) * x", x=(2, 3)),
    ),
)
register(
    "new_zeros(Tensor input, size size, *, dtype? dtype=None)",
    doc="Zeros in the input's dtype.",
    define=lambda x, size, dtype: t.zeros(size, dtype=dtype or x.dtype),
    on=("Tensor",),
    samples=(Sample("x.new_zeros(2, 3) + x", x=(3,)), Sample("x.new_zeros((2,))", x=())),
)
register(
    "new_ones(Tensor input, size size, *, dtype? dtype=None)",
    doc="Ones in the input's dtype.",
    define=lambda x, size, dtype: t.ones(size, dtype=dtype or x.dtype),
    on=("Tensor",),
    samples=(Sample("x.new_ones(2, 3) + x", x=(3,)),),
)
register(
    "new_full(Tensor input, size size, Scalar fill_value, *, dtype? dtype=None)",
    doc="One number in every place, in the input's dtype.",
    define=lambda x, size, fill_value, dtype: t.full(size, fill_value, dtype=dtype or x.dtype),
    on=("Tensor",),
    samples=(Sample("x.new_full((2, 3), 2) * x", x=(3,)),),
)
register(
    "eye(Scalar n, Scalar? m=None, *, dtype? dtype=None)",
    doc="Ones on the diagonal of a matrix, zeros elsewhere.",
    infer=lambda n, m, dtype: Type(
        new_shape((count(n, "n"), count(n if m is None else m, "m"))), or_default(dtype)
    ),
    kernel=lambda n, m, dtype: np.eye(n, m, dtype=or_default(dtype).numpy),
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.eye(3) * x", x=(3,)),
        Sample("torch.eye(2, 3) * x", x=(3,)),
        Sample("torch.eye(x.size(0), m=0)", x=(3,)),
        Sample("torch.eye(2, dtype=torch.bool)"),
    ),
)

# Literals.


def _numbers(data: Any) -> tuple[Shape, list[Any]]:
    """The shape of nested tuples and the numbers in them. Raises Invalid where they are uneven."""
    if not isinstance(data, tuple):
        return (), [data]
    parts = [_numbers(item) for item in data]
    shapes = {shape for shape, _ in parts}
    if len(shapes) > 1:
        lengths = " and ".join(str(shape) for shape in dict.fromkeys(s for s, _ in parts))
        msg = f"the lists in tensor() differ in shape: {lengths}"
        raise Invalid("GC014", msg, "all rows need the same length", "data")
    inner = shapes.pop() if shapes else ()
    return (len(data), *inner), [number for _, numbers in parts for number in numbers]


def _tensor(data: Any, dtype: DType | None) -> Type:
    shape, numbers = _numbers(data)
    result = dtype or dtype_of_numbers(*numbers)
    for number in numbers:
        _fits(number, result, "data", infinite=True)
    return Type(shape, result)


def _tensor_kernel(data: Any, dtype: DType | None) -> Any:
    shape, numbers = _numbers(data)
    result = dtype or dtype_of_numbers(*numbers)
    return cast(np.array(numbers, None if numbers else result.numpy).reshape(shape), result)


register(
    "tensor(data data, *, dtype? dtype=None)",
    doc="A tensor from a number or nested lists of numbers.",
    infer=_tensor,
    kernel=_tensor_kernel,
    on=("torch",),
    aliases=("as_tensor",),
    analytic=True,
    samples=(
        Sample("torch.tensor([[1.0, 2.0, 3.0], [4, 5, -6]]) * x", x=(3,)),
        Sample("torch.tensor(2) * x", x=(2,)),
        Sample("torch.tensor([True, False])"),
        Sample("torch.tensor([True, 2])"),
        Sample("torch.tensor([])"),
        Sample("torch.tensor([[], []])"),
        Sample("torch.tensor([math.inf, -math.inf, 0.1], dtype=torch.float32)"),
        Sample("torch.tensor(2.7, dtype=torch.uint8)"),
    ),
)
register(
    "scalar_tensor(Scalar s, *, dtype? dtype=None)",
    doc="One number as a tensor without dimensions, in the default floating type.",
    define=lambda s, dtype: t.full((), s, dtype=or_default(dtype)),
    on=("torch",),
    samples=(Sample("torch.scalar_tensor(2) * x", x=(3,)),),
)
register(
    "detach(Tensor input)",
    doc="The same values, through which no gradient flows.",
    infer=lambda x: Type(x.shape, x.dtype),
    # The imaginary part carries the derivative where a graph is run with a complex step.
    kernel=np.real,
    complex_kernel=np.asarray,
    also=("torch.detach_copy",),
    method=True,
    analytic=True,
    samples=(
        # Compared with finite differences, a detached path must show: so the whole is detached.
        Sample("x.detach()", x=(2, 3), grad=False),
        Sample("torch.detach(x)", x=(), grad=False),
        Sample("torch.detach_copy(x)", x=(2,), grad=False),
    ),
)

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
