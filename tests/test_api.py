"""Python: what `compare`, `check` and `assert_gradients` take and answer, and what they leave alone."""

from __future__ import annotations

import gc
import json
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch

import gradcheck_cli
from gradcheck_cli import GradcheckError, Report, assert_gradients, check, compare
from gradcheck_cli.errors import ExitCode, Problem
from gradcheck_cli.suite.arguments import Arguments

RIGHT = """\
version: 1
name: right
inputs: {x: {shape: [3]}}
expression: x.square().sum()
manual: {x: 2 * x}
methods: [engine, manual, numeric]
"""
WRONG = RIGHT.replace("right", "wrong").replace("2 * x", "3 * x")
FEW = ("engine", "manual", "numeric")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder with specs, and no variables that configure."""
    for name in ("GRADCHECK_STRICT", "GRADCHECK_SEED", "FORCE_COLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    Path("right.yaml").write_text(RIGHT)
    Path("wrong.yaml").write_text(WRONG)
    return tmp_path


def codes(report: Report) -> list[str]:
    """The diagnoses of all checks."""
    return [diagnosis.code for outcome in report.checks for diagnosis in outcome.diagnoses]


def refusal(*arguments: Any, **options: Any) -> Problem:
    """The one problem because of which `check` refuses its arguments."""
    with pytest.raises(GradcheckError) as caught:
        check(*arguments, **options)
    (problem,) = caught.value.problems
    return problem


# What `check` takes.


def test_lists_arrays_tensors_and_samplers_are_inputs() -> None:
    report = check(
        "(a * b * c).sum() + d * e[n].sum()",
        {
            "a": [[1.0, 2.0], [3.0, 4.0]],
            "b": np.array([[1.0, -1.0], [0.5, 2.0]]),
            "c": torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64),
            "d": 1.5,
            "e": {"shape": [4], "sample": "uniform"},
            "n": [0, 2],
        },
    )
    assert report.passed, str(report)
    (outcome,) = report.checks
    assert [g.input for g in outcome.gradients] == ["a", "b", "c", "d", "e"]
    assert outcome.dtype == "float64"


def test_an_array_goes_in_as_it_is() -> None:
    exact = np.array([[1 / 3, 1e-310], [np.nextafter(1.0, 2.0), -0.0]])
    inputs = {"x": exact.T, "y": exact.astype(">f8"), "n": np.arange(4)[::2].astype(np.int32)}
    (made,) = Arguments(inputs, keys={"expression": "(x * y).sum() + x[n].sum()"}).checks()
    x, y, n = made.inputs
    for spec, given in ((x, exact.T), (y, exact)):
        assert spec.array is not None
        assert spec.array.flags.c_contiguous
        assert spec.array.dtype == np.float64
        assert spec.array.tobytes() == np.ascontiguousarray(given).tobytes()
    assert (n.dtype, n.shape) == ("int32", (2,))
    exact[:] = 7.0
    assert x.array is not None
    assert x.array[0, 0] == 1 / 3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_arrays_keep_their_dtype_unless_another_is_asked_for(dtype: str) -> None:
    x = torch.linspace(-1.0, 1.0, 6).to(getattr(torch, dtype))
    (outcome,) = check("torch.softmax(x, 0)", {"x": x}).checks
    assert (outcome.dtype, outcome.inputs[0].dtype, outcome.status) == (dtype, dtype, "passed")
    report = check("x.exp().sum()", {"x": x}, dtype=[torch.float64, np.float32, "bfloat16"])
    assert [o.dtype for o in report.checks] == ["float64", "float32", "bfloat16"]
    assert [o.inputs[0].dtype for o in report.checks] == ["float64", "float32", "bfloat16"]
    assert report.passed


def test_the_widest_dtype_is_the_checks() -> None:
    inputs = {"x": np.ones(2, np.float32), "y": torch.ones(2, dtype=torch.bfloat16), "z": [1.0, 2]}
    (outcome,) = check("(x * y * z).sum()", inputs).checks
    assert [given.dtype for given in outcome.inputs] == ["float32", "bfloat16", "float32"]
    assert outcome.dtype == "float32"


def test_which_inputs_are_checked() -> None:
    def checked(**options: Any) -> list[str]:
        (outcome,) = check("(x * y * z).sum()", {**given, "z": [1.0, 3.0]}, **options).checks
        return [gradient.input for gradient in outcome.gradients]

    given: dict[str, Any] = {"x": torch.ones(2), "y": np.ones(2)}
    assert checked() == ["x", "y", "z"]
    given["x"] = torch.ones(2, requires_grad=True)
    assert checked() == ["x"]
    assert checked(wrt="y") == ["y"]
    assert checked(wrt=["y", "x"]) == ["x", "y"]
    # Whoever gives a gradient wants it checked.
    assert checked(manual={"z": "x * y"}) == ["x", "z"]


def test_a_parameter_of_a_module_is_a_tensor() -> None:
    layer = torch.nn.Linear(3, 2)
    inputs = {"x": torch.randn(4, 3), "w": layer.weight, "b": layer.bias}
    report = check("F.linear(x, w, b)", inputs, {"w": "grad.T @ x", "b": "grad.sum(0)"})
    assert report.passed, str(report)
    assert report.checks[0].dtype == "float32"


def test_the_other_keys_of_a_spec() -> None:
    report = check(
        "a.sum(0)",
        {"x": {"shape": [3, 2]}},
        {"x": "2 * x * grad"},
        let={"a": "x.square()"},
        cotangent="ones",
        order=2,
        seed=5,
        tolerance={"rtol": 1e-6},
        methods="engine, manual, numeric",
        name="squares",
    )
    (outcome,) = report.checks
    assert report.passed, str(report)
    assert (outcome.name, outcome.order, outcome.seed) == ("squares", 2, 5)
    assert [m.method for m in outcome.gradients[0].methods] == ["engine", "manual", "numeric"]


# Gradients that are no formulas.


def test_a_gradient_may_be_an_array() -> None:
    x = np.array([0.5, -1.0, 2.0])
    assert check("x.exp().sum()", {"x": x}, {"x": np.exp(x)}).passed
    assert check("x.exp().sum()", {"x": x}, {"x": torch.from_numpy(np.exp(x))}).passed
    wrong = check("x.exp().sum()", {"x": x}, {"x": -np.exp(x)})
    assert codes(wrong) == ["GC102"]
    assert wrong.checks[0].gradients[0].outliers == ("manual",)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_code_in_a_low_precision_is_held_to_that_precision(dtype: str) -> None:
    x = torch.linspace(-3.0, 3.0, 24).reshape(4, 6).to(getattr(torch, dtype))

    def right(x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        assert str(x.dtype) == str(grad.dtype) == f"torch.{dtype}"
        y = torch.softmax(x, -1)
        return y * (grad - (grad * y).sum(-1, keepdim=True))

    report = check("torch.softmax(x, -1)", {"x": x}, {"x": right})
    assert report.passed, str(report)
    wrong = check("torch.softmax(x, -1)", {"x": x}, {"x": lambda x, grad: 1.1 * right(x, grad)})
    assert codes(wrong) == ["GC101"]


def test_a_function_gets_what_it_names() -> None:
    seen: dict[str, Any] = {}

    def gradient(y: Any, /, *, grad: Any, eps: float = 1e-5) -> Any:
        seen.update(y=y.copy(), grad=grad.copy(), eps=eps)
        y *= 0  # what a function does to its arguments is its own affair
        return grad * seen["y"]

    inputs = {"x": np.array([1.0, 2.0], np.float32), "y": np.array([3.0, 4.0], np.float32)}
    report = check("x * y", inputs, {"x": gradient, "y": "grad * x"})
    assert report.passed, str(report)
    assert seen["y"].tolist() == [3.0, 4.0]
    assert seen["y"].dtype == seen["grad"].dtype == np.float32
    assert seen["grad"].shape == (2,)
    everything = check("(x * y).sum()", inputs, {"y": lambda **given: given["x"] * given["grad"]})
    assert everything.passed, str(everything)


@pytest.mark.parametrize(
    "backward",
    [
        lambda x, y, grad: {"x": grad * y, "y": grad * x},
        lambda x, grad: {"y": grad * x},
        lambda x, y, grad: (grad * y, grad * x),
        lambda y, grad: (grad * y, None),
    ],
)
def test_one_function_may_give_all_gradients(backward: Any) -> None:
    inputs = {"x": torch.randn(3), "y": torch.randn(3)}
    assert check("x * y", inputs, backward).passed
    failing = check("x * y * y", inputs, backward)
    assert [outcome.status for outcome in failing.checks] == ["failed"]


def test_a_function_sees_each_dtype_that_is_checked() -> None:
    seen = []

    def gradient(x: Any) -> Any:
        seen.append(x.dtype)
        return np.cos(x)

    report = check("x.sin().sum()", {"x": [0.1, 0.2]}, gradient, dtype=["float64", "float32"])
    assert report.passed, str(report)
    assert seen == [np.float64, np.float32]


def test_what_a_function_raises_is_raised() -> None:
    def broken(x: Any) -> Any:
        raise ZeroDivisionError(f"mine at {x}")

    with pytest.raises(ZeroDivisionError, match="mine"):
        check("x.sum()", {"x": [1.0]}, broken)


@pytest.mark.parametrize(
    ("manual", "code", "words"),
    [
        ({"z": np.ones(2)}, "GC023", "a manual gradient for `z`, which is no input"),
        ({"z": "x"}, "GC023", "a manual formula for `z`, which is no input"),
        ({"n": np.ones(2)}, "GC023", "a manual gradient for `n`, whose gradient isn't checked"),
        (lambda x, w: x + w, "GC002", "the function takes `w`, which is no input"),
        (lambda x: {"w": x}, "GC023", "gave a gradient for 'w'"),
        (lambda x: (x, x), "GC023", "gave 2 gradients, and 1 inputs are checked"),
        (lambda x: f"{x}", "GC002", "the gradient of `x` is text"),
        (lambda x: x * 1j, "GC002", "the gradient of `x` holds dtype complex128"),
        ("2 * x", "GC002", "`manual` is str"),
        ({"x": object()}, "GC002", "the gradient of `x` holds Python objects"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(manual: Any, code: str, words: str) -> None:
    problem = refusal("x[n].sum()", {"x": [1.0, 2.0], "n": [0, 1]}, manual)
    assert (problem.code, words in problem.message) == (code, True), problem.message


def test_a_gradient_of_another_shape_is_the_checks_error() -> None:
    (outcome,) = check("x.sum()", {"x": [1.0, 2.0]}, {"x": np.ones(3)}).checks
    assert outcome.error is not None
    assert outcome.error.code == "GC022"
    assert "(3,)" in outcome.error.message


# Code of one's own.


class Cube(torch.autograd.Function):
    """Its backward forgets the 3."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * x**2


