"""Functions of square matrices: powers and the exponential."""

from __future__ import annotations

from typing import Any

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import linalg, register
from gradcheck_cli.ops.diagonal import eye
from gradcheck_cli.ops.matrices import require_square, square, turned
from gradcheck_cli.schema import Invalid


def _matrix_power(x: Expr, *, n: int) -> Any:
    name = "matrix_power"
    if x.dtype.kind == "f" or n < 0 or x.ndim < 2:
        require_square(name, x)
    elif x.shape[-2] != x.shape[-1]:
        msg = f"{name}() needs square matrices, not shape {x.shape}"
        raise Invalid("GC015", msg, "the last two sizes must be equal", "input")
    if abs(n) > _MAX_POWER:
        msg = f"the power {n} is too large: at most {_MAX_POWER} is allowed"
        raise Invalid("GC019", msg, "square repeatedly with `let`", "n")
    if n == 0:
        unit = eye(x, -1)
        return unit if x.ndim == 2 else unit.expand(tuple(x.size(d) for d in range(x.ndim)))
    base, rest = (x.inverse(), -n) if n < 0 else (x, n)
    result = None
    while rest:
        if rest % 2:
            result = base if result is None else result @ base
        rest //= 2
        base = base @ base if rest else base
    return result


_MAX_POWER = 2**16

register(
    "matrix_power(Tensor input, int n)",
    doc="A square matrix multiplied with itself n times; a negative n inverts it.",
    define=_matrix_power,
    also=("torch.linalg.matrix_power",),
    samples=(
        Sample("torch.matrix_power(x, 3)", x=(3, 3)),
        Sample("x.matrix_power(-2)", x=In((3, 3), structure="spd")),
        Sample("torch.linalg.matrix_power(x, 0)", x=(2, 3, 3), grad=False),  # constant
        Sample("x.matrix_power(1)", x=(2, 2, 2)),
        Sample("i.matrix_power(2)", i=In((2, 2), 0, 5, "int64")),
    ),
)


def _exponential(x: Any) -> Any:
    if not x.size:
        return x
    return linalg.expm(x)


def _exponential_vjp(g: Expr, out: Expr, x: Expr) -> Any:
    """Al-Mohy and Higham, SIAM J. Matrix Anal. Appl. 30 (2009): a corner of a block matrix."""
    a = turned(x)
    above, below = t.cat((a, g), -1), t.cat((t.zeros_like(x), a), -1)
    size = x.size(-1)
    corner = t.matrix_exp(t.cat((above, below), -2))
    return corner[..., :size, size:]


register(
    "matrix_exp(Tensor input)",
    doc="The exponential of square matrices, the sum of all A^n / n!.",
    infer=square("matrix_exp"),
    kernel=_exponential,
    cubic=True,
    orthogonal=True,
    vjp=_exponential_vjp,
    also=("torch.linalg.matrix_exp",),
    analytic=True,
    samples=(
        Sample("torch.matrix_exp(x)", x=(3, 3)),
        Sample("torch.linalg.matrix_exp(x)", x=(2, 2, 2)),
        Sample("x.matrix_exp()", x=(1, 1)),
        Sample("x.matrix_exp()", x=(0, 0)),
        Sample("x.matrix_exp()", x=(0, 2, 2)),
    ),
)
