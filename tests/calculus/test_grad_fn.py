"""The names of backward functions are PyTorch's, for every record's samples."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.grad_fn import grad_fn_name
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import INPUT, TABLE, Expr, In, Op, Sample, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.torch_method import evaluate_formula
from gradcheck_cli.ops.known import given

if TYPE_CHECKING:
    from collections.abc import Iterator

# PyTorch builds these from others, and so its last `grad_fn` is another's: views of a product, a sum along
# a dimension after a product, a reciprocal. The names here are those of what computes.
COMPOSED = {
    "matmul": "of batches and of vectors it ends in a view",
    "einsum": "it ends in a view",
    "logdet": "it ends in where()",
    "sum_to_size": "it ends in a view",
    "mT": "a view of another kind where there is no matrix",
    "nll_loss.none": "of images and weights it ends in a view",
    "cross_entropy.none": "the same",
    **dict.fromkeys(
        [f"conv{part}{ndim}d" for part in ("", "_transpose") for ndim in (1, 2, 3)],
        "without a batch it ends in a view",
    ),
    **dict.fromkeys(
        (
            *("max_pool1d", "max_pool1d_with_indices", "max_unpool1d", "avg_pool1d"),
            "adaptive_max_pool1d_with_indices",
        ),
        "it ends in a view of what two dimensions give",
    ),
    "remainder": "PyTorch has no gradient of a number modulo a tensor",
    **dict.fromkeys(
        (
            *("complex", "view_as_complex", "view_as_real", "real.complex", "imag"),
            *("conj.complex", "fftn.whole", "ifftn.whole", "linalg_eig"),
        ),
        "it makes or takes complex numbers, which no input and no output is",
    ),
    **dict.fromkeys(
        (
            *("heaviside", "airy_ai", "spherical_bessel_j0", "bessel_j0", "bessel_j1", "bessel_y0"),
            *("bessel_y1", "modified_bessel_k0", "modified_bessel_k1"),
            *("scaled_modified_bessel_k0", "scaled_modified_bessel_k1"),
            *("chebyshev_polynomial_t", "chebyshev_polynomial_u", "hermite_polynomial_h"),
            *("hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p"),
        ),
        "PyTorch has no gradient of it",
    ),
}
# Where PyTorch has two functions for what is one record here.
OTHERWISE = {
    ("x[i]", "SelectBackward0"): "an index without dimensions",
    ("x[m]", "IndexBackward0"): "a mask as a subscript",
    ("x.cholesky()", "CholeskyBackward0"): "the older of its two",
}


def tensor(spec: In) -> torch.Tensor:
    dtype = getattr(torch, spec.dtype)
    if spec.value is not None:
        drawn = torch.tensor(spec.value, dtype=dtype)
    elif spec.structure is not None:
        drawn = torch.eye(spec.shape[-1], dtype=dtype).expand(spec.shape).clone()
    elif dtype.is_floating_point:
        drawn = torch.linspace(0.3, 0.7, int(np.prod(spec.shape)), dtype=dtype).reshape(spec.shape)
    else:
        drawn = torch.zeros(spec.shape, dtype=dtype) + int(spec.low or 0)
    return drawn.requires_grad_() if dtype.is_floating_point else drawn


def calculated(output: Expr) -> list[Expr]:
    """The operators below, but for what PyTorch folds away."""
    order = topological([output])
    return [n for n in order if n.op is not INPUT and n.value is None and n.args]


def samples(op: Op) -> Iterator[Sample]:
    yield from op.samples
    parameters = op.signature.parameters
    if op.elementwise and all(p.is_tensor for p in parameters if not p.has_default):
        names = "xyz"[: sum(p.is_tensor and not p.has_default for p in parameters)]
        spelling = next((s for s in op.spellings if not s.startswith("Tensor.")), None)
        if spelling is not None:
            drawn = {name: In((2, 3), 0.3, 0.7) for name in names}
            yield Sample(f"{spelling}({', '.join(names)})", grad=True, second=True, **drawn)


def _arrays(leaves: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: leaf.numpy(force=True) for name, leaf in leaves.items()}


def comparable(op: Op) -> Iterator[tuple[Sample, Expr, str]]:
    """Samples that are this one operator and nothing else, with PyTorch's name for it."""
    for sample in samples(op):
        scope = {
            name: variable(name, np.shape(i.value) if i.value is not None else i.shape, t)
            for name, i in sample.inputs.items()
            for t in [dtypes.BY_NAME[i.dtype]]
        }
        formula = parse(Source(sample.expression))
        leaves = {name: tensor(spec) for name, spec in sample.inputs.items()}
        with given(partial(_arrays, leaves)):
            node = build(formula, scope)
        if node.op is not op or len(calculated(node)) != 1 or not node.dtype.is_floating:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value: Any = evaluate_formula(formula, leaves)
        except RuntimeError:
            continue
        if isinstance(value, torch.Tensor) and value.grad_fn is not None:
            yield sample, node, value.grad_fn.name()


OPS = [op for op in TABLE.by_name.values() if op.vjp is not None and op.name not in COMPOSED]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_the_name_is_pytorchs(op: Op) -> None:
    wrong = [
        f"{sample.expression}: {grad_fn_name(node)}, in PyTorch {name}"
        for sample, node, name in comparable(op)
        if grad_fn_name(node) != name and (sample.expression, name) not in OTHERWISE
    ]
    assert not wrong


def test_nearly_every_operator_is_compared() -> None:
    unseen = [op.name for op in OPS if not any(True for _ in comparable(op))]
    assert len(unseen) <= len(OPS) // 20, unseen
    assert {op.name for op in TABLE.by_name.values()} >= COMPOSED.keys()
