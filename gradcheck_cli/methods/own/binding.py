"""Which input is passed as which argument: by name where a signature has the names, else in the spec's order.

Where it has some of the names, the order must put those at their own places: then it is as plain.
Nothing of PyTorch in here: a signature is a list of parameters, wherever it is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import GradcheckError, Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.spec.check import Implementation

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Slot:
    """An argument: the input called `name`, or the constant `value`."""

    name: str | None = None
    value: Any = None

    def filled(self, tensors: Mapping[str, Any]) -> Any:
        """What is passed, given the inputs' tensors."""
        return self.value if self.name is None else tensors[self.name]


@dataclass(frozen=True, slots=True)
class Arguments:
    """How a call is made: what is passed by position, and what by name."""

    positional: tuple[Slot, ...]
    keyword: Mapping[str, Slot]

    def filled(self, tensors: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, given the inputs' tensors."""
        named = {name: slot.filled(tensors) for name, slot in self.keyword.items()}
        return [slot.filled(tensors) for slot in self.positional], named


def refused(
    implementation: Implementation, message: str, hint: str | None = None
) -> GradcheckError:
    """The error of code that can't be called with the check's inputs (GC032)."""
    source = implementation.source
    where = None if source is None else source.where(0, len(source.text))
    return GradcheckError(Problem("GC032", f"`{implementation.target}` {message}", where, hint))


def bound(
    implementation: Implementation,
    parameters: Sequence[Parameter] | None,
    names: Sequence[str],
    kwargs: Mapping[str, Any],
    *,
    positional: bool = False,
) -> Arguments:
    """The arguments of a call with the inputs `names` and the constants `kwargs`.

    `parameters` None stands for a signature that nobody knows: then inputs go in order, constants by name.
    With `positional` everything is passed by position. Raises GradcheckError (GC032) where they don't fit.
    """
    if parameters is None:
        constants = {name: Slot(value=value) for name, value in kwargs.items()}
        return Arguments(tuple(Slot(name) for name in names), constants)
    listed = {p.name: p for p in parameters if p.kind not in _VARIADIC}
    kinds = {p.kind for p in parameters}
    known = [name for name in names if name in listed]
    filled = {name: Slot(value=value) for name, value in kwargs.items()}
    extra: tuple[Slot, ...] = ()
    if Parameter.VAR_KEYWORD not in kinds:
        for name in kwargs:
            if name not in listed:
                near = did_you_mean(name, listed) or f"it takes {_listing(listed)}"
                raise refused(implementation, f"has no argument `{name}` for `kwargs`", near)
    free = [p.name for p in listed.values() if p.kind in _POSITIONAL and p.name not in kwargs]
    takes_any = Parameter.VAR_KEYWORD in kinds and Parameter.VAR_POSITIONAL not in kinds
    in_order = dict(zip(free, names, strict=False))
    if len(known) == len(names) or (takes_any and (known or not free)):
        filled |= {name: Slot(name) for name in names}
    elif any(in_order.get(name) != name for name in known):
        strange = next(name for name in names if name not in listed)
        hint = did_you_mean(strange, [p for p in listed if p not in known]) or (
            f"it takes {_listing(listed)}; name the inputs so, or none of them: then they go in order"
        )
        message = f"has no argument `{strange}`, though it has `{known[0]}`"
        raise refused(implementation, message, hint)
    else:
        filled |= {to: Slot(name) for to, name in in_order.items()}
        extra = tuple(Slot(name) for name in names[len(free) :])
        if extra and Parameter.VAR_POSITIONAL not in kinds:
            takes = f"it takes {_listing(listed)}" if listed else None
            many = f"takes {len(free)} tensor{'s' * (len(free) != 1)}"
            raise refused(implementation, f"{many}, the check has {len(names)} inputs", takes)
    return _arranged(implementation, list(listed.values()), filled, extra, positional=positional)


def _arranged(
    implementation: Implementation,
    parameters: Sequence[Parameter],
    filled: Mapping[str, Slot],
    extra: tuple[Slot, ...],
    *,
    positional: bool,
) -> Arguments:
    first: list[Slot] = []
    named: dict[str, Slot] = {}
    left = dict(filled)
    for parameter in parameters:
        slot = left.pop(parameter.name, None)
        if slot is None:
            if parameter.default is Parameter.empty:
                hint = f"add an input of that name, or `kwargs: {{{parameter.name}: ...}}`"
                message = f"needs a value for its argument `{parameter.name}`"
                raise refused(implementation, message, hint)
            if not positional:
                continue
            slot = Slot(value=parameter.default)
        if positional or parameter.kind is Parameter.POSITIONAL_ONLY or extra:
            first.append(slot)
        else:
            named[parameter.name] = slot
    return Arguments((*first, *extra), {**named, **left})


def _listing(names: Mapping[str, Parameter]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "no arguments"
