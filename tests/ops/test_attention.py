"""Attention beyond its samples: masks that let nothing through, every option of the layer, refusals."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

Shapes = dict[str, tuple[int, ...]]
Q, K, V = (2, 3, 4), (2, 5, 4), (2, 5, 2)
LAYER: Shapes = {
    "q": (3, 2, 4),
    "k": (5, 2, 4),
    "v": (5, 2, 4),
    "w": (12, 4),
    "b": (12,),
    "o": (4, 4),
    "p": (4,),
    "s": (4, 6, 2),
    "c": (1, 1, 4),
    "m": (3, 5),
    "n": (2, 5),
    "e": (4, 3, 5),
}
PACKED = "q, k, v, 4, 2, w, b, None, None, False, 0.0, o, p"


def both(text: str, shapes: Shapes) -> tuple[list[Any], list[Any]]:
    """Value and gradients of `text`, ours and PyTorch's."""
    rng = np.random.default_rng(0)
    used = {name: shape for name, shape in shapes.items() if name in parse(Source(text)).names}
    arrays = {name: rng.standard_normal(shape) for name, shape in used.items()}
    scope = {name: variable(name, shape) for name, shape in used.items()}
    output = build(parse(Source(text)), scope)
    upstream = rng.standard_normal(output.shape)
    gradient = differentiate(output, list(scope.values()), variable("grad", output.shape))
    ours = Plan([output, *gradient])({**arrays, "grad": upstream})
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    names = {"torch": torch, "F": torch.nn.functional, "math": math}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that two masks of unlike types are deprecated
        value = eval(text, names, dict(leaves))
    found: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
        value, list(leaves.values()), torch.tensor(upstream), allow_unused=True
    )
    theirs = [
        torch.zeros_like(leaf) if g is None else g
        for g, leaf in zip(found, leaves.values(), strict=True)
    ]
    return ours, [t.numpy(force=True) for t in (value, *theirs)]


@pytest.fixture(autouse=True)
def _float64() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "arguments",
    [
        "torch.zeros(3, 5) > 1",
        "torch.full((3, 5), -math.inf)",
        "torch.full((5,), -math.inf).masked_fill(torch.arange(5) > 2, 0.5)",
        "torch.ones(2, 1, 5).tril(-1) > 0",
        "is_causal=True, scale=0.0",
        "scale=-2.0",
    ],
)
def test_what_a_query_may_look_at(arguments: str) -> None:
    text = f"F.scaled_dot_product_attention(q, k, v, {arguments})"
    ours, theirs = both(text, {"q": Q, "k": K, "v": V})
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_query_heads_share_keys_and_values() -> None:
    shapes: Shapes = {"q": (2, 4, 3, 2), "k": (2, 2, 5, 2), "v": (2, 1, 5, 2)}
    ours, theirs = both("F.scaled_dot_product_attention(q, k, v, enable_gqa=True)", shapes)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        f"{PACKED}, need_weights=False)[0]",
        f"{PACKED}, True, n > 0.5, attn_mask=m)[0]",
        f"{PACKED}, True, n, False, m > 0.5, is_causal=True)[0]",
        f"{PACKED}, attn_mask=e, average_attn_weights=False)[1]",
        f"{PACKED}, static_k=s, static_v=s)[1]",
        "q, k, v, 4, 2, w, None, c, c, True, 0.0, o, None, True, n > 1, True, m)[1]",
        "q, k, v, 4, 2, w, b, None, None, False, 0.5, o, p, False)[0]",
        "q[:, 0], k[:, 0], v[:, 0], 4, 1, w, b, c, c, False, 0.0, o, p, True, n[0] > 0)[0]",
        "q[:, 0], k[:, 0], v[:, 0], 4, 2, w, b, None, None, False, 0.0, o, p)[1]",
    ],
)
def test_every_option_of_the_layer(arguments: str) -> None:
    ours, theirs = both(f"F.multi_head_attention_forward({arguments}", LAYER)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)", "GC017", "is random"),
        ("F.scaled_dot_product_attention(q, k, v, m > 0, is_causal=True)", "GC014", "not both"),
        ("F.scaled_dot_product_attention(q, v, k)", "GC015", "shapes that don't fit"),
        ("F.scaled_dot_product_attention(q, k, v, q > 0)", "GC015", "mask of shape (2, 3, 4)"),
        ("F.scaled_dot_product_attention(q, k, v, (m > 0).long())", "GC016", "the mask is boolean"),
        ("F.scaled_dot_product_attention(q, k, v, enable_gqa=True)", "", ""),
    ],
)
def test_attention_refuses_what_pytorch_refuses(text: str, code: str, message: str) -> None:
    scope = {
        name: variable(name, shape, dtypes.float64)
        for name, shape in {"q": Q, "k": K, "v": V, "m": (3, 5)}.items()
    }
    if not code:
        assert build(parse(Source(text)), scope).shape == (2, 3, 2)
        return
    with pytest.raises(GradcheckError) as caught:
        build(parse(Source(text)), scope)
    assert caught.value.problems[0].code == code
    assert message in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (PACKED.replace("0.0", "0.1"), "is random"),
        (PACKED.replace("4, 2", "4, 3"), "can't divide 4 features among 3 heads"),
        (PACKED.replace("4, 2", "6, 2"), "where 6 were announced"),
        (PACKED.replace("w, b", "None, b"), "needs `in_proj_weight`"),
        (PACKED.replace("w, b", "o, b"), "`in_proj_weight` of shape (12, 4), not (4, 4)"),
        (PACKED.replace("None, None", "c, None"), "bias_k and bias_v together"),
        (PACKED.replace("q, k, v", "q, k, q"), "shapes that don't fit"),
        (f"{PACKED}, attn_mask=n", "attn_mask of shape (2, 5) for 3 queries"),
        (f"{PACKED}, key_padding_mask=m", "key_padding_mask of shape (3, 5)"),
        (f"{PACKED}, attn_mask=q[:, 0]", "attn_mask of shape (3, 4) for 5 keys"),
        (f"{PACKED}, is_causal=True", "needs the mask itself"),
        (f"{PACKED}, static_k=k", "`static_k` of shape (4, length, 2), not (5, 2, 4)"),
    ],
)
def test_the_layer_refuses_what_pytorch_refuses(arguments: str, message: str) -> None:
    scope = {name: variable(name, shape) for name, shape in LAYER.items()}
    text = f"F.multi_head_attention_forward({arguments})[0]"
    with pytest.raises(GradcheckError) as caught:
        build(parse(Source(text)), scope)
    assert message in caught.value.problems[0].message
    leaves = {name: torch.zeros(shape) for name, shape in LAYER.items()}
    if "random" not in message:
        with pytest.raises((RuntimeError, AssertionError, TypeError, ValueError, AttributeError)):
            eval(text, {"F": torch.nn.functional}, leaves)
