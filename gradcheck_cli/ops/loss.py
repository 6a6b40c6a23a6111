"""Losses between tensors element by element, and between vectors, with PyTorch's reductions.

Those over classes are in `cross_entropy.py` and `binary_entropy.py`. Each is defined by other operators,
so that its closed form reads like a textbook's; the part that would read badly, or that PyTorch
differentiates in a way of its own (a clamp that its gradient ignores), is an operator without reduction,
`reduction='none'`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Type, make, t
from gradcheck_cli.ops._common import broadcast, promote, register, typed
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

# What per-element losses return: the losses, and what `mean` divides their sum by (None: their number).
Losses = Expr | tuple[Expr, Expr]


def reduced_loss(
    name: str, losses: Losses, reduction: str, size_average: Any = None, reduce: Any = None
) -> Expr:
    """Per-element losses reduced as asked. Raises Invalid (GC014)."""
    if size_average is not None or reduce is not None:  # deprecated, and stronger than reduction
        means = size_average is None or size_average
        reduction = "none" if reduce is False else "mean" if means else "sum"
    each, divisor = losses if isinstance(losses, tuple) else (losses, None)
    if reduction == "none":
        return each
    if reduction == "sum":
        return each.sum()  # type: ignore[no-any-return]
    if reduction == "mean":
        return each.mean() if divisor is None else each.sum() / divisor  # type: ignore[no-any-return]
    msg = f"{name}() has no reduction {reduction!r}"
    raise Invalid("GC014", msg, "use 'none', 'mean' or 'sum'", "reduction")


def register_loss(schema: str, doc: str, losses: Callable[..., Losses], *samples: Sample) -> Op:
    """A loss whose reduction is applied to what `losses(*tensors, **options)` gives."""
    name = schema.partition("(")[0]

    def define(
        *tensors: Expr | None,
        reduction: str,
        size_average: Any = None,
        reduce: Any = None,
        **options: Any,
    ) -> Expr:
        return reduced_loss(name, losses(*tensors, **options), reduction, size_average, reduce)

    return register(schema, doc=doc, define=define, on=("F",), samples=samples)


def need_floating(name: str, *tensors: Expr) -> None:
    """Refuse tensors whose common type is no floating one. Raises Invalid (GC016)."""
    common = promote(*tensors)
    if common.kind != "f":
        msg = f"{name}() needs floating-point tensors, not {common.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype", "input")


def same_shape(name: str, input: Expr, target: Expr) -> None:
    """Refuse what PyTorch refuses to broadcast. Raises Invalid (GC015)."""
    if input.shape != target.shape:
        msg = f"{name}() needs a target of the input's shape {input.shape}, not {target.shape}"
        raise Invalid("GC015", msg, "use target.expand_as(input) if that is meant", "target")


def kept_shape(name: str, losses: Expr, factor: Expr | None, label: str) -> None:
    """Refuse a factor that would widen the losses. Raises Invalid (GC015)."""
    if factor is not None and broadcast(losses.shape, factor.shape) != losses.shape:
        msg = f"{name}() can't apply a {label} of shape {factor.shape} to losses of {losses.shape}"
        raise Invalid("GC015", msg, f"the {label} broadcasts to the input", label)


def kept_dtype(x: Expr, like: Expr) -> Expr:
    """`x` in the type of what PyTorch adds to, or multiplies, in place."""
    return x if x.dtype is like.dtype else x.to(like.dtype)


def _weighted(name: str, losses: Expr, input: Expr, weight: Expr | None) -> Losses:
    """Losses times weights, to be divided by the sum of the weights. Raises Invalid (GC015)."""
    if weight is None:
        return losses
    if weight.shape != input.shape:
        msg = f"{name}() needs a weight of the input's shape {input.shape}, not {weight.shape}"
        raise Invalid("GC015", msg, argument="weight")
    return losses * weight, weight.sum()


def _mse(input: Expr, target: Expr, weight: Expr | None) -> Losses:
    need_floating("mse_loss", input, target)
    return _weighted("mse_loss", (input - target).square(), input, weight)


register_loss(
    "mse_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, "
    "str reduction='mean', Tensor? weight=None)",
    "Squared differences.",
    _mse,
    Sample("F.mse_loss(x, y)", x=(3, 4), y=(3, 4)),
    Sample("F.mse_loss(x, y, reduction='none')", x=(3, 4), y=(4,)),
    Sample("F.mse_loss(x, y, None, None, 'sum')", x=(), y=()),
    Sample("F.mse_loss(x, y, size_average=False)", x=(3,), y=(3,)),
    Sample("F.mse_loss(x, y, True, False)", x=(3,), y=(3,)),
    Sample("F.mse_loss(x, y, weight=w)", x=(2, 3), y=(2, 3), w=In((2, 3), 0.5, 2.0)),
    Sample("F.mse_loss(x, i, reduction='sum')", x=(2, 3), i=In((2, 3), dtype="int64", high=4)),
)


def _l1(input: Expr, target: Expr, weight: Expr | None) -> Losses:
    return _weighted("l1_loss", (input - target).abs(), input, weight)


register_loss(
    "l1_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, "
    "str reduction='mean', Tensor? weight=None)",
    "Absolute differences.",
    _l1,
    Sample("F.l1_loss(x, y)", x=(3, 4), y=(3, 4)),
    Sample("F.l1_loss(x, y, reduction='none')", x=(3, 1), y=(4,)),
    Sample("F.l1_loss(x, y, weight=w)", x=(2, 3), y=(2, 3), w=In((2, 3), 0.5, 2.0)),
)


def _pair_type(name: str) -> Callable[..., Type]:
    def infer(input: Expr, target: Expr, **_: Any) -> Type:
        need_floating(name, input, target)
        return Type(broadcast(input.shape, target.shape), promote(input, target))

    return infer


def _smooth_l1(x: Any, y: Any, reduction: str, beta: float) -> Any:
    e = x - y
    size = e * np.sign(np.real(e))
    return np.where(np.real(size) < beta, 0.5 * e * e / beta, size - 0.5 * beta)


def _smooth_l1_vjp(
    g: Expr, out: Expr, x: Expr, y: Expr, reduction: str, beta: float
) -> tuple[Expr, Expr]:
    slope = g * ((x - y) / beta).clamp(-1.0, 1.0)
    return slope, -slope


def _smooth_l1_definition(x: Expr, y: Expr, reduction: str, beta: float) -> Expr:
    size = (x - y).abs()
    return t.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)  # type: ignore[no-any-return]


SMOOTH_L1: Op


def _smooth_l1_losses(input: Expr, target: Expr, beta: float) -> Losses:
    if beta < 0:
        msg = f"smooth_l1_loss() needs a beta of at least 0, not {beta}"
        raise Invalid("GC014", msg, argument="beta")
    if beta == 0:
        return (input - target).abs()  # type: ignore[no-any-return]
    losses: Expr = make(SMOOTH_L1, (input, target), {"reduction": "none", "beta": beta})
    return losses


register_loss(
    "smooth_l1_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, "
    "str reduction='mean', float beta=1.0)",
    "Squared differences below beta, absolute ones above.",
    _smooth_l1_losses,
    Sample("F.smooth_l1_loss(x, y)", x=(3, 4), y=(3, 4)),
    Sample("F.smooth_l1_loss(x, y, reduction='sum', beta=0.3)", x=(3, 4), y=(4,)),
    Sample("F.smooth_l1_loss(x, y, beta=0)", x=(3,), y=(3,)),
)
SMOOTH_L1 = register(
    "smooth_l1_loss.none(Tensor input, Tensor target, *, str reduction, float beta=1.0)",
    doc="smooth_l1_loss without reduction.",
    infer=_pair_type("smooth_l1_loss"),
    kernel=typed(_smooth_l1),
    vjp=_smooth_l1_vjp,
    define=_smooth_l1_definition,
    on=("F",),
    analytic=True,
    samples=(
        Sample("F.smooth_l1_loss(x, y, reduction='none')", x=(3, 1), y=(4,)),
        Sample("F.smooth_l1_loss(x, y, reduction='none', beta=0.5)", x=(), y=()),
        Sample("F.smooth_l1_loss(x, y, reduction='none')", x=(0, 3), y=(0, 3)),
    ),
)


def _huber(x: Any, y: Any, reduction: str, delta: float) -> Any:
    e = x - y
    size = e * np.sign(np.real(e))
    return np.where(np.real(size) <= delta, 0.5 * e * e, delta * (size - 0.5 * delta))


def _huber_vjp(
    g: Expr, out: Expr, x: Expr, y: Expr, reduction: str, delta: float
) -> tuple[Expr, Expr]:
    slope = g * (x - y).clamp(-delta, delta)
    return slope, -slope


def _huber_definition(x: Expr, y: Expr, reduction: str, delta: float) -> Expr:
    size = (x - y).abs()
    return t.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))  # type: ignore[no-any-return]


HUBER: Op


def _huber_losses(input: Expr, target: Expr, weight: Expr | None, delta: float) -> Losses:
    if delta <= 0:
        msg = f"huber_loss() needs a positive delta, not {delta}"
        raise Invalid("GC014", msg, argument="delta")
    losses: Expr = make(HUBER, (input, target), {"reduction": "none", "delta": delta})
    weighted = _weighted("huber_loss", losses, input, weight)
    return weighted[0] if isinstance(weighted, tuple) else weighted


register_loss(
    "huber_loss(Tensor input, Tensor target, str reduction='mean', float delta=1.0, "
    "Tensor? weight=None)",
    "Half the squared differences up to delta, delta times the absolute ones above.",
    _huber_losses,
    Sample("F.huber_loss(x, y)", x=(3, 4), y=(3, 4)),
    Sample("F.huber_loss(x, y, 'sum', 0.4)", x=(3, 4), y=(4,)),
    Sample("F.huber_loss(x, y, weight=w)", x=(2, 3), y=(2, 3), w=In((2, 3), 0.5, 2.0)),
)
HUBER = register(
    "huber_loss.none(Tensor input, Tensor target, *, str reduction, float delta=1.0)",
    doc="huber_loss without reduction.",
    infer=_pair_type("huber_loss"),
    kernel=typed(_huber),
    vjp=_huber_vjp,
    define=_huber_definition,
    on=("F",),
    analytic=True,
    samples=(
        Sample("F.huber_loss(x, y, reduction='none')", x=(3, 1), y=(4,)),
        Sample("F.huber_loss(x, y, reduction='none', delta=0.5)", x=(), y=()),
        Sample("F.huber_loss(x, y, reduction='none')", x=(0, 3), y=(0, 3)),
    ),
)


def _kl_div(
    input: Expr,
    target: Expr,
    size_average: Any,
    reduce: Any,
    reduction: str,
    log_target: bool,
) -> Expr:
    for tensor in (input, target):
        need_floating("kl_div", tensor)
    losses: Expr = (
        target.exp() * (target - input) if log_target else t.xlogy(target, target) - target * input
    )
    if reduction != "batchmean":
        return reduced_loss("kl_div", losses, reduction, size_average, reduce)
    total = reduced_loss("kl_div", losses, "sum", size_average, reduce)
    return total / input.size(0) if input.ndim else total


register(
    "kl_div(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, "
    "str reduction='mean', bool log_target=False)",
    doc="Kullback-Leibler divergence of log-probabilities (input) from probabilities (target).",
    define=_kl_div,
    on=("F",),
    samples=(
        Sample("F.kl_div(x, y)", x=(3, 4), y=In((3, 4), 0.1, 1.0)),
        Sample("F.kl_div(x, y, reduction='batchmean')", x=(3, 4), y=In((4,), 0.1, 1.0)),
        Sample("F.kl_div(x, y, reduction='none', log_target=True)", x=(3, 4), y=(3, 4)),
        Sample("F.kl_div(x, y, reduction='batchmean', log_target=True)", x=(), y=()),
        Sample("F.kl_div(x, y.detach(), reduction='sum')", x=(3,), y=In(value=[0.0, 0.4, 0.6])),
    ),
)


def _poisson(input: Expr, target: Expr, log_input: bool, full: bool, eps: float) -> Losses:
    losses = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        # Stirling's approximation of log(target!), which PyTorch leaves out up to 1.
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        return kept_dtype(losses + t.where(target <= 1, 0.0, stirling), losses)
    return losses  # type: ignore[no-any-return]


register_loss(
    "poisson_nll_loss(Tensor input, Tensor target, bool log_input=True, bool full=False, "
    "bool? size_average=None, float eps=1e-8, bool? reduce=None, str reduction='mean')",
    "Negative log-likelihood of a Poisson distribution, without the constant unless `full`.",
    _poisson,
    Sample("F.poisson_nll_loss(x, y)", x=(3, 4), y=In((3, 4), 0.2, 5.0)),
    Sample(
        "F.poisson_nll_loss(x, y, log_input=False, reduction='none')",
        x=In((3,), 0.2, 2.0),
        y=In((3,), 0.2, 5.0),
    ),
    Sample("F.poisson_nll_loss(x, y, full=True, reduction='sum')", x=(4,), y=In((4,), 0.2, 5.0)),
    Sample("F.poisson_nll_loss(x, i, full=True)", x=(5,), i=In((5,), dtype="int64", low=1, high=6)),
)


def _gaussian(input: Expr, target: Expr, var: Expr, full: bool, eps: float) -> Losses:
    need_floating("gaussian_nll_loss", input)
    if var.value is not None:
        if not isinstance(var.value, float) or var.value < 0:
            msg = f"gaussian_nll_loss() needs a variance of at least 0.0, not {var.value}"
            raise Invalid("GC014", msg, "write it as a float: 1.0", "var")
        var = t.full_like(input, var)
    elif var.shape != input.shape:
        var = _fitted_variance(input, var)
    # Documented: the gradient ignores the clamp, so that it passes where the variance is below eps.
    var = var + t.where(var < eps, eps - var, 0.0).detach()
    losses: Expr = 0.5 * (var.log() + (input - target).square() / var)
    return losses + 0.5 * math.log(2 * math.pi) if full else losses


def _fitted_variance(input: Expr, var: Expr) -> Expr:
    if var.shape == input.shape[:-1] and input.ndim:
        return var.unsqueeze(-1)  # type: ignore[no-any-return]
    differing = [v for x, v in zip(input.shape, var.shape, strict=False) if x != v]
    if var.ndim != input.ndim or sum(differing) != 1:
        msg = f"gaussian_nll_loss() can't use a variance of shape {var.shape} for {input.shape}"
        raise Invalid("GC015", msg, "one size may be 1, or the last missing", "var")
    return var


register_loss(
    "gaussian_nll_loss(Tensor input, Tensor target, Tensor|Scalar var, bool full=False, "
    "float eps=1e-6, str reduction='mean')",
    "Negative log-likelihood of a normal distribution with the variance var.",
    _gaussian,
    Sample("F.gaussian_nll_loss(x, y, v)", x=(3, 4), y=(3, 4), v=In((3, 4), 0.2, 2.0)),
    Sample("F.gaussian_nll_loss(x, y, v, full=True)", x=(3, 4), y=(3, 4), v=In((3,), 0.2, 2.0)),
    Sample(
        "F.gaussian_nll_loss(x, y, v, reduction='none')",
        x=(3, 4),
        y=(4,),
        v=In((3, 1), 0.2, 2.0),
    ),
    Sample("F.gaussian_nll_loss(x, y, 0.5, eps=1e-3, reduction='sum')", x=(3,), y=(3,)),
)
