"""The layer of several attention heads, with all that PyTorch's function of it takes.

Vaswani et al. 2017, section 3.2.2: queries, keys and values are projected, cut into heads, attended to,
put together and projected again. Lengths come first, batches second, as in PyTorch's default.
"""

from __future__ import annotations

import math
from typing import Any

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import broadcast, random_use, register
from gradcheck_cli.schema import Invalid

_NAME = "multi_head_attention_forward"


def _multi_head(
    query: Expr,
    key: Expr,
    value: Expr,
    in_proj_weight: Expr | None,
    in_proj_bias: Expr | None,
    bias_k: Expr | None,
    bias_v: Expr | None,
    out_proj_weight: Expr,
    out_proj_bias: Expr | None,
    key_padding_mask: Expr | None,
    attn_mask: Expr | None,
    q_proj_weight: Expr | None,
    k_proj_weight: Expr | None,
    v_proj_weight: Expr | None,
    static_k: Expr | None,
    static_v: Expr | None,
    **options: Any,
) -> tuple[Expr, Expr | None]:
    _check_options(attn_mask, **options)
    _check_inputs(query, key, value, options["embed_dim_to_check"], options["num_heads"])
    width = query.shape[-1]
    if options["use_separate_proj_weight"]:
        weights = (
            _given(q_proj_weight, (width, width), "q_proj_weight"),
            _given(k_proj_weight, (width, key.shape[-1]), "k_proj_weight"),
            _given(v_proj_weight, (width, value.shape[-1]), "v_proj_weight"),
        )
    else:
        weights = _given(in_proj_weight, (3 * width, width), "in_proj_weight").chunk(3)
    biases: Any = (None, None, None)
    if in_proj_bias is not None:
        biases = _given(in_proj_bias, (3 * width,), "in_proj_bias").chunk(3)
    batched = query.ndim == 3
    inputs = (x if batched else x.unsqueeze(1) for x in (query, key, value))
    q, k, v = (t.linear(*given) for given in zip(inputs, weights, biases, strict=True))
    added = 0
    if bias_k is not None or bias_v is not None:
        _need_both(bias_k, bias_v, static_k, static_v)
        k, v = _appended(k, bias_k), _appended(v, bias_v)
        added += 1
    q = _by_head(q, options["num_heads"])
    k = _by_head(k, options["num_heads"]) if static_k is None else _static(static_k, q, "static_k")
    v = _by_head(v, options["num_heads"]) if static_v is None else _static(static_v, q, "static_v")
    if options["add_zero_attn"]:
        k, v = (t.cat([x, x.new_zeros((*_sizes(x, 0, 1), 1, x.size(3)))], 2) for x in (k, v))
        added += 1
    if attn_mask is not None and attn_mask.shape[-1:] != key.shape[:1]:
        msg = f"{_NAME}() got an attn_mask of shape {attn_mask.shape} for {key.shape[0]} keys"
        raise Invalid("GC015", msg, "its last dimension is that of the keys", "attn_mask")
    mask = _mask(attn_mask, key_padding_mask, q, k.shape[2], added)
    if not options["need_weights"]:
        causal = options["is_causal"] and key_padding_mask is None
        found = t.scaled_dot_product_attention(q, k, v, None if causal else mask, is_causal=causal)
        return _projected(found, out_proj_weight, out_proj_bias, batched=batched), None
    scores = q / q.size(-1) ** 0.5 @ k.mT
    attention = t.softmax(scores if mask is None else scores + mask, -1)
    result = _projected(attention @ v, out_proj_weight, out_proj_bias, batched=batched)
    shown = attention.mean(1) if options["average_attn_weights"] else attention
    return result, shown if batched else shown.squeeze(0)


def _projected(found: Expr, weight: Expr, bias: Expr | None, *, batched: bool) -> Expr:
    """What the heads found, put together."""
    result: Expr = t.linear(found.permute((2, 0, 1, 3)).flatten(2), weight, bias)
    return result if batched else result.squeeze(1)


def _check_options(
    attn_mask: Expr | None, *, training: bool, dropout_p: float, is_causal: bool, **_: Any
) -> None:
    if training and dropout_p:
        name = f"F.{_NAME}(dropout_p={dropout_p})"
        raise random_use(name, "give dropout_p 0.0, or training=False")
    if is_causal and attn_mask is None:
        msg = f"{_NAME}() needs the mask itself beside is_causal=True"
        raise Invalid("GC014", msg, "give attn_mask", "is_causal")


