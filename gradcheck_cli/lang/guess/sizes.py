"""Given the ranks of the inputs, which of their sizes must be equal so that the expression can be computed.

Every dimension begins with a size of its own, a prime. Where an operator refuses its arguments, sizes are
made equal, in the order of what is likely: for elementwise operators and matrix products what they
demand, for others what is equal in their samples, and else whatever helps.
"""

from __future__ import annotations

import ast
from itertools import combinations, islice, pairwise, product
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.dtypes import BY_NAME
from gradcheck_cli.graph import Expr, topological, variable
from gradcheck_cli.lang.guess.attempt import Attempt, Refusal
from gradcheck_cli.lang.guess.calls import arguments, patterns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from gradcheck_cli.graph import Shape
    from gradcheck_cli.lang.parse import Formula

Pair = tuple[int, int]

# Sizes to begin with; larger than those that people write as numbers.
_FIRST_SIZE = 11
# A multiple of most numbers of groups, heads and channels.
DIVISIBLE = 12
_MOST_PROPOSALS = 60
# Numbers of an expression that are no sizes.
_LARGE = 1000


class Spent(Exception):  # noqa: N818 -- no error: the search ends with what it has
    """As much was tried as is tried."""


class Layout:
    """Which dimensions of the inputs have one size, and which sizes are settled."""

    def __init__(
        self,
        ranks: Mapping[str, int],
        groups: Sequence[Sequence[str]],
        avoid: Collection[int] = (),
    ) -> None:
        self.dims: dict[str, list[int]] = {}
        self.sizes: list[int] = []  # of each class of dimensions
        self.fixed: set[int] = set()  # classes whose size is a number's or a result's
        count = sum(ranks[group[0]] for group in groups)
        # What stands first is largest: inputs are larger than the kernels that slide over them.
        fresh = _primes(count, avoid)
        for group in groups:
            start = len(self.sizes)
            rank = ranks[group[0]]
            self.sizes += [fresh.pop() for _ in range(rank)]
            for name in group:
                self.dims[name] = list(range(start, start + rank))

    def copy(self) -> Layout:
        """The same, to be changed."""
        other = Layout({}, ())
        other.dims = {name: list(dims) for name, dims in self.dims.items()}
        other.sizes = list(self.sizes)
        other.fixed = set(self.fixed)
        return other

    def shape(self, name: str) -> Shape:
        """The sizes of an input."""
        return tuple(self.sizes[dim] for dim in self.dims[name])

    def variables(self, dtypes: Mapping[str, str]) -> dict[str, Expr]:
        """The inputs as nodes."""
        return {n: variable(n, self.shape(n), BY_NAME[dtypes[n]]) for n in self.dims}

    def classes(self, size: int) -> list[int]:
        """The classes of dimensions that have a size."""
        used = {dim for dims in self.dims.values() for dim in dims}
        return [index for index, one in enumerate(self.sizes) if one == size and index in used]

    def merged(self, pairs: Iterable[Pair]) -> Layout | None:
        """With sizes made equal in pairs; None where a size is none of an input's."""
        other = self.copy()
        renamed: dict[int, int] = {}
        for pair in pairs:
            a, b = (renamed.get(size, size) for size in pair)
            if a == b:
                continue
            first, second = other.classes(a), other.classes(b)
            if first and second:
                kept, gone = first[0], second[0]
                if gone in other.fixed:
                    kept, gone, a, b = gone, kept, b, a
                other.dims = {
                    name: [kept if dim == gone else dim for dim in dims]
                    for name, dims in other.dims.items()
                }
                renamed[b] = a
            elif first or second:
                # The other is a number's or a result's: no input's to be changed.
                size, index = (b, first[0]) if first else (a, second[0])
                other.sizes[index] = size
                other.fixed.add(index)
                renamed[a if first else b] = size
            else:
                return None
        return other

    def settled(self, size: int, number: int) -> Layout | None:
        """With a number in place of a size; None where it is none of an input's."""
        other = self.copy()
        for index in self.classes(size):
            other.sizes[index] = number
            if number % DIVISIBLE:
                other.fixed.add(index)
        return other if other.sizes != self.sizes else None


class Proposal(NamedTuple):
    """A change that may make a part accept what it is given: sizes made equal, and one a number.

    `is_demanded` where each equality is needed.
    """

    pairs: tuple[Pair, ...] = ()
    number: Pair | None = None
    is_demanded: bool = False

    def applied(self, layout: Layout) -> Layout | None:
        """`layout` with the change; None where there is none to make."""
        merged = layout.merged(self.pairs)
        if merged is None or self.number is None:
            return merged
        return merged.settled(*self.number)


