"""What records share: registering, shapes, dims, and the short forms for whole families of records."""

from __future__ import annotations

from inspect import currentframe
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import TABLE, Expr, Op, Shape, Type, t
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from gradcheck_cli.dtypes import DType


class _Lazy:
    """A module imported at its first use: SciPy costs more time than all else that a check imports."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        import importlib

        module: ModuleType = importlib.import_module(self._name)
        return getattr(module, attribute)


# Where tests of elementwise records draw, by the record's `domain`; kinks and poles are kept away from.
DOMAINS: dict[str, tuple[float | None, float | None]] = {
    "": (None, None),
    "positive": (0.2, 3.0),
    "unit": (-0.9, 0.9),
    "probability": (0.05, 0.95),
    "above_one": (1.1, 3.0),
}

# Below so many elements a NumPy call costs more than its pass over them: fewer calls, whatever they do.
FEW = 1 << 13

# As many dimensions as PyTorch's reductions, and NumPy's arrays, can have.
MAX_NDIM = 64

special = _Lazy("scipy.special")
linalg = _Lazy("scipy.linalg")
sparse = _Lazy("scipy.sparse")


def register(schema: str, **fields: Any) -> Op:
    """Make a record and put it in the table."""
    return TABLE.add(Op(schema=schema, file=_file(), **fields))


def _file() -> str:
    """The file that is being imported: records are made nowhere else, if often by functions of others."""
    frame = currentframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return "" if frame is None else frame.f_globals["__name__"].rpartition(".")[2]


def broadcast(*shapes: Shape) -> Shape:
    """The common shape of operands. Raises Invalid (GC015) with all shapes named.

    >>> broadcast((3, 1), (4,))
    (3, 4)
    """
    distinct = {*shapes, ()}
    if len(distinct) <= 2:  # one shape beside that of a number
        return max(distinct, key=len)
    result: list[int] = []
    for position in range(1, max((len(shape) for shape in shapes), default=0) + 1):
        size = 1
        for shape in shapes:
            if len(shape) >= position and shape[-position] != 1:
                if size not in (1, shape[-position]):
                    listed = " and ".join(str(s) for s in dict.fromkeys(shapes))
                    msg = (
                        f"shapes {listed} can't be broadcast together: sizes {size} and "
                        f"{shape[-position]} meet at dimension {-position}"
                    )
                    raise Invalid("GC015", msg, "sizes must be equal, or one of them 1")
                size = shape[-position]
        result.append(size)
    return tuple(reversed(result))


def expands(shape: Shape, wanted: Shape) -> bool:
    """Whether broadcasting alone turns `shape` into `wanted`."""
    rest = wanted[len(wanted) - len(shape) :]
    return len(shape) <= len(wanted) and all(s in (1, w) for s, w in zip(shape, rest, strict=True))


def promote(*args: Expr | None) -> DType:
    """PyTorch's result type of operands."""
    return dtypes.promote([(a.dtype, a.ndim == 0) for a in args if a is not None])


def elementwise(*args: Expr | None, **_: Any) -> Type:
    """infer: shapes broadcast, types promoted."""
    return Type(broadcast(*(a.shape for a in args if a is not None)), promote(*args))


def elementwise_floating(*args: Expr | None, **_: Any) -> Type:
    """infer: as `elementwise`, integers become the default floating type."""
    shape, dtype = elementwise(*args)
    return Type(shape, dtypes.to_default_floating(dtype))


def elementwise_bool(*args: Expr | None, **_: Any) -> Type:
    """infer: a mask."""
    return Type(broadcast(*(a.shape for a in args if a is not None)), dtypes.bool_)


def numeric(
    name: str, infer: Callable[..., Type] = elementwise, *, floating: bool = False
) -> Callable[..., Type]:
    """`infer` made to refuse a result of masks or, with `floating`, of anything but real numbers."""

    def check(*args: Expr | None, **attributes: Any) -> Type:
        result = infer(*args, **attributes)
        if result.dtype.kind == "b":
            msg = f"{name}() isn't defined for masks (dtype bool)"
            raise Invalid("GC016", msg, "make numbers of it first: torch.where(mask, 1.0, 0.0)")
        if floating and result.dtype.kind == "i":
            msg = f"{name}() needs a floating-point tensor, not {result.dtype.name}"
            raise Invalid("GC016", msg, "give the input a floating dtype")
        return result

    return check


