"""Norms over windows: power-average pooling, and normalisation by the neighbouring channels."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.windows import per_dim, product, require_input
from gradcheck_cli.schema import Invalid


def _lp_pool(
    ndim: int,
    x: Expr,
    norm_type: float,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...] | None,
    ceil_mode: bool,
) -> Any:
    """As PyTorch writes it, so that its derivatives at 0 are PyTorch's."""
    name = f"lp_pool{ndim}d"
    require_input(name, x, ndim)
    if math.isinf(norm_type):
        sign = math.copysign(1, norm_type)
        pooled = getattr(t, f"max_pool{ndim}d")(
            x.abs() if sign > 0 else -x.abs(), kernel_size, stride, ceil_mode=ceil_mode
        )
        return pooled if sign > 0 else -pooled
    if norm_type == 0:
        raise Invalid("GC014", f"{name}() has no norm of the power 0", argument="norm_type")
    means = getattr(t, f"avg_pool{ndim}d")(
        x.pow(norm_type), kernel_size, stride, ceil_mode=ceil_mode
    )
    count = product(per_dim(kernel_size, ndim, "kernel_size", 1))
    return (means.sign() * t.relu(means.abs()) * count).pow(1.0 / norm_type)


for _ndim, _size in ((1, (5,)), (2, (4, 5)), (3, (3, 2, 4))):
    register(
        f"lp_pool{_ndim}d(Tensor input, Scalar norm_type, int[] kernel_size, int[]? stride=None, "
        "bool ceil_mode=False)",
        doc="The norm of each sliding window.",
        define=partial(_lp_pool, _ndim),
        on=("F",),
        samples=(
            Sample(f"F.lp_pool{_ndim}d(x, 2, 2)", x=(2, 2, *_size)),
            Sample(
                f"F.lp_pool{_ndim}d(x, 1.5, 2, stride=1, ceil_mode=True)",
                x=In((2, *_size), 0.2, 2.0),
            ),
            Sample(f"F.lp_pool{_ndim}d(x, math.inf, 2)", x=(1, 2, *_size)),
            Sample(f"F.lp_pool{_ndim}d(x, -math.inf, 2)", x=(1, 2, *_size)),
        ),
    )


def _local_response_norm(x: Expr, size: int, alpha: float, beta: float, k: float) -> Any:
    """The squares' mean over `size` channels, zeros beyond the first and the last of them."""
    if x.ndim < 3:
        msg = f"local_response_norm() needs an input (batch, channels, ...), not shape {x.shape}"
        raise Invalid("GC015", msg, "it has at least three dimensions", "input")
    if size < 1:
        raise Invalid("GC014", f"size must be positive, not {size}", argument="size")
    if not x.elements:
        return x
    squares = (x * x).flatten(2).transpose(1, 2)
    # A margin of size // 2 on both sides; for an even size the last window is one too many.
    means = t.avg_pool1d(squares, size, 1, size // 2)
    if size % 2 == 0:
        means = means.narrow(2, 0, x.size(1))
    return (
        x / (alpha * means.transpose(1, 2).reshape(tuple(map(x.size, range(x.ndim)))) + k) ** beta
    )


register(
    "local_response_norm(Tensor input, int size, float alpha=0.0001, float beta=0.75, float k=1.0)",
    doc="The input over a power of the mean square of neighbouring channels.",
    define=_local_response_norm,
    on=("F",),
    samples=(
        Sample("F.local_response_norm(x, 3, 0.1)", x=(2, 5, 3)),
        Sample("F.local_response_norm(x, 2, alpha=0.3, beta=0.5, k=1.25)", x=(1, 4, 2, 3)),
        Sample("F.local_response_norm(x, 1)", x=(0, 2, 3)),
    ),
)
