"""The code made of every spec's derived gradient runs as it stands, and PyTorch's own test agrees."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.autograd.gradcheck import GradcheckError as TorchGradcheckError

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.methods import engine_method
from gradcheck_cli.methods.assumptions import facts_of
from gradcheck_cli.methods.case import prepare, values_of
from gradcheck_cli.methods.closed_form import closed_form
from gradcheck_cli.report.autograd_function import autograd_function
from gradcheck_cli.report.example_inputs import example_inputs
from gradcheck_cli.report.function import Function, function_of
from gradcheck_cli.report.numpy_function import numpy_function
from gradcheck_cli.spec.load import load_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as PathType

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.spec.check import Check

SPECS = Path(__file__).parent.parent / "specs"
# Checks of which there is no NumPy function: SciPy has nothing like these operators.
WITHOUT_NUMPY = {"patches": "unfold", "overlapping patches": "unfold"}
# Of more elements one random direction is tried: PyTorch's test moves them one by one.
MOST_FOR_ALL = 96
# PyTorch itself has no second derivative of these: operators that it differentiates for real numbers only.
REAL_ONLY = {"low-pass filter"}


def checks() -> list[Check]:
    """Every check, once of those that a list of sizes or dtypes expands."""
    found: dict[tuple[str | None, int], Check] = {}
    for path in sorted(SPECS.rglob("*.yaml")):
        for check in load_file(path):
            found.setdefault((check.file, check.line), check)
    return list(found.values())


CHECKS = checks()
every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)


@dataclass(frozen=True)
class Made:
    """A check's function with what it is compared with."""

    case: Case
    function: Function
    value: Any
    gradients: Mapping[str, Any]

    @property
    def arguments(self) -> list[Any]:
        return [np.array(self.case.arrays[name]) for name in self.function.inputs]

    def tensors(self, dtype: torch.dtype, wrt: tuple[str, ...]) -> list[torch.Tensor]:
        tensors = []
        for name, array in zip(self.function.inputs, self.arguments, strict=True):
            tensor = torch.from_numpy(array)
            if tensor.is_floating_point():
                tensor = tensor.to(dtype).requires_grad_(name in wrt)
            tensors.append(tensor)
        return tensors

    def structured(self, applied: Any) -> Any:
        """The function of inputs that keep their structure, so that a moved element has its twin moved."""
        inputs, names = self.function.inputs, self.function.names
        draws = example_inputs(inputs, self.function.examples, names)
        parts = [draws[name].structured or names[name] for name in inputs]
        parameters = ", ".join(names[name] for name in inputs)
        return eval(f"lambda {parameters}: applied({', '.join(parts)})", {"applied": applied})


@cache
def made(position: int) -> Made:
    check = CHECKS[position]
    with values_of(check):
        case = prepare(check)
        form = closed_form(case, check.wrt, facts=facts_of(check, case.scope))
        function = function_of(case, check.wrt, form.nodes, form.assumptions)
        (value,) = Plan([case.output])(case.arrays)
        estimates = engine_method.run(case).estimates
    gradients = {name: estimate.gradient for name, estimate in estimates.items()}
    return Made(case, function, np.asarray(value), gradients)


def of(check: Check) -> Made:
    return made(CHECKS.index(check))


def run(text: str, name: str) -> Any:
    scope: dict[str, Any] = {"__name__": "made"}
    exec(compile(text, "<made>", "exec"), scope)
    return scope[name]


