"""What is assumed: masks that hold everywhere, such as `x > 0`, `A == A.T` or `target < 10`.

Only what was given counts, and what follows from it or from the operators themselves: nothing here guesses.
A fact about a tensor says too that none of its elements is NaN or infinite.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gradcheck_cli.calculus.rewrites.patterns import is_op, number, pair
from gradcheck_cli.graph import CONST, INPUT, Expr, topological

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

_Known = TypeVar("_Known")


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
    finite: set[Expr] = field(default_factory=set)
    # What an input stands for where it is the name of something, and the name of what it stands for.
    definitions: dict[Expr, Expr] = field(default_factory=dict)
    names: dict[Expr, Expr] = field(default_factory=dict)
    # Whether an answer rested on one of the masks.
    used: bool = False

    def __bool__(self) -> bool:
        return bool(self.holding)

    def bounds_of(self, x: Expr) -> Bounds:
        """What is known of the elements of `x`; nothing, where nothing was said."""
        found = self.bounds.get(x)
        if found is None:
            return _UNKNOWN
        self.used = True
        return found

    def has(self, known: Container[_Known], what: _Known) -> bool:
        """Whether one of the masks says `what`."""
        found = what in known
        self.used = self.used or found
        return found


_UNKNOWN = Bounds()
_FLIPPED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}
_NONE = Facts()
_facts: ContextVar[Facts] = ContextVar("facts", default=_NONE)


@contextmanager
def assuming(
    masks: Iterable[Expr],
    definitions: Mapping[Expr, Expr] | None = None,
    names: Mapping[Expr, Expr] | None = None,
) -> Iterator[Facts]:
    """Within it, rewrites may use that every element of each of these masks is True.

    `definitions` say what inputs stand for that are names; `names` give the input for what it stands for,
    in all forms in which it may be met.
    """
    facts = _read(masks)
    facts.definitions.update(definitions or {})
    facts.names.update(names or {})
    token = _facts.set(facts)
    try:
        yield facts
    finally:
        _facts.reset(token)


_shapes: ContextVar[Mapping[Expr, Expr] | None] = ContextVar("shapes", default=None)


@contextmanager
def shaped_as(shapes: Mapping[Expr, Expr]) -> Iterator[None]:
    """Within it, inputs are known to have the shapes of other nodes: the upstream gradient the output's."""
    token = _shapes.set({**(_shapes.get() or {}), **shapes})
    try:
        yield
    finally:
        _shapes.reset(token)


def shape_giver(x: Expr) -> Expr | None:
    """The node that says where the sizes of an input come from: of a name, what it stands for."""
    found, shapes = assumed().definitions.get(x), _shapes.get()
    return found if found is not None or shapes is None else shapes.get(x)


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
        elif is_op(mask, "isfinite"):
            facts.finite.add(mask.inputs[0])
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
    if name == "eq" and _defines(left, right):
        facts.definitions.setdefault(left, right)
        facts.names[right] = left
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


def _defines(name: Expr, node: Expr) -> bool:
    """Whether an input is said to equal an expression of others."""
    if name.op is not INPUT or not node.args or node.value is not None:
        return False
    return (name.shape, name.dtype) == (node.shape, node.dtype) and name not in topological([node])


def _is_transpose(turned: Expr, x: Expr) -> bool:
    if is_op(turned, "T", "mT"):
        return turned.inputs[0] is x
    if not is_op(turned, "transpose"):
        return False
    dims = {turned.attributes["dim0"] % x.ndim, turned.attributes["dim1"] % x.ndim}
    return turned.inputs[0] is x and dims == {x.ndim - 1, x.ndim - 2}


def is_symmetric(x: Expr) -> bool:
    """Whether a matrix, or each of a batch, is assumed to equal its transpose."""
    return assumed().has(assumed().symmetric, x)


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
    if assumed().bounds_of(x).positive:
        return True
    meant = assumed().definitions.get(x)
    if meant is not None and depth <= _DEEPEST:
        return is_positive(meant, depth + 1)
    if depth > _DEEPEST or not assumed():
        return False
    if x.op.name in _MOVES or is_op(x, "sqrt", "sum", "mean", "rsqrt"):
        # The sum of no elements is zero.
        return x.inputs[0].elements > 0 and is_positive(x.inputs[0], depth + 1)
    if is_op(x, "mul", "div", "add", "maximum", "minimum"):
        left, right = pair(x)
        if is_positive(left, depth + 1) and is_positive(right, depth + 1):
            return True
        return is_op(x, "add") and any(
            is_positive(one, depth + 1)
            and is_nonnegative(other, depth + 1)
            and is_finite(other, depth + 1)
            for one, other in ((left, right), (right, left))
        )
    if is_op(x, "pow"):
        return is_positive(x.inputs[0], depth + 1) and number(x.inputs[1]) is not None
    if is_op(x, "exp", "sigmoid", "cosh"):
        return is_finite(x.inputs[0], depth + 1)
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
    if is_op(x, "arange.start_step"):
        start, step = x.attributes["start"], x.attributes["step"]
        return not isinstance(start, Expr) and not isinstance(step, Expr) and min(start, step) >= 0
    if assumed().bounds_of(x).low >= 0:
        return True
    meant = assumed().definitions.get(x)
    if meant is not None and depth <= _DEEPEST:
        return is_nonnegative(meant, depth + 1)
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
    if assumed().bounds_of(x).nonzero:
        return True
    meant = assumed().definitions.get(x)
    if meant is not None and depth <= _DEEPEST:
        return is_nonzero(meant, depth + 1)
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


