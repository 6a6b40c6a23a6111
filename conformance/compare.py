"""One sample through gradcheck and through PyTorch: value, gradient, gradient of the gradient."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from conformance.database import flat, run
from conformance.express import Inexpressible, array_of, parts, spellings
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.rounding import spread
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.torch_method import evaluate_formula
from gradcheck_cli.ops.known import given

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.database import Entry
    from conformance.express import Expressed
    from gradcheck_cli.lang.parse import Formula

# Both sides round in float64; of a sum of n terms each is good to about n units in the last place.
_FLOOR = 64 * float(np.finfo(np.float64).eps)
RTOL = {"value": 1e-9, "first": 1e-7, "second": 1e-6}


@dataclass
class Outcome:
    """What a sample showed: per order None (right), or what is wrong; `text` is the expression."""

    text: str
    value: str | None = None
    first: str | None = None
    second: str | None = None
    has_first: bool = True
    has_second: bool = True


def compare(entry: Entry, sample: Any) -> Outcome:
    """Value and derivatives of one sample, every tensor of its result."""
    try:
        reference = run(entry.info, sample)
        written = spellings(entry, sample)
    except Inexpressible as finding:
        return _nothing(f"{entry.name}(...)", f"the language has no words for {finding}")
    failures: list[Outcome] = []
    for expressed in written:
        try:
            return _compare(entry, expressed, reference)
        except GradcheckError as error:
            reason = error.problems[0].message
        except Exception as error:  # noqa: BLE001 -- a crash is a finding, and the rest goes on
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
        failures.append(_nothing(expressed.text, reason))
    return min(failures, key=lambda outcome: "is not an operator" in str(outcome.value))


def _nothing(text: str, reason: str) -> Outcome:
    return Outcome(text, reason, reason, reason)


def _compare(entry: Entry, expressed: Expressed, reference: Any) -> Outcome:
    outcome = Outcome(expressed.text, has_first=False, has_second=False)
    arrays, scope = expressed.arrays, expressed.scope
    # PyTorch refuses gradients of some, such as the weight of nll_loss: the database knows which.
    asked = [
        name
        for name, tensor in expressed.tensors.items()
        if tensor.requires_grad and scope[name].dtype.is_floating
    ]
    tensors = [item for item in flat(reference) if isinstance(item, torch.Tensor)]
    texts = parts(entry, expressed.text, reference)
    for text, expected in zip(texts, tensors, strict=True):
        formula = parse(Source(text))
        with given(lambda: arrays):
            node = build(formula, scope)
            found = _Part(formula, node, arrays, scope, asked, twice=entry.twice)
            outcome.value = outcome.value or found.value(
                expected, whole=not text.endswith(".abs()")
            )
            if not found.wrt or not found.reference.requires_grad:
                continue
            wrong = found.first()
            outcome.has_first |= found.has_first
            outcome.first = outcome.first or wrong
            if entry.twice and found.has_first:
                wrong = found.second()
                outcome.has_second |= found.has_second
                outcome.second = outcome.second or wrong
    return outcome


class _Part:
    """One tensor of a result."""

    def __init__(
        self,
        formula: Formula,
        node: Expr,
        arrays: dict[str, Any],
        scope: dict[str, Expr],
        wrt: list[str],
        *,
        twice: bool,
    ) -> None:
        self.node, self.arrays, self.twice = node, arrays, twice
        self.wrt = wrt
        self.scope = scope
        self.leaves = {
            name: torch.tensor(array).requires_grad_(name in self.wrt)
            for name, array in arrays.items()
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.reference = evaluate_formula(formula, self.leaves)
        self.rng = np.random.default_rng(0)
        self.has_first = self.has_second = False

    def value(self, expected: torch.Tensor, *, whole: bool) -> str | None:
        """Against PyTorch's, the text's meaning against the database's own call included."""
        plan = Plan([self.node])
        found = plan(self.arrays)[0]
        theirs = self.reference.detach()
        if tuple(self.node.shape) != tuple(theirs.shape) or found.shape != self.node.shape:
            return f"value: shape {tuple(found.shape)} instead of {tuple(theirs.shape)}"
        if repr(self.node.dtype) != str(theirs.dtype) and not self.node.dtype.weak:
            return f"value: {self.node.dtype!r} instead of {theirs.dtype}"
        if expected.is_complex():
            expected = torch.stack([expected.real, expected.imag])
        if whole:
            said = _differ(array_of(theirs), array_of(expected), RTOL["value"])
            assert said is None, f"the text means something else: {said}"
        return self._all(plan, self.arrays, ["value"], [theirs], "value")

    def first(self) -> str | None:
        """The vector-Jacobian product with a random cotangent."""
        drawn = torch.tensor(self.rng.standard_normal(self.node.shape)).to(self.reference.dtype)
        self.values = {**self.arrays, "grad": array_of(drawn)}
        targets = [self.scope[name] for name in self.wrt]
        self.cotangent = variable("grad", self.node.shape, self.node.dtype)
        self.gradients = differentiate(self.node, targets, self.cotangent)
        self.upstream = drawn.requires_grad_()
        leaves = [self.leaves[name] for name in self.wrt]
        try:
            self.theirs = _torch_gradient(self.reference, leaves, self.upstream, again=self.twice)
        except RuntimeError:
            return None  # PyTorch's own backward pass fails, for instance with a weight left out
        self.has_first = True
        named = [f"first order, d/d {name}" for name in self.wrt]
        return self._all(Plan(self.gradients), self.values, named, self.theirs, "first")

    def second(self) -> str | None:
        """The gradient of the gradient along random directions, with respect to the cotangent too."""
        pairs = [
            (ours, theirs, self.rng.standard_normal(theirs.shape))
            for ours, theirs in zip(self.gradients, self.theirs, strict=True)
            if theirs.requires_grad
        ]
        if not pairs:
            return None
        total = sum((theirs * torch.tensor(along)).sum() for _, theirs, along in pairs)
        assert isinstance(total, torch.Tensor)
        try:
            expected = _torch_gradient(
                total, [*(self.leaves[n] for n in self.wrt), self.upstream], None
            )
        except RuntimeError:
            return None  # PyTorch has none here, whatever the database says
        self.has_second = True
        values, ours = dict(self.values), None
        for number, (gradient, _, along) in enumerate(pairs):
            name = f"along{number}"
            values[name] = along.astype(gradient.dtype.numpy)
            term = (gradient * variable(name, gradient.shape, gradient.dtype)).sum()
            ours = term if ours is None else ours + term
        assert ours is not None
        targets = [*(self.scope[name] for name in self.wrt), self.cotangent]
        named = [f"second order, d/d {name}" for name in (*self.wrt, "grad")]
        return self._all(Plan(differentiate(ours, targets)), values, named, expected, "second")

    def _all(
        self,
        plan: Plan,
        values: Mapping[str, Any],
        names: Sequence[str],
        expected: Sequence[torch.Tensor],
        order: str,
    ) -> str | None:
        """What is wrong first: nearly all is right to `RTOL`, else rounding is measured and allowed for."""
        found, theirs = plan(values), [array_of(tensor) for tensor in expected]
        wrong = [
            _differ(a, b, RTOL[order], name)
            for name, a, b in zip(names, found, theirs, strict=True)
        ]
        if any(wrong):
            # What cancels to nothing on one side is, on the other, rounding of numbers of the inputs' size.
            floor = _FLOOR * max(1.0, *(_largest(value) for value in values.values()))
            moves = [move + floor for move in spread(plan, values, "float64")]
            wrong = [
                said and _differ(a, b, RTOL[order], name, move)
                for said, name, a, b, move in zip(wrong, names, found, theirs, moves, strict=True)
            ]
        return next(filter(None, wrong), None)


