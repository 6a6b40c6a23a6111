"""What every record must hold, whatever it computes."""

from __future__ import annotations

import inspect
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import TABLE, Expr, Op, Sample, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.ops._common import DOMAINS
from gradcheck_cli.ops.known import given

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RECORDS = list(TABLE.by_name.values())
# Written as subscripts, which are syntax and no function.
SUBSCRIPTS = {"select", "slice", "index"}
# Where PyTorch's Python binding differs from the native function that its schema describes.
OWN_BINDING = {
    "torch.norm": "its default p='fro' is the 2-norm, whatever the dimensions",
    "torch.nonzero": "the argument as_tuple is its Python binding's",
    "torch.lu": "a function that chooses between two by get_infos",
    "torch.einsum": "the equation and operands are collected by *args",
    **dict.fromkeys(
        [
            *(f"F.{kind}max_pool{ndim}d" for kind in ("", "adaptive_") for ndim in (1, 2, 3)),
            *(f"F.fractional_max_pool{ndim}d" for ndim in (2, 3)),
        ],
        "two functions in one, chosen by return_indices",
    ),
    "torch.atleast_1d": "a Python function of *tensors",
    "torch.atleast_2d": "a Python function of *tensors",
    "torch.atleast_3d": "a Python function of *tensors",
    "torch.tril_indices": "the default of its dtype is a number that means int64",
    "torch.triu_indices": "the default of its dtype is a number that means int64",
}


def in_torch(spelling: str) -> Any:
    """What PyTorch has under a spelling. Raises AttributeError."""
    place, _, path = spelling.partition(".")
    root = {"torch": torch, "Tensor": torch.Tensor, "F": torch.nn.functional}[place]
    return reduce(getattr, path.split("."), root)


def inputs_of(sample: Sample) -> dict[str, Expr]:
    return {
        name: variable(
            name,
            spec.shape if spec.value is None else np.shape(spec.value),
            dtypes.BY_NAME[spec.dtype],
        )
        for name, spec in sample.inputs.items()
    }


def built(sample: Sample) -> Expr:
    """A sample's expression; where a shape depends on values, those given or the least."""
    values = {
        name: np.array(
            np.full(spec.shape, spec.low or 0.0) if spec.value is None else spec.value,
            dtypes.BY_NAME[spec.dtype].numpy,
        )
        for name, spec in sample.inputs.items()
    }
    with given(lambda: values):
        return build(parse(Source(sample.expression)), inputs_of(sample))


def test_docs_are_one_clause_with_a_full_stop() -> None:
    wrong = {op.name: op.doc for op in RECORDS if not op.doc.endswith(".") or "\n" in op.doc}
    assert not wrong


def test_a_record_is_an_operator_or_a_definition() -> None:
    for op in RECORDS:
        if op.is_macro:
            assert op.vjp is None, op.name
            assert not op.analytic, op.name
        else:
            assert op.infer is not None, op.name
            assert op.kernel is not None, op.name


def test_signatures_make_sense() -> None:
    for op in RECORDS:
        parameters = op.signature.parameters
        assert op.signature.python_name == op.python_name
        assert len({p.name for p in parameters}) == len(parameters), op.name
        optional = [p.has_default for p in parameters if not p.keyword_only]
        assert optional == sorted(optional), f"{op.name}: required after optional"


def test_every_spelling_is_pytorchs() -> None:
    missing = []
    for op in RECORDS:
        assert op.spellings or op.attribute or op.name in SUBSCRIPTS, f"{op.name} can't be written"
        attribute = [f"Tensor.{op.attribute}"] if op.attribute else []
        for spelling in (*op.spellings, *attribute):
            try:
                in_torch(spelling)
            except AttributeError:
                missing.append(f"{op.name}: {spelling}")
    assert not missing


