"""Distances between the rows of matrices.

Norms are in `norm.py`; distances of vectors one by one (`pairwise_distance`) are composed of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Type, t
from gradcheck_cli.ops._common import broadcast, register
from gradcheck_cli.ops.norm import norm_kernel, norm_kink, norm_vjp
from gradcheck_cli.schema import Invalid

# Differences of so many elements at a time; each block is as many rows as that makes.
_BLOCK = 1 << 20
_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def _check_order(name: str, p: float) -> None:
    if not p >= 0:
        msg = f"{name}() has no distance of order {p}"
        raise Invalid("GC014", msg, "use 0 or more, such as 1, 2 or math.inf", "p")


def _cdist(x: Expr, y: Expr, *, p: float, compute_mode: str) -> Type:
    for name, each in (("x1", x), ("x2", y)):
        if each.dtype.kind != "f":
            msg = f"cdist() needs floating-point tensors, and {name} is {each.dtype.name}"
            raise Invalid("GC016", msg, "give the input a floating dtype", name)
        if each.ndim < 2:
            msg = f"cdist() compares the rows of matrices, and {name} has shape {each.shape}"
            raise Invalid("GC015", msg, "make a row of a vector: x.unsqueeze(0)", name)
    if x.dtype is not y.dtype:
        msg = f"cdist() wants one dtype, but x1 is {x.dtype.name} and x2 is {y.dtype.name}"
        raise Invalid("GC016", msg, "convert one of them", "x2")
    if x.shape[-1] != y.shape[-1]:
        msg = f"the rows of shapes {x.shape} and {y.shape} differ in length"
        raise Invalid("GC015", msg, "the last sizes must be equal", "x2")
    _check_order("cdist", p)
    if compute_mode not in _MODES:
        msg = f"cdist() has no compute_mode {compute_mode!r}"
        raise Invalid("GC014", msg, f"use one of {', '.join(_MODES)}", "compute_mode")
    return Type((*broadcast(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-2]), x.dtype)


def _cdist_kernel(x: Any, y: Any, p: float, compute_mode: str) -> Any:
    """From the differences, whatever the mode: products lose digits where points are near."""
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    out = np.zeros((*batch, x.shape[-2], y.shape[-2]), x.dtype)
    if not out.size or not x.shape[-1]:
        return out
    rows = max(1, _BLOCK * x.shape[-2] // (out.size * x.shape[-1]))
    others = y[..., None, :, :]
    for start in range(0, x.shape[-2], rows):
        gap = x[..., start : start + rows, None, :] - others
        out[..., start : start + rows, :] = norm_kernel(gap, p, (-1,), keepdim=False, dtype=None)
    return out


def _gaps(x: Expr, y: Expr) -> Expr:
    gaps: Expr = x.unsqueeze(-2) - y.unsqueeze(-3)
    return gaps


def _cdist_vjp(g: Expr, out: Expr, x: Expr, y: Expr, p: float, compute_mode: str) -> Any:
    """As for norms, but for the largest difference: where several are, each counts in full."""
    gaps = _gaps(x, y)
    if p == math.inf:
        share = g.unsqueeze(-1) * gaps.sign() * t.eq(gaps.abs(), out.unsqueeze(-1))
    else:
        share = norm_vjp(g, out, gaps, p, (-1,), keepdim=False, dtype=None)
    return None if share is None else (share.sum(-2), -share.sum(-3))


register(
    "cdist(Tensor x1, Tensor x2, float p=2.0, "
    "str compute_mode='use_mm_for_euclid_dist_if_necessary')",
    doc="The p-norm distance of every row of one matrix from every row of the other.",
    infer=_cdist,
    kernel=_cdist_kernel,
    vjp=_cdist_vjp,
    define=lambda x, y, p, compute_mode: _gaps(x, y).norm(p, -1),
    on=("torch",),
    kink=lambda x, y, p, compute_mode: norm_kink(_gaps(x, y), p, (-1,), keepdim=False, dtype=None),
    convention="zero is the gradient at a distance of zero; of order inf, ties count in full each",
    samples=(
        # PyTorch has no second derivative of it.
        Sample("torch.cdist(x, y)", x=(3, 2), y=(4, 2), second=False),
        Sample("torch.cdist(x, y, p=1)", x=(2, 3, 2), y=(4, 2), second=False),
        Sample("torch.cdist(x, y, 0.5)", x=(2, 1, 3, 2), y=(2, 2, 2), second=False),
        Sample("torch.cdist(x, y, 1.5)", x=(3, 2), y=(4, 2), second=False),
        Sample(
            "torch.cdist(x, y, 3, 'donot_use_mm_for_euclid_dist')", x=(3, 2), y=(2, 2), second=False
        ),
        Sample("torch.cdist(x, y, math.inf)", x=(3, 2), y=(4, 2), second=False),
        Sample("torch.cdist(x, y, 0)", x=(3, 2), y=(4, 2), grad=False),
        Sample("torch.cdist(x, y)", x=(3, 0), y=(2, 0), second=False),
        Sample("torch.cdist(x, y)", x=(0, 2), y=(3, 2), second=False),
    ),
)


def _pdist(x: Expr, p: float) -> Expr:
    if x.ndim != 2:
        msg = f"pdist() compares the rows of a matrix, not of a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "use torch.cdist for batches", "input")
    _check_order("pdist", p)
    pairs = t.combinations(t.arange(x.size(0)))
    first, second = (x[pairs[:, side]].unsqueeze(1) for side in (0, 1))
    return t.cdist(first, second, p).flatten()  # type: ignore[no-any-return]


register(
    "pdist(Tensor input, float p=2.0)",
    doc="The p-norm distance of each two rows of a matrix, each pair once.",
    define=_pdist,
    on=("torch", "F"),
    samples=(
        # PyTorch has no second derivative of it.
        Sample("F.pdist(x)", x=(4, 3), second=False),
        Sample("torch.pdist(x, 1)", x=(3, 2), second=False),
        Sample("F.pdist(x, p=math.inf)", x=(4, 2), second=False),
        Sample("F.pdist(x)", x=(1, 3), second=False),
    ),
)