def close(actual: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(actual, torch.Tensor):
        actual = actual.detach().to(torch.float64).numpy()
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
    return np.shape(actual) == expected.shape and np.allclose(
        actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )


@every_check
def test_an_autograd_function_passes_gradcheck(check: Check) -> None:
    subject = of(check)
    applied = run(autograd_function(subject.function), subject.function.function_name)
    upstream = torch.from_numpy(np.array(subject.case.arrays["grad"]))
    tensors = subject.tensors(torch.float64, check.wrt)
    value = applied(*tensors)
    assert close(value, subject.value, 1e-12)
    wanted = [t for t in tensors if t.requires_grad]
    found = torch.autograd.grad(value, wanted, upstream)
    names = [n for n, t in zip(subject.function.inputs, tensors, strict=True) if t.requires_grad]
    for name, gradient in zip(names, found, strict=True):
        assert close(gradient, subject.gradients[name], 1e-9)
    many = sum(tensor.numel() for tensor in tensors) > MOST_FOR_ALL
    assert torch.autograd.gradcheck(subject.structured(applied), tensors, fast_mode=many)


@every_check
def test_gradients_are_of_the_inputs_dtype(check: Check) -> None:
    subject = of(check)
    applied = run(autograd_function(subject.function), subject.function.function_name)
    tensors = subject.tensors(torch.float32, check.wrt)
    value = applied(*tensors)
    assert value.dtype is torch.float32
    assert close(value, subject.value, 1e-3)
    # What autograd itself is given: a gradient of another dtype would be cast before anyone saw it.
    upstream = torch.from_numpy(np.array(subject.case.arrays["grad"])).to(torch.float32)
    for gradient in backward(value, upstream):
        assert gradient is None or gradient.dtype is torch.float32


def backward(value: torch.Tensor, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """What `backward` itself returns."""
    node = value.grad_fn
    assert node is not None
    with torch.no_grad():  # as without create_graph=True
        found = type(node)._forward_cls.backward(node, upstream)  # type: ignore[attr-defined]
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if len(check.wrt) > 1], ids=lambda check: check.name
)
def test_only_gradients_that_are_asked_for_are_computed(check: Check) -> None:
    subject = of(check)
    applied = run(autograd_function(subject.function), subject.function.function_name)
    upstream = torch.from_numpy(np.array(subject.case.arrays["grad"]))
    for name in (check.wrt[0], check.wrt[-1]):
        tensors = subject.tensors(torch.float64, (name,))
        value = applied(*tensors)
        for other, gradient in zip(subject.function.inputs, backward(value, upstream), strict=True):
            if other == name:
                assert gradient is not None
                assert close(gradient, subject.gradients[name], 1e-9)
            else:
                assert gradient is None


@every_check
def test_twice_differentiable_functions_pass_gradgradcheck(check: Check) -> None:
    subject = of(check)
    text = autograd_function(subject.function)
    applied = run(text, subject.function.function_name)
    tensors = subject.tensors(torch.float64, check.wrt)
    if "can't be differentiated twice" in text:
        assert subject.function.equations or check.name in REAL_ONLY
        with pytest.raises(RuntimeError, match="can't be differentiated twice"):
            torch.autograd.grad(applied(*tensors).sum(), tensors[0], create_graph=True)
        return
    # One random direction: differences of every second derivative would take minutes.
    assert torch.autograd.gradgradcheck(subject.structured(applied), tensors, fast_mode=True)


@every_check
def test_the_test_in_the_code_passes(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    text = autograd_function(of(check).function)
    exec(compile(text, "<made>", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == "torch.autograd.gradcheck agrees\n"


@pytest.mark.parametrize(
    "name", ["sum of squared errors", "attention", "cross entropy, class indices"]
)
def test_code_runs_as_a_program(name: str, tmp_path: PathType) -> None:
    check = next(check for check in CHECKS if check.name == name)
    path = tmp_path / "made.py"
    path.write_text(autograd_function(of(check).function), encoding="utf-8")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "torch.autograd.gradcheck agrees\n"), done.stderr


def test_a_wrong_gradient_fails_the_test_in_the_code() -> None:
    check = next(check for check in CHECKS if check.name == "sum of squared errors")
    text = autograd_function(of(check).function)
    wrong = text.replace("2 * (predicted - real)", "3 * (predicted - real)")
    assert wrong != text
    with pytest.raises(TorchGradcheckError):
        exec(compile(wrong, "<made>", "exec"), {"__name__": "__main__"})


@every_check
def test_a_numpy_function_gives_value_and_gradients(check: Check) -> None:
    subject = of(check)
    if check.name in WITHOUT_NUMPY:
        with pytest.raises(GradcheckError) as caught:
            numpy_function(subject.function)
        (problem,) = caught.value.problems
        assert problem.code == "GC029"
        assert f"{WITHOUT_NUMPY[check.name]}()" in problem.message
        return
    applied = run(numpy_function(subject.function), subject.function.function_name)
    arguments = subject.arguments
    if subject.case.output.ndim:
        arguments.append(subject.case.arrays["grad"])
    before = [array.copy() for array in arguments]
    value, gradients = applied(*arguments)
    assert close(value, subject.value, 1e-12)
    assert set(gradients) == set(check.wrt)
    for name in check.wrt:
        assert close(gradients[name], subject.gradients[name], 1e-9), name
    for array, copy in zip(arguments, before, strict=True):
        assert np.array_equal(array, copy, equal_nan=True)
