"""The kinds of code that can be checked, each made a function from the inputs' tensors to one tensor."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.autograd import Function
from torch.func import functional_call

from gradcheck_cli.methods.own.binding import Arguments, bound, refused
from gradcheck_cli.methods.own.failing import running

if TYPE_CHECKING:
    from gradcheck_cli.spec.check import Check, Implementation

Kind = Literal["function", "autograd.Function", "module", "operator"]
Tensors = Mapping[str, torch.Tensor]
# What `torch.compile` calls the module that it wraps.
_WRAPPED = "_orig_mod."
# Function's arguments don't begin with the context where that is set up apart.
_NO_CONTEXT = "setup_context"


@dataclass(frozen=True)
class Code:
    """Code bound to a check's inputs.

    `call` takes the inputs' tensors by name. `constant` are parameters of a module that are no inputs, and
    keep their initial values; `operator` is there where it is a custom operator, `arguments` where the call
    is made of those alone.
    """

    kind: Kind
    call: Callable[[Tensors], Any]
    constant: tuple[str, ...] = ()
    operator: Any = None
    arguments: Arguments | None = None
    function: type[Function] | None = None


def code_of(check: Check, dtype: torch.dtype, device: torch.device) -> Code:
    """The check's code, ready to be called. Raises GradcheckError where it is of another kind (GC032).

    A module is made, or copied, in `dtype` on `device`: what it learns of its inputs stays with the copy.
    """
    own = check.implementation
    assert own is not None
    names = [spec.name for spec in check.inputs]
    found = own.object
    applied = getattr(found, "__self__", None)
    if getattr(found, "__name__", "") == "apply" and _is_function(applied):
        found = applied
    if _is_function(found):
        return _of_function(own, found, names)
    operator = _operator(found)
    if operator is not None:
        schema = operator._schema.arguments  # noqa: SLF001 -- PyTorch has no other name for it
        arguments = bound(own, [_parameter(item) for item in schema], names, own.kwargs)
        return Code("operator", _calling(found, arguments), operator=operator, arguments=arguments)
    if not callable(found):
        message = f"can't be called: its type is {type(found).__name__}"
        hint = "name a function, a torch.autograd.Function, an nn.Module or a custom operator"
        raise refused(own, message, hint)
    module = _module(own, found, names, check.seed)
    if module is not None:
        return _of_module(own, module.to(device, dtype), names, made=module is not found)
    arguments = bound(own, _parameters(found), names, own.kwargs)
    return Code("function", _calling(found, arguments), arguments=arguments)


def _is_function(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Function)


def _calling(function: Callable[..., Any], arguments: Arguments) -> Callable[[Tensors], Any]:
    def call(tensors: Tensors) -> Any:
        positional, named = arguments.filled(tensors)
        return function(*positional, **named)

    return call


def _of_function(own: Implementation, function: type[Function], names: Sequence[str]) -> Code:
    parameters = _parameters(function.forward)
    apart = getattr(function, _NO_CONTEXT) is not getattr(Function, _NO_CONTEXT)
    if parameters and not apart:
        parameters = parameters[1:]
    arguments = bound(own, parameters, names, own.kwargs, positional=True)
    if arguments.keyword:  # the signature isn't known: `apply` takes nothing by name
        arguments = Arguments((*arguments.positional, *arguments.keyword.values()), {})

    def call(tensors: Tensors) -> Any:
        # Looked up when it is called: a subclass that watches it takes its place.
        return function.apply(*arguments.filled(tensors)[0])  # type: ignore[no-untyped-call]

    return Code("autograd.Function", call, arguments=arguments, function=function)


def _operator(found: Any) -> Any:
    """The overload that is called, where it is an operator of `torch.ops` or of `torch.library`."""
    found = getattr(found, "_opoverload", found)
    if isinstance(found, torch._ops.OpOverloadPacket):  # noqa: SLF001 -- its only name
        names = found.overloads()  # type: ignore[no-untyped-call]
        return getattr(found, "default" if "default" in names else names[0])
    return found if isinstance(found, torch._ops.OpOverload) else None  # noqa: SLF001


def _parameter(argument: Any) -> inspect.Parameter:
    usual = inspect.Parameter.POSITIONAL_OR_KEYWORD
    kind = inspect.Parameter.KEYWORD_ONLY if argument.kwarg_only else usual
    default = argument.default_value if argument.has_default_value() else inspect.Parameter.empty
    return inspect.Parameter(argument.name, kind, default=default)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """None where nobody knows them, as of many functions written in C++."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _module(
    own: Implementation, found: Any, names: Sequence[str], seed: int
) -> torch.nn.Module | None:
    """The module that `found` is, makes as a class, or makes as a factory; None where it is a function."""
    if isinstance(found, torch.nn.Module):
        return copy.deepcopy(found)
    if not _is_maker(own, found, names):
        return None
    with running(own, "making the module"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = found(**own.kwargs)
    if isinstance(made, torch.nn.Module):
        return made
    takes = "takes none of the check's inputs, and what it makes of `kwargs` is no module"
    raise refused(own, takes, "it is called with the inputs by name, or makes an nn.Module")


def _is_maker(own: Implementation, found: Any, names: Sequence[str]) -> bool:
    """Whether it makes a module: a class of modules, or a function of `kwargs` alone."""
    if isinstance(found, type):
        if issubclass(found, torch.nn.Module):
            bound(own, _parameters(found), (), own.kwargs)
            return True
        raise refused(own, f"is the class {found.__name__}, which is no nn.Module")
    parameters = _parameters(found)
    if parameters is None or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return False
    left = [p for p in parameters if p.name not in own.kwargs]
    return not any(p.name in names for p in parameters) and all(
        p.default is not inspect.Parameter.empty for p in left
    )


def _of_module(
    own: Implementation, module: torch.nn.Module, names: Sequence[str], *, made: bool
) -> Code:
    """Inputs that are called as its parameters or buffers take their places; the others go to `forward`.

    A dot in a parameter's name is `_` in the input's.
    """
    places = {
        name.removeprefix(_WRAPPED).replace(".", "_"): name
        for name, _ in (*module.named_parameters(), *module.named_buffers())
    }
    held = {name: places[name] for name in names if name in places}
    passed = [name for name in names if name not in held]
    kwargs = {} if made else own.kwargs
    arguments = bound(own, _parameters(module.forward), passed, kwargs)

    def call(tensors: Tensors) -> Any:
        positional, named = arguments.filled(tensors)
        state = {place: tensors[name] for name, place in held.items()}
        return functional_call(module, state, tuple(positional), named)

    constant = tuple(n for n, _ in module.named_parameters() if n not in held.values())
    return Code("module", call, constant)


def the_tensor(own: Implementation, output: Any) -> torch.Tensor:
    """The floating-point tensor of what the code returned. Raises GradcheckError (GC032) if not just one."""
    items = [output]
    if isinstance(output, Mapping):
        items = list(output.values())
    elif isinstance(output, (tuple, list)):
        items = list(output)
    tensors = [item for item in items if isinstance(item, torch.Tensor)]
    floating = [item for item in tensors if item.is_floating_point()]
    if len(floating) == 1:
        return floating[0]
    hint = "name a function that returns the one tensor to check"
    if floating:
        message = (
            f"returns {len(floating)} floating-point tensors: which one is checked is not clear"
        )
        raise refused(own, message, hint)
    what = f"a tensor of {tensors[0].dtype}" if tensors else f"a {type(output).__name__}"
    raise refused(own, f"returns {what}, not a floating-point tensor", hint)