def _check_inputs(query: Expr, key: Expr, value: Expr, width: int, heads: int) -> None:
    listed = f"query {query.shape}, key {key.shape}, value {value.shape}"
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        msg = f"{_NAME}() needs two dimensions each, or three with a batch: {listed}"
        raise Invalid("GC015", msg, "each is (length, batch, features)")
    if key.shape[:-1] != value.shape[:-1] or key.shape[1:-1] != query.shape[1:-1]:
        msg = f"{_NAME}() got shapes that don't fit: {listed}"
        hint = (
            "all have one batch size, key and value one length; each is (length, batch, features)"
        )
        raise Invalid("GC015", msg, hint)
    if query.shape[-1] != width:
        msg = f"{_NAME}() got a query of {query.shape[-1]} features, where {width} were announced"
        raise Invalid("GC015", msg, argument="embed_dim_to_check")
    if heads < 1 or width % heads:
        msg = f"{_NAME}() can't divide {width} features among {heads} heads"
        raise Invalid("GC014", msg, "use a divisor of the number of features", "num_heads")


def _given(x: Expr | None, shape: tuple[int, ...], label: str) -> Expr:
    if x is None:
        msg = f"{_NAME}() needs `{label}`"
        raise Invalid(
            "GC014", msg, "in_proj_weight, or use_separate_proj_weight=True and all three"
        )
    if x.shape != shape:
        msg = f"{_NAME}() needs a `{label}` of shape {shape}, not {x.shape}"
        raise Invalid("GC015", msg, argument=label)
    return x


def _need_both(bias_k: Expr | None, bias_v: Expr | None, *static: Expr | None) -> None:
    if bias_k is None or bias_v is None:
        msg = f"{_NAME}() takes bias_k and bias_v together"
        raise Invalid("GC014", msg, argument="bias_v" if bias_k is None else "bias_k")
    if any(x is not None for x in static):
        msg = f"{_NAME}() can't append bias_k and bias_v to static keys and values"
        raise Invalid("GC014", msg, argument="bias_k")


def _sizes(x: Expr, *dims: int) -> tuple[Expr, ...]:
    return tuple(x.size(d) for d in dims)


def _appended(x: Expr, bias: Any) -> Expr:
    """Keys or values with a learned one behind them, the same for every sample."""
    if broadcast(bias.shape, (1, 1, x.shape[2])) != (1, 1, x.shape[2]):
        msg = f"{_NAME}() needs bias_k and bias_v of shape {(1, 1, x.shape[2])}, not {bias.shape}"
        raise Invalid("GC015", msg, argument="bias_k")
    return t.cat([x, bias.expand((1, *_sizes(x, 1, 2)))])  # type: ignore[no-any-return]


def _by_head(x: Expr, heads: int) -> Expr:
    """(length, batch, features) to (batch, heads, length, features of a head)."""
    return x.unflatten(-1, (heads, -1)).permute((1, 2, 0, 3))  # type: ignore[no-any-return]


def _static(x: Expr, q: Expr, label: str) -> Expr:
    """Keys or values that are given, projected and by head already."""
    rows, features = q.shape[0] * q.shape[1], q.shape[3]
    if x.ndim != 3 or (x.shape[0], x.shape[2]) != (rows, features):
        msg = f"{_NAME}() needs a `{label}` of shape ({rows}, length, {features}), not {x.shape}"
        raise Invalid("GC015", msg, "it is (batch * heads, length, features of a head)", label)
    return x.reshape((*_sizes(q, 0, 1), *_sizes(x, 1, 2)))  # type: ignore[no-any-return]


def _mask(
    attn_mask: Expr | None, key_padding_mask: Expr | None, q: Expr, keys: int, added: int
) -> Expr | None:
    """Both masks as numbers to add to the scores, which are (batch, heads, queries, keys)."""
    batch, heads, length, _ = q.shape
    total: Expr | None = None
    if attn_mask is not None:
        total = _additive(attn_mask, q, keys, added, "attn_mask")
        if total.ndim == 3 and total.shape[:2] == (batch * heads, length):
            total = total.reshape((*_sizes(q, 0, 1), *_sizes(total, 1, 2)))
        elif total.shape[:-1] != (length,):
            msg = f"{_NAME}() got an attn_mask of shape {attn_mask.shape} for {length} queries"
            hint = f"it is (queries, keys), or ({batch * heads}, queries, keys)"
            raise Invalid("GC015", msg, hint, "attn_mask")
    if key_padding_mask is not None:
        padding = _additive(key_padding_mask, q, keys, added, "key_padding_mask")
        if padding.shape[:-1] not in ((batch,), () if batch == 1 else (batch,)):
            msg = f"{_NAME}() got a key_padding_mask of shape {key_padding_mask.shape}"
            raise Invalid("GC015", msg, f"it is ({batch}, keys)", "key_padding_mask")
        padding = padding.unsqueeze(-2).unsqueeze(-2)
        total = padding if total is None else total + padding
    return total


