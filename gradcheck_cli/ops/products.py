"""Products of vectors and matrices: matmul in all its ranks, and what PyTorch calls by other names."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Shape, Type, t
from gradcheck_cli.ops._common import (
    broadcast,
    expands,
    register,
)
from gradcheck_cli.schema import Invalid


def same_dtype(name: str, *args: Expr) -> None:
    """Refuse operands of different types, which PyTorch's products do not promote, and masks."""
    kinds = list(dict.fromkeys(x.dtype for x in args))
    if len(kinds) > 1:
        listed = " and ".join(kind.name for kind in kinds)
        msg = f"{name}() needs operands of one dtype, not {listed}"
        raise Invalid("GC016", msg, f"convert one of them: x.to({kinds[0]})")
    if kinds[0].kind == "b":
        raise Invalid("GC016", f"{name}() isn't defined for bool", "convert it: mask.double()")


def require_dims(name: str, x: Expr, ndim: int, argument: str) -> None:
    """Refuse a tensor that hasn't exactly `ndim` dimensions. Raises Invalid (GC015)."""
    if x.ndim != ndim:
        what = {1: "a vector", 2: "a matrix", 3: "a batch of matrices"}[ndim]
        msg = f"{name}() needs {what} for `{argument}`, not a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "matmul() and @ take all of these", argument)


def _matmul(x: Expr, y: Expr) -> Type:
    same_dtype("matmul", x, y)
    if not x.ndim or not y.ndim:
        msg = f"matmul() needs at least one dimension on both sides, not shapes {x.shape} and {y.shape}"
        raise Invalid("GC015", msg, "multiply by a scalar with *")
    inner = y.shape[-2] if y.ndim > 1 else y.shape[0]
    if x.shape[-1] != inner:
        raise Invalid("GC015", *_mismatch(x, y, inner))
    rows = x.shape[-2:-1]
    columns = y.shape[-1:] if y.ndim > 1 else ()
    return Type((*_batch(x, y), *rows, *columns), x.dtype)


def _mismatch(x: Expr, y: Expr, inner: int) -> tuple[str, str]:
    """What is wrong with the shapes, and which transposition would cure it."""
    msg = (
        f"shapes {x.shape} and {y.shape} can't be multiplied as matrices: the last size of the left, "
        f"{x.shape[-1]}, is not the {'second-last' if y.ndim > 1 else 'last'} of the right, {inner}"
    )
    if x.ndim > 1 and x.shape[-2] == inner:
        return msg, f"it fits with the left one transposed: {_turned(x)}"
    if y.ndim > 1 and x.shape[-1] == y.shape[-1]:
        return msg, f"it fits with the right one transposed: {_turned(y)}"
    return msg, "the inner sizes must be equal"


def _turned(x: Expr) -> str:
    return ".T" if x.ndim == 2 else ".mT"


def _batch(x: Expr, y: Expr) -> Shape:
    """The common batch of two operands. Raises Invalid (GC015)."""
    try:
        return broadcast(x.shape[:-2], y.shape[:-2])
    except Invalid as error:
        msg = f"the batches of shapes {x.shape} and {y.shape} can't be broadcast together"
        raise Invalid("GC015", msg, error.hint) from None


def _matmul_vjp(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Any, Any]:
    match min(x.ndim, 3), min(y.ndim, 3):
        case 1, 1:
            return g * y, g * x
        case 2, 1:
            return t.outer(g, y), x.T @ g
        case 1, 2:
            return y @ g, t.outer(x, g)
        case 2, 2:
            return g @ y.T, x.T @ g
        case 3, 1:
            return g.unsqueeze(-1) * y, g.unsqueeze(-1) * x
        case 1, 3:
            return (y @ g.unsqueeze(-1)).squeeze(-1), x.unsqueeze(-1) * g.unsqueeze(-2)
        case 3, 2:  # one product over all rows, instead of one a batch to be summed
            return g @ y.T, x.flatten(0, -2).T @ g.flatten(0, -2)
        case 2, 3:
            return g @ y.mT, x.T @ g
    return g @ y.mT, x.mT @ g


