"""Calls that PyTorch refuses, and what both say about them.

They come from the database too: its developers list what each operator has to refuse.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from conformance.database import entries
from conformance.express import Expressed, Inexpressible, spellings
from gradcheck_cli import dtypes
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.torch_method import evaluate_formula
from gradcheck_cli.ops.known import given
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_MOST_DIMENSIONS = 64  # of NumPy


@dataclass(frozen=True)
class Refusal:
    """One call: what PyTorch says of it and what gradcheck says, or None where it takes it."""

    name: str
    text: str
    inputs: str
    theirs: str
    ours: str | None
    hint: str | None


def refusals(names: Iterable[str]) -> Iterator[Refusal]:
    """The calls of these operators that the database lists as refused and that the language can write."""
    wanted = set(names)
    for entry in entries():
        if entry.name not in wanted:
            continue
        for error in entry.refused():
            try:
                written = spellings(entry, error.sample_input)
            except Inexpressible:
                continue
            for expressed in written:
                found = _of_call(entry.name, expressed)
                if found is not None:
                    yield found
                    break


def _of_call(name: str, expressed: Expressed) -> Refusal | None:
    """None where the text isn't PyTorch's, or PyTorch takes it."""
    tensors = expressed.tensors
    if not all(map(_holds, tensors.values())):
        return None
    formula = parse(Source(expressed.text))
    theirs = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluate_formula(formula, tensors)
    except (AttributeError, AssertionError):
        return None
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        theirs = str(error).strip().partition("\n")[0]
    if theirs is None:
        return None
    ours, hint = _our_words(expressed)
    inputs = ", ".join(f"{n}: {tuple(v.shape)} {str(v.dtype)[6:]}" for n, v in tensors.items())
    return Refusal(name, expressed.text, inputs, theirs, ours, hint)


def _our_words(expressed: Expressed) -> tuple[str | None, str | None]:
    try:
        with given(lambda: expressed.arrays):
            node = build(parse(Source(expressed.text)), expressed.scope)
            Plan([node])(expressed.arrays)
    except GradcheckError as error:
        return error.problems[0].message, error.problems[0].hint
    except Invalid as error:
        return error.message, error.hint
    return None, None


def _holds(tensor: torch.Tensor) -> bool:
    """Whether an input of a check can be such a tensor."""
    plain = tensor.device.type == "cpu" and tensor.layout is torch.strided
    return plain and tensor.ndim <= _MOST_DIMENSIONS and str(tensor.dtype)[6:] in dtypes.BY_NAME
