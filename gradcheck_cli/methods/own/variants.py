"""What else can be wrong with code whose gradient is right: each variant is a run that must give the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.own.evaluate import Bench, Layout, Ran

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case

Tensor = torch.Tensor
# Says what differs of two runs that should give the same; None where that is no more than rounding.
Differs = Callable[[Ran, Ran], str | None]
# PyTorch's own operators are tested by PyTorch.
_BUILT_IN = frozenset({"aten", "prims", "prim"})
# Of checks with more inputs, so many are looked at by themselves.
MOST_INPUTS = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with the code: its GC code, a sentence, and the input it is about."""

    code: str
    message: str
    input: str | None = None


def findings(case: Case, differs: Differs, *, sound: bool) -> Iterator[Finding]:
    """All that is found. Without `sound`, its gradient is wrong already: what follows from that is left out.

    Raises GradcheckError where the code fails as the check itself runs it.
    """
    bench = Bench(case)
    base = bench.run()
    for name in base.touched:
        what = "the upstream gradient" if name == UPSTREAM else f"its input `{name}`"
        yield Finding("GC225", f"the implementation writes into {what}", _input(name))
    for said in base.returned:
        yield Finding("GC227", said)
    again = differs(replace(bench, seed=bench.seed + 1).run(), base)
    if again is not None:
        yield Finding("GC226", f"two runs on the same inputs differ: {again}")
    if again is not None or base.touched or base.value.shape != case.output.shape:
        return  # what follows would differ for that reason alone
    yield from _strided(bench, base, differs)
    yield from _expanded(bench, differs)
    yield from _one_by_one(bench, base, differs)
    if sound and all(np.isfinite(gradient).all() for gradient in base.gradients.values()):
        yield from _without_upstream(bench)


def is_custom(case: Case) -> bool:
    """Whether the code has a backward pass that a person wrote, not PyTorch's own."""
    return Bench(case).run().custom


def _input(name: str) -> str | None:
    return None if name == UPSTREAM else name


def _strided(bench: Bench, base: Ran, differs: Differs) -> Iterator[Finding]:
    """All tensors at once; what differs then is looked for one tensor at a time."""
    floating = [spec.name for spec in bench.case.check.inputs if spec.is_floating]
    for how, layout, least in (
        ("every other element of a longer one", every_other, 1),
        ("transposed in memory", transposed, 2),
    ):
        names = [n for n in (*floating, UPSTREAM) if bench.case.arrays[n].ndim >= least]
        if not names or _tried(bench, base, differs, dict.fromkeys(names, layout)) is None:
            continue
        found = None
        for name in names[: MOST_INPUTS + 1]:
            said = _tried(bench, base, differs, {name: layout})
            if said is not None:
                found = _layout_finding("GC221", name, how, *said)
                break
        if found is None:
            said = _tried(bench, base, differs, dict.fromkeys(names, layout))
            assert said is not None
            found = _layout_finding("GC221", None, how, *said)
        yield found
        if found.code == "GC221":
            return


def _tried(
    bench: Bench, base: Ran, differs: Differs, layouts: Mapping[str, Layout]
) -> tuple[bool, str] | None:
    """Whether the code refuses these layouts, and what is wrong; None where nothing is."""
    try:
        said = differs(bench.run(layouts=layouts), base)
    except GradcheckError as error:
        return True, error.problems[0].message
    return None if said is None else (False, said)


def _layout_finding(code: str, name: str | None, how: str, refuses: bool, said: str) -> Finding:
    which = "where all tensors are" if name is None else f"where `{name}` is"
    if name == UPSTREAM:
        which = "where the upstream gradient is"
    if refuses:
        return Finding("GC232", f"{which} {how}: {said}", None if name is None else _input(name))
    return Finding(
        code, f"another result {which} {how}: {said}", None if name is None else _input(name)
    )


def every_other(tensor: Tensor) -> Tensor:
    """The same numbers as every other element of a tensor twice as long; what lies between is NaN."""
    if tensor.ndim == 0:
        return tensor
    longer = tensor.new_empty((*tensor.shape[:-1], 2 * tensor.shape[-1]))
    longer.fill_(float("nan") if tensor.is_floating_point() else 1)
    view = longer[..., ::2]
    view.copy_(tensor)
    return view


def transposed(tensor: Tensor) -> Tensor:
    """The same numbers in memory column by column."""
    return tensor.mT.contiguous().mT if tensor.ndim > 1 else tensor


