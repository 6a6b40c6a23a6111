"""One run of the person's code, forward and backward, and what can be seen of it besides the numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.autograd import Function

from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.own.calling import Code, code_of, the_tensor
from gradcheck_cli.methods.own.failing import running
from gradcheck_cli.methods.torch_method import defaults, require_device, to_numpy, to_tensor

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.spec.check import Implementation

Tensor = torch.Tensor
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# What a tensor's memory looks like to the code: the same numbers, otherwise laid out.
Layout = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Ran:
    """The value and the gradients by input, in float64, and what else was seen.

    `touched` are the inputs (and `grad`, the upstream gradient) that were written to. `returned` says of
    which inputs backward returned something of another dtype, shape or device.
    """

    value: Array
    gradients: Mapping[str, Array]
    touched: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    custom: bool = False


@dataclass(frozen=True)
class Bench:
    """The code of a case, to be run in several ways, in the check's dtype on its device.

    PyTorch's random numbers begin with `seed` in every run: only another one shows that they are used.
    """

    case: Case
    seed: int = 0

    @property
    def own(self) -> Implementation:
        """What the check says of the code."""
        own = self.case.check.implementation
        assert own is not None
        return own

    @cached_property
    def device(self) -> torch.device:
        """Where it runs. Raises GradcheckError (GC302) where there is no such device."""
        return require_device(self.case.check.device)

    @property
    def dtype(self) -> torch.dtype:
        """The check's."""
        found: torch.dtype = getattr(torch, self.case.check.dtype)
        return found

    @contextmanager
    def ready(self) -> Iterator[Code]:
        """The code, with PyTorch's defaults set to the check's; random numbers drawn in it are put back."""
        devices = [self.device] if self.device.type == "cuda" else []
        with (
            defaults(self.dtype, self.device),
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=devices),
        ):
            warnings.simplefilter("ignore")  # what matters of a warning shows in the comparison
            torch.manual_seed(self.seed)
            yield code_of(self.case.check, self.dtype, self.device)

    def tensors(self, arrays: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The inputs, without gradients."""
        given = self.case.arrays if arrays is None else arrays
        check = self.case.check
        return {
            spec.name: to_tensor(
                given[spec.name], getattr(torch, spec.dtype or check.dtype), self.device
            )
            for spec in check.inputs
        }

    def value(self, arrays: Mapping[str, Any]) -> Tensor:
        """The forward value at other inputs, untracked."""
        with self.ready() as code, torch.no_grad(), running(self.own, "in its forward pass"):
            return the_tensor(self.own, code.call(self.tensors(arrays)))

    def run(
        self,
        *,
        arrays: Mapping[str, Any] | None = None,
        wrt: Sequence[str] | None = None,
        layouts: Mapping[str, Layout] | None = None,
        expand: Mapping[str, Layout] | None = None,
        upstream: Callable[[Tensor], Tensor] | None = None,
        through: Callable[[Tensor], Tensor] | None = None,
    ) -> Ran:
        """Forward and backward.

        `wrt` are the inputs that require a gradient (default: the check's); `layouts` change how inputs, and
        the upstream gradient under `grad`, lie in memory; `expand` makes arguments of leaves, differentiably.
        `upstream` makes the upstream gradient of the check's, and `through` what is differentiated of the
        value. Raises GradcheckError where the code fails (GC308) or can't be called so (GC032).
        """
        names = self.case.wrt if wrt is None else wrt
        layouts, expand = layouts or {}, expand or {}
        with self.ready() as code:
            watched, seen = _watched(code)
            leaves = self.tensors(arrays)
            for name, layout in layouts.items():
                if name in leaves:
                    leaves[name] = layout(leaves[name])
            for name in names:
                leaves[name] = leaves[name].detach().requires_grad_()
            passed = {n: expand[n](t) if n in expand else t for n, t in leaves.items()}
            before = {n: (t, t.detach().clone(), _version(t)) for n, t in passed.items()}
            with running(self.own, "in its forward pass"):
                value = the_tensor(self.own, watched.call(passed))
            own = _is_custom(value)
            grad = self._upstream(value, arrays, upstream, layouts.get(UPSTREAM))
            if grad is not None:
                before[UPSTREAM] = (grad, grad.detach().clone(), _version(grad))
            with running(self.own, "in its backward pass"):
                found = _differentiated(value, [leaves[n] for n in names], grad, through)
            return Ran(
                to_numpy(value.detach()),
                {n: to_numpy(g) for n, g in zip(names, found, strict=True)},
                tuple(
                    name
                    for name, (now, was, version) in before.items()
                    if _touched(now, was, version)
                ),
                tuple(dict.fromkeys(seen)),
                own,
            )

    def _upstream(
        self,
        value: Tensor,
        arrays: Mapping[str, Any] | None,
        made: Callable[[Tensor], Tensor] | None,
        layout: Layout | None,
    ) -> Tensor | None:
        """The upstream gradient; None where its shape isn't the value's, which is another mistake."""
        given = (self.case.arrays if arrays is None else arrays)[UPSTREAM]
        if np.shape(given) != tuple(value.shape):
            return None
        grad = to_tensor(given, value.dtype, self.device)
        grad = grad if made is None else made(grad)
        return grad if layout is None else layout(grad)


def _differentiated(
    value: Tensor,
    targets: Sequence[Tensor],
    upstream: Tensor | None,
    through: Callable[[Tensor], Tensor] | None,
) -> list[Tensor]:
    if not value.requires_grad or upstream is None:
        return [torch.zeros_like(target) for target in targets]
    if through is not None:
        value = through(value)
    found: Sequence[Tensor | None] = torch.autograd.grad(
        value, targets, upstream, allow_unused=True
    )
    return [
        torch.zeros_like(target) if gradient is None else gradient
        for target, gradient in zip(targets, found, strict=True)
    ]


def _touched(now: Tensor, was: Tensor, version: int) -> bool:
    """Whether a tensor was written to: its version counts PyTorch's writes, a kernel's show in numbers."""
    return _version(now) != version or not torch.equal(_bits(now), _bits(was))


def _bits(tensor: Tensor) -> Tensor:
    """The tensor read as whole numbers, so that NaN is equal to itself."""
    return tensor.detach().view(_WHOLE[tensor.element_size()])


def _version(tensor: Tensor) -> int:
    version: int = tensor._version  # noqa: SLF001 -- documented under this name
    return version


def _is_custom(value: Tensor) -> bool:
    """Whether a backward pass written by a person is on the way: of a Function or of a custom operator."""
    seen: set[Any] = set()
    level: list[Any] = [value.grad_fn]
    while level:
        node = level.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        # Both are Python classes: PyTorch's own nodes are made in C++.
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        level += [above for above, _ in node.next_functions]
    return False


def _watched(code: Code) -> tuple[Code, list[str]]:
    """The code with what its backward returns looked at, where it is a Function; what is odd of it."""
    seen: list[str] = []
    function = code.function
    if function is None or code.arguments is None:
        return code, seen
    name = "vjp" if function.vjp is not Function.vjp else "backward"
    backward = getattr(function, name)
    arguments = code.arguments
    given: list[Any] = []

    def watching(ctx: Any, *upstream: Any) -> Any:
        found = backward(ctx, *upstream)
        gradients = found if isinstance(found, tuple) else (found,)
        for slot, argument, gradient in zip(arguments.positional, given, gradients, strict=False):
            if isinstance(gradient, Tensor) and isinstance(argument, Tensor):
                seen.extend(_oddities(slot.name or "", argument, gradient))
        return found

    watched = type(function.__name__, (function,), {name: staticmethod(watching)})

    def call(tensors: Mapping[str, Tensor]) -> Any:
        given[:] = arguments.filled(tensors)[0]
        return watched.apply(*given)  # type: ignore[attr-defined]

    return Code(code.kind, call, arguments=arguments, function=function), seen


def _oddities(name: str, argument: Tensor, gradient: Tensor) -> Iterator[str]:
    """What of a gradient isn't as its input is."""
    for what, mine, right in (
        ("dtype", gradient.dtype, argument.dtype),
        ("shape", list(gradient.shape), list(argument.shape)),
        ("device", gradient.device, argument.device),
    ):
        if mine != right:
            yield f"the gradient of `{name}` has {what} {mine}, `{name}` has {right}"