def test_an_implementation_may_be_at_hand() -> None:
    given = {"x": torch.randn(3, 2), "weight": torch.randn(4, 2), "bias": torch.randn(4)}
    sizes = {"in_features": 2, "out_features": 4}
    formula = "F.linear(x, weight, bias)"
    report = check(formula, given, implementation=torch.nn.Linear, kwargs=sizes)
    assert report.passed, str(report)
    assert "Linear" in str(report)
    wrong = check("x**3", {"x": torch.linspace(0.5, 2.0, 5)}, implementation=Cube)
    assert wrong.checks[0].gradients[0].outliers == ("implementation",)
    assert "GC101" in codes(wrong)
    alone = check(None, {"x": [0.5, 1.0]}, implementation=lambda x: x.sin())
    assert alone.passed, str(alone)


def test_code_that_is_named_is_imported_only_if_that_is_allowed() -> None:
    refused = check("x.sin()", {"x": [0.5]}, implementation="torch:sin")
    assert refused.exit_code == ExitCode.USAGE
    assert check("x.sin()", {"x": [0.5]}, implementation="torch:sin", allow_imports="torch").passed


# What it refuses, and how it says so.


@pytest.mark.parametrize(
    ("inputs", "options", "code", "words"),
    [
        ({"x": [1.0, [2.0]]}, {}, "GC002", "the input `x` is no array"),
        ({"x": [1j]}, {}, "GC002", "the input `x` holds dtype complex128"),
        ({"x": None}, {}, "GC002", "the input `x` is None"),
        ({"x": "randn(3)"}, {}, "GC002", "the input `x` is text"),
        ({"x": np.ones(2, np.uint32)}, {}, "GC002", "the input `x` holds dtype uint32"),
        ({"x": torch.ones(2).to_sparse()}, {}, "GC002", "the input `x` is a tensor that NumPy"),
        ({"x": np.ma.masked_array([1.0])}, {}, "GC002", "the input `x` is a masked array"),
        ([1.0], {}, "GC002", "`inputs` is list"),
        ({1: [1.0]}, {}, "GC002", "`inputs` has the key 1"),
        ({"x y": [1.0]}, {}, "GC002", "`x y` can't name an input"),
        ({"x": [1]}, {}, "GC024", "nothing to check"),
        ({"x": {"shape": [2], "smple": "normal"}}, {}, "GC003", "unknown key `smple`"),
        ({"x": [1.0]}, {"wrt": "y"}, "GC002", "`wrt` names 'y'"),
        ({"x": [1.0]}, {"wrt": 3}, "GC002", "`wrt` is 3"),
        ({"x": [1.0]}, {"methods": 3}, "GC028", "`methods` is 3"),
        ({"x": [1.0]}, {"allow_imports": 3}, "GC028", "`allow_imports` is 3"),
        ({"x": [1.0]}, {"dtype": "float8"}, "GC002", "dtype"),
        ({"x": [1.0]}, {"device": "gpu"}, "GC002", "device"),
        ({"x": [1.0]}, {"order": 3}, "GC002", "order"),
        ({"x": [1.0]}, {"seed": -1}, "GC002", "seed"),
        ({"x": [1.0]}, {"seed": 10**5000}, "GC002", "far too large"),
        ({"x": [1.0]}, {"methods": ["pytorch"]}, "GC002", "methods"),
        ({"x": [1.0]}, {"kwargs": {"a": 1}}, "GC002", "`kwargs` without `implementation`"),
    ],
)
def test_arguments_that_are_wrong_are_refused(
    inputs: Any, options: Any, code: str, words: str
) -> None:
    problem = refusal("x.sum()", inputs, **options)
    assert (problem.code, words in problem.message) == (code, True), problem.message
    assert problem.where is None or problem.where.source != "{"


