"""What a row of the portfolio is: one computation, written for our engine and for every peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PEERS = ("torch", "autograd", "mygrad", "jax")
"""The peers, by the names of the packages that are imported."""

SIZES = (100, 100_000, 4_000_000)
DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class Row:
    """One computation with a scalar value.

    `draw(elements, rng)` gives the inputs by name in float64 (or int64); `counted` says what `elements`
    counts. Each peer's entry is a function of its package and of the inputs, in the order in which they are
    drawn, that computes the value as the package's documentation would; or a sentence that says why the
    package can't. `sensitivity` is how many times more than a sum of as many terms the row lets rounding
    grow (a condition number), where that is more than 1.
    """

    name: str
    counted: str
    text: str
    wrt: tuple[str, ...]
    draw: Callable[[int, np.random.Generator], dict[str, NDArray[Any]]]
    torch: Callable[..., Any]
    autograd: Callable[..., Any] | str
    mygrad: Callable[..., Any] | str
    jax: Callable[..., Any]
    sensitivity: float = 1.0

    def arrays(
        self, elements: int, dtype: str, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """The inputs of the row; integers stay int64."""
        drawn = self.draw(elements, rng)
        kept = {"f": np.dtype(dtype), "i": np.dtype("int64")}
        return {name: a.astype(kept[a.dtype.kind], order="C") for name, a in drawn.items()}

    def of_peer(self, peer: str) -> Callable[..., Any] | str:
        """The peer's function, or why it has none."""
        found: Callable[..., Any] | str = getattr(self, peer)
        return found


def pick(elements: int, *choices: int) -> int:
    """A dimension for the size: the first choice up to about 1e3, the second to 1e6, the last above.

    >>> [pick(n, 10, 100, 1000) for n in (100, 100_000, 4_000_000)]
    [10, 100, 1000]
    """
    return choices[(elements > 1_000) + (elements > 1_000_000)]
