"""Filling where a mask is true, and masks made of class indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, make, t
from gradcheck_cli.ops._common import as_tensor, broadcast, register
from gradcheck_cli.ops.create import plain
from gradcheck_cli.ops.gather import need_int64
from gradcheck_cli.ops.index import writable
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid


def _masked_fill(x: Expr, mask: Expr, value: Any) -> Type:
    if mask.dtype.kind != "b":
        msg = f"masked_fill() needs a bool mask, not {mask.dtype.name}"
        raise Invalid("GC016", msg, "compare: mask > 0", "mask")
    if isinstance(value, Expr) and value.ndim:
        msg = f"masked_fill() fills with one number, not with a tensor of shape {value.shape}"
        raise Invalid("GC015", msg, "torch.where(mask, value, x)", "value")
    if isinstance(value, Expr) and value.dtype.kind == "z" and x.dtype.kind != "z":
        msg = f"masked_fill() can't put a number of {value.dtype.name} into a tensor of {x.dtype.name}"
        raise Invalid("GC016", msg, "make it real first: value.real", "value")
    return Type(broadcast(x.shape, mask.shape), x.dtype)


def _filled_with(x: Expr, mask: Expr, value: Expr) -> Type:
    if value.dtype.kind == "z" and x.dtype.kind != "z":
        msg = f"a complex value can't be put into a tensor of dtype {x.dtype.name}"
        raise Invalid("GC016", msg, "take its real part: value.real", "value")
    return _masked_fill(x, mask, value)


def _filled(x: Any, mask: Any, value: Any) -> Any:
    filled = np.where(mask, value, x)
    if np.iscomplexobj(filled):
        return filled
    return filled.astype(np.asarray(x).dtype, copy=False)


register(
    "masked_fill(Tensor input, Tensor mask, Scalar value)",
    doc="The input with a number put where a mask is true.",
    infer=_masked_fill,
    kernel=_filled,
    vjp=lambda g, out, x, mask, value: (as_tensor(g, out).masked_fill(mask, 0.0), None),
    method=True,
    analytic=True,
    samples=(
        Sample(
            "x.masked_fill(m, -math.inf).softmax(-1)",
            x=(2, 2),
            m=In(value=[[1, 0], [0, 0]], dtype="bool"),
        ),
        Sample("torch.masked_fill(x, m, 2)", x=(3, 1), m=In((2, 3, 4), dtype="bool")),
        Sample("x.masked_fill(m, 0.5)", x=(), m=In((2,), dtype="bool")),
        Sample("x.masked_fill(x > 0, 0.0)", x=(3, 0)),
    ),
)
register(
    "masked_fill.tensor(Tensor input, Tensor mask, Tensor value)",
    doc="The input with a scalar tensor's value put where a mask is true.",
    infer=_filled_with,
    kernel=_filled,
    vjp=lambda g, out, x, mask, value: (
        as_tensor(g, out).masked_fill(mask, 0.0),
        None,
        t.where(mask, g, 0.0),
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.masked_fill(m, y)", x=(3, 4), y=(), m=In((4,), dtype="bool")),
        Sample("torch.masked_fill(x, m, y)", x=(), y=(), m=In((), dtype="bool")),
    ),
)


def _masked_scatter(x: Expr, mask: Expr, source: Expr) -> Type:
    if mask.dtype.kind != "b":
        msg = f"masked_scatter() needs a bool mask, not {mask.dtype.name}"
        raise Invalid("GC016", msg, "compare: mask > 0", "mask")
    if source.dtype is not x.dtype:
        msg = f"masked_scatter() needs one dtype, not {x.dtype.name} and {source.dtype.name}"
        raise Invalid("GC016", msg, argument="source")
    return Type(broadcast(x.shape, mask.shape), x.dtype)


def _scattered(x: Any, mask: Any, source: Any) -> Any:
    x, mask = np.broadcast_arrays(x, mask)
    out = writable(x, source)
    count = np.count_nonzero(mask)
    if count > np.size(source):
        msg = f"the mask is true in {count} places, but the source has {np.size(source)} elements"
        raise Invalid(
            "GC014", msg, "the source needs as many elements as there are places", "source"
        )
    out[mask] = np.reshape(source, -1)[:count]
    return out


def _masked_scatter_vjp(
    g: Expr, out: Expr, x: Expr, mask: Expr, source: Expr
) -> tuple[Any, None, Any]:
    g = as_tensor(g, out)
    if not source.elements:
        return g, None, t.zeros_like(source)
    if mask.shape != out.shape:
        mask = mask.expand_as(g)
    # The number of masked places before each, which is where in the source its element came from.
    places = mask.flatten().cumsum(0) - 1
    to_source = t.zeros_like(source).put(places, t.where(mask, g, 0.0).flatten(), accumulate=True)
    return g.masked_fill(mask, 0.0), None, to_source


register(
    "masked_scatter(Tensor input, Tensor mask, Tensor source)",
    doc="The input with the elements of a source, one after the other, put where a mask is true.",
    infer=_masked_scatter,
    kernel=_scattered,
    vjp=_masked_scatter_vjp,
    method=True,
    analytic=True,
    samples=(
        Sample(
            "x.masked_scatter(m, y)",
            x=(2, 3),
            y=(5,),
            m=In(value=[[0, 1, 1], [1, 0, 0]], dtype="bool"),
        ),
        Sample(
            "torch.masked_scatter(x, m, y)", x=(3,), y=(2, 3), m=In(value=[[1], [0]], dtype="bool")
        ),
        Sample("x.masked_scatter(m, y)", x=(2, 2), y=(2, 3), m=In(value=1, dtype="bool")),
        Sample("x.masked_scatter(m, y)", x=(2,), y=(0,), m=In(value=[0, 0], dtype="bool")),
        Sample("x.masked_scatter(x > 0, y)", x=(3, 2), y=(6,)),
    ),
)


def _one_hot(x: Expr, *, num_classes: Any) -> Any:
    """The one-hot vectors, as many classes as the largest index says where no number is given."""
    need_int64(x, "one_hot", int32=False)
    if plain(num_classes) == -1:
        values = known(x)
        if values is None or not values.size:
            msg = "one_hot() needs num_classes here: the indices that it would count aren't known"
            raise Invalid("GC011", msg, "F.one_hot(t, num_classes=10)", "num_classes")
        num_classes = int(values.max()) + 1
    return make(_ONE_HOT, (x,), {"num_classes": num_classes})


def _one_hot_type(x: Expr, *, num_classes: Any) -> Type:
    classes = plain(num_classes)
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
        msg = f"the number of classes can't be {classes}"
        raise Invalid("GC014", msg, argument="num_classes")
    return Type((*x.shape, classes), dtypes.int64)


def _hot(x: Any, num_classes: int) -> Any:
    x = np.asarray(x)
    if x.size and not (x.min() >= 0 and x.max() < num_classes):
        wrong = x.min() if x.min() < 0 else x.max()
        msg = f"class {wrong} is not among the {num_classes} classes 0 to {num_classes - 1}"
        raise Invalid("GC014", msg, "check the class indices and num_classes", "num_classes")
    return (x[..., None] == np.arange(num_classes)).astype(np.int64)


register(
    "one_hot(Tensor input, Scalar num_classes=-1)",
    doc="Class indices as vectors of zeros with a one; int64, as in PyTorch.",
    define=_one_hot,
    on=("F",),
    samples=(
        Sample("F.one_hot(i)", i=In(value=[[2, 0], [1, 1]], dtype="int64")),
        Sample("F.one_hot(i)[:, 0] * x", x=(2,), i=In(value=[0, 3], dtype="int64")),
    ),
)
_ONE_HOT = register(
    "one_hot.counted(Tensor input, Scalar num_classes)",
    doc="Class indices as vectors of zeros with a one, the number of classes given.",
    infer=_one_hot_type,
    kernel=_hot,
    on=("F",),
    samples=(
        Sample("F.one_hot(i, 4)", i=In((2, 3), 0, 4, "int64")),
        Sample("F.one_hot(i, num_classes=2)", i=In((), 0, 2, "int64")),
        Sample("F.one_hot(i, 3)", i=In((0,), 0, 3, "int64")),
        Sample("F.one_hot(i, x.shape[1]) * x", x=(3, 4), i=In((3,), 0, 4, "int64")),
        Sample("(F.one_hot(i, 4) * x).sum(-1)", x=(3, 4), i=In((3,), 0, 4, "int64")),
    ),
)
