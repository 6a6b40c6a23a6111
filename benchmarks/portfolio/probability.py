"""Rows of likelihoods: a Gaussian process and a mixture of Gaussians."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.portfolio.record import Row, pick

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _observations(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    n = round(math.sqrt(elements))
    position = np.sort(rng.uniform(0, n / 8, size=n))
    return {
        "y": np.sin(position) + 0.3 * rng.normal(size=n),
        "log_length": np.array(0.1),
        "log_scale": np.array(-0.2),
        "log_noise": np.array(-1.0),
        "position": position,
    }


def _kernel(lib: Any, eye: Any, log_length: Any, log_scale: Any, log_noise: Any, x: Any) -> Any:
    away = (x[:, None] - x) / lib.exp(log_length)
    return lib.exp(2 * log_scale - 0.5 * away**2) + lib.exp(2 * log_noise) * eye


_K = (
    "(torch.exp(2 * log_scale - 0.5 * ((position[:, None] - position) / torch.exp(log_length)) ** 2)"
    " + torch.exp(2 * log_noise) * torch.eye(y.numel(), dtype=y.dtype))"
)


def _gp_torch(torch: Any, y: Any, *rest: Any) -> Any:
    k = _kernel(torch, torch.eye(y.numel(), dtype=y.dtype), *rest)
    return 0.5 * (y @ torch.linalg.solve(k, y)) + 0.5 * torch.logdet(k)


def _gp_autograd(autograd: Any, y: Any, *rest: Any) -> Any:
    np_ = autograd.numpy
    k = _kernel(np_, np.eye(y.size, dtype=rest[-1].dtype), *rest)
    return 0.5 * np_.dot(y, np_.linalg.solve(k, y)) + 0.5 * np_.linalg.slogdet(k)[1]


def _gp_jax(jax: Any, y: Any, *rest: Any) -> Any:
    linalg = jax.numpy.linalg
    k = _kernel(jax.numpy, jax.numpy.eye(y.size, dtype=y.dtype), *rest)
    return 0.5 * (y @ linalg.solve(k, y)) + 0.5 * linalg.slogdet(k)[1]


# Every peer is faster by LU (solve and determinant) than by its Cholesky, whose rule costs more products.
# The kernel matrix has a smallest eigenvalue of exp(-2) and a largest of about 8 sqrt(2 pi) exp(0.1 - 0.4).
GAUSSIAN_PROCESS = Row(
    name="GP marginal likelihood",
    counted="of the kernel matrix",
    text=f"0.5 * (y @ torch.linalg.solve({_K}, y)) + 0.5 * torch.logdet({_K})",
    wrt=("y", "log_length", "log_scale", "log_noise"),
    draw=_observations,
    torch=_gp_torch,
    autograd=_gp_autograd,
    mygrad="MyGrad has no solve, Cholesky or determinant",
    jax=_gp_jax,
    sensitivity=120.0,
)


def _points(elements: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    dims, parts = pick(elements, 4, 10, 20), pick(elements, 4, 10, 20)
    return {
        "log_weight": rng.normal(size=parts),
        "mean": rng.normal(size=(parts, dims)),
        "log_scale": 0.3 * rng.normal(size=(parts, dims)),
        "x": rng.normal(size=(elements // (dims * parts), dims)),
    }


_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _scores(lib: Any, mean: Any, log_scale: Any, x: Any) -> Any:
    """The log-density of every point (rows) in every part (columns)."""
    away = (x[:, None, :] - mean) / lib.exp(log_scale)
    return -0.5 * (away**2).sum(2) - log_scale.sum(1) - x.shape[1] * _HALF_LOG_2PI


def _mixture_torch(torch: Any, log_weight: Any, *rest: Any) -> Any:
    scores = _scores(torch, *rest) + torch.log_softmax(log_weight, 0)
    return -torch.logsumexp(scores, 1).sum()


def _mixture_autograd(autograd: Any, log_weight: Any, *rest: Any) -> Any:
    logsumexp = autograd.scipy.special.logsumexp
    scores = _scores(autograd.numpy, *rest) + (log_weight - logsumexp(log_weight))
    return -autograd.numpy.sum(logsumexp(scores, axis=1))


def _mixture_mygrad(mg: Any, log_weight: Any, *rest: Any) -> Any:
    scores = _scores(mg, *rest) + mg.nnet.logsoftmax(log_weight, axis=0)
    top = scores.data.max(1, keepdims=True)
    return -mg.sum(mg.log(mg.sum(mg.exp(scores - top), 1)) + top[:, 0])


def _mixture_jax(jax: Any, log_weight: Any, *rest: Any) -> Any:
    scores = _scores(jax.numpy, *rest) + jax.nn.log_softmax(log_weight)
    return -jax.scipy.special.logsumexp(scores, axis=1).sum()


GAUSSIAN_MIXTURE = Row(
    name="Gaussian mixture",
    counted="points x dimensions x parts",
    text=(
        "-torch.logsumexp(-0.5 * (((x[:, None, :] - mean) / torch.exp(log_scale)) ** 2).sum(2)"
        f" - log_scale.sum(1) - x.shape[1] * {_HALF_LOG_2PI!r} + torch.log_softmax(log_weight, 0), 1).sum()"
    ),
    wrt=("log_weight", "mean", "log_scale"),
    draw=_points,
    torch=_mixture_torch,
    autograd=_mixture_autograd,
    mygrad=_mixture_mygrad,
    jax=_mixture_jax,
)