class Result(NamedTuple):
    """Where an attempt with a layout ended."""

    layout: Layout
    builder: Attempt
    value: Expr | Refusal


class Solver:
    """Finds sizes for given ranks and dtypes.

    `parts` is how many parts of the expression may be built, all attempts together, and `times` how often
    the whole may be even so. `settled` are sizes that nothing else must be taken for.
    """

    def __init__(self, formula: Formula, given: Mapping[str, Expr], parts: int, times: int) -> None:
        self.formula = formula
        self.given = given
        nodes = list(ast.walk(formula.tree))
        self._parts = len(nodes)
        self._left = max(parts, times * self._parts)
        numbers = [node.value for node in nodes if isinstance(node, ast.Constant)]
        self._numbers = sorted({n for n in numbers if type(n) is int and 1 < n < _LARGE})
        self.settled = {*self._numbers, *(size for node in given.values() for size in node.shape)}

    def attempt(self, layout: Layout, dtypes: Mapping[str, str]) -> Result:
        """Build the expression once. Raises Spent."""
        if self._left <= 0:
            raise Spent
        self._left -= self._parts
        builder = Attempt(self.formula, {**self.given, **layout.variables(dtypes)})
        return Result(layout, builder, builder.run())

    def solve(self, layout: Layout, dtypes: Mapping[str, str]) -> Result:
        """Sizes with which the expression can be built, or what refused in the end. Raises Spent."""
        reached = self.attempt(layout, dtypes)
        seen = set()
        while isinstance(reached.value, Refusal) and reached.value.may_be_guessed:
            seen.add(reached.value.what)
            step = self._step(reached, reached.value, dtypes, seen)
            if step is None:
                break
            reached = step
        return reached

    def usual(self, result: Result, dtypes: Mapping[str, str]) -> Result:
        """With sizes equal that are so wherever people write this, though they need not be. Raises Spent."""
        output = result.value
        for node in topological([output]) if isinstance(output, Expr) else ():
            pairs = _usual(node)
            layout = result.layout.merged(pairs) if pairs else None
            if layout is not None:
                changed = self.attempt(layout, dtypes)
                if isinstance(changed.value, Expr):
                    return self.usual(changed, dtypes)
        return result

    def _step(
        self, reached: Result, refusal: Refusal, dtypes: Mapping[str, str], seen: Collection[object]
    ) -> Result | None:
        """The first change after which something else, or nothing, refuses."""
        for proposal in islice(self._proposals(reached, refusal), _MOST_PROPOSALS):
            layout = proposal.applied(reached.layout)
            if layout is None:
                continue
            result = self.attempt(layout, dtypes)
            if isinstance(result.value, Refusal) and result.value.what in seen:
                continue
            if proposal.is_demanded or proposal.number is not None:
                return result
            return self._fewer(proposal, reached, result, refusal, dtypes)
        return None

    def _fewer(
        self,
        proposal: Proposal,
        before: Result,
        after: Result,
        refusal: Refusal,
        dtypes: Mapping[str, str],
    ) -> Result:
        """As general as can be: the change without sizes that need not be equal to others."""
        alike = _joined(proposal.pairs)
        for size in [size for sizes in alike for size in sizes]:
            fewer = [sizes - {size} for sizes in alike]
            pairs = [pair for sizes in fewer for pair in pairwise(sorted(sizes))]
            layout = before.layout.merged(pairs) if pairs else None
            if layout is not None:
                result = self.attempt(layout, dtypes)
                if not (isinstance(result.value, Refusal) and result.value.node is refusal.node):
                    alike, after = fewer, result
        return after

    def _proposals(self, reached: Result, refusal: Refusal) -> Iterator[Proposal]:
        """What may help, the likeliest first."""
        shapes = [operand.shape for operand in refusal.operands]
        ops = refusal.ops
        if ops and (ops[0].elementwise or ops[0].broadcasts) and len(shapes) > 1:
            pairs = [p for one, other in combinations(shapes, 2) for p in _aligned(one, other)]
            yield Proposal(tuple(pairs), is_demanded=True)
            return
        if ops and ops[0].name == "matmul" and len(shapes) == 2:
            yield Proposal(tuple(_inner(*shapes)), is_demanded=True)
            return
        if ops and ops[0].name == "einsum":
            yield Proposal(tuple(_lettered(refusal, reached.builder, shapes)), is_demanded=True)
            return
        drawn = self._patterns(refusal, reached.builder)
        yield from (Proposal(pairs) for pairs, _ in drawn)
        for one, other in combinations(shapes, 2):
            yield Proposal(tuple(zip(one, other, strict=False)))
            yield Proposal(tuple(_aligned(one, other)))
        sizes = list(dict.fromkeys(size for shape in shapes for size in shape))
        for one, other in combinations(shapes, 2):
            yield from (Proposal(((a, b),)) for a, b in product(one, other) if a != b)
        for shape in shapes:
            yield from (Proposal(((a, b),)) for a, b in combinations(shape, 2) if a != b)
        yield from (Proposal(number=pair) for pair in product(sizes, self._numbers))
        for place, size in enumerate(sizes, 1):
            yield Proposal(number=(size, DIVISIBLE * place))
        for alike, numbers in drawn:
            yield from (Proposal(alike, number) for number in numbers)

    def _patterns(
        self, refusal: Refusal, builder: Attempt
    ) -> list[tuple[tuple[Pair, ...], tuple[Pair, ...]]]:
        """Which sizes are equal in samples with arguments of these ranks, and to what; the fewest first."""
        found = []
        for op in refusal.ops if isinstance(refusal.node, ast.Call) else ():
            assert isinstance(refusal.node, ast.Call)
            given = {
                name: value.shape
                for name, part in arguments(refusal.node, op, builder.scope)
                if isinstance(value := builder.values.get(part), Expr) and value.value is None
            }
            sizes = [size for shape in given.values() for size in shape]
            ranks = {name: len(shape) for name, shape in given.items()}
            for pattern in patterns(op):
                if {name: len(shape) for name, shape in pattern.shapes.items()} != ranks:
                    continue
                drawn = [size for name in given for size in pattern.shapes[name]]
                pairs = [
                    (sizes[i], sizes[j])
                    for i, j in combinations(range(len(sizes)), 2)
                    if drawn[i] == drawn[j] and sizes[i] != sizes[j]
                ]
                if pairs:
                    found.append((tuple(pairs), tuple(zip(sizes, drawn, strict=True))))
        return sorted(found, key=lambda pattern: len(pattern[0]))