def is_below(x: Expr, size: Expr | int) -> bool:
    """Whether every element is known to be below a size."""
    facts = assumed()
    if facts.has(facts.below.get(x, ()), size):
        return True
    bounds = facts.bounds_of(x)
    value = number(size) if isinstance(size, Expr) else size
    if value is None:
        return False
    return bounds.high < value or (bounds.high == value and bounds.high_open)


# Operators that make finite numbers of finite ones, unless they overflow.
_FINITE = frozenset(
    [
        *("neg", "add", "sub", "mul", "abs", "exp", "sin", "cos", "tanh", "sigmoid", "relu", "erf"),
        *("softplus", "logsigmoid", "sinh", "cosh", "maximum", "minimum", "where", "cat", "stack"),
        *("sum", "matmul", "outer", "softmax", "log_softmax", "logsumexp", "trace", "clamp"),
    ]
)


def is_finite(x: Expr, depth: int = 0) -> bool:
    """Whether every element is known to be neither NaN nor infinite, unless an operation overflows."""
    value = number(x)
    if value is not None:
        return math.isfinite(value)
    if x.value is not None or x.dtype.kind in "bi":
        return True
    facts = assumed()
    if facts.has(facts.finite, x) or facts.has(facts.bounds, x):
        return True
    if any(facts.has(facts.sums_to_one, (x, dim)) for dim in range(x.ndim)):
        return True
    if depth > _DEEPEST or not facts:
        return False
    if x in facts.definitions:
        return is_finite(facts.definitions[x], depth + 1)
    if x.op.name in _MOVES or x.op.name in _FINITE:
        return all(is_finite(arg, depth + 1) for arg in x.inputs)
    if is_op(x, "div"):
        top, bottom = pair(x)
        return is_finite(top, depth + 1) and is_nonzero(bottom, depth + 1)
    if is_op(x, "pow"):
        base, exponent = x.inputs[0], number(x.inputs[1])
        return isinstance(exponent, int) and exponent >= 0 and is_finite(base, depth + 1)
    return False


_NEGATIONS = ("bitwise_not", "logical_not")


def everywhere(mask: Expr, depth: int = 0) -> bool | None:
    """Whether a mask is known to be True everywhere, or False everywhere; None where it isn't known."""
    if depth > _DEEPEST:
        return None
    if mask.op.name in _ALWAYS:
        return decided(mask)
    if mask.op.name in _MOVES and mask.dtype.kind == "b" and mask.inputs[0].dtype.kind == "b":
        return everywhere(mask.inputs[0], depth + 1)
    if is_op(mask, *_NEGATIONS):
        held = everywhere(mask.inputs[0], depth + 1)
        return None if held is None else not held
    either = is_op(mask, "bitwise_or", "logical_or")
    if either or is_op(mask, "bitwise_and", "logical_and"):
        found = [everywhere(arg, depth + 1) for arg in mask.inputs]
        if either in found:
            return either
        return None if None in found else not either
    return None


_ALWAYS = {"gt": "le", "ge": "lt", "lt": "ge", "le": "gt", "eq": "ne", "ne": "eq"}


def decided(mask: Expr) -> bool | None:
    """Whether a comparison is known to hold everywhere, or nowhere; None where it isn't known."""
    facts = assumed()
    if mask.op.name not in _ALWAYS or not (facts or is_op(mask.inputs[0], "arange.start_step")):
        return None
    if facts.has(facts.holding, mask):
        return True
    left, right = pair(mask)
    opposite = _ALWAYS[mask.op.name]
    if any(f.op.name == opposite and f.inputs == mask.inputs for f in facts.holding):
        facts.used = True
        return False
    value, name = number(right), mask.op.name
    if value is None:
        return None
    if value == 0:
        return _against_zero(left, name)
    if value < 0 and left.dtype.kind == "i" and is_nonnegative(left):
        return name in ("gt", "ge", "ne")
    return _against(facts.bounds_of(left), name, value)


def _against_zero(x: Expr, name: str) -> bool | None:
    if is_positive(x):
        return name in ("gt", "ge", "ne")
    if is_nonzero(x) and name in ("eq", "ne"):
        return name == "ne"
    if name == "lt" and is_nonnegative(x):
        return False
    return _against(assumed().bounds_of(x), name, 0)


def _against(bounds: Bounds, name: str, value: float) -> bool | None:
    above = bounds.low > value or (bounds.low == value and bounds.low_open)
    below = bounds.high < value or (bounds.high == value and bounds.high_open)
    if name in ("eq", "ne"):
        return name == "ne" if bounds.excludes(value) else None
    if name in ("gt", "le"):
        return name == "gt" if above else name == "le" if bounds.high <= value else None
    return name == "ge" if bounds.low >= value else name == "lt" if below else None