def pytorchs_signatures(spelling: str) -> Iterator[Mapping[str, Any]]:
    """Argument names with defaults (or `Parameter.empty`), one mapping per overload, in order."""
    try:
        parameters = inspect.signature(in_torch(spelling)).parameters
    except (TypeError, ValueError):
        path = spelling.partition(".")[2].replace(".", "_")
        for schema in torch._C._jit_get_schemas_for_operator(f"aten::{path}"):
            yield {
                "input" if a.name == "self" else a.name: (
                    a.default_value if a.has_default_value() else inspect.Parameter.empty
                )
                for a in schema.arguments
            }
    else:
        yield {name: p.default for name, p in parameters.items()}


def mismatch(op: Op, theirs: Mapping[str, Any]) -> str | None:
    """The first of the record's arguments that another name, place or default stands for."""
    rest = iter(theirs)
    for ours in op.signature.parameters:
        if ours.keyword_only:
            if ours.name not in theirs:
                return f"no `{ours.name}`"
        elif ours.name not in rest:
            return f"no `{ours.name}` in this place"
        default = theirs[ours.name]
        plain = isinstance(default, (bool, int, float, str))
        same = ours.has_default and ours.default in (default, (default,))
        if plain and not same and "." not in op.name:
            return f"`{ours.name}` has the default {default!r}"
    return None


def test_arguments_have_pytorchs_names_order_and_defaults() -> None:
    wrong = []
    compared = 0
    for op in RECORDS:
        functions = [s for s in op.spellings if not s.startswith("Tensor.")]
        for spelling in functions[:1]:
            if spelling in OWN_BINDING:
                continue
            found = [mismatch(op, theirs) for theirs in pytorchs_signatures(spelling)]
            compared += bool(found)
            if found and None not in found:
                wrong.append(f"{op.name} ({op.signature}): {'; '.join(map(str, found))}")
    assert not wrong, "\n".join(wrong)
    assert compared > len(RECORDS) // 2, "PyTorch's signatures are no longer found"


def test_only_overloads_share_a_spelling() -> None:
    for table in (TABLE.functions, TABLE.methods):
        for spelling, overloads in table.items():
            names = {op.python_name for op in overloads}
            assert len(names) == 1, f"{spelling} means {', '.join(sorted(names))}"


def test_no_name_is_bound_twice() -> None:
    """Overloads differ in their arguments, else the second could never be called.

    But for records that a composite of the same name chooses from, by what it is given.
    """
    for table in (TABLE.functions, TABLE.methods):
        for spelling, overloads in table.items():
            seen: dict[object, Op] = {}
            for op in overloads:
                arguments = tuple((p.name, p.type, p.keyword_only) for p in op.signature.parameters)
                first = seen.setdefault(arguments, op)
                chosen = first.is_macro and not op.is_macro
                assert first is op or chosen, f"{spelling}: {first.name} and {op.name} are the same"


def test_every_record_has_something_to_be_tested_on() -> None:
    bare = [op.name for op in RECORDS if not op.samples and not op.elementwise]
    assert not bare
    for op in RECORDS:
        assert op.domain in DOMAINS, op.name


def test_samples_use_all_their_inputs_and_reach_their_operator() -> None:
    unreached = []
    for op in RECORDS:
        reached = op.is_macro or op.elementwise
        for sample in op.samples:
            formula = parse(Source(sample.expression))
            assert set(sample.inputs) <= formula.names, f"{op.name}: {sample.expression}"
            expression = built(sample)
            reached = reached or any(
                node.op is op for node in topological([expression], sizes=True)
            )
        if not reached:
            unreached.append(op.name)
    assert not unreached


def test_kinks_come_with_a_convention_and_stand_where_they_are_said_to() -> None:
    for op in RECORDS:
        assert op.kink is None or op.convention, f"{op.name}: which value does the gradient take?"
        if op.kink is None:
            continue
        for sample in op.samples:
            expression = built(sample)
            for node in topological([expression]):
                if node.op is op:
                    for zero in op.kink(*node.args, **node.attributes):
                        assert to_text(zero), op.name