def _largest(array: Any) -> float:
    numbers = np.abs(array[np.isfinite(array)])
    return float(numbers.max(initial=0.0))


def _torch_gradient(
    value: torch.Tensor,
    leaves: list[torch.Tensor],
    upstream: torch.Tensor | None,
    *,
    again: bool = True,
) -> list[torch.Tensor]:
    found: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
        value, leaves, upstream, create_graph=again, allow_unused=True
    )
    return [
        torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)
    ]


def _differ(
    found: Any, expected: Any, rtol: float, what: str = "", rounding: Any = 0.0
) -> str | None:
    """The first wrong element, or None. Elements are held to the largest of them: sums cancel."""
    if found.shape != expected.shape:
        return f"{what}: shape {found.shape} instead of {expected.shape}"
    if not found.size:
        return None
    if found.dtype.kind in "biu":
        wrong = found != expected
    else:
        finite = np.isfinite(expected)
        scale = np.abs(expected[finite]).max(initial=0.0)
        eps = np.finfo(expected.dtype).eps / np.finfo(np.float64).eps
        with np.errstate(invalid="ignore"):
            allowed = min(rtol * eps, 0.01) * (np.abs(expected) + scale) + rounding
            near = np.abs(found - expected) <= allowed
        wrong = np.where(finite, ~near, ~_alike(found, expected))
    if not wrong.any():
        return None
    index = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return f"{what}: {found[index]} instead of {expected[index]} at {tuple(map(int, index))}"


def _alike(found: Any, expected: Any) -> Any:
    """The same infinity, or both not a number."""
    return (found == expected) | (np.isnan(found) & np.isnan(expected))
