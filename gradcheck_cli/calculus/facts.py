"""What is assumed: masks that hold everywhere, such as `x > 0`, `A == A.T` or `target < 10`.

Only what was given counts, and what follows from it or from the operators themselves: nothing here guesses.
A fact about a tensor says too that none of its elements is NaN or infinite.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradcheck_cli.calculus.patterns import is_op, number, pair
from gradcheck_cli.graph import CONST, Expr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass
class Bounds:
    """What is known of every element: `low <= x <= high`, the ends excluded where `open_`; `x != unequal`."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    unequal: set[float] = field(default_factory=set)

    @property
    def nonzero(self) -> bool:
        """Whether no element is zero."""
        return self.positive or self.negative or 0 in self.unequal

    @property
    def positive(self) -> bool:
        """Whether every element is above zero."""
        return self.low > 0 or (self.low == 0 and (self.low_open or 0 in self.unequal))

    @property
    def negative(self) -> bool:
        """Whether every element is below zero."""
        return self.high < 0 or (self.high == 0 and (self.high_open or 0 in self.unequal))

    def excludes(self, value: float) -> bool:
        """Whether no element is equal to `value`."""
        return (
            value in self.unequal
            or value < self.low
            or value > self.high
            or (value == self.low and self.low_open)
            or (value == self.high and self.high_open)
        )


@dataclass
class Facts:
    """What the masks say: of which nodes the bounds are known, and which masks hold as they stand."""

    bounds: dict[Expr, Bounds] = field(default_factory=dict)
    holding: set[Expr] = field(default_factory=set)
    symmetric: set[Expr] = field(default_factory=set)
    # Sizes or other nodes that a tensor's elements are all below.
    below: dict[Expr, set[Expr]] = field(default_factory=dict)
    # Dimensions over which a tensor sums to one.
    sums_to_one: set[tuple[Expr, int]] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.holding)


_FLIPPED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}
_NONE = Facts()
_facts: ContextVar[Facts] = ContextVar("facts", default=_NONE)


@contextmanager
def assuming(masks: Iterable[Expr]) -> Iterator[None]:
    """Within it, rewrites may use that every element of each of these masks is True."""
    token = _facts.set(_read(masks))
    try:
        yield
    finally:
        _facts.reset(token)


def assumed() -> Facts:
    """The facts that hold here."""
    return _facts.get()


def _read(masks: Iterable[Expr]) -> Facts:
    facts = Facts()
    pending = list(masks)
    while pending:
        mask = pending.pop()
        facts.holding.add(mask)
        if is_op(mask, "bitwise_and", "logical_and"):
            pending += mask.inputs
        elif mask.op.name in _FLIPPED:
            left, right = pair(mask)
            _compared(facts, mask.op.name, left, right)
            _compared(facts, _FLIPPED[mask.op.name], right, left)
    return facts


def _compared(facts: Facts, name: str, left: Expr, right: Expr) -> None:
    if left.value is not None and left.op is CONST:
        return
    if name == "eq" and _is_transpose(right, left):
        facts.symmetric.add(left)
        return
    value = number(right)
    if name == "eq" and value == 1 and is_op(left, "sum") and left.attributes["keepdim"]:
        dims = left.attributes["dim"]
        if dims is not None and len(dims) == 1:
            facts.sums_to_one.add((left.inputs[0], dims[0] % left.inputs[0].ndim))
    if value is None:
        if name == "lt" and right.value is not None:
            facts.below.setdefault(left, set()).add(right)
        return
    bounds = facts.bounds.setdefault(left, Bounds())
    if name in ("gt", "ge") and value >= bounds.low:
        bounds.low, bounds.low_open = (
            value,
            name == "gt" or (bounds.low_open and value == bounds.low),
        )
    elif name in ("lt", "le") and value <= bounds.high:
        bounds.high, bounds.high_open = (
            value,
            name == "lt" or (bounds.high_open and value == bounds.high),
        )
    elif name == "ne":
        bounds.unequal.add(value)


def _is_transpose(turned: Expr, x: Expr) -> bool:
    if is_op(turned, "T", "mT"):
        return turned.inputs[0] is x
    if not is_op(turned, "transpose"):
        return False
    dims = {turned.attributes["dim0"] % x.ndim, turned.attributes["dim1"] % x.ndim}
    return turned.inputs[0] is x and dims == {x.ndim - 1, x.ndim - 2}


def is_symmetric(x: Expr) -> bool:
    """Whether a matrix, or each of a batch, is assumed to equal its transpose."""
    return x in assumed().symmetric


# Operators whose results keep what is known of every element of their first argument.
_MOVES = frozenset(
    [
        *(
            "unsqueeze",
            "squeeze",
            "expand",
            "reshape",
            "flatten",
            "T",
            "mT",
            "permute",
            "transpose",
        ),
        *("select", "slice", "index", "flip", "roll", "diagonal", "detach", "amax", "amin", "to"),
    ]
)
_NOT_NEGATIVE = frozenset(
    [
        *("abs", "exp", "exp2", "sigmoid", "softmax", "softplus", "norm", "cosh", "relu", "var"),
        *("std", "size", "numel"),
    ]
)
_DEEPEST = 8


