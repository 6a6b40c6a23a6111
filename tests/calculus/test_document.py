"""What is written of an operator is what computes: every record's page, read back and compared."""

from __future__ import annotations

import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.document import Document, document, example, has_kinks
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import TABLE, Expr, Op, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

RECORDS = list(TABLE.by_name.values())
# Their rules refuse: there is no derivative to be written.
REFUSED = {"airy_ai"}
# A rule with this many characters has definitions, or can't be read at a glance anyway.
LONG = 200


def written(name: str) -> Document:
    found = document(TABLE.by_name[name])
    assert found is not None
    return found


@pytest.mark.parametrize("op", RECORDS, ids=lambda op: op.name)
def test_every_record_can_be_written_out(op: Op) -> None:
    found = document(op)
    assert found is not None, "no sample of it can be taken apart"
    assert found.call
    assert bool(found.definition) == (op.define is not None)
    if op.vjp is not None and any(sample.grad for sample in op.samples) and op.name not in REFUSED:
        assert found.rule, "it has a derivative, but none is shown"
    if op.kink is not None:
        assert found.kinks, "it has kinks, but none is shown"
    for text in (*found.definition, *(p for r in found.rule.values() for p in r.values() if p)):
        assert "<" not in text.replace("<=", "").replace(" < ", ""), f"not printed: {text}"
    shown = example(op)
    assert shown is None or all(shown.gradients.values())


def test_nearly_every_differentiable_operator_has_an_example() -> None:
    able = [op for op in RECORDS if op.vjp is not None or op.is_macro]
    without = [op.name for op in able if example(op) is None]
    assert len(without) < len(able) // 10, without


def read(text: str, scope: dict[str, Expr]) -> Expr:
    """A formula with its definitions, as they stand above it."""
    *definitions, last = text.splitlines()
    scope = dict(scope)
    for line in definitions:
        name, _, definition = line.partition(" = ")
        scope[name] = build(parse(Source(definition)), scope)
    return build(parse(Source(last)), scope)


@pytest.mark.parametrize(
    "name", ["exp", "tanh", "mul", "clamp", "softmax", "amax", "logsumexp", "cumprod", "gather"]
)
def test_the_rule_reads_back_as_what_computes(name: str) -> None:
    op, found = TABLE.by_name[name], written(name)
    whole = {"index": dtypes.int64}
    scope = {
        key: variable(key, shape, whole.get(key, dtypes.float64))
        for key, shape in found.inputs.items()
    }
    out = read(found.call, scope)
    scope |= {"out": out, "grad": variable("grad", out.shape, out.dtype)}
    assert op.vjp is not None
    rule = op.vjp(scope["grad"], out, *out.args, **out.attributes)
    products = rule if isinstance(rule, tuple) else (rule,)
    texts = found.rule[""]
    for key, product in zip(found.inputs, products, strict=False):
        text = texts[key]
        assert (product is None) == (text is None)
        if text is not None:
            assert read(text, scope) is product


def test_a_rule_is_not_simplified_away() -> None:
    assert written("sin").rule == {"": {"input": "grad * cos(input)"}}
    assert written("tanh").rule == {"": {"input": "grad * (1 - out * out)"}}


def test_each_output_has_its_rule() -> None:
    assert set(written("sort").rule) == {"values"}
    assert set(written("slogdet").rule) >= {"logabsdet"}


def test_arguments_are_called_as_in_the_signature() -> None:
    found = written("clamp")
    assert found.call == "input.clamp(min, max)"
    assert found.kinks == ("input = min", "input = max")
    assert written("lstm_cell").call == "lstm_cell(input, [hx1, hx2], w_ih, w_hh, b_ih, b_hh)"


def test_composites_have_the_kinks_and_the_complex_step_of_their_parts() -> None:
    assert written("l1_loss").kinks == ("input = target",)
    assert not written("l1_loss").complex_step
    assert written("layer_norm").complex_step
    assert has_kinks(TABLE.by_name["l1_loss"])
    assert not has_kinks(TABLE.by_name["mse_loss"])


def test_an_example_is_a_sample_with_its_closed_form() -> None:
    found = example(TABLE.by_name["softmax"])
    assert found is not None
    assert found.expression == "F.softmax(x, 1)"
    assert found.inputs == {"x": (3, 4)}
    closed = "softmax(x, 1) * (grad - (grad * softmax(x, 1)).sum(1, keepdim=True))"
    assert found.gradients == {"x": closed}


def test_elementwise_records_without_samples_have_an_example_too() -> None:
    found = example(TABLE.by_name["sin"])
    assert found is not None
    assert (found.expression, found.gradients) == ("sin(x)", {"x": "grad * cos(x)"})


def test_what_has_no_derivative_has_no_rule() -> None:
    assert written("argmax").rule == {}
    assert example(TABLE.by_name["argmax"]) is None
