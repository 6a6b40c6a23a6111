"""Rows of elementwise operators, and of reductions and sums along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.portfolio.record import Row, pick

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _pair(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    shape = (elements // 50, 50)
    return {"x": rng.normal(size=shape), "y": rng.normal(size=shape)}


SQUARED_ERRORS = Row(
    name="sum of squared errors",
    counted="of each of two inputs",
    text="(x - y).pow(2).sum()",
    wrt=("x",),
    draw=_pair,
    torch=lambda torch, x, y: (x - y).pow(2).sum(),  # noqa: ARG005
    autograd=lambda autograd, x, y: autograd.numpy.sum((x - y) ** 2),
    mygrad=lambda mg, x, y: mg.sum((x - y) ** 2),
    jax=lambda jax, x, y: jax.numpy.sum((x - y) ** 2),
)


def _chain(lib: Any, x: Any, y: Any) -> Any:
    bump = lib.exp(-((lib.sin(x) * lib.tanh(y)) ** 2)) / (1 + lib.exp(lib.sin(y) * x))
    return (bump + lib.tanh(x / (1 + y * y)) * lib.sin(x * y)).sum()


CHAIN = Row(
    name="elementwise chain",
    counted="of each of two inputs",
    text=(
        "(torch.exp(-((torch.sin(x) * torch.tanh(y)) ** 2)) / (1 + torch.exp(torch.sin(y) * x))"
        " + torch.tanh(x / (1 + y * y)) * torch.sin(x * y)).sum()"
    ),
    wrt=("x", "y"),
    draw=_pair,
    torch=_chain,
    autograd=lambda autograd, x, y: _chain(autograd.numpy, x, y),
    mygrad=_chain,
    jax=lambda jax, x, y: _chain(jax.numpy, x, y),
)


def _wide(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    rows = pick(elements, 2, 4, 4)
    return {"x": rng.normal(size=(rows, elements // rows))}


def _mygrad_logsumexp(mg: Any, x: Any) -> Any:
    top = x.data.max(1, keepdims=True)
    return mg.sum(mg.log(mg.sum(mg.exp(x - top), 1)) + top[:, 0])


WIDE_LOGSUMEXP = Row(
    name="logsumexp, wide",
    counted="of the input, in 2 or 4 rows",
    text="x.logsumexp(1).sum()",
    wrt=("x",),
    draw=_wide,
    torch=lambda torch, x: torch.logsumexp(x, 1).sum(),
    autograd=lambda autograd, x: autograd.numpy.sum(autograd.scipy.special.logsumexp(x, axis=1)),
    mygrad=_mygrad_logsumexp,
    jax=lambda jax, x: jax.scipy.special.logsumexp(x, axis=1).sum(),
)


def _histograms(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    bins = pick(elements, 50, 1000, 1000)
    shape = (elements // bins, bins)
    p, q = rng.uniform(size=shape), rng.uniform(size=shape)
    return {"p": p / p.sum(1, keepdims=True), "q": q / q.sum(1, keepdims=True)}


# The squared difference of cumulative distributions: the Cramer distance of histograms. The distributions
# go up to 1 and differ by a fiftieth or so.
CUMULATIVE_SUMS = Row(
    name="cumulative sums",
    counted="of each of two inputs",
    text="(p.cumsum(1) - q.cumsum(1)).pow(2).sum()",
    wrt=("p", "q"),
    draw=_histograms,
    torch=lambda torch, p, q: (p.cumsum(1) - q.cumsum(1)).pow(2).sum(),  # noqa: ARG005
    autograd=lambda autograd, p, q: autograd.numpy.sum(
        (autograd.numpy.cumsum(p, 1) - autograd.numpy.cumsum(q, 1)) ** 2
    ),
    mygrad=lambda mg, p, q: mg.sum((mg.cumsum(p, 1) - mg.cumsum(q, 1)) ** 2),
    jax=lambda jax, p, q: ((p.cumsum(1) - q.cumsum(1)) ** 2).sum(),  # noqa: ARG005
    sensitivity=50.0,
)