def is_positive(x: Expr, depth: int = 0) -> bool:
    """Whether every element is known to be above zero, and finite."""
    value = number(x)
    if value is not None:
        return 0 < value < math.inf
    bounds = assumed().bounds.get(x)
    if bounds is not None and bounds.positive:
        return True
    if depth > _DEEPEST or not assumed():
        return False
    if x.op.name in _MOVES or is_op(x, "sqrt", "sum", "mean", "rsqrt"):
        # The sum of no elements is zero.
        return x.inputs[0].elements > 0 and is_positive(x.inputs[0], depth + 1)
    if is_op(x, "mul", "div", "add", "maximum", "minimum"):
        left, right = pair(x)
        if is_positive(left, depth + 1) and is_positive(right, depth + 1):
            return True
        if is_op(x, "add"):
            return (is_positive(left, depth + 1) and is_nonnegative(right, depth + 1)) or (
                is_positive(right, depth + 1) and is_nonnegative(left, depth + 1)
            )
        return False
    if is_op(x, "pow"):
        return is_positive(x.inputs[0], depth + 1) and number(x.inputs[1]) is not None
    if is_op(x, "abs"):
        return is_nonzero(x.inputs[0], depth + 1)
    return False


def is_nonnegative(x: Expr, depth: int = 0) -> bool:
    """Whether no element is below zero; one that is NaN is not below."""
    value = number(x)
    if value is not None:
        return value >= 0
    if x.op.name in _NOT_NEGATIVE:
        return True
    bounds = assumed().bounds.get(x)
    if bounds is not None and bounds.low >= 0:
        return True
    if depth > _DEEPEST:
        return False
    if x.op.name in _MOVES or is_op(x, "sqrt", "sum", "mean", "rsqrt"):
        return is_nonnegative(x.inputs[0], depth + 1)
    if is_op(x, "pow"):
        exponent = number(x.inputs[1])
        return (exponent is not None and exponent % 2 == 0) or is_nonnegative(
            x.inputs[0], depth + 1
        )
    if is_op(x, "mul", "div", "add"):
        left, right = pair(x)
        return is_nonnegative(left, depth + 1) and is_nonnegative(right, depth + 1)
    return False


def is_nonzero(x: Expr, depth: int = 0) -> bool:
    """Whether every element is known to differ from zero, and to be finite."""
    value = number(x)
    if value is not None:
        return value != 0 and math.isfinite(value)
    bounds = assumed().bounds.get(x)
    if bounds is not None and bounds.nonzero:
        return True
    if depth > _DEEPEST or not assumed():
        return False
    if is_positive(x, depth):
        return True
    if is_op(x, "neg", "abs") or x.op.name in _MOVES:
        return is_nonzero(x.inputs[0], depth + 1)
    if is_op(x, "mul", "div"):
        left, right = pair(x)
        return is_nonzero(left, depth + 1) and is_nonzero(right, depth + 1)
    return False


_ALWAYS = {"gt": "le", "ge": "lt", "lt": "ge", "le": "gt", "eq": "ne", "ne": "eq"}


def decided(mask: Expr) -> bool | None:
    """Whether a comparison is known to hold everywhere, or nowhere; None where it isn't known."""
    facts = assumed()
    if not facts or mask.op.name not in _ALWAYS:
        return None
    if mask in facts.holding:
        return True
    left, right = pair(mask)
    opposite = _ALWAYS[mask.op.name]
    if any(f.op.name == opposite and f.inputs == mask.inputs for f in facts.holding):
        return False
    value, name = number(right), mask.op.name
    if value is None:
        return None
    if value == 0:
        return _against_zero(left, name)
    return _against(facts.bounds.get(left), name, value)


def _against_zero(x: Expr, name: str) -> bool | None:
    if is_positive(x):
        return name in ("gt", "ge", "ne")
    if is_nonzero(x) and name in ("eq", "ne"):
        return name == "ne"
    bounds = assumed().bounds.get(x)
    if name == "lt" and is_nonnegative(x):
        return False
    return _against(bounds, name, 0)


def _against(bounds: Bounds | None, name: str, value: float) -> bool | None:
    if bounds is None:
        return None
    above = bounds.low > value or (bounds.low == value and bounds.low_open)
    below = bounds.high < value or (bounds.high == value and bounds.high_open)
    if name in ("eq", "ne"):
        return name == "ne" if bounds.excludes(value) else None
    if name in ("gt", "le"):
        return name == "gt" if above else name == "le" if bounds.high <= value else None
    return name == "ge" if bounds.low >= value else name == "lt" if below else None