def _additive(mask: Expr, q: Expr, keys: int, added: int, label: str) -> Expr:
    """`mask` as numbers, with zeros for the keys that were added."""
    if mask.dtype is dtypes.bool_:
        mask = t.where(mask, -math.inf, 0.0).to(q.dtype)
    if mask.dtype is not q.dtype:
        msg = f"the mask is boolean or of the query's {q.dtype.name}, not {mask.dtype.name}"
        raise Invalid("GC016", msg, "compare it: mask > 0", label)
    if not mask.ndim or mask.shape[-1] + added != keys:
        msg = f"{_NAME}() got a mask of shape {mask.shape} for {keys - added} keys"
        raise Invalid("GC015", msg, "its last dimension is that of the keys", label)
    if not added:
        return mask
    rest = (*_sizes(mask, *range(mask.ndim - 1)), added)
    return t.cat([mask, mask.new_zeros(rest)], -1)  # type: ignore[no-any-return]


# Three tokens, a batch of two, four features; and the weights for them.
_PACKED: dict[str, Any] = {"q": (3, 2, 4), "w": (12, 4), "o": (4, 4), "p": (4,)}
_PADDED = In(value=[[False, True, False, False, False], [False] * 5], dtype="bool")

register(
    "multi_head_attention_forward(Tensor query, Tensor key, Tensor value, int embed_dim_to_check, "
    "int num_heads, Tensor? in_proj_weight, Tensor? in_proj_bias, Tensor? bias_k, Tensor? bias_v, "
    "bool add_zero_attn, float dropout_p, Tensor out_proj_weight, Tensor? out_proj_bias, "
    "bool training=True, Tensor? key_padding_mask=None, bool need_weights=True, "
    "Tensor? attn_mask=None, bool use_separate_proj_weight=False, Tensor? q_proj_weight=None, "
    "Tensor? k_proj_weight=None, Tensor? v_proj_weight=None, Tensor? static_k=None, "
    "Tensor? static_v=None, bool average_attn_weights=True, bool is_causal=False)",
    doc="Attention by several heads between projections, and the weights that they gave.",
    define=_multi_head,
    on=("F",),
    samples=(
        Sample(
            "F.multi_head_attention_forward(q, q, q, 4, 2, w, None, None, None, False, 0.0, o, p)[0]",
            **_PACKED,
        ),
        Sample(
            "F.multi_head_attention_forward("
            "q, k, v, 4, 2, w, b, c, d, True, 0.0, o, p, key_padding_mask=m, attn_mask=a)[0]",
            **_PACKED,
            b=(12,),
            k=(5, 2, 4),
            v=(5, 2, 4),
            c=(1, 1, 4),
            d=(1, 1, 4),
            m=_PADDED,
            a=(3, 5),
        ),
        Sample(
            "F.multi_head_attention_forward(q, q, q, 4, 2, w, None, None, None, True, 0.5, o, p, "
            "training=False, attn_mask=a, average_attn_weights=False)[1]",
            **_PACKED,
            a=(4, 3, 3),
        ),
        # PyTorch's fused kernel, which takes four dimensions, has no second derivative.
        Sample(
            "F.multi_head_attention_forward(q, q, q, 4, 4, w, None, None, None, False, 0.0, o, p, "
            "need_weights=False, attn_mask=torch.ones(3, 3).triu(1) > 0, is_causal=True)[0]",
            **_PACKED,
            second=False,
        ),
        Sample(
            "F.multi_head_attention_forward(q, k, v, 4, 2, None, None, None, None, False, 0.0, o, "
            "None, True, m, use_separate_proj_weight=True, q_proj_weight=x, k_proj_weight=y, "
            "v_proj_weight=z)[0]",
            q=(3, 2, 4),
            k=(5, 2, 3),
            v=(5, 2, 1),
            o=(4, 4),
            x=(4, 4),
            y=(4, 3),
            z=(4, 1),
            m=_PADDED,
        ),
        Sample(
            "F.multi_head_attention_forward("
            "q, q, q, 4, 1, w, None, None, None, False, 0.0, o, None)[1]",
            q=(3, 4),
            w=(12, 4),
            o=(4, 4),
        ),
        Sample(
            "F.multi_head_attention_forward(q, q, q, 4, 2, w, None, None, None, False, 0.0, o, p, "
            "static_k=k, static_v=v)[0]",
            **_PACKED,
            k=(4, 5, 2),
            v=(4, 5, 2),
        ),
    ),
)
