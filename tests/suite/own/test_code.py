"""The import of a person's code, and checks of code alone."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.autograd import Function

from gradcheck_cli.spec.check import Check, Implementation
from gradcheck_cli.spec.load import load_file, load_text
from gradcheck_cli.suite.own.code import allowed
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.suite.settings import Settings
from gradcheck_cli.suite.workers.execute import Execution, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck_cli.verdict.outcome import CheckOutcome

Tensor = torch.Tensor
EXAMPLE = Path(__file__).parents[3] / "examples" / "own_code"
KERNELS = """\
import torch
from pathlib import Path

Path("imported").touch()

def square(x):
    return x ** 2

class Group:
    cube = staticmethod(lambda x: x ** 3)
"""


def forget(*packages: str) -> None:
    """Have them imported anew when they are needed again."""
    for name in [name for name in sys.modules if allowed(name, packages)]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in with a package; what is imported from there is forgotten."""
    monkeypatch.chdir(tmp_path)
    Path("fused").mkdir()
    Path("fused/__init__.py").touch()
    Path("fused/kernels.py").write_text(KERNELS)
    yield tmp_path
    forget("fused", "kernels")


def check_of(target: str, expression: str | None = "x**2", **keys: Any) -> Check:
    formula = "" if expression is None else f"expression: {expression}\n"
    more = "".join(f"{name}: {value}\n" for name, value in keys.items())
    text = f"version: 1\ninputs: {{x: {{shape: [3]}}}}\n{formula}implementation: {target}\n{more}"
    (check,) = load_text(text, "own.yaml")
    return check


def run(target: str, *packages: str, **keys: Any) -> CheckOutcome:
    return run_check(check_of(target, **keys), Settings(allow_imports=packages))


def test_nothing_is_imported_unless_it_is_allowed() -> None:
    outcome = run("fused.kernels:square")
    assert outcome.status == "error"
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.exit_code) == ("GC030", 2)
    said = "this check imports fused.kernels: allow it with --allow-import fused"
    assert outcome.error.message == said
    assert outcome.error.where is not None
    assert (outcome.error.where.line, outcome.error.where.column) == (4, 17)
    for packages in (["fuse"], ["fused_"], ["fused.kernel"], ["kernels"], [""]):
        assert run("fused.kernels:square", *packages).error is not None
    assert not Path("imported").exists()
    assert "fused.kernels" not in sys.modules


def test_a_spec_alone_never_imports() -> None:
    path = Path("own.yaml")
    path.write_text(
        "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x**2\nimplementation: fused.kernels:square\n"
    )
    command = [sys.executable, "-m", "gradcheck_cli", "validate", "own.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not Path("imported").exists()


def test_what_code_prints_stays_out_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """A report may go there."""
    Path("fused/loud.py").write_text(
        "print('imported')\ndef f(x):\n    print('run')\n    return x**2\n"
    )
    assert run("fused.loud:f", "fused").status == "passed"
    said = capsys.readouterr()
    assert said.out == ""
    assert {*said.err.split()} == {"imported", "run"}


@pytest.mark.parametrize("package", ["fused", "fused.kernels"])
def test_a_package_or_a_module_may_be_allowed(package: str) -> None:
    before = list(sys.path)
    for target in ("fused.kernels:square", "fused.kernels:Group.cube"):
        expression = "x**3" if "cube" in target else "x**2"
        outcome = run(target, package, expression=expression)
        assert outcome.status == "passed", outcome.error
        assert outcome.implementation == target
    assert sys.path == before


@pytest.mark.parametrize(
    ("target", "code", "exit_code", "said", "hint"),
    [
        ("fused.kernel:square", "GC031", 2, "there is no module fused.kernel", "python -m"),
        ("fuzed:square", "GC031", 2, "there is no module fuzed", "did you mean `fused`?"),
        ("fused.kernels:sqare", "GC031", 2, "has no `sqare`", "did you mean `square`?"),
        ("fused.kernels:Group.cub", "GC031", 2, "Group has no `cub`", "did you mean `cube`?"),
        ("fused.broken:f", "GC308", 4, "ZeroDivisionError: division by zero", "broken.py:2"),
        ("fused.needs:f", "GC308", 4, "No module named 'tritonn'", "needs.py:1"),
        ("fused.leaves:f", "GC308", 4, "SystemExit: 3", "leaves.py:1"),
        ("fused.syntax:f", "GC308", 4, "SyntaxError", None),
    ],
)
def test_what_goes_wrong_with_an_import_is_told(
    target: str, code: str, exit_code: int, said: str, hint: str | None
) -> None:
    Path("fused/broken.py").write_text("def f(x): return x\n1 / 0\n")
    Path("fused/needs.py").write_text("import tritonn\n")
    Path("fused/leaves.py").write_text("raise SystemExit(3)\n")
    Path("fused/syntax.py").write_text("def f(:\n")
    outcome = run(target, "fused", "fuzed")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.exit_code) == (code, exit_code)
    assert said in outcome.error.message
    assert hint is None or hint in str(outcome.error.hint)


@pytest.mark.parametrize("text", ["square", "a:b:c", "a b:c", "../a:b", "a:", ":a", "a.:b", "é:f"])
def test_a_target_is_a_module_and_an_object(text: str) -> None:
    with pytest.raises(Exception, match=r"must be package\.module:object"):
        check_of(f"'{text}'")


def test_a_package_is_not_all_that_begins_like_it() -> None:
    assert allowed("fused", ["fused"])
    assert allowed("fused.a.b", ["other", "fused.a"])
    assert not allowed("fused", ["fused.a"])
    assert not allowed("fusedx.a", ["fused"])


