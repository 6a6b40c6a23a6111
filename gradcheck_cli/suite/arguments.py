"""What a caller in Python passes to `check`, as checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gradcheck_cli.engine.rounding import UNIT_ROUNDOFF
from gradcheck_cli.errors import GradcheckError, Problem, did_you_mean
from gradcheck_cli.spec.check import FLOATING, Implementation
from gradcheck_cli.spec.data import with_arrays
from gradcheck_cli.spec.numbers import dtype_name, is_tensor, numbers
from gradcheck_cli.suite.gradients import Given

if TYPE_CHECKING:
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.spec.numbers import Numbers

# A check without a name is called by its expression, as far as that fits a line.
_LONGEST_NAME = 60
# Stands for an object until the spec has been read.
_TARGET = "python:object"


@dataclass(frozen=True)
class Arguments:
    """The inputs and gradients of one call, sorted; `keys` are further keys of a spec."""

    inputs: Mapping[str, Any]
    manual: Any = None
    wrt: Any = None
    implementation: Any = None
    kwargs: Mapping[str, Any] | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)

    def checks(self) -> list[Check]:
        """One check, or one per dtype and device.

        Raises GradcheckError for what is wrong with an argument, and whatever a function of `manual` raises.
        """
        _require_names("inputs", self.inputs)
        arrays = {
            name: numbers(f"the input `{name}`", value)
            for name, value in self.inputs.items()
            if not isinstance(value, Mapping)
        }
        tensors = [value for value in self.inputs.values() if is_tensor(value)]
        gradients = self._gradients()
        dtype = dtype_name(self.keys.get("dtype"))
        spec: dict[str, Any] = {"version": 1, **self.keys}
        spec["name"] = spec.get("name") or self._name()
        spec["dtype"] = _widest(arrays.values()) if dtype is None else dtype
        spec["device"] = _device(spec.get("device"), tensors)
        spec["inputs"] = self._entries(arrays)
        spec["manual"] = self._formulas() or None
        if self.implementation is not None:
            text = isinstance(self.implementation, str)
            spec["implementation"] = self.implementation if text else _TARGET
            spec["kwargs"] = self.kwargs if text else None
        elif self.kwargs:
            raise _bad("`kwargs` without `implementation`", "they are what it is called with")
        spec = {key: value for key, value in spec.items() if value is not None}
        made = with_arrays(spec, arrays, dtype_given=dtype is not None)
        return [gradients.added_to(self._completed(check)) for check in made]

    def _gradients(self) -> Given:
        tensors = frozenset(name for name, value in self.inputs.items() if is_tensor(value))
        if callable(self.manual):
            return Given({}, self.manual, tensors)
        _require_names("manual", self.manual or {})
        given = {k: v for k, v in (self.manual or {}).items() if not isinstance(v, str)}
        for name in given:
            if name not in self.inputs:
                near = did_you_mean(name, self.inputs)
                message = f"a manual gradient for `{name}`, which is no input"
                raise GradcheckError(Problem("GC023", message, None, near))
        return Given(given, None, tensors)

    def _formulas(self) -> dict[str, str]:
        """The gradients that are text."""
        manual = {} if callable(self.manual) or not self.manual else self.manual
        return {name: value for name, value in manual.items() if isinstance(value, str)}

    def _entries(self, arrays: Mapping[str, Numbers]) -> dict[str, Any]:
        """What the spec says of inputs: of arrays, only whether they are checked.

        Where some tensors require a gradient, so do those that a manual one is given for.
        """
        entries = {
            name: dict(value) if isinstance(value, Mapping) else {}
            for name, value in self.inputs.items()
        }
        if self.wrt is None:
            chosen = any(given.requires_grad for given in arrays.values())
            for name in self.manual if chosen and isinstance(self.manual, Mapping) else ():
                if name in entries:
                    entries[name].setdefault("requires_grad", True)
            return entries
        if not isinstance(self.wrt, Iterable):
            raise _bad(f"`wrt` is {self.wrt!r}", f"name inputs: there are {', '.join(entries)}")
        wanted = [self.wrt] if isinstance(self.wrt, str) else [*self.wrt]
        for name in wanted:
            if name not in entries:
                raise _bad(
                    f"`wrt` names {name!r}, which is no input", f"there are {', '.join(entries)}"
                )
        for name, entry in entries.items():
            if name in wanted:
                entry["requires_grad"] = True
            elif name not in arrays or arrays[name].dtype in FLOATING:
                entry["requires_grad"] = False
        return entries

    def _completed(self, check: Check) -> Check:
        """The check with the object that its code is."""
        implementation = check.implementation
        if implementation is None or isinstance(self.implementation, str):
            return check
        named = _called(self.implementation)
        whole = Implementation(named, self.implementation, dict(self.kwargs or {}))
        return replace(check, implementation=whole)

    def _name(self) -> str:
        expression = self.keys.get("expression")
        if isinstance(expression, str):
            words = " ".join(expression.split())
            printable = "".join(char if char.isprintable() else "?" for char in words)
            cut = printable[: _LONGEST_NAME - 3] + "..."
            return (printable if len(printable) <= _LONGEST_NAME else cut) or "check"
        return "check" if self.implementation is None else _called(self.implementation)


def _called(implementation: Any) -> str:
    """What messages call an object."""
    if isinstance(implementation, str):
        return implementation
    name = getattr(implementation, "__qualname__", None)
    return name if isinstance(name, str) else type(implementation).__qualname__


def _require_names(what: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise _bad(f"`{what}` is {type(given).__name__}", f"give a dict: {what}={{'x': ...}}")
    for name in given:
        if not isinstance(name, str):
            raise _bad(f"`{what}` has the key {name!r}", "keys are the names in the expression")


def _widest(arrays: Iterable[Numbers]) -> str:
    """The most precise floating-point dtype that was given."""
    floating = {given.dtype for given in arrays if given.typed and given.dtype in FLOATING}
    return min(floating, key=UNIT_ROUNDOFF.__getitem__, default="float64")


def _device(device: Any, tensors: Iterable[Any]) -> Any:
    """The one asked for, or that of the tensors: the first which is not the CPU."""
    if isinstance(device, list | tuple):
        return [str(one) for one in device]
    if device is not None:
        return str(device)
    found = (str(tensor.device) for tensor in tensors)
    return next((name for name in found if name != "cpu"), "cpu")


def _bad(message: str, hint: str) -> GradcheckError:
    return GradcheckError(Problem("GC002", message, None, hint))