def test_what_is_wrong_with_the_expression_is_the_checks_error() -> None:
    report = check("x.squar().sum()", {"x": [1.0]}, {"x": lambda x: 2 * x})
    assert (report.passed, report.exit_code) == (False, ExitCode.USAGE)
    assert "x.squar().sum()\n     |   ^^^^^" in str(report)
    assert "did you mean `square`?" in str(report)


def test_an_error_reads_well_and_travels() -> None:
    problem = refusal("x.sum()", {"x": {"shape": [2], "smple": "normal"}})
    error = GradcheckError(problem, Problem("GC028", "another", None, "help"))
    lines = str(error).split("\n")
    assert lines[0] == "error[GC003]: unknown key `smple`"
    assert '"x": {"shape": [2], "smple": "normal"}' in lines[2]
    assert lines[3].endswith("^^^^^^^")
    assert lines[-2:] == ["error[GC028]: another", "   = help: help"]
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


# What `compare` takes.


def test_compare_takes_paths_dicts_and_texts(folder: Path) -> None:
    spec = {
        "version": 1,
        "inputs": {"x": {"value": np.array([1.0, -2.0, 0.25], np.float32)}, "y": {"shape": (3,)}},
        "expression": "(x * y)[::2].sum()",
        "methods": FEW,
    }
    assert compare(spec).passed
    assert compare(RIGHT).passed
    assert compare("right.yaml").passed
    assert compare(folder / "right.yaml").passed
    assert compare("right.yaml::right").passed
    both = compare(folder)
    assert [outcome.name for outcome in both.checks] == ["right", "wrong"]
    assert [outcome.name for outcome in both.failed] == ["wrong"]
    assert [outcome.index for outcome in both.checks] == [0, 1]
    assert both.exit_code == ExitCode.FAILED
    assert [o.name for o in compare("*.yaml", keyword="not wrong").checks] == ["right"]


