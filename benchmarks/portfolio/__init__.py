"""The computations that engines are compared on: a record each, in `ROWS`."""

from __future__ import annotations

from benchmarks.portfolio.elementwise import (
    CHAIN,
    CUMULATIVE_SUMS,
    SQUARED_ERRORS,
    WIDE_LOGSUMEXP,
)
from benchmarks.portfolio.network import (
    ATTENTION,
    CONVOLUTION,
    CROSS_ENTROPY,
    EMBEDDING,
    LAYER_NORM,
    TWO_LAYERS,
)
from benchmarks.portfolio.probability import GAUSSIAN_MIXTURE, GAUSSIAN_PROCESS
from benchmarks.portfolio.record import DTYPES, PEERS, SIZES, Row

ROWS = (
    SQUARED_ERRORS,
    CROSS_ENTROPY,
    TWO_LAYERS,
    LAYER_NORM,
    ATTENTION,
    CHAIN,
    GAUSSIAN_PROCESS,
    GAUSSIAN_MIXTURE,
    CONVOLUTION,
    WIDE_LOGSUMEXP,
    EMBEDDING,
    CUMULATIVE_SUMS,
)

__all__ = ["DTYPES", "PEERS", "ROWS", "SIZES", "Row"]
