"""How good a check is: blind spots found, explained, and cured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gradcheck_cli.errors import ExitCode
from gradcheck_cli.spec.load import load_file, load_text
from gradcheck_cli.suite.audit import Blind, CheckAudit, audit_check, exit_code
from gradcheck_cli.suite.propose import WITHOUT_TOLERANCE
from gradcheck_cli.suite.run import run_check

SPECS = Path(__file__).parent.parent.parent / "specs"

SPEC = """\
version: 1
inputs:
{inputs}
{more}
expression: {expression}
manual: {{{manual}}}
"""


def spec(inputs: str, expression: str, manual: str, more: str = "") -> str:
    lines = "\n".join(f"  {line}" for line in inputs.splitlines())
    return SPEC.format(inputs=lines, expression=expression, manual=manual, more=more)


def audited(text: str) -> CheckAudit:
    result = audit_check(load_text(text)[0])
    assert result.error is None
    return result


def pasted(text: str, blind: Blind) -> str:
    """The spec with the proposal's lines in the place of its own."""
    if blind.fragment == WITHOUT_TOLERANCE:
        return "\n".join(line for line in text.splitlines() if not line.startswith("tolerance:"))
    changed = {}
    for line in blind.fragment.splitlines():
        if line != "inputs:":
            changed[line.split(":")[0]] = line
    lines = [changed.pop(line.split(":")[0], line) for line in text.splitlines()]
    return "\n".join([*lines, *changed.values()]) + "\n"


BLIND = [
    # All positive: a missing mask.
    (
        "x: {shape: [3, 4], sample: uniform}",
        "relu(x).sum()",
        "x: (x > 0) * 1.0",
        "",
        "mask dropped",
        "positive",
    ),
    # Equal values: a permutation, and a factor of 1.
    ("x: {shape: [3, 4], sample: ones}", "x.pow(3).sum()", "x: 3 * x**2", "", "shifted", "is 1"),
    (
        "x: {shape: [4, 3]}\ngamma: {shape: [3], sample: ones}",
        "(x * gamma).square().sum()",
        "x: 2 * x * gamma**2, gamma: 2 * (x**2).sum(0) * gamma",
        "",
        "factor dropped",
        "`gamma` is 1",
    ),
    # Zeros: a term.
    (
        "x: {shape: [4, 3]}\nb: {shape: [3], sample: zeros}",
        "(x + b).square().sum()",
        "x: 2 * (x + b), b: 2 * (x + b).sum(0)",
        "",
        "term dropped",
        "`b` is 0",
    ),
    # An N of 1: a mean.
    (
        "x: {shape: [1, 4]}",
        "x.square().mean(0).sum()",
        "x: '2 * x / x.shape[0]'",
        "",
        "divided by a size",
        "size of 1",
    ),
    # Equal sizes: which of them.
    (
        "x: {shape: [4, 4]}",
        "x.square().mean(0).sum()",
        "x: '2 * x / x.shape[0]'",
        "",
        "wrong size",
        "both 4",
    ),
    # Symmetric: a transpose.
    (
        "A: {shape: [3, 3], sample: spd}",
        "torch.logdet(A)",
        "A: A.inverse().T",
        "",
        "operand transposed",
        "symmetric",
    ),
    # A cotangent of ones.
    (
        "x: {shape: [4]}",
        "x.square()",
        "x: grad * 2 * x",
        "cotangent: ones",
        "upstream gradient dropped",
        "cotangent",
    ),
    # A wide tolerance.
    (
        "x: {shape: [4]}",
        "x.square().sum()",
        "x: 2 * x",
        "tolerance: {rtol: 0.1}",
        "slightly off",
        "tolerance",
    ),
]