def _batch_dims(node: Expr) -> int:
    """How many leading dims number products that are independent."""
    x, y = node.inputs
    batch = node.shape[:-2]
    return len(batch) if x.shape[:-2] == batch == y.shape[:-2] else 0


register(
    "matmul(Tensor input, Tensor other)",
    doc="Matrix product; vectors and batches of matrices as well, `x @ y`.",
    infer=_matmul,
    cubic=True,
    kernel=np.matmul,
    prepare=lambda node: np.matmul,
    leading=lambda node: _batch_dims(node),
    vjp=_matmul_vjp,
    also=("torch.linalg.matmul",),
    infix="@",
    analytic=True,
    samples=(
        Sample("x @ y", x=(4,), y=(4,)),
        Sample("x @ y", x=(3, 4), y=(4,)),
        Sample("x @ y", x=(4,), y=(4, 2)),
        Sample("x @ y", x=(3, 4), y=(4, 2)),
        Sample("torch.matmul(x, y)", x=(2, 3, 4), y=(4,)),
        Sample("x.matmul(y)", x=(4,), y=(2, 4, 3)),
        Sample("x @ y", x=(2, 2, 3, 4), y=(4, 2)),
        Sample("x @ y", x=(3, 4), y=(2, 4, 2)),
        Sample("x @ y", x=(2, 3, 4), y=(2, 4, 2)),
        Sample("x @ y", x=(2, 1, 3, 2), y=(3, 2, 2)),
        Sample("x @ y", x=(3, 0), y=(0, 2)),
        Sample("x @ y", x=(0,), y=(0,)),
        Sample("x @ y", x=(0, 3, 4), y=(4, 2)),
    ),
)


def _exact(name: str, left: int, right: int) -> Any:
    """The product of operands of exactly these numbers of dimensions."""

    def define(x: Expr, y: Expr) -> Any:
        first, second = _NAMES.get(name, ("input", "other"))
        require_dims(name, x, left, first)
        require_dims(name, y, right, second)
        if name == "bmm" and x.shape[0] != y.shape[0]:
            msg = f"bmm() needs batches of one size, not shapes {x.shape} and {y.shape}"
            raise Invalid("GC015", msg, "matmul() broadcasts batches")
        return (x.conj() if name == "vdot" else x) @ y

    return define


_NAMES = {
    "dot": ("input", "tensor"),
    "mm": ("input", "mat2"),
    "mv": ("input", "vec"),
    "bmm": ("input", "mat2"),
}

register(
    "mm(Tensor input, Tensor mat2)",
    doc="Product of two matrices.",
    define=_exact("mm", 2, 2),
    samples=(Sample("torch.mm(x, y)", x=(2, 3), y=(3, 4)), Sample("x.mm(y)", x=(0, 2), y=(2, 1))),
)
register(
    "mv(Tensor input, Tensor vec)",
    doc="Product of a matrix and a vector.",
    define=_exact("mv", 2, 1),
    samples=(Sample("torch.mv(x, y)", x=(2, 3), y=(3,)), Sample("x.mv(y)", x=(3, 0), y=(0,))),
)
register(
    "bmm(Tensor input, Tensor mat2)",
    doc="Products of two batches of matrices.",
    define=_exact("bmm", 3, 3),
    samples=(
        Sample("torch.bmm(x, y)", x=(2, 3, 4), y=(2, 4, 1)),
        Sample("x.bmm(y)", x=(0, 3, 4), y=(0, 4, 1)),
    ),
)
register(
    "dot(Tensor input, Tensor tensor)",
    doc="Inner product of two vectors.",
    define=_exact("dot", 1, 1),
    samples=(Sample("torch.dot(x, y)", x=(3,), y=(3,)), Sample("x.dot(y)", x=(0,), y=(0,))),
)
register(
    "vdot(Tensor input, Tensor other)",
    doc="Inner product of two vectors; for real ones the same as dot.",
    define=_exact("vdot", 1, 1),
    samples=(Sample("torch.vdot(x, y)", x=(3,), y=(3,)),),
)


def _scaled(x: Any, factor: Any) -> Any:
    return x if factor == 1 else factor * x


