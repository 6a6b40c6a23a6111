"""Quantiles: values at given fractions of the sorted elements of a dimension."""

from __future__ import annotations

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, infix, t
from gradcheck_cli.ops._common import dim_of, register
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _check(name: str, x: Expr, q: Expr | None, interpolation: str) -> None:
    """Refuse what PyTorch does. Raises Invalid."""
    if x.dtype not in (dtypes.float32, dtypes.float64):
        msg = f"{name}() needs a tensor of float32 or float64, not {x.dtype.name}"
        raise Invalid("GC016", msg, "convert it: x.double()", "input")
    if not x.elements:
        msg = f"{name}() has no elements to rank in a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "give the input elements", "input")
    if q is not None and q.ndim > 1:
        msg = f"{name}() wants one fraction or a vector of them, and q has shape {q.shape}"
        raise Invalid("GC015", msg, "flatten it: q.flatten()", "q")
    if q is not None and q.dtype is not x.dtype:
        msg = f"{name}() wants one dtype, but input is {x.dtype.name} and q is {q.dtype.name}"
        raise Invalid("GC016", msg, "convert q to the input's dtype", "q")
    fractions = None if q is None else known(q)
    if fractions is not None and not ((fractions >= 0) & (fractions <= 1)).all():
        msg = f"{name}() takes fractions from 0 to 1, and q has others"
        raise Invalid("GC014", msg, "a percentage is divided by 100", "q")
    if interpolation not in _INTERPOLATIONS:
        msg = f"{name}() has no interpolation {interpolation!r}"
        raise Invalid("GC014", msg, f"use one of {', '.join(_INTERPOLATIONS)}", "interpolation")


def _quantile(
    name: str, x: Expr, q: Expr, dim: int | None, keepdim: bool, interpolation: str
) -> Expr:
    """Elements are looked up at the rank `q * (n - 1)`, or between the two that are next to it."""
    d = 0 if dim is None else dim_of(dim, x.ndim)
    whole = dim is None or x.ndim == 0
    lined = x.reshape((-1,)) if whole else x if d == x.ndim - 1 else x.movedim((d,), (x.ndim - 1,))
    ranked = lined.sort(-1).values
    top = infix("sub", ranked.size(ranked.ndim - 1), 1)
    if name == "nanquantile":
        known = (~ranked.isnan()).sum((-1,), True)
        rank = (q * (known - 1)).clamp(min=0)  # below 0 where all are NaN
    else:
        unknown = ranked.isnan().any((-1,), True)
        rank = t.where(unknown, infix("mul", top, 1.0), q * top)
    if interpolation in ("lower", "higher", "nearest"):
        step = {"lower": t.floor, "higher": t.ceil, "nearest": t.round}[interpolation]
        result = ranked.gather(-1, step(rank).long())
    else:
        below = rank.long()
        weight = rank - below if interpolation == "linear" else t.full_like(rank, 0.5)
        above = rank.ceil().long()
        result = t.lerp(ranked.gather(-1, below), ranked.gather(-1, above), weight)
    # The last dimension holds the quantiles: it goes to the front, or where q is one number, away.
    if q.ndim:
        result = result if result.ndim == 1 else result.movedim((result.ndim - 1,), (0,))
    else:
        result = result.squeeze(-1)
    if keepdim:
        for place in range(x.ndim) if whole else (d,):
            result = result.unsqueeze(place + q.ndim)
    return result  # type: ignore[no-any-return]


def _register(name: str, doc: str) -> None:
    rest = "int? dim=None, bool keepdim=False, *, str interpolation='linear'"

    def at_tensor(x: Expr, q: Expr, dim: int | None, keepdim: bool, interpolation: str) -> Expr:
        _check(name, x, q, interpolation)
        return _quantile(name, x, q, dim, keepdim, interpolation)

    def at_number(x: Expr, q: float, dim: int | None, keepdim: bool, interpolation: str) -> Expr:
        _check(name, x, None, interpolation)
        if not 0 <= q <= 1:
            msg = f"{name}() takes fractions from 0 to 1, not {q}"
            raise Invalid("GC014", msg, "a percentage is divided by 100", "q")
        return _quantile(name, x, t.tensor(q, dtype=x.dtype), dim, keepdim, interpolation)

    unequal = In(value=[[1.0, float("nan"), -2.0, 0.5], [0.5, 3.0, 7.0, -1.0]])
    fractions = In(value=[0.2, 0.9])
    register(
        f"{name}(Tensor input, Tensor q, {rest})",
        doc=f"The values below which given fractions of the elements{doc} are.",
        define=at_tensor,
        samples=(
            Sample(f"x.{name}(q)", x=(3, 4), q=fractions),
            Sample(f"torch.{name}(x, q, 1, True)", x=(3, 4), q=fractions),
            Sample(f"x.{name}(q, dim=-2)", x=(2, 5, 2), q=fractions),
            Sample(f"x.{name}(q, 0, interpolation='midpoint')", x=(4, 2), q=In(value=0.4)),
            Sample(f"x.{name}(q)", x=(), q=fractions),
            Sample(f"x.{name}(q, 1)", x=unequal, q=fractions),
        ),
    )
    register(
        f"{name}.scalar(Tensor input, float q, {rest})",
        doc=f"The value below which a given fraction of the elements{doc} is.",
        define=at_number,
        samples=(
            Sample(f"x.{name}(0.3)", x=(3, 4)),
            Sample(f"torch.{name}(x, 0.5, dim=0)", x=(4, 3)),
            Sample(f"x.{name}(0.4, 1, keepdim=True, interpolation='lower')", x=(3, 4)),
            Sample(f"x.{name}(0.4, interpolation='higher', keepdim=True)", x=(3, 4)),
            Sample(f"x.{name}(0.4, 1, interpolation='nearest')", x=unequal),
            Sample(f"x.{name}(1, 0)", x=(4, 3)),
            Sample(f"x.{name}(0.25)", x=()),
        ),
    )


_register("quantile", "")
_register("nanquantile", " that are not NaN")