def one_tensor(name: str, infer: Callable[..., Type] = elementwise) -> Callable[..., Type]:
    """`infer` made to refuse two Python numbers, where PyTorch wants a tensor for one of them."""

    def check(x: Expr, y: Expr, **attributes: Any) -> Type:
        if x.value is not None and y.value is not None:
            msg = f"{name}() wants at least one tensor, not two numbers"
            raise Invalid("GC014", msg, "make a tensor of one: torch.tensor(2.0)")
        return infer(x, y, **attributes)

    return check


_DTYPE_OF = {d.numpy: d for d in dtypes.BY_NAME.values() if d is not dtypes.bfloat16}
_WEAK = {bool: dtypes.pybool, int: dtypes.pyint, float: dtypes.pyfloat}


def common(*values: Any, floating: bool = False) -> Sequence[Any]:
    """A kernel's operands in the type that PyTorch computes in; with `floating`, integers made real.

    NumPy promotes otherwise: to float64 where a zero-dimensional float64 meets a float32 vector, to
    float16 for `exp` of a mask, and it refuses the Python number 300 beside a uint8.
    """
    found = {value.dtype for value in values if hasattr(value, "dtype")}
    if len(found) == 1 and next(iter(found)).kind in "fc":
        return values
    dtype = dtypes.promote(
        [
            (_DTYPE_OF[v.dtype], v.ndim == 0) if hasattr(v, "dtype") else (_WEAK[type(v)], True)
            for v in values
            if v is not None
        ]
    )
    target = (dtypes.to_default_floating(dtype) if floating else dtype).numpy
    return [None if v is None else np.asarray(v).astype(target, copy=False) for v in values]


def typed(kernel: Callable[..., Any], *, floating: bool = False) -> Callable[..., Any]:
    """`kernel` on operands brought to their `common` type first."""

    def run(*values: Any, **attributes: Any) -> Any:
        return kernel(*common(*values, floating=floating), **attributes)

    return run


def dim_of(dim: int, ndim: int, name: str = "dim") -> int:
    """`dim` counted from the front. A zero-dimensional tensor takes 0 and -1, as in PyTorch.

    Raises Invalid (GC014).
    """
    top = max(ndim, 1)
    if not -top <= dim < top:
        msg = f"dimension {dim} is out of range for a tensor of {ndim} dimensions"
        raise Invalid("GC014", msg, f"use {-top} to {top - 1}", name)
    return dim % top


def dims_of(dim: Sequence[int] | int | None, ndim: int) -> tuple[int, ...]:
    """The dims that a reduction goes over, sorted; None and () mean all. Raises Invalid (GC014)."""
    if ndim > MAX_NDIM:
        msg = f"only tensors of up to {MAX_NDIM} dimensions can be reduced, and this one has {ndim}"
        raise Invalid("GC015", msg, "merge some of them: x.flatten(0, 9)")
    if dim is None or dim == ():
        return tuple(range(ndim))
    listed = [dim_of(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim)]
    if len(set(listed)) != len(listed):
        raise Invalid(
            "GC014", f"dimension {max(listed, key=listed.count)} is named twice", argument="dim"
        )
    return tuple(sorted(d for d in listed if ndim))


def reduced(shape: Shape, dims: Sequence[int], *, keepdim: bool) -> Shape:
    """The shape after reducing over `dims`."""
    if keepdim:
        return tuple(1 if d in dims else size for d, size in enumerate(shape))
    return tuple(size for d, size in enumerate(shape) if d not in dims)


def count_of(x: Expr, dim: Sequence[int] | int | None) -> Expr:
    """How many elements a reduction takes together, symbolic."""
    dims = dims_of(dim, x.ndim)
    if len(dims) == x.ndim:
        return x.numel()  # type: ignore[no-any-return]
    count: Expr = x.size(dims[0])
    for d in dims[1:]:
        count = count * x.size(d)
    return count


def restore(g: Expr, x: Expr, dim: Sequence[int] | int | None, *, keepdim: bool) -> Expr:
    """A reduction's upstream gradient with the reduced dims put back as size 1, ready to broadcast."""
    if keepdim or x.ndim == 0:
        return g
    dims = dims_of(dim, x.ndim)
    if len(dims) == x.ndim:
        return g
    for d in dims:
        g = g.unsqueeze(d)
    return g