@pytest.mark.parametrize(
    ("inputs", "expression", "manual", "more", "kind", "reason"), BLIND, ids=[b[4] for b in BLIND]
)
def test_a_blind_spot_is_found_explained_and_cured(
    inputs: str, expression: str, manual: str, more: str, kind: str, reason: str
) -> None:
    text = spec(inputs, expression, manual, more)
    result = audited(text)
    assert result.status == "blind"
    passing = [one for one in result.blind if one.kind == kind and reason in one.reason]
    assert passing
    blind = passing[0]
    # It does pass: a check with it as the formula is called right.
    check = load_text(text)[0]
    methods = ("engine", "manual", "derived")
    source = replace(check.manual[blind.input], text=blind.text)
    wrong = replace(check, manual={**check.manual, blind.input: source}, methods=methods)
    assert run_check(wrong).status == "passed"
    # What is proposed can be pasted, and then it doesn't.
    better = load_text(pasted(text, blind))[0]
    source = replace(better.manual[blind.input], text=blind.text)
    wrong = replace(better, manual={**better.manual, blind.input: source}, methods=methods)
    outcome = run_check(wrong)
    assert outcome.status in ("failed", "error")  # an error where its shape is wrong
    assert run_check(replace(better, methods=methods)).status == "passed"


@pytest.mark.parametrize(
    "file", ["losses/poisson_nll.yaml", "activations/softmax.yaml", "layers/batch_norm.yaml"]
)
def test_good_checks_see_everything(file: str) -> None:
    for check in load_file(SPECS / file):
        result = audit_check(check)
        assert result.status == "seeing"
        assert result.seen == result.mutants >= 30
        assert {one.source for one in result.inputs} == {"manual"}


def test_the_totals_add_up() -> None:
    result = audited(
        spec("x: {shape: [3, 4], sample: uniform}", "relu(x).sum()", "x: (x > 0) * 1.0")
    )
    assert result.mutants == sum(total for total, _ in result.kinds.values())
    assert result.seen == sum(seen for _, seen in result.kinds.values())
    assert result.mutants - result.seen == len(result.blind)


def test_without_a_formula_or_with_a_wrong_one_the_derived_one_is_mutated() -> None:
    text = "version: 1\ninputs: {x: {shape: [3, 4]}}\nexpression: x.square().sum()\n"
    for check in load_text(text) + load_text(f"{text}manual: {{x: x}}\n"):
        result = audit_check(check)
        assert result.inputs[0].source == "derived"
        assert result.inputs[0].formula == "2 * x"
        assert result.status == "seeing"


def test_the_domain_is_respected() -> None:
    """A logarithm's input stays positive, labels stay labels."""
    text = spec(
        "x: {shape: [3, 4], sample: uniform, low: 0.5, high: 2.0, requires_grad: true}\n"
        "t: {shape: [3, 4], sample: bernoulli}",
        "(t * x.log()).sum()",
        "x: t / x",
    )
    result = audited(text)
    assert all("t: {" not in one.fragment for one in result.blind)
    assert all("normal" not in one.fragment for one in result.blind)


def test_at_a_kink_what_compare_accepts_is_not_seen() -> None:
    text = spec("x: {value: [0.0, 0.0, 0.0, 1.0]}", "relu(x).sum()", "x: (x > 0) * 1.0")
    result = audited(text)
    assert any(one.kind == "one added" or one.kind == "ones" for one in result.blind)


def test_a_check_that_can_t_be_compared_is_an_error() -> None:
    text = "version: 1\ninputs: {x: {value: [-1.0, 2.0]}}\nexpression: x.log().sum()\n"
    result = audit_check(load_text(text)[0])
    assert result.status == "error"
    assert result.error is not None
    assert result.error.code == "GC204"
    broken = audit_check(load_text(text.replace("log()", "lgo()"))[0])
    assert broken.error is not None
    assert broken.error.code == "GC013"
    assert exit_code([result]) == ExitCode.CANNOT_RUN
    assert exit_code([result, broken]) == ExitCode.USAGE
    assert exit_code([]) == ExitCode.NOTHING_SELECTED