def test_the_options_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    report = compare("right.yaml", dtype=np.float32, seed=3, methods="engine,numeric", rtol=1e-3)
    (outcome,) = report.checks
    assert (outcome.dtype, outcome.seed) == ("float32", 3)
    assert outcome.reproduce.endswith(
        "--methods engine,numeric --dtype float32 --seed 3 --rtol 0.001"
    )
    Path("pyproject.toml").write_text("[tool.gradcheck]\nseed = 7\nstrict = true\n")
    report = compare("right.yaml", methods=["engine"])
    assert (report.checks[0].seed, report.strict, report.passed) == (7, True, False)
    monkeypatch.setenv("GRADCHECK_SEED", "8")
    report = compare("right.yaml", methods=["engine"], strict=False)
    assert (report.checks[0].seed, report.strict, report.passed) == (8, False, True)
    assert compare("right.yaml", seed=9).checks[0].seed == 9


def test_a_broken_file_among_others_is_an_outcome_and_alone_an_error() -> None:
    Path("broken.yaml").write_text("version: 1\ninpts: {}\n")
    report = compare(".")
    assert [outcome.status for outcome in report.checks] == ["error", "passed", "failed"]
    with pytest.raises(GradcheckError) as caught:
        compare("broken.yaml")
    assert "did you mean `inputs`?" in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "options", "code"),
    [
        ("no.yaml", {}, "GC027"),
        ("-", {}, "GC028"),
        ("", {}, "GC028"),
        ("a\0b", {}, "GC028"),
        (3, {}, "GC028"),
        ("version: 1\n", {}, "GC004"),
        ({"version": 1, 2: 3}, {}, "GC002"),
        ({"version": 1, "inputs": {"x": object()}}, {}, "GC002"),
        ("right.yaml", {"device": "gpu"}, "GC028"),
        ("right.yaml", {"jobs": 0}, "GC028"),
        ("right.yaml", {"keyword": 3}, "GC028"),
        ("right.yaml", {"tags": 3}, "GC028"),
        ("right.yaml", {"methods": 3}, "GC028"),
        ("right.yaml", {"keyword": "nothing"}, "GC025"),
        (RIGHT, {"keyword": "nothing"}, "GC025"),
        (RIGHT, {"tags": "nothing"}, "GC025"),
    ],
)
def test_compare_refuses(spec: Any, options: Any, code: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        compare(spec, **options)
    assert code in [problem.code for problem in caught.value.problems]


def test_a_dict_that_holds_itself_is_refused() -> None:
    spec: dict[str, Any] = {"version": 1}
    spec["inputs"] = spec
    with pytest.raises(GradcheckError, match="levels deep"):
        compare(spec)


def test_several_processes_share_the_work() -> None:
    spec = {
        "version": 1,
        "defaults": {"inputs": {"x": {"shape": [3]}}, "methods": FEW},
        "checks": [{"name": f"{n}", "expression": f"({n} * x).sum()"} for n in range(1, 4)],
    }
    report = compare(spec, jobs=2)
    assert [(o.name, o.index) for o in report.checks] == [("1", 0), ("2", 1), ("3", 2)]
    assert report.passed


# What they answer.


def test_a_report_is_told_as_the_command_tells_it() -> None:
    report = compare(WRONG)
    text = str(report)
    assert text.endswith((" ms\n", " s\n"))
    for line in (
        "FAILED wrong",
        "  GC101 the constant `3` should be `2` (manual of x)",
        "     = fix: 2 * x",
        "1 failed in ",
    ):
        assert line in text
    assert "\x1b" not in text
    assert repr(report) == "<gradcheck_cli.Report: 1 failed>"
    assert json.loads(json.dumps(report.document))["summary"]["failed"] == 1
    assert "strict" in str(compare(RIGHT, methods="engine", strict=True))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_report_can_be_printed_in_any_encoding(encoding: str) -> None:
    report = check("x.sum()", {"x": [1.0]}, name="größe 漢")
    report.text(encoding).encode(encoding)


def test_reports_are_written_by_their_ending(folder: Path) -> None:
    report = compare(".")
    for name in ("a.html", "a.xml", "a.json", "a.md"):
        report.write(folder / name)
        assert (folder / name).stat().st_size > 500
    assert json.loads((folder / "a.json").read_text())["summary"]["total"] == 2
    report.write("junit=b.txt")
    assert ET.fromstring((folder / "b.txt").read_text()).get("failures") == "1"
    with pytest.raises(GradcheckError) as caught:
        report.write("a.docx")
    assert caught.value.exit_code == ExitCode.USAGE


HOSTILE = "<script>alert(1)</script>]]>&amp;\u202e\x1b[31m\" onload='x'"


def well_formed(html: str) -> ET.Element:
    """The fragment as XML: what is no HTML has no place in it."""
    return ET.fromstring(html.replace("<details open ", "<details "))


def test_a_notebook_shows_formulas_tables_and_the_repair() -> None:
    html = compare(WRONG)._repr_html_()
    root = well_formed(html)
    said = "".join(root.itertext())
    for words in ("1 failed", "the constant `3` should be `2`", "fix: 2 * x", "disagrees"):
        assert words in said
    assert len(root.findall(".//math")) == 2  # the expression and the repair
    assert root.findall(".//table")
    assert not root.findall(".//script")
    several = compare(".")._repr_html_()
    assert "right" in "".join(well_formed(several).itertext())
    assert well_formed(Report(())._repr_html_()) is not None


def test_no_text_becomes_markup_in_a_notebook() -> None:
    from dataclasses import replace

    from gradcheck_cli.errors import Where
    from gradcheck_cli.verdict.outcome import Diagnosis

    outcome = compare(WRONG).checks[0]
    where = Where("f", 1, 2, HOSTILE, 9)
    other = Diagnosis("GC199", HOSTILE, HOSTILE, HOSTILE, HOSTILE, where)
    outcome = replace(
        outcome,
        id=HOSTILE,
        name=HOSTILE,
        file=HOSTILE,
        expression=HOSTILE,
        let={HOSTILE: HOSTILE},
        reproduce=HOSTILE * 1000,
        error=Problem("GC001", HOSTILE, where, HOSTILE),
        diagnoses=(replace(other, also=(other,)),),
        gradients=tuple(replace(g, input=HOSTILE, derived=HOSTILE) for g in outcome.gradients),
    )
    html = Report((outcome,))._repr_html_()
    root = well_formed(html)
    assert not root.findall(".//script")
    assert {name for one in root.iter() for name in one.attrib} <= {
        "class",
        "style",
        "scope",
        "width",
    }
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert len(html) < 30_000


def test_many_checks_stay_a_cell() -> None:
    outcome = compare(WRONG).checks[0]
    html = Report((outcome,) * 1000)._repr_html_()
    assert len(html) < 500_000
    said = "".join(well_formed(html).itertext())
    assert "... and 800 more checks" in said
    assert "... and 980 more checks" in said


def test_assert_gradients() -> None:
    assert_gradients("x.sin().sum()", {"x": [0.1]}, {"x": "x.cos()"}, methods=FEW)
    assert_gradients("right.yaml")
    with pytest.raises(AssertionError, match="the constant `3` should be `2`") as caught:
        assert_gradients("wrong.yaml")
    assert [bool(entry.locals.get("__tracebackhide__")) for entry in caught.traceback][1:] == [True]
    with pytest.raises(AssertionError, match="GC102 the sign is flipped"):
        assert_gradients("x.sin().sum()", {"x": [0.1]}, {"x": lambda x: -np.cos(x)})
    assert_gradients("x.sin().sum()", {"x": [0.1]}, methods="engine")
    with pytest.raises(AssertionError, match="INCONCLUSIVE"):
        assert_gradients("x.sin().sum()", {"x": [0.1]}, methods="engine", strict=True)
    with pytest.raises(GradcheckError, match="`inputs` is missing"):
        assert_gradients("x.sum()", manual={"x": "1"})


# What they leave alone.


def settings() -> tuple[Any, ...]:
    """What a library has no business to change."""
    return (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.random.get_rng_state().tolist()[:32],
        np.geterr(),
        np.random.get_state(legacy=False)["state"]["pos"],  # noqa: NPY002 -- it is the global one
        gc.get_threshold(),
        gc.get_freeze_count(),
        signal.getsignal(signal.SIGINT),
        sys.unraisablehook,
        threading.active_count(),
    )


def test_nothing_is_changed_and_nothing_printed(capfd: pytest.CaptureFixture[str]) -> None:
    before = settings()
    x = torch.ones(3, dtype=torch.float32, requires_grad=True)
    check("x.exp().sum()", {"x": x}, {"x": lambda x: 2 * x})
    check("x.expp().sum()", {"x": x})
    compare(WRONG)
    assert settings() == before
    assert x.grad is None
    assert capfd.readouterr() == ("", "")


def test_a_check_is_right_within_any_mode_of_pytorch_and_numpy() -> None:
    x = torch.randn(4, 4, requires_grad=True)

    def right() -> bool:
        return check("x @ x", {"x": x}).passed

    with torch.no_grad():
        assert right()
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert right()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert right()
    with torch.device("meta"):
        assert right()
    with np.errstate(all="raise"):
        assert check("(x.square() * 0).exp().log()", {"x": [1e-200, 1e200]}, methods=FEW).checks
        assert np.geterr()["over"] == "raise"


def test_threads_may_check_at_the_same_time() -> None:
    found: list[Report] = []

    def work(dtype: str) -> None:
        inputs = {"x": {"shape": [3, 5]}}
        found.extend(check("torch.softmax(x, -1)", inputs, dtype=dtype) for _ in range(3))

    threads = [
        threading.Thread(target=work, args=(dtype,)) for dtype in ("float64", "float32", "bfloat16")
    ]
    before = torch.get_default_dtype()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 9
    assert all(report.passed for report in found)
    assert torch.get_default_dtype() == before


def test_the_package_costs_nothing_before_it_is_used() -> None:
    code = "import sys, gradcheck_cli; print(*[m for m in sys.modules if m[:9] == 'gradcheck'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["gradcheck_cli"]
    assert {"check", "compare", "assert_gradients", "Report"} <= {*dir(gradcheck_cli)}