def as_tensor(g: Expr, like: Expr) -> Expr:
    """An upstream gradient where PyTorch wants a tensor: a scalar output's is the number 1."""
    return g if g.value is None else t.full_like(like, g)


def reducing(ufunc: np.ufunc) -> Callable[[Expr], Any]:
    """prepare: the ufunc's own reduction, dims counted from the back so that leading ones don't matter."""

    def prepare(node: Expr) -> Any:
        x = node.inputs[0]
        attributes = node.attributes
        counts = ufunc is np.add and node.dtype is dtypes.int64
        if not (x.dtype.is_floating or counts) or not x.elements:
            return None
        if x.dtype.is_floating and node.dtype is not x.dtype:
            return None
        dims = tuple(d - x.ndim for d in dims_of(attributes.get("dim"), x.ndim))
        axis = None if len(dims) == x.ndim else dims[0] if len(dims) == 1 else dims
        keepdims = bool(attributes.get("keepdim"))
        reduce: Any = ufunc.reduce
        dtype = np.int64 if counts else None
        # Positional arguments are read several times as fast.
        return lambda x: reduce(x, axis, dtype, None, keepdims)

    return prepare


def require_floating(x: Expr, name: str) -> None:
    """Refuse integers and masks where PyTorch does. Raises Invalid (GC016)."""
    if x.dtype.kind not in "fz":
        msg = f"{name}() needs a floating-point tensor, not {x.dtype.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype")


def unary(
    name: str,
    kernel: Callable[..., Any],
    vjp: Callable[[Expr, Expr, Expr], Expr | None] | None,
    *,
    doc: str,
    domain: str = "",
    floating: bool = True,
    analytic: bool = True,
    infer: Callable[..., Type] | None = None,
    ufunc: Any = None,
    **fields: Any,
) -> Op:
    """A function of one number applied to every element.

    `domain` is where its tests draw: "" (standard normal), "positive", "unit" (-0.95 to 0.95), ...
    """
    return register(
        f"{name}(Tensor input)",
        doc=doc,
        infer=infer or (elementwise_floating if floating else elementwise),
        kernel=typed(kernel, floating=True) if floating else kernel,
        ufunc=ufunc or (kernel if isinstance(kernel, np.ufunc) else None),
        vjp=vjp,
        analytic=analytic,
        elementwise=True,
        domain=domain,
        **fields,
    )


def sizes(shape: Sequence[Any]) -> Shape:
    """The numbers of a shape, symbolic sizes evaluated."""
    return tuple(int(s.value) if isinstance(s, Expr) else s for s in shape)  # type: ignore[arg-type]


def shape_of(x: Expr) -> tuple[Expr, ...]:
    """The shape of `x` as symbolic sizes, for rules that hold at any size."""
    return tuple(x.size(d) for d in range(x.ndim))


def moved(g: Expr, move: Callable[[], Expr]) -> Expr:
    """`move()`, or `g` itself where it is a plain number, which is the same in every shape and order."""
    return g if g.value is not None else move()


def distinct(dim: Sequence[int], ndim: int, name: str = "dim") -> tuple[int, ...]:
    """Dims counted from the front, in the order given. Raises Invalid (GC014) for a repeated one."""
    listed = tuple(dim_of(d, ndim, name) for d in dim)
    if len(set(listed)) != len(listed):
        msg = f"dimension {max(listed, key=listed.count)} is named twice"
        raise Invalid("GC014", msg, argument=name)
    return listed


def random_use(name: str, hint: str | None = None) -> Invalid:
    """The refusal of what draws random numbers (GC017)."""
    return Invalid(
        "GC017",
        f"`{name}` is random, and a check must be repeatable",
        hint or "draw the numbers as an input, such as `noise: {shape: [3], sample: normal}`",
    )


def refuse_in_place(name: str, *, inplace: bool) -> None:
    """Refuse an `inplace=True` (GC018)."""
    if inplace:
        msg = f"{name}(..., inplace=True) changes its input, which an expression can't do"
        raise Invalid("GC018", msg, "leave inplace=True out", "inplace")
