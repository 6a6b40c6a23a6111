"""`torch.masked`: reductions and normalizations that pass over the elements where a mask is False.

Each is the operator without a mask, applied after what is masked out has been replaced by a number that
makes no difference to it: 0 to a sum, 1 to a product, -inf to a maximum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import dims_of, expands, register, require_floating
from gradcheck_cli.schema import Invalid

Dims = Sequence[int] | None


def _as_bool(x: Expr, mask: Expr, name: str) -> Expr:
    if not expands(mask.shape, x.shape):
        msg = f"`{name}` of shape {mask.shape} can't be broadcast to the input of shape {x.shape}"
        raise Invalid("GC015", msg, "sizes must be equal, or those of the mask 1", name)
    return _cast(mask, dtypes.bool_)


def _filled(x: Expr, mask: Expr | None, value: float, name: str = "mask") -> Expr:
    """`x` with `value` where the mask is False; infinities are the farthest numbers of an integer type."""
    if mask is None:
        return x
    kept = _as_bool(x, mask, name)
    if math.isinf(value) and x.dtype.kind == "i":
        limits = np.iinfo(x.dtype.name)
        # The least number of int64 can't be written: it would be the negative of one too large.
        value = int(limits.max if value > 0 else max(limits.min, -(2**63 - 1)))
    elif not x.dtype.is_floating:
        value = int(value)
    return t.where(kept, x, value)  # type: ignore[no-any-return]


def _counts(x: Expr, mask: Expr | None, dim: Dims, *, keepdim: bool) -> Expr:
    """How many elements are there to be reduced."""
    present: Expr = (
        t.ones_like(x, dtype=dtypes.bool_)
        if mask is None
        else _as_bool(x, mask, "mask").expand_as(x)
    )
    counts: Expr = present.sum(dim, keepdim)
    return counts


def _cast(x: Expr, dtype: DType) -> Expr:
    return x if x.dtype is dtype else x.to(dtype)


def _sum(x: Expr, mask: Expr | None, dim: Dims, keepdim: bool | None, dtype: DType | None) -> Any:
    return _filled(x, mask, 0.0).sum(dim, bool(keepdim), dtype=dtype)


def _prod(x: Expr, mask: Expr | None, dim: Dims, keepdim: bool | None, dtype: DType | None) -> Any:
    """One dimension after the other, the last one first."""
    result = _filled(x, mask, 1.0)
    dims = dims_of(dim, x.ndim)
    for d in reversed(dims):
        result = result.prod(d, bool(keepdim))
    return _cast(result, dtype or (dtypes.int64 if x.dtype.kind in "bi" else x.dtype))


def _running(name: str, identity: float) -> Any:
    def define(x: Expr, mask: Expr | None, dim: int, dtype: DType | None) -> Any:
        return getattr(_filled(x, mask, identity), name)(dim, dtype=dtype or x.dtype)

    return define


def _extreme(name: str, identity: float) -> Any:
    def define(
        x: Expr, mask: Expr | None, dim: Any, keepdim: bool | None, dtype: DType | None
    ) -> Any:
        filled = _filled(x, mask, identity)
        over = dim if name.startswith("arg") else dims_of(dim, x.ndim)
        return _cast(getattr(filled, name)(over, bool(keepdim)), dtype or x.dtype)

    return define


def _mean(x: Expr, mask: Expr | None, dim: Dims, keepdim: bool | None, dtype: DType | None) -> Any:
    if (dtype or x.dtype).kind not in "fz":
        msg = f"masked mean() gives a floating-point number, not {(dtype or x.dtype).name}"
        raise Invalid("GC016", msg, "give a floating `dtype`", "dtype")
    if mask is None:
        return x.mean(dim, bool(keepdim), dtype=dtype)
    counts = _counts(x, mask, dim, keepdim=bool(keepdim))
    return _sum(x, mask, dim, keepdim, dtype) / counts


def _median(x: Expr, mask: Expr | None, dim: int, keepdim: bool, dtype: DType | None) -> Any:
    require_floating(x, "masked median")
    return _filled(x, mask, math.nan).nanmedian(dim, keepdim).values


def _logsumexp(x: Expr, mask: Expr | None, dim: Dims, keepdim: bool, dtype: DType | None) -> Any:
    filled = _filled(x, mask, -math.inf)
    over = dims_of(dim, x.ndim)
    return _cast(filled.logsumexp(over, keepdim), dtype or x.dtype)


def _norm(
    x: Expr, mask: Expr | None, ord: Any, dim: Dims, keepdim: bool | None, dtype: DType | None
) -> Any:
    filled = _filled(x, mask, math.inf if ord == -math.inf else 0.0)
    return t.vector_norm(filled, 2.0 if ord is None else ord, dim, bool(keepdim), dtype=dtype)


def _spread(*, root: bool) -> Any:
    def define(
        x: Expr,
        mask: Expr | None,
        dim: Dims,
        unbiased: bool | None,
        correction: Any,
        keepdim: bool | None,
        dtype: DType | None,
    ) -> Any:
        """The mean of squared deviations; PyTorch composes it as this does, with the same gradients."""
        require_floating(x, "masked var() and std")
        if unbiased is not None and correction is not None:
            msg = "only one of unbiased and correction may be given"
            raise Invalid("GC014", msg, "leave `unbiased` out", "unbiased")
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        count = _counts(x, mask, dim, keepdim=True)
        deviation = x - _sum(x, mask, dim, True, dtype) / count
        total = _sum(deviation.square(), mask, dim, keepdim, dtype)
        if not keepdim:
            count = _counts(x, mask, dim, keepdim=False)
        if correction != 0:
            count = (count - correction).clamp(min=0)
        result = _cast(total / count, dtype or x.dtype)
        return result.sqrt() if root else result

    return define


def _softmax(name: str, masked_out: float) -> Any:
    def define(x: Expr, mask: Expr | None, dim: int, dtype: DType | None) -> Any:
        return getattr(t, name)(_filled(x, mask, masked_out), dim, dtype=dtype or x.dtype)

    return define


def _normalize(
    x: Expr, mask: Expr | None, ord: float, dim: int, eps: float, dtype: DType | None
) -> Any:
    norm = _norm(x, mask, ord, (dim,), True, dtype)
    return _filled(x, mask, 0.0) / t.maximum(norm, t.tensor(eps, dtype=norm.dtype))


def _logaddexp(
    x: Expr, other: Expr, mask: Expr | None, other_mask: Expr | None, dtype: DType | None
) -> Any:
    first = _filled(x, mask, -math.inf, "input_mask")
    second = _filled(other, other_mask, -math.inf, "other_mask")
    return _cast(t.logaddexp(first, second), dtype or x.dtype)


_SOME = In(value=[[True, False, True], [False, True, True]], dtype="bool")
_LAST = "dtype? dtype=None, Tensor? mask=None)"


def _register(schema: str, doc: str, define: Any, *samples: Sample) -> None:
    name, _, parameters = schema.partition("(")
    register(
        f"{name}.masked({parameters}",
        doc=doc,
        define=define,
        complex=False,
        on=(),
        also=(f"torch.masked.{name}",),
        samples=samples,
    )


def _reducing(name: str, doc: str, define: Any, *, integers: bool = True) -> None:
    _register(
        f"{name}(Tensor input, int[]? dim=None, *, bool? keepdim=False, {_LAST}",
        doc,
        define,
        Sample(f"torch.masked.{name}(x, mask=m)", x=(2, 3), m=_SOME),
        Sample(f"torch.masked.{name}(x, 1, keepdim=True, mask=m)", x=(2, 3), m=_SOME),
        Sample(
            f"torch.masked.{name}(x, (0, -1), mask=m)",
            x=(2, 3, 2),
            m=In(value=[True, False], dtype="bool"),
        ),
        Sample(f"torch.masked.{name}(x)", x=(2, 3)),
        Sample(f"torch.masked.{name}(x, 0, dtype=torch.float64)", x=(3, 2)),
        *(
            [
                Sample(
                    f"torch.masked.{name}(i, 0, mask=m)",
                    i=In((2, 3), dtype="int64", low=0, high=9),
                    m=_SOME,
                )
            ]
            if integers
            else []
        ),
    )


_reducing("sum", "Sum of the elements that the mask keeps.", _sum)
_reducing("prod", "Product of the elements that the mask keeps.", _prod)
_reducing("amax", "The largest of the elements that the mask keeps.", _extreme("amax", -math.inf))
_reducing("amin", "The smallest of the elements that the mask keeps.", _extreme("amin", math.inf))
_reducing("mean", "Mean of the elements that the mask keeps.", _mean, integers=False)
_reducing(
    "logsumexp",
    "Logarithm of the sum of exponentials of the elements that the mask keeps.",
    _logsumexp,
    integers=False,
)

for _name, _identity in (("argmax", -math.inf), ("argmin", math.inf)):
    _register(
        f"{_name}(Tensor input, int? dim=None, *, bool? keepdim=False, {_LAST}",
        f"The place of the {'largest' if _name == 'argmax' else 'smallest'} element that the mask "
        "keeps, in the dtype of the input.",
        _extreme(_name, _identity),
        Sample(f"torch.masked.{_name}(x, mask=m)", x=(2, 3), m=_SOME),
        Sample(f"torch.masked.{_name}(x, 1, keepdim=True, mask=m)", x=(2, 3), m=_SOME),
        Sample(f"torch.masked.{_name}(x, 0, dtype=torch.int64)", x=(2, 3)),
    )

for _name, _identity, _what in (("cumsum", 0.0, "sum"), ("cumprod", 1.0, "product")):
    _register(
        f"{_name}(Tensor input, int dim, *, {_LAST}",
        f"Running {_what} of the elements that the mask keeps.",
        _running(_name, _identity),
        Sample(f"torch.masked.{_name}(x, 1, mask=m)", x=(2, 3), m=_SOME),
        Sample(
            f"torch.masked.{_name}(x, -2, mask=m)",
            x=(2, 3),
            m=In(value=[True, False, True], dtype="bool"),
        ),
        Sample(f"torch.masked.{_name}(x, 0)", x=(3,)),
    )

_register(
    f"median(Tensor input, int dim=-1, *, bool keepdim=False, {_LAST}",
    "The median of the elements that the mask keeps, of two in the middle the lower.",
    _median,
    Sample("torch.masked.median(x, mask=m)", x=(2, 3), m=_SOME),
    Sample("torch.masked.median(x, 0, keepdim=True, mask=m)", x=(2, 3), m=_SOME),
    Sample("torch.masked.median(x, 0)", x=(4,)),
)
_register(
    "norm(Tensor input, Scalar? ord=2.0, int[]? dim=None, *, bool? keepdim=False, " + _LAST,
    "The p-norm of the elements that the mask keeps.",
    _norm,
    Sample("torch.masked.norm(x, mask=m)", x=(2, 3), m=_SOME),
    Sample("torch.masked.norm(x, 3, 1, keepdim=True, mask=m)", x=(2, 3), m=_SOME),
    Sample("torch.masked.norm(x, -math.inf, 1, mask=m)", x=(2, 3), m=_SOME),
    Sample("torch.masked.norm(x, math.inf)", x=(2, 3)),
)
for _name, _what in (("var", "Variance"), ("std", "Standard deviation")):
    _register(
        f"{_name}(Tensor input, int[]? dim=None, bool? unbiased=None, *, Scalar? correction=None, "
        f"bool? keepdim=False, {_LAST}",
        f"{_what} of the elements that the mask keeps.",
        _spread(root=_name == "std"),
        Sample(f"torch.masked.{_name}(x, mask=m)", x=(2, 3), m=_SOME),
        Sample(f"torch.masked.{_name}(x, 1, False, keepdim=True, mask=m)", x=(2, 3), m=_SOME),
        Sample(f"torch.masked.{_name}(x, 0, correction=0.5)", x=(3, 2)),
    )

for _name, _fill, _what in (
    ("softmax", -math.inf, "softmax"),
    ("log_softmax", -math.inf, "log_softmax"),
    ("softmin", math.inf, "softmin"),
):
    _register(
        f"{_name}(Tensor input, int dim, *, {_LAST}",
        f"{_what} over the elements that the mask keeps.",
        _softmax(_name, _fill),
        Sample(f"torch.masked.{_name}(x, 1, mask=m)", x=(2, 3), m=_SOME),
        Sample(f"torch.masked.{_name}(x, -2)", x=(3, 2)),
    )
_register(
    f"normalize(Tensor input, float ord, int dim, *, float eps=1e-12, {_LAST}",
    "The elements that the mask keeps, divided by their norm.",
    _normalize,
    Sample("torch.masked.normalize(x, 2, 1, mask=m)", x=(2, 3), m=_SOME),
    Sample("torch.masked.normalize(x, 1, 0, eps=0.1)", x=(2, 3)),
)
_register(
    "logaddexp(Tensor input, Tensor other, *, dtype? dtype=None, Tensor? input_mask=None, "
    "Tensor? other_mask=None)",
    "Logarithm of the sum of two exponentials, each where its mask is True.",
    _logaddexp,
    Sample(
        "torch.masked.logaddexp(x, y, input_mask=m, other_mask=n)",
        x=(2, 3),
        y=(2, 3),
        m=_SOME,
        n=In(value=[True, True, False], dtype="bool"),
        second=False,  # PyTorch's is NaN where one of two is masked out: 0 * inf
    ),
    Sample("torch.masked.logaddexp(x, y)", x=(2, 3), y=(2, 3)),
)

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
