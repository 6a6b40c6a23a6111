"""The samplers: one record each, with its parameters, what it needs, and how it draws.

A sampler draws in float64 (or in int64, where its numbers are whole) from a generator of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    # At run time numpy.typing would cost ten milliseconds of every start.
    from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]
Parameters: TypeAlias = Mapping[str, float]
Draw: TypeAlias = "Callable[[np.random.Generator, Shape, Parameters], NDArray[np.generic]]"


@dataclass(frozen=True)
class Sampler:
    """One way to fill an array.

    parameters  names with their defaults; written beside `sample`
    dtype       of the input where the spec names none; None: the check's
    whole       its numbers are whole, so integer inputs can be drawn
    square      it fills matrices: the last two sizes must be equal
    dims        the least number of dimensions
    avoidable   elements are drawn one by one, so that `avoid` can draw one again
    """

    name: str
    doc: str
    draw: Draw
    parameters: Mapping[str, float] = field(default_factory=dict)
    dtype: str | None = None
    whole: bool = False
    square: bool = False
    dims: int = 0
    avoidable: bool = False


def _normal(rng: np.random.Generator, shape: Shape, p: Parameters) -> NDArray[np.generic]:
    return np.asarray(rng.standard_normal(shape) * p["std"] + p["mean"])


def _uniform(rng: np.random.Generator, shape: Shape, p: Parameters) -> NDArray[np.generic]:
    # Not low + (high - low) * u, which overflows where the bounds are far apart.
    drawn = rng.random(shape)
    return np.asarray(p["low"] * (1.0 - drawn) + p["high"] * drawn)


def _positive(rng: np.random.Generator, shape: Shape, _: Parameters) -> NDArray[np.generic]:
    return np.asarray(np.exp(0.5 * rng.standard_normal(shape)))


def _integers(rng: np.random.Generator, shape: Shape, p: Parameters) -> NDArray[np.generic]:
    return np.asarray(rng.integers(int(p["low"]), int(p["high"]), shape))


def _bernoulli(rng: np.random.Generator, shape: Shape, p: Parameters) -> NDArray[np.generic]:
    return np.asarray(rng.random(shape) < p["p"]).astype(np.int64)


def _one_hot(rng: np.random.Generator, shape: Shape, _: Parameters) -> NDArray[np.generic]:
    if 0 in shape:
        return np.zeros(shape, np.int64)
    classes = rng.integers(0, shape[-1], (*shape[:-1], 1))
    return np.asarray(classes == np.arange(shape[-1])).astype(np.int64)


def _simplex(rng: np.random.Generator, shape: Shape, _: Parameters) -> NDArray[np.generic]:
    drawn = rng.standard_exponential(shape)
    return np.asarray(drawn / drawn.sum(-1, keepdims=True))


def _spd(rng: np.random.Generator, shape: Shape, _: Parameters) -> NDArray[np.generic]:
    drawn = rng.standard_normal(shape)
    size = max(1, shape[-1])
    product = drawn @ drawn.swapaxes(-1, -2) / size + np.eye(shape[-1])
    # BLAS may round the two halves differently; symmetric means exactly symmetric.
    return np.asarray(np.tril(product) + np.tril(product, -1).swapaxes(-1, -2))


def _orthogonal(rng: np.random.Generator, shape: Shape, _: Parameters) -> NDArray[np.generic]:
    q, r = np.linalg.qr(rng.standard_normal(shape))
    # With R's diagonal positive the factor is unique, and Haar-distributed (Mezzadri 2007, sec. 5).
    return np.asarray(q * np.where(np.einsum("...ii->...i", r) < 0, -1.0, 1.0)[..., None, :])


def _lower(rng: np.random.Generator, shape: Shape, _: Parameters) -> NDArray[np.generic]:
    drawn = rng.standard_normal(shape)
    # Scaled so that the condition number stays small, as of a Cholesky factor of `spd`.
    below = np.tril(drawn, -1) / max(1, shape[-1]) ** 0.5
    return np.asarray(below + np.eye(shape[-1]) * (1.0 + 0.5 * np.abs(drawn)))


def _permutation(rng: np.random.Generator, shape: Shape, _: Parameters) -> NDArray[np.generic]:
    ordered = np.ascontiguousarray(np.broadcast_to(np.arange(shape[-1]), shape))
    return np.asarray(rng.permuted(ordered, axis=-1))


def _arange(_: np.random.Generator, shape: Shape, __: Parameters) -> NDArray[np.generic]:
    return np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)


def _linspace(_: np.random.Generator, shape: Shape, p: Parameters) -> NDArray[np.generic]:
    return np.linspace(p["low"], p["high"], int(np.prod(shape, dtype=np.int64))).reshape(shape)


def _zeros(_: np.random.Generator, shape: Shape, __: Parameters) -> NDArray[np.generic]:
    return np.zeros(shape, np.int64)


def _ones(_: np.random.Generator, shape: Shape, __: Parameters) -> NDArray[np.generic]:
    return np.ones(shape, np.int64)


_BOUNDS = {"low": 0.0, "high": 1.0}

SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        sampler.name: sampler
        for sampler in (
            Sampler(
                "normal",
                "normally distributed, `mean` 0 and standard deviation `std` 1",
                _normal,
                {"mean": 0.0, "std": 1.0},
                avoidable=True,
            ),
            Sampler(
                "uniform",
                "uniform between `low` 0 and `high` 1",
                _uniform,
                _BOUNDS,
                avoidable=True,
            ),
            Sampler(
                "positive",
                "greater than zero: the exponential of a normal number of deviation 0.5",
                _positive,
                avoidable=True,
            ),
            Sampler(
                "integers",
                "whole numbers from `low` 0 to below `high` 10; int64 unless `dtype` is given",
                _integers,
                {"low": 0, "high": 10},
                dtype="int64",
                whole=True,
            ),
            Sampler(
                "bernoulli",
                "1 with probability `p` 0.5, else 0",
                _bernoulli,
                {"p": 0.5},
                whole=True,
            ),
            Sampler(
                "one_hot",
                "a single 1 along the last dimension, else 0",
                _one_hot,
                whole=True,
                dims=1,
            ),
            Sampler("simplex", "positive, of sum 1 along the last dimension", _simplex, dims=1),
            Sampler(
                "spd",
                "symmetric positive definite matrices, well conditioned",
                _spd,
                square=True,
                dims=2,
            ),
            Sampler("orthogonal", "orthogonal matrices", _orthogonal, square=True, dims=2),
            Sampler(
                "lower_triangular",
                "lower triangular matrices with a diagonal of at least 1",
                _lower,
                square=True,
                dims=2,
            ),
            Sampler(
                "permutation",
                "0 .. n-1 in random order along the last dimension; int64 unless `dtype` is given",
                _permutation,
                dtype="int64",
                whole=True,
                dims=1,
            ),
            Sampler("arange", "0, 1, 2, ... in order", _arange, whole=True),
            Sampler("linspace", "evenly spaced from `low` 0 to `high` 1", _linspace, _BOUNDS),
            Sampler("zeros", "all 0", _zeros, whole=True),
            Sampler("ones", "all 1", _ones, whole=True),
        )
    }
)


def bounds_problem(sampler: Sampler, parameters: Parameters) -> str | None:
    """What is wrong with these parameters, as a sentence, or None."""
    low, high = parameters.get("low"), parameters.get("high")
    if low is not None and high is not None and not low < high and sampler.name != "linspace":
        return f"`low` ({low:g}) must be less than `high` ({high:g})"
    if sampler.name == "integers":
        for name in ("low", "high"):
            value = parameters[name]
            if value != int(value) or not -(2**63) <= value < 2**63:
                return f"`{name}` must be a whole number of 64 bits, not {value:g}"
    if parameters.get("std", 1.0) < 0.0:
        return f"`std` must be at least 0, not {parameters['std']:g}"
    if not 0.0 <= parameters.get("p", 0.5) <= 1.0:
        return f"`p` must lie between 0 and 1, not {parameters['p']:g}"
    return None


def shape_problem(sampler: Sampler, shape: Shape) -> str | None:
    """Why the sampler can't fill an array of this shape, as a sentence, or None."""
    if sampler.square and (len(shape) < 2 or shape[-1] != shape[-2]):
        return f"`{sampler.name}` fills square matrices: the last two sizes must be equal"
    if len(shape) < sampler.dims:
        return f"`{sampler.name}` works along the last dimension, and there is none"
    if sampler.name in {"one_hot", "simplex"} and shape[-1] == 0:
        return f"`{sampler.name}` needs a last dimension of at least 1"
    return None
