"""Attention: values averaged by how well their keys fit a query (Vaswani et al. 2017, section 3.2.1).

The layer of several heads around it is in `multi_head.py`.
"""

from __future__ import annotations

import math

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, infix, t
from gradcheck_cli.ops._common import expands, random_use, register
from gradcheck_cli.schema import Invalid


def _attention(
    query: Expr,
    key: Expr,
    value: Expr,
    attn_mask: Expr | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Expr:
    _check_attention(query, key, value, attn_mask, dropout_p, is_causal=is_causal)
    if enable_gqa:
        key, value = _shared_heads(query, key), _shared_heads(query, value)
    scores = query @ key.mT
    if scale is not None:
        scores = scores * scale
    elif query.shape[-1]:
        scores = scores / query.size(-1) ** 0.5
    if is_causal:
        ones = t.ones(query.size(-2), key.size(-2), dtype=dtypes.bool_)
        return t.softmax(t.where(ones.tril(), scores, -math.inf), -1) @ value  # type: ignore[no-any-return]
    if attn_mask is None:
        return t.softmax(scores, -1) @ value  # type: ignore[no-any-return]
    if not expands(attn_mask.shape, scores.shape):
        msg = f"a mask of shape {attn_mask.shape} doesn't fit scores of shape {scores.shape}"
        raise Invalid("GC015", msg, "the mask is (..., queries, keys)", "attn_mask")
    # A query that may look at no key gets zeros, where softmax alone would give NaN.
    if attn_mask.dtype is dtypes.bool_:
        weights = t.softmax(t.where(attn_mask, scores, -math.inf), -1)
        return t.where(attn_mask, weights, 0.0) @ value  # type: ignore[no-any-return]
    seen = (attn_mask > -math.inf).any(-1, keepdim=True)
    if attn_mask.dtype is not query.dtype:
        attn_mask = attn_mask.to(query.dtype)
    weights = t.softmax(t.where(seen, scores + attn_mask, 0.0), -1)
    return t.where(seen, weights, 0.0) @ value  # type: ignore[no-any-return]


def _check_attention(
    query: Expr,
    key: Expr,
    value: Expr,
    attn_mask: Expr | None,
    dropout_p: float,
    *,
    is_causal: bool,
) -> None:
    if dropout_p:
        name = f"F.scaled_dot_product_attention(dropout_p={dropout_p})"
        raise random_use(name, "leave dropout_p at 0.0")
    if is_causal and attn_mask is not None:
        msg = "scaled_dot_product_attention() takes a mask or is_causal=True, not both"
        raise Invalid("GC014", msg, "put the causal mask into attn_mask", "is_causal")
    named = {"query": query, "key": key, "value": value}
    listed = ", ".join(f"{name} {x.shape}" for name, x in named.items())
    if min(x.ndim for x in named.values()) < 2:
        msg = f"scaled_dot_product_attention() needs at least two dimensions: {listed}"
        raise Invalid("GC015", msg, "each is (..., length, features)")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        msg = f"scaled_dot_product_attention() got shapes that don't fit: {listed}"
        hint = "query and key share their last size, key and value the one before it"
        raise Invalid("GC015", msg, hint)
    if len({x.dtype for x in named.values()}) > 1 or query.dtype.kind != "f":
        kinds = ", ".join(f"{name} {x.dtype.name}" for name, x in named.items())
        msg = f"scaled_dot_product_attention() needs one floating dtype, not {kinds}"
        raise Invalid("GC016", msg, "give query, key and value the same dtype")
    if attn_mask is not None and attn_mask.dtype not in (
        dtypes.bool_,
        dtypes.float32,
        query.dtype,
    ):
        msg = (
            f"the mask is boolean, float32 or of the query's {query.dtype.name}, not "
            f"{attn_mask.dtype.name}"
        )
        raise Invalid("GC016", msg, "compare it, mask > 0, or convert it", "attn_mask")


def _shared_heads(query: Expr, x: Expr) -> Expr:
    """`x` with each of its heads repeated for the group of query heads that shares it."""
    if query.ndim < 3 or x.ndim < 3 or x.shape[-3] == 0 or query.shape[-3] % x.shape[-3]:
        msg = (
            f"enable_gqa needs query heads that are a multiple of the key heads: shapes {query.shape} "
            f"and {x.shape}"
        )
        raise Invalid("GC015", msg, "the heads are the third dimension from the end", "enable_gqa")
    batch = tuple(x.size(d) for d in range(x.ndim - 3))
    matrix = (x.size(-2), x.size(-1))
    groups = infix("floor_divide", query.size(-3), x.size(-3))
    repeated = x.unsqueeze(-3).expand((*batch, x.size(-3), groups, *matrix))
    return repeated.reshape((*batch, query.size(-3), *matrix))  # type: ignore[no-any-return]


_MASK = In(value=[[True, False, True, True], [False] * 4, [True] * 4], dtype="bool")
register(
    "scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, "
    "float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False)",
    doc="Attention: values averaged with the softmax of scaled products of queries and keys.",
    define=_attention,
    on=("F",),
    samples=(
        Sample("F.scaled_dot_product_attention(q, k, v)", q=(2, 3, 4), k=(2, 5, 4), v=(2, 5, 2)),
        Sample(
            "F.scaled_dot_product_attention(q, k, v, is_causal=True)", q=(3, 2), k=(4, 2), v=(4, 3)
        ),
        Sample(
            "F.scaled_dot_product_attention(q, k, v, m, scale=0.3)",
            q=(2, 3, 2),
            k=(2, 4, 2),
            v=(2, 4, 2),
            m=(3, 4),
        ),
        Sample(
            "F.scaled_dot_product_attention(q, k, v, attn_mask=m)",
            q=(3, 2),
            k=(4, 2),
            v=(4, 2),
            m=_MASK,
        ),
        # A row of the mask that lets nothing through.
        Sample(
            "F.scaled_dot_product_attention(q, k, v, q.new_zeros(3, 4).masked_fill(~m, -math.inf))",
            q=(3, 2),
            k=(1, 4, 2),
            v=(2, 4, 2),
            m=_MASK,
        ),
        Sample("F.scaled_dot_product_attention(q, k, v)", q=(2, 3, 2), k=(2, 0, 2), v=(2, 0, 2)),
        Sample("F.scaled_dot_product_attention(q, k, v)", q=(3, 0), k=(4, 0), v=(4, 2)),
        # PyTorch's fused kernel, which takes four dimensions, has no second derivative.
        Sample(
            "F.scaled_dot_product_attention(q, k, v, enable_gqa=True)",
            q=(1, 4, 3, 2),
            k=(1, 2, 3, 2),
            v=(1, 2, 3, 2),
            second=False,
        ),
    ),
)