def test_workers_read_code_anew_in_the_folder_of_now() -> None:
    check, how = check_of("fused.kernels:square"), Execution(isolated=True)
    settings = Settings(allow_imports=("fused",))
    ((_, first),) = execute([check], how, settings)
    assert first.status == "passed", first.error
    Path("fused/kernels.py").write_text("def square(x):\n    return x * x * x  # other\n")
    ((_, second),) = execute([check], how, settings)
    assert second.status == "failed"


def test_a_check_holds_text_only_and_travels() -> None:
    check = pickle.loads(pickle.dumps(check_of("fused.kernels:square")))
    assert check.implementation.object is None
    outcome = run_check(check, Settings(allow_imports=("fused",)))
    assert pickle.loads(pickle.dumps(outcome)).status == "passed"


@pytest.mark.parametrize("name", ["kernels.yaml", "mistakes.yaml"])
def test_the_examples_are_what_they_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    for check in load_file(Path(name)):
        outcome = run_check(check, Settings(allow_imports=("kernels",)))
        assert outcome.status == "passed", (check.id, outcome.error, outcome.diagnoses)
        assert outcome.expected_failure == (name == "mistakes.yaml")


# Code without an expression.


def function_of(
    forward: Callable[[Tensor], Tensor], backward: Callable[[Tensor, Tensor], Tensor]
) -> Any:
    def saving(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return forward(x)

    body = {
        "forward": staticmethod(saving),
        "backward": staticmethod(lambda ctx, grad: backward(grad, *ctx.saved_tensors)),
    }
    return type("Alone", (Function,), body)


def alone(found: Any, shape: str = "[3, 4]", **keys: Any) -> CheckOutcome:
    more = "".join(f"{name}: {value}\n" for name, value in keys.items())
    text = f"version: 1\ninputs: {{x: {{shape: {shape}}}}}\nimplementation: a:b\n{more}"
    (check,) = load_text(text, "own.yaml")
    return run_check(replace(check, implementation=Implementation("found", found)))


def right(grad: Tensor, x: Tensor) -> Tensor:
    return grad * torch.cos(x)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_right_code_passes_alone(dtype: str) -> None:
    for found in (function_of(torch.sin, right), lambda x: torch.softmax(x, -1), torch.relu):
        outcome = alone(found, dtype=dtype)
        assert outcome.status == "passed", (found, outcome.diagnoses)
        assert [m.method for m in outcome.gradients[0].methods] == ["implementation", "numeric"]
        assert outcome.expression == ""


@pytest.mark.parametrize(
    ("backward", "code"),
    [
        (lambda g, x: 2 * right(g, x), "GC101"),
        (lambda g, x: -right(g, x), "GC102"),
        (lambda g, x: right(g, x).flip(1), "GC109"),
        (lambda g, x: right(g, x) / 0 * 0, "GC110"),
        (lambda g, x: 0 * right(g, x), "GC112"),
        (lambda g, x: g * torch.sin(x), "GC199"),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_wrong_code_fails_alone(backward: Any, code: str, dtype: str) -> None:
    outcome = alone(function_of(torch.sin, backward), dtype=dtype)
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("implementation",)
    assert code in [d.code for d in outcome.diagnoses]


def test_large_inputs_are_measured_along_random_directions() -> None:
    assert alone(function_of(torch.sin, right), "[60, 50]").status == "passed"

    def one_wrong(grad: Tensor, x: Tensor) -> Tensor:
        found = right(grad, x)
        found[17, 3] *= 1.01
        return found

    outcome = alone(function_of(torch.sin, one_wrong), "[60, 50]")
    assert outcome.status == "failed"
    worst = {m.method: m.worst_index for m in outcome.gradients[0].methods}
    assert worst["implementation"] == (17, 3)


def test_a_formula_may_stand_beside_code_alone() -> None:
    found = function_of(torch.sin, right)
    outcome = alone(found, manual="{x: grad * torch.cos(x)}")
    assert outcome.status == "passed"
    outcome = alone(found, manual="{x: grad * torch.sin(x)}")
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("manual",)
    outcome = alone(found, manual="{x: grad.sum()}")
    assert outcome.error is not None
    assert outcome.error.code == "GC022"


def test_second_order_needs_an_expression() -> None:
    outcome = alone(torch.sin, order=2)
    assert outcome.error is not None
    assert outcome.error.exit_code == 2
    assert "needs an `expression`" in outcome.error.message


def test_other_findings_are_made_alone_too() -> None:
    def into_grad(grad: Tensor, x: Tensor) -> Tensor:
        return grad.mul_(torch.cos(x))

    outcome = alone(function_of(torch.sin, into_grad))
    assert "GC225" in [d.code for d in outcome.diagnoses]
    assert np.isfinite(outcome.value["implementation"])


def test_derive_says_that_there_is_no_expression() -> None:
    path = Path("own.yaml")
    path.write_text("version: 1\ninputs: {x: {shape: [3]}}\nimplementation: fused.kernels:square\n")
    from gradcheck_cli.__main__ import run as command

    assert command(["validate", "own.yaml"]) == 0
    assert command(["derive", "own.yaml"]) == 2
    assert command(["compare", "own.yaml"]) == 2
    assert command(["compare", "own.yaml", "--allow-import", "fused"]) == 0


@pytest.mark.cuda
def test_code_runs_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip(
            "no CUDA device: the implementation's forward and backward on one are not tested"
        )
    for dtype in ("float32", "bfloat16"):
        outcome = alone(function_of(torch.sin, right), dtype=dtype, device="cuda")
        assert outcome.status == "passed", outcome.diagnoses