def _usual(node: Expr) -> list[Pair]:
    """A trace is that of a square matrix; what picks along one dimension is as large in the others."""
    if node.op.name == "trace":
        pairs = [node.inputs[0].shape]
    elif node.op.name == "gather":
        picked, index = (arg.shape for arg in node.inputs)
        along = node.attributes["dim"] % max(1, len(picked))
        pairs = [p for d, p in enumerate(zip(picked, index, strict=True)) if d != along]
    else:
        pairs = []
    return [(a, b) for a, b in pairs if a != b]


def _lettered(refusal: Refusal, builder: Attempt, shapes: Sequence[Shape]) -> Iterator[Pair]:
    """The sizes that an equation of einsum gives one letter."""
    strings = (builder.values.get(part) for part in ast.walk(refusal.node))
    equation = next((text for text in strings if isinstance(text, str)), "")
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    size_of: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=False):
        before, _, after = term.partition("...")
        dims = [*zip(before, shape, strict=False), *zip(after[::-1], shape[::-1], strict=False)]
        yield from ((size_of[letter], size) for letter, size in dims if letter in size_of)
        size_of = dict(dims) | size_of


def _joined(pairs: Iterable[Pair]) -> list[set[int]]:
    """Sizes that pairs make equal, together."""
    found: list[set[int]] = []
    for pair in pairs:
        touched = [sizes for sizes in found if sizes & {*pair}]
        found = [sizes for sizes in found if sizes not in touched]
        found.append(set(pair).union(*touched))
    return found


def _aligned(one: Shape, other: Shape) -> list[Pair]:
    """The sizes that broadcasting makes meet."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return [(a, b) for a, b in pairs if a != b and a != 1 and b != 1]


def _inner(one: Shape, other: Shape) -> list[Pair]:
    """The sizes that a matrix product makes meet."""
    if not one or not other:
        return []
    inner = (one[-1], other[-2] if len(other) > 1 else other[0])
    return [inner, *_aligned(one[:-2], other[:-2])]


def _primes(count: int, avoid: Collection[int]) -> list[int]:
    found: list[int] = []
    number = _FIRST_SIZE
    while len(found) < count:
        if number not in avoid and all(number % p for p in range(2, isqrt(number) + 1)):
            found.append(number)
        number += 1
    return found
