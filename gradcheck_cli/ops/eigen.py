"""Eigenvalues and eigenvectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.dtypes import COMPLEX_OF
from gradcheck_cli.graph import Expr, In, Sample, Type, call, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.diagonal import eye
from gradcheck_cli.ops.matrices import (
    iterating,
    require_square,
    scaled_columns,
    skew,
    symmetrized,
    turned,
)
from gradcheck_cli.schema import Invalid


def _eigh_infer(x: Expr, *, UPLO: str) -> tuple[Type, Type]:
    require_square("eigh", x)
    if UPLO.upper() not in ("L", "U"):
        msg = f"eigh() reads the lower triangle ('L') or the upper one ('U'), not {UPLO!r}"
        raise Invalid("GC014", msg, argument="UPLO")
    return Type(x.shape[:-1], x.dtype), Type(x.shape, x.dtype)


def _eigh(x: Any, UPLO: str) -> tuple[Any, Any]:
    with iterating("eigh", x):
        values, vectors = np.linalg.eigh(symmetrized(x, lower=UPLO.upper() == "L"))
    return values, vectors


def _eigh_vjp(g: Expr, out: Expr, x: Expr, *, UPLO: str, output: int) -> Any:
    """Giles, Collected matrix derivative results (2008), section 3.1, transposed and symmetrised."""
    values, vectors = call([EIGH], x, UPLO)
    if output == 0:
        return scaled_columns(vectors, g) @ turned(vectors)
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1) + eye(values, -1)
    return vectors @ (skew(turned(vectors) @ g) / (2.0 * gaps)) @ turned(vectors)


_SYMMETRIC = "the matrix is taken as symmetric, and the gradient is symmetric"

EIGH = register(
    "linalg_eigh(Tensor input, str UPLO='L')",
    doc="Eigenvalues, in ascending order, and orthonormal eigenvectors of symmetric matrices.",
    infer=_eigh_infer,
    kernel=_eigh,
    cubic=True,
    orthogonal=True,
    vjp=_eigh_vjp,
    outputs=("eigenvalues", "eigenvectors"),
    on=(),
    also=("torch.linalg.eigh",),
    convention=f"{_SYMMETRIC}; for eigenvectors the eigenvalues must differ",
    samples=(  # other builds of LAPACK choose other signs
        Sample("torch.linalg.eigh(x).eigenvalues", x=In((3, 3), structure="spd")),
        Sample("torch.linalg.eigh(x, 'U').eigenvectors.abs()", x=In((3, 3), structure="spd")),
        Sample("torch.linalg.eigh(x + x.mT)[1].abs()", x=(2, 3, 3)),
        Sample("torch.linalg.eigh(x)[0]", x=(0, 0)),
        Sample("torch.linalg.eigh(x)[1]", x=(0, 2, 2)),
    ),
)
register(
    "eigvalsh(Tensor input, str UPLO='L')",
    doc="Eigenvalues of symmetric matrices in ascending order.",
    define=lambda x, UPLO: call([EIGH], x, UPLO).eigenvalues,
    on=("torch.linalg",),
    convention=_SYMMETRIC,
    samples=(
        Sample("torch.linalg.eigvalsh(x)", x=In((3, 3), structure="spd")),
        Sample("torch.linalg.eigvalsh(x, UPLO='U')", x=In((2, 3, 3), structure="spd")),
        Sample("torch.linalg.eigvalsh(x @ x.T)", x=(3, 2), second=False),  # an eigenvalue near 0
    ),
)


def _eig_infer(x: Expr) -> tuple[Type, Type]:
    require_square("eig", x)
    dtype = COMPLEX_OF.get(x.dtype, x.dtype)
    return Type(x.shape[:-1], dtype), Type(x.shape, dtype)


def _eig(x: Any) -> tuple[Any, Any]:
    with iterating("eig", x):
        values, vectors = np.linalg.eig(x)
    dtype = np.result_type(x.dtype, np.complex64)
    return values.astype(dtype, copy=False), vectors.astype(dtype, copy=False)


def _eig_vjp(g: Expr, out: Expr, x: Expr, *, output: int) -> Any:
    """Boeddeker et al., On the computation of complex-valued gradients (2017), of eigenvectors of length 1.

    Their phases are LAPACK's choice, and no gradient flows from them.
    """
    values, vectors = call([EIG], x)
    across = turned(t.conj(vectors))
    if output == 0:
        return t.solve(across, g.unsqueeze(-1) * across)
    gaps = t.conj(values.unsqueeze(-2) - values.unsqueeze(-1))
    upstream = across @ g
    stretching = t.real(upstream.diagonal(0, -2, -1)).unsqueeze(-2)
    inner = (upstream - across @ vectors * stretching) / (gaps + eye(values, -1))
    return t.solve(across, inner @ across)


EIG = register(
    "linalg_eig(Tensor input)",
    doc="Eigenvalues and eigenvectors of square matrices, as complex numbers.",
    infer=_eig_infer,
    kernel=_eig,
    cubic=True,
    orthogonal=True,
    complex=True,
    vjp=_eig_vjp,
    outputs=("eigenvalues", "eigenvectors"),
    on=(),
    also=("torch.linalg.eig",),
    convention="the eigenvalues must differ; what depends on the eigenvectors' phases has no gradient",
    samples=(
        Sample("torch.linalg.eig(x).eigenvalues.abs()", x=(3, 3)),
        Sample("torch.linalg.eig(x)[1].abs()", x=(3, 3)),
        Sample("torch.view_as_real(torch.linalg.eig(x).eigenvalues)", x=(2, 2, 2)),
        Sample("torch.linalg.eig(x).eigenvectors.abs()", x=(2, 3, 3)),
        Sample("torch.linalg.eig(torch.complex(x, y))[0].abs()", x=(2, 2), y=(2, 2)),
        Sample("torch.linalg.eig(x)[0].abs()", x=(0, 0)),
    ),
)
register(
    "eigvals(Tensor input)",
    doc="Eigenvalues of square matrices, as complex numbers.",
    define=lambda x: call([EIG], x).eigenvalues,
    on=("torch.linalg",),
    convention="the eigenvalues must differ",
    samples=(
        Sample("torch.view_as_real(torch.linalg.eigvals(x))", x=(3, 3)),
        Sample("torch.linalg.eigvals(x).abs().sum()", x=(2, 3, 3)),
    ),
)
