"""Gradients that a caller in Python has as numbers, or as a function that computes them: called, and judged.

A function runs before the check does, on the very numbers that the check will use.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.errors import GradcheckError, Problem, did_you_mean
from gradcheck_cli.methods.case import UPSTREAM, Case, prepare, values_of
from gradcheck_cli.spec.check import FLOATING, Computed
from gradcheck_cli.spec.numbers import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gradcheck_cli.spec.check import Check

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Given:
    """Gradients of no formula: by input an array or a function, or one function for all inputs.

    `tensors` are the inputs that were given as tensors, and go to functions as such; where there are some,
    the upstream gradient is one too.
    """

    of_inputs: Mapping[str, Any]
    of_all: Callable[..., Any] | None = None
    tensors: frozenset[str] = frozenset()

    def added_to(self, check: Check) -> Check:
        """The check with these gradients computed at its inputs.

        Where its expressions are wrong it stays as it is: running it will say why. Raises GradcheckError
        (GC002, GC023) where a function or what it gives doesn't fit, and whatever a function raises.
        """
        calls = self.of_all is not None or any(map(callable, self.of_inputs.values()))
        case = None
        if calls:
            try:
                with values_of(check):
                    case = prepare(check)
                    case.arrays  # noqa: B018 -- drawn while they may be refused
            except GradcheckError:
                return check
        for name in self.of_inputs:
            if name not in check.wrt:
                message = f"a manual gradient for `{name}`, whose gradient isn't checked"
                hint = "add it to `wrt`, or leave the gradient out"
                raise GradcheckError(Problem("GC023", message, None, hint))
        return replace(check, computed=dict(self._gradients(check, case)))

    def _gradients(self, check: Check, case: Case | None) -> Iterator[tuple[str, Computed]]:
        for name, given in self.of_inputs.items():
            value = given
            if case is not None and callable(given):
                value = _called(f"the gradient of `{name}`", given, self._arguments(case))
            yield name, _computed(name, value)
        if case is not None and self.of_all is not None:
            result = _called("`manual`", self.of_all, self._arguments(case))
            for name, value in _by_input(check, result).items():
                if value is not None:
                    yield name, _computed(name, value)

    def _arguments(self, case: Case) -> dict[str, Any]:
        """What functions may ask for: copies, in the dtypes that PyTorch computes with."""
        check = case.check
        dtypes = {spec.name: spec.dtype or check.dtype for spec in check.inputs}
        made = {}
        for name, dtype in (*dtypes.items(), (UPSTREAM, check.dtype)):
            tensor = name in self.tensors or (name == UPSTREAM and bool(self.tensors))
            array = np.array(case.arrays[name])
            made[name] = _as_tensor(array, dtype, check.device) if tensor else _as(array, dtype)
        return made


def _as(array: Any, dtype: str) -> Any:
    """NumPy has no bfloat16: its numbers stay in float64, which holds them."""
    return array if dtype == "bfloat16" else array.astype(dtype)


def _as_tensor(array: Any, dtype: str, device: str) -> Any:
    torch: Any = sys.modules["torch"]  # whoever gave a tensor has imported it
    return torch.from_numpy(array).to(getattr(torch, dtype)).to(device)


def _called(what: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The function's result, called with those of the arguments that its parameters name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        hint = "put it into a function or lambda whose parameters are inputs, or `grad`"
        raise _bad(f"{what}: the function's parameters can't be told", hint) from error
    plain: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            named = {**arguments, **named}
        elif parameter.name in arguments and parameter.kind in _BY_NAME:
            named[parameter.name] = arguments[parameter.name]
        elif parameter.name in arguments and parameter.kind is parameter.POSITIONAL_ONLY:
            plain.append(arguments[parameter.name])
        elif (
            parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
        ):
            near = did_you_mean(parameter.name, arguments)
            message = f"{what}: the function takes `{parameter.name}`, which is no input"
            raise _bad(message, near or f"there are {_listing(arguments)}")
    return function(*plain, **named)


def _by_input(check: Check, result: Any) -> Mapping[str, Any]:
    """What one function for all inputs gave."""
    wrt = check.wrt
    if isinstance(result, Mapping):
        for name in result:
            if name not in wrt:
                message = f"`manual` gave a gradient for {name!r}"
                hint = f"the inputs that are checked are {_listing(wrt)}"
                raise GradcheckError(Problem("GC023", message, None, hint))
        return result
    if isinstance(result, tuple):
        if len(result) != len(wrt):
            message = f"`manual` gave {len(result)} gradients, and {len(wrt)} inputs are checked"
            hint = f"give them in the order {_listing(wrt)}, None for one that is left out"
            raise GradcheckError(Problem("GC023", message, None, hint))
        return dict(zip(wrt, result, strict=True))
    if len(wrt) > 1:
        message = f"`manual` gave one gradient, and {len(wrt)} inputs are checked"
        hint = f"give a dict, or a tuple in the order {_listing(wrt)}"
        raise GradcheckError(Problem("GC023", message, None, hint))
    return {wrt[0]: result}


def _computed(name: str, value: Any) -> Computed:
    found = numbers(f"the gradient of `{name}`", value)
    dtype = found.dtype if found.dtype in FLOATING else "float64"
    return Computed(np.asarray(found.array, np.float64), dtype)


def _bad(message: str, hint: str) -> GradcheckError:
    return GradcheckError(Problem("GC002", message, None, hint))


def _listing(names: Iterable[str]) -> str:
    """Names for a sentence: `a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, (", ".join(quoted[:-1]), *quoted[-1:])))