def _plus(name: str, left: int, right: int) -> Any:
    """`beta * input + alpha * (x @ y)`; with beta 0, input's NaN and infinity are not propagated.

    With alpha 0 those of the product aren't either, where PyTorch leaves both to BLAS.
    """

    def define(start: Expr, x: Expr, y: Expr, *, beta: Any, alpha: Any) -> Any:
        require_dims(name, x, left, "mat1")
        require_dims(name, y, right, "mat2")
        same_dtype(name, start, x, y)
        product = t.outer(x, y) if name == "addr" else x @ y
        if name == "addbmm":
            product = product.sum(0)
        if not expands(start.shape, product.shape):
            msg = f"input of shape {start.shape} can't be expanded to the product's {product.shape}"
            raise Invalid("GC015", msg, argument="input")
        if alpha == 0 and name in ("addmm", "addmv", "addbmm"):
            product, alpha = t.zeros_like(product), 1
        if beta == 0:
            return _scaled(product, alpha)
        return _scaled(start, beta) + _scaled(product, alpha)

    return define


for _name, _left, _right, _doc in (
    ("addmm", "mat1", "mat2", "A matrix plus a product of two matrices."),
    ("addmv", "mat", "vec", "A vector plus a product of a matrix and a vector."),
    ("addr", "vec1", "vec2", "A matrix plus the outer product of two vectors."),
    ("baddbmm", "batch1", "batch2", "A batch of matrices plus the products of two batches."),
    ("addbmm", "batch1", "batch2", "A matrix plus the sum of the products of two batches."),
):
    _dims = {"addmm": (2, 2), "addmv": (2, 1), "addr": (1, 1)}.get(_name, (3, 3))
    _shapes = (
        {2: (3, 2), 1: (2,), 3: (2, 3, 2)}[_dims[0]],
        {2: (2, 4), 1: (2,), 3: (2, 2, 4)}[_dims[1]],
    )
    register(
        f"{_name}(Tensor input, Tensor {_left}, Tensor {_right}, *, Scalar beta=1, Scalar alpha=1)",
        doc=_doc,
        define=_plus(_name, *_dims),
        samples=(
            Sample(f"torch.{_name}(x, y, z)", x=(1,), y=_shapes[0], z=_shapes[1]),
            Sample(f"x.{_name}(y, z, beta=0.5, alpha=-2)", x=(1,), y=_shapes[0], z=_shapes[1]),
        ),
    )


def _chain_matmul(*tensors: Expr) -> Any:
    if not tensors:
        raise Invalid("GC014", "chain_matmul() needs at least one matrix", argument="matrices")
    for x in tensors:
        require_dims("chain_matmul", x, 2, "matrices")
    return tensors[0] if len(tensors) == 1 else _multi_dot(*tensors)


def _multi_dot(*tensors: Expr) -> Any:
    if len(tensors) < 2:
        raise Invalid("GC014", "multi_dot() needs at least two tensors", argument="tensors")
    for place, x in enumerate(tensors):
        inside = 0 < place < len(tensors) - 1
        if x.ndim != 2 and (inside or x.ndim != 1):
            msg = f"multi_dot() takes matrices, and vectors at both ends, not shape {x.shape}"
            raise Invalid("GC015", msg, "use @ for batches", "tensors")
    product = tensors[0]
    for x in tensors[1:]:
        product = product @ x
    return product


register(
    "multi_dot(Tensor[] tensors)",
    doc="The product of several matrices; the first and the last may be vectors.",
    define=_multi_dot,
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.multi_dot([x, y, z])", x=(2, 3), y=(3, 4), z=(4,)),
        Sample("torch.linalg.multi_dot([x, y])", x=(2,), y=(2, 2)),
    ),
)
register(
    "chain_matmul(Tensor[]... matrices)",
    doc="The product of several matrices.",
    define=_chain_matmul,
    on=("torch",),
    samples=(
        Sample("torch.chain_matmul(x, y, z)", x=(2, 3), y=(3, 1), z=(1, 2)),
        Sample("torch.chain_matmul(x)", x=(2, 3)),
    ),
)