def _expanded(bench: Bench, differs: Differs) -> Iterator[Finding]:
    """Each input, and the upstream gradient, as one slice that is expanded; held against a copy of that."""
    check = bench.case.check
    names = [
        spec.name
        for spec in check.inputs
        if spec.is_floating and any(size > 1 for size in bench.case.arrays[spec.name].shape)
    ]
    refused = False
    for name in names[:MOST_INPUTS]:
        shape = bench.case.arrays[name].shape
        axis = next(axis for axis, size in enumerate(shape) if size > 1)
        arrays = dict(bench.case.arrays)
        arrays[name] = np.take(arrays[name], [0], axis)

        expand = partial(_expand, shape=shape)
        copied = partial(_copied, shape=shape)

        try:
            plain = bench.run(arrays=arrays, expand={name: copied})
        except GradcheckError:
            continue  # equal rows are outside of its domain: there is nothing to compare with
        if not _is_finite(plain):
            continue
        try:
            said = differs(bench.run(arrays=arrays, expand={name: expand}), plain)
        except GradcheckError as error:
            if not refused:
                refused = True
                yield _layout_finding("GC222", name, "expanded", True, error.problems[0].message)
            continue
        if said is not None:
            yield _layout_finding("GC222", name, f"expanded along axis {axis}", False, said)
            return
    yield from _expanded_upstream(bench, differs)


def _expand(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tensor.expand(shape)


def _copied(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tensor.expand(shape).clone(memory_format=torch.contiguous_format)


def _expanded_upstream(bench: Bench, differs: Differs) -> Iterator[Finding]:
    if bench.case.arrays[UPSTREAM].size < 2:
        return
    plain = bench.run(upstream=torch.ones_like)
    try:
        ran = bench.run(upstream=lambda grad: grad.new_ones(()).expand(grad.shape))
    except GradcheckError as error:
        yield _layout_finding("GC222", UPSTREAM, "expanded", True, error.problems[0].message)
        return
    said = differs(ran, plain)
    if said is not None:
        how = "expanded, as that of a sum is"
        yield _layout_finding("GC222", UPSTREAM, how, False, said)


def _is_finite(ran: Ran) -> bool:
    return all(np.isfinite(a).all() for a in (ran.value, *ran.gradients.values()))


def _one_by_one(bench: Bench, base: Ran, differs: Differs) -> Iterator[Finding]:
    """Each input as the only one that requires a gradient."""
    if len(bench.case.wrt) < 2:
        return
    for name in bench.case.wrt[:MOST_INPUTS]:
        try:
            said = differs(bench.run(wrt=(name,)), base)
        except GradcheckError as error:
            said = error.problems[0].message
        if said is not None:
            message = f"where only `{name}` requires a gradient: {said}"
            yield Finding("GC228", message, name)
            return


def _without_upstream(bench: Bench) -> Iterator[Finding]:
    undefined = getattr(torch._C._functions, "UndefinedGrad", None)  # noqa: SLF001 -- as torch.autograd.gradcheck
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("GC223", "zero", {"upstream": torch.zeros_like}),
        *([("GC224", "undefined", {"through": undefined()})] if undefined is not None else []),
    ]
    for code, what, how in ways:
        try:
            ran = bench.run(**how)
        except GradcheckError as error:
            said: str | None = error.problems[0].message
            name = None
        else:
            name, said = _nonzero(bench.case.wrt, ran)
        if said is not None:
            yield Finding(code, f"where the upstream gradient is {what}: {said}", name)
            return  # what is undefined mostly becomes zero first


def _nonzero(names: Sequence[str], ran: Ran) -> tuple[str | None, str | None]:
    for name in names:
        wrong = np.argwhere(ran.gradients[name] != 0)
        if len(wrong):
            index = tuple(int(i) for i in wrong[0])
            at = f" at {list(index)}" if index else ""
            return name, f"the gradient of `{name}`{at} is {ran.gradients[name][index]:.6g}, not 0"
    return None, None


def operator_findings(case: Case) -> Iterator[Finding]:
    """What `torch.library.opcheck` says of a custom operator."""
    bench = Bench(case)
    with bench.ready() as code:
        if code.operator is None or code.arguments is None or code.operator.namespace in _BUILT_IN:
            return
        tensors = bench.tensors()
        for name in case.wrt:
            tensors[name].requires_grad_()
        positional, named = code.arguments.filled(tensors)
        # An operator takes what has no default by position.
        found = torch.library.opcheck(
            code.operator, tuple(positional), named, raise_exception=False
        )
    for test, result in found.items():
        if result != "SUCCESS":
            first = str(result).strip().partition("\n")[0][:200]
            yield Finding("GC230", f"opcheck's {test} fails: {first}")
