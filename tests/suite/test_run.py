"""One check from text to outcome: what passes, what fails, and what can't run, each with its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import ExitCode
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.verdict.outcome import CheckOutcome


def outcome_of(text: str) -> CheckOutcome:
    (check,) = load_text("version: 1\n" + text)
    return run_check(check)


def codes(outcome: CheckOutcome) -> set[str]:
    found = {diagnosis.code for diagnosis in outcome.diagnoses}
    return found | ({outcome.error.code} if outcome.error else set())


def test_all_five_methods_agree() -> None:
    outcome = outcome_of(
        "inputs: {x: {shape: [2, 3]}}\nexpression: x.pow(2).sum()\nmanual: {x: 2 * x}"
    )
    assert outcome.status == "passed"
    (gradient,) = outcome.gradients
    assert gradient.groups == (("torch", "engine", "manual", "derived", "numeric"),)
    assert gradient.derived == "2 * x"
    assert ("torch", "engine") in gradient.equal
    assert outcome.value["torch"] == pytest.approx(outcome.value["engine"])


def test_the_wrong_formula_is_the_outlier() -> None:
    outcome = outcome_of("inputs: {x: {shape: [2, 3]}}\nexpression: x.pow(2).sum()\nmanual: {x: x}")
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("manual",)
    assert "GC101" in codes(outcome)


@pytest.mark.parametrize(
    ("shape", "expression", "manual"),
    [
        ("[]", "x * x", "2 * x"),
        ("[0, 3]", "(x * x).sum()", "2 * x"),
        ("[3, 0]", "x.exp()", "grad * x.exp()"),
        ("[1, 1, 1]", "x.sin().sum()", "x.cos()"),
        ("[2, 3]", "x.T.exp()", "grad.T * x.exp()"),
        ("[4]", "x[::2].sum() + x.flip(0)[0]", "torch.tensor([1.0, 0.0, 1.0, 1.0])"),
    ],
)
def test_awkward_shapes(shape: str, expression: str, manual: str) -> None:
    outcome = outcome_of(
        f"inputs: {{x: {{shape: {shape}}}}}\nexpression: {expression}\nmanual: {{x: '{manual}'}}"
    )
    assert outcome.status == "passed", (outcome.error, outcome.diagnoses)


def test_an_input_beyond_memory_is_refused_before_anything_is_allocated() -> None:
    outcome = outcome_of("inputs: {x: {shape: [1000000, 1000000]}}\nexpression: x.sum()")
    assert outcome.status == "error"
    assert outcome.error is not None
    assert outcome.error.code == "GC303"
    assert outcome.error.exit_code == ExitCode.CANNOT_RUN
    assert "1000000" in outcome.error.message


def test_an_intermediate_beyond_memory_is_refused_too() -> None:
    outcome = outcome_of(
        "inputs: {x: {shape: [100000]}}\nmethods: [engine, numeric]\n"
        "expression: (x[:, None, None] * x[:, None]).sum()"
    )
    assert outcome.error is not None
    assert outcome.error.code == "GC303"
    assert "100000" in outcome.error.message


def test_torch_does_not_run_what_the_engine_finds_too_large() -> None:
    outcome = outcome_of(
        "inputs: {x: {shape: [100000]}}\nexpression: (x[:, None, None] * x[:, None]).sum()"
    )
    assert outcome.error is not None
    assert outcome.error.code == "GC303"


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_an_absent_device(device: str) -> None:
    outcome = outcome_of(f"inputs: {{x: {{shape: [2]}}}}\nexpression: x.sum()\ndevice: '{device}'")
    assert outcome.error is not None
    assert outcome.error.code == "GC302"
    assert outcome.error.exit_code == ExitCode.CANNOT_RUN
    assert device in outcome.error.message


def test_nan_in_an_input_is_never_a_pass() -> None:
    outcome = outcome_of("inputs: {x: {value: [1.0, .nan, 3.0]}}\nexpression: (x * x).sum()")
    assert outcome.status == "inconclusive"
    assert "GC204" in codes(outcome)


def test_an_index_out_of_range_is_an_error_with_a_sentence() -> None:
    outcome = outcome_of(
        "inputs: {x: {shape: [3]}, i: {value: [0, 7]}}\nexpression: x[i].sum()\n"
        "methods: [engine, numeric]"
    )
    assert outcome.status == "error"
    assert outcome.error is not None
    assert "7" in outcome.error.message
    assert outcome.error.where is not None


def test_a_matrix_that_is_not_positive_definite() -> None:
    outcome = outcome_of(
        "inputs: {A: {value: [[1.0, 2.0], [2.0, 1.0]]}}\nexpression: torch.linalg.cholesky(A).sum()"
    )
    assert outcome.status == "error"
    assert outcome.error is not None
    assert "positive" in outcome.error.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("inputs: {x: {shape: [2]}}\nexpression: x.maen()", "GC013"),
        ("inputs: {x: {shape: [2]}}\nexpression: z.sum()", "GC012"),
        ("inputs: {x: {shape: [2]}, y: {shape: [3]}}\nexpression: x + y", "GC015"),
        ("inputs: {x: {shape: [2]}}\nexpression: x > 0", "GC016"),
        ("inputs: {x: {shape: [2]}, y: {shape: [2]}}\nexpression: x.sum()", "GC021"),
        ("inputs: {x: {shape: [2]}}\nexpression: x.sum()\nmanual: {x: x.sum()}", "GC022"),
        ("inputs: {x: {shape: [2]}}\nexpression: 9**9**9 * x", "GC019"),
        ("inputs: {x: {shape: [2]}}\nexpression: '" + "(" * 10_000 + "'", "GC019"),
        ("inputs: {x: {shape: [2]}}\nlet: {h: x.foo()}\nexpression: h.sum()", "GC013"),
    ],
)
def test_errors_of_expressions(text: str, code: str) -> None:
    outcome = outcome_of(text)
    assert outcome.status == "error"
    assert codes(outcome) == {code}
    assert outcome.error is not None
    assert outcome.error.exit_code == ExitCode.USAGE


def test_a_number_as_formula_fills_the_input_s_shape() -> None:
    outcome = outcome_of("inputs: {x: {shape: [2, 3]}}\nexpression: x.sum()\nmanual: {x: 1}")
    assert outcome.status == "passed"


def test_one_method_alone_decides_nothing() -> None:
    outcome = outcome_of("inputs: {x: {shape: [2]}}\nexpression: x.exp().sum()\nmethods: [engine]")
    assert outcome.status == "inconclusive"
    assert "GC205" in codes(outcome)


def test_engine_and_derived_are_one_witness() -> None:
    outcome = outcome_of(
        "inputs: {x: {shape: [2]}}\nexpression: x.exp().sum()\nmethods: [engine, derived]"
    )
    assert outcome.status == "inconclusive"


def test_without_the_engine_no_rule_is_asked_for() -> None:
    # Differences of SciPy's function, extrapolated: igamma has no rule for its first argument.
    outcome = outcome_of(
        "methods: [manual, numeric]\n"
        "inputs:\n"
        "  x: {value: [1.0, 2.0, 3.0], requires_grad: true}\n"
        "  y: {value: [1.5, 1.0, 2.0]}\n"
        "expression: torch.special.gammainc(x, y).sum()\n"
        "manual: {x: 'torch.tensor([-0.3192853006504, -0.2761960457035, -0.231848672041])'}\n"
    )
    assert outcome.status == "passed", outcome.error
    assert outcome.gradients[0].rounding_aside


@pytest.mark.parametrize(
    ("manual", "expect", "status"),
    [
        ("-2 * x", "fail", "passed"),
        ("-2 * x", "fail GC102", "passed"),
        ("-2 * x", "fail GC103", "failed"),
        ("2 * x", "fail", "failed"),
    ],
)
def test_expected_failures(manual: str, expect: str, status: str) -> None:
    outcome = outcome_of(
        f"inputs: {{x: {{shape: [2]}}}}\nexpression: (x * x).sum()\n"
        f"manual: {{x: {manual}}}\nexpect: {expect}"
    )
    assert outcome.status == status
    assert ("GC026" in codes(outcome)) == (status == "failed")
    assert outcome.expected_failure == (status == "passed")


@pytest.mark.parametrize(
    ("cotangent", "manual"),
    [("ones", "x.exp()"), ("2 * x", "2 * x * x.exp()"), ("random", "grad * x.exp()")],
)
def test_cotangents(cotangent: str, manual: str) -> None:
    outcome = outcome_of(
        f"inputs: {{x: {{shape: [2, 3]}}}}\nexpression: x.exp()\n"
        f"cotangent: {cotangent}\nmanual: {{x: {manual}}}"
    )
    assert outcome.status == "passed"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_lower_precision_passes_when_right_and_fails_when_wrong(dtype: str) -> None:
    text = (
        f"dtype: {dtype}\ninputs: {{x: {{shape: [50, 40]}}, w: {{shape: [40]}}}}\n"
        "expression: (x @ w).tanh().sum()\nmanual:\n  x: FACTOR * (1 - (x @ w).tanh() ** 2).outer(w)"
    )
    assert outcome_of(text.replace("FACTOR", "1.0")).status == "passed"
    wrong = outcome_of(text.replace("FACTOR", "1.05"))
    assert wrong.status == "failed"
    assert wrong.gradients[0].outliers == ("manual",)


def test_every_method_sees_the_rounded_input() -> None:
    outcome = outcome_of(
        "dtype: bfloat16\ninputs: {x: {shape: [100]}}\nexpression: (x * x).sum()\nmanual: {x: 2 * x}"
    )
    (gradient,) = outcome.gradients
    assert {"torch", "engine"} <= {name for pair in gradient.equal for name in pair}


def test_tolerances_of_the_person_override() -> None:
    text = "inputs: {x: {shape: [3]}}\nexpression: (x * x).sum()\nmanual: {x: 2.001 * x}\n"
    assert outcome_of(text).status == "failed"
    assert outcome_of(text + "tolerance: {rtol: 0.01}").status == "passed"


def broken() -> Iterator[str]:
    yield "inputs: {x: {shape: [3]}}\nexpression: x.sum()"
    yield "inputs: {x: {shape: [3]}}\nexpression: x.nonsense()"
    yield "inputs: {x: {shape: [3]}}\nexpression: x.exp().sum()"


def test_a_broken_check_costs_no_other() -> None:
    checks = [load_text("version: 1\n" + text)[0] for text in broken()]
    assert [run_check(check).status for check in checks] == ["passed", "error", "passed"]


def test_runs_repeat_bit_for_bit() -> None:
    text = "inputs: {x: {shape: [5, 7]}}\nexpression: x.softmax(1).pow(2).sum()"
    first, second = outcome_of(text), outcome_of(text)
    assert first.value == second.value
    rows = [[m.value for m in o.gradients[0].methods] for o in (first, second)]
    assert rows[0] == rows[1]


def test_a_backend_that_refuses_is_no_silent_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("not implemented for 'Half'\nwith a long trace")

    monkeypatch.setattr(torch, "erf", refuse)
    outcome = outcome_of("inputs: {x: {shape: [2]}}\nexpression: torch.erf(x).sum()")
    assert outcome.status == "inconclusive"
    (diagnosis,) = [d for d in outcome.diagnoses if d.code == "GC304"]
    assert "not implemented for 'Half'" in diagnosis.message
    assert "trace" not in diagnosis.message


def test_all_errors_of_a_check_are_told_at_once() -> None:
    outcome = outcome_of(
        "inputs: {x: {shape: [2]}, y: {shape: [2]}}\nlet: {h: x.foo()}\nexpression: h.sum() + x.bar()\n"
        "manual: {x: x.baz(), y: grad * 2}"
    )
    assert outcome.error is not None
    messages = [problem.message for problem in (outcome.error, *outcome.also)]
    assert [m for name in ("foo", "baz") for m in messages if name in m] == messages


def test_an_input_in_a_coarser_dtype_is_no_false_alarm() -> None:
    text = (
        "inputs: {x: {shape: [30], dtype: float32}, y: {shape: [30]}}\nexpression: (x * y).sum()\n"
    )
    assert outcome_of(text + "manual: {x: y, y: x}").status == "passed"
    assert outcome_of(text + "manual: {x: 1.001 * y, y: x}").status == "failed"


def test_what_pytorch_warns_of_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert outcome_of("inputs: {x: {shape: [1]}}\nexpression: x.var()").status == "inconclusive"
    assert capfd.readouterr() == ("", "")


def test_overflow_in_half_precision_is_no_mistake_of_anybody() -> None:
    text = "dtype: float16\ninputs: {x: {value: [300.0, 1.0, 2.0]}}\nexpression: (x * x).mean()\n"
    outcome = outcome_of(text + "manual: {x: 2 * x / 3}")
    assert outcome.status == "inconclusive"
    assert "GC306" in codes(outcome)
    # Twice the sum of squares overflows; its gradient does not. A square root's is NaN or 0 then.
    outcome = outcome_of(text.replace("(x * x).mean()", "(x * x).sum().sqrt()"))
    (gradient,) = outcome.gradients
    assert outcome.status == "inconclusive"
    assert gradient.outliers == ()
    row = next(m for m in gradient.methods if m.method == "torch")
    assert row.status == "undecided"
    assert row.reason is not None
    assert "agrees in float64" in row.reason
    assert all("torch" not in pair for pair in gradient.equal)
    # Where the dtype has the range, nothing is said.
    outcome = outcome_of(text.replace("float16", "bfloat16"))
    assert outcome.status == "passed"


def test_a_wrong_formula_is_still_named_where_the_dtype_is_not_enough() -> None:
    outcome = outcome_of(
        "dtype: float16\ninputs: {x: {value: [300.0, 1.0, 2.0]}}\nexpression: (x * x).sum().sqrt()\n"
        "manual: {x: 2 * x / (x * x).sum().sqrt()}"
    )
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("manual",)
    assert {"GC306", "GC101"} <= codes(outcome)


def test_a_rule_that_pytorch_has_wrong_in_every_dtype_is_no_matter_of_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    right = torch.sin
    monkeypatch.setattr(torch, "sin", lambda x: right(x) + 0.01 * (x - x.detach()))
    outcome = outcome_of(
        "dtype: float32\ninputs: {x: {shape: [4]}}\nexpression: torch.sin(x).sum()"
    )
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("torch",)
    assert "GC306" not in codes(outcome)


def test_of_large_inputs_rounding_is_left_out_of_what_would_show() -> None:
    text = "inputs: {x: {shape: [SIZE]}}\nexpression: (x * x).sum()"
    small, large = (outcome_of(text.replace("SIZE", size)).gradients[0] for size in ("9", "140000"))
    assert (small.rounding_aside, large.rounding_aside) == (False, True)
    assert small.smallest_visible_error is not None
    assert large.smallest_visible_error is not None
