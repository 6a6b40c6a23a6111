"""Functions made of derived gradients: names, what is kept, what is said, and that they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli.calculus.derive import derive_nodes
from gradcheck_cli.methods.assumptions import assumed, nodes
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.report.autograd_function import autograd_function
from gradcheck_cli.report.function import Function, function_of
from gradcheck_cli.report.numpy_function import numpy_function
from gradcheck_cli.spec.load import load_text

if TYPE_CHECKING:
    from collections.abc import Sequence


def function(spec: str, facts: Sequence[str] = ()) -> Function:
    (check,) = load_text(f"{{version: 1, {spec}}}")
    case = prepare(check)
    assumptions = assumed(facts, case.scope)
    names = {case.scope[name]: name for name in case.let if case.scope[name].args}
    wrt = [case.variables[name] for name in case.wrt]
    gradients = derive_nodes(case.output, wrt, case.upstream, names, facts=nodes(assumptions))
    return function_of(case, case.wrt, gradients, assumptions)


def run(text: str, name: str) -> Any:
    scope: dict[str, Any] = {"__name__": "made"}
    exec(compile(text, "<made>", "exec"), scope)
    return scope[name]


def lines(text: str, start: str, end: str) -> list[str]:
    """The lines of the code from the one that begins so to the next that does."""
    found = [line.strip() for line in text.splitlines()]
    first = next(i for i, line in enumerate(found) if line.startswith(start))
    last = next(i for i, line in enumerate(found[first:], first) if line.startswith(end))
    return found[first : last + 1]


SQUARES = "inputs: {x: {shape: [3]}, y: {shape: [3]}}, expression: (x - y).square().sum()"


def test_the_whole_module() -> None:
    text = autograd_function(function(f"name: sum of squares, {SQUARES}"))
    assert (
        text
        == '''\
"""SumOfSquares, an operation of PyTorch with a backward pass that gradcheck derived."""

from typing import Any

import torch


class SumOfSquares(torch.autograd.Function):
    """sum of squares.

        (x - y).square().sum()

    Its gradient is a closed form that gradcheck derived.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, y)
        return (x - y).square().sum()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, y = ctx.saved_tensors
        grad_x = grad_y = None
        t1 = x - y
        if ctx.needs_input_grad[0]:
            grad_x = grad * (2 * t1)
        if ctx.needs_input_grad[1]:
            grad_y = grad * (-2 * t1)
        return grad_x, grad_y


def sum_of_squares(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """sum of squares, differentiated by its closed form."""
    return SumOfSquares.apply(x, y)


if __name__ == "__main__":
    torch.manual_seed(0)
    x = torch.randn((3,), dtype=torch.float64)
    y = torch.randn((3,), dtype=torch.float64)
    x.requires_grad_()
    y.requires_grad_()
    torch.autograd.gradcheck(sum_of_squares, (x, y))
    print("torch.autograd.gradcheck agrees")
'''
    )


def test_the_whole_numpy_module() -> None:
    text = numpy_function(
        function("name: softmax, inputs: {z: {shape: [2, 3]}}, expression: z.softmax(1)")
    )
    assert (
        text
        == '''\
import numpy as np
from scipy import special


def softmax(z, grad=1.0):
    """softmax.

        z.softmax(1)

    Its gradient is a closed form that gradcheck derived.
    `grad` is the gradient of what comes after, of the value's shape or a number.
    Returns the value and a dictionary of gradients.
    """
    value = special.softmax(z, axis=1)
    grad = np.broadcast_to(grad, value.shape)
    gradients = {
        "z": value * (grad - (grad * value).sum(1, keepdims=True)),
    }
    return value, gradients
'''
    )


@pytest.mark.parametrize(
    ("title", "class_name", "function_name"),
    [
        ("sum of squared errors", "SumOfSquaredErrors", "sum_of_squared_errors"),
        ("softmax[C=2]", "Softmax", "softmax"),
        ("GELU, tanh form", "GELUTanhForm", "gelu_tanh_form"),
        ("3 layers", "Function3Layers", "function_3_layers"),
        ("lambda", "Lambda", "lambda_function"),
        ("x", "X", "x_2"),
        ("F", "FFunction", "f"),
        ("---", "Function", "function"),
        ("fehler²", "Fehler", "fehler"),
        ("損失", "損失Function", "損失"),
        ("np", "Np", "np_function"),
        ("a b c d e f g h i j", "ABCDEFGH", "a_b_c_d_e_f_g_h"),
    ],
)
def test_names(title: str, class_name: str, function_name: str) -> None:
    made = function(f"name: '{title}', {SQUARES}")
    assert (made.class_name, made.function_name) == (class_name, function_name)
    for text in (autograd_function(made), numpy_function(made)):
        run(text, function_name)


def test_names_that_the_code_needs_are_not_an_inputs() -> None:
    names = ("ctx", "np", "Any", "print")
    inputs = ", ".join(f"{name}: {{shape: [3]}}" for name in names)
    made = function(f"inputs: {{{inputs}}}, expression: (Any * ctx * np.relu() * print).sum()")
    text = autograd_function(made)
    values = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in names]
    assert torch.autograd.gradcheck(run(text, made.function_name), values)
    exec(compile(text, "<made>", "exec"), {"__name__": "__main__"})
    arrays = [value.detach().numpy() for value in values]
    value, gradients = run(numpy_function(made), made.function_name)(*arrays)
    assert set(gradients) == set(names)
    assert np.isclose(value, (arrays[0] * np.maximum(arrays[1], 0) * arrays[2] * arrays[3]).sum())


@pytest.mark.parametrize(
    "name", ["output", "value", "t1", "s1", "x_shape", "grad_x", "tuple", "special"]
)
def test_names_of_the_codes_own_variables_are_free(name: str) -> None:
    spec = f"inputs: {{x: {{shape: [3, 3]}}, {name}: {{shape: [3, 3]}}}}, expression: "
    made = function(spec + f"(tanh(x @ {name}) * (x @ {name})).softmax(1)")
    for twice in (False, True):
        applied = run(autograd_function(made, twice=twice), made.function_name)
        values = [torch.randn(3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        assert torch.autograd.gradcheck(applied, values)
    arrays = [value.detach().numpy() for value in values]
    _, gradients = run(numpy_function(made), made.function_name)(*arrays, np.eye(3))
    output = applied(*values)
    wanted = torch.autograd.grad(output, values, torch.eye(3, dtype=torch.float64))
    for name_, gradient in zip(("x", name), wanted, strict=True):
        assert np.allclose(gradients[name_], gradient.numpy())


@pytest.mark.parametrize(
    ("spec", "saved"),
    [
        # The output, where the gradient is written with it.
        ("inputs: {x: {shape: [3]}}, expression: x.softmax(0)", "output"),
        # What is elementwise is done again rather than kept.
        ("inputs: {x: {shape: [3]}}, expression: x.exp().tanh()", "x"),
        # A product of matrices is kept, by the name it has, or a new one.
        (
            "inputs: {x: {shape: [2, 3]}, w: {shape: [3, 2]}}, let: {h: x @ w}, expression: h.tanh().sum()",
            "x, w, h",
        ),
        (
            "inputs: {x: {shape: [2, 3]}, w: {shape: [3, 2]}}, expression: (x @ w).tanh().sum()",
            "x, w, s1",
        ),
    ],
)
def test_what_is_saved(spec: str, saved: str) -> None:
    text = autograd_function(function(spec))
    assert f"ctx.save_for_backward({saved})\n" in text
    assert ("is_grad_enabled" in text) is (saved not in ("x", "output"))


def test_only_a_shape_is_kept_where_that_is_enough() -> None:
    text = autograd_function(function("inputs: {x: {shape: [2, 3]}}, expression: x.mean()"))
    assert "save_for_backward" not in text
    assert "ctx.x_shape = x.shape" in text


KEPT = "inputs: {x: {shape: [2, 3]}, w: {shape: [3, 2]}}, let: {h: x @ w}, expression: (h.tanh() * h).sum()"


def test_what_was_kept_is_made_again_for_a_second_derivative() -> None:
    made = function(KEPT)
    text = autograd_function(made)
    backward = lines(text, "def backward", "return")
    again = backward.index(
        "if torch.is_grad_enabled():  # what was kept, again, for a second derivative"
    )
    assert backward[again + 1] == "h = x @ w"
    values = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3), (3, 2))]
    assert torch.autograd.gradgradcheck(run(text, made.function_name), values)
    # Without that line, PyTorch would leave the derivative through `h` out, and not say so.
    silent = run(text.replace("            h = x @ w\n", "            pass\n"), made.function_name)
    assert not torch.autograd.gradgradcheck(silent, values, raise_exception=False)


def test_twice_always_computes_again_what_would_be_kept() -> None:
    made = function(KEPT)
    text = autograd_function(made, twice=True)
    assert "is_grad_enabled" not in text
    assert "h = x @ w" in lines(text, "def backward", "return")
    values = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3), (3, 2))]
    assert torch.autograd.gradgradcheck(run(text, made.function_name), values)


def test_an_equation_that_is_assumed_forbids_a_second_derivative() -> None:
    spec = "inputs: {x: {shape: [3]}, A: {shape: [3, 3], sample: spd}}, expression: x @ A @ x"
    made = function(spec, ["A == A.T"])
    text = autograd_function(made)
    assert "It assumes:\n        A == A.T\n" in text
    assert "It can't be differentiated twice" in text
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    value = run(text, made.function_name)(x, torch.eye(3, dtype=torch.float64))
    assert torch.allclose(torch.autograd.grad(value, x, retain_graph=True)[0], 2 * x)
    with pytest.raises(RuntimeError, match="an equation that is assumed"):
        torch.autograd.grad(value, x, create_graph=True)
    assert "It assumes" not in autograd_function(function(spec))


def test_inputs_that_have_no_gradient() -> None:
    spec = (
        "inputs: {x: {shape: [4, 3], requires_grad: true}, y: {shape: [4]}, "
        "t: {shape: [4], sample: integers, low: 0, high: 3}, "
        "m: {shape: [4], dtype: bool, sample: bernoulli}}, "
        "expression: '(F.cross_entropy(x, t, reduction=\"none\") * y * m).sum()'"
    )
    text = autograd_function(function(spec))
    assert "No gradient is computed for y, t, m." in text
    assert "return grad_x, None, None, None" in text
    exec(compile(text, "<made>", "exec"), {"__name__": "__main__"})


def test_gradients_share_no_more_than_is_asked_for() -> None:
    spec = (
        "inputs: {a: {shape: [3, 3]}, b: {shape: [3, 3]}, c: {shape: [3, 3]}}, "
        "expression: (torch.matrix_exp(a @ b) * c).sum()"
    )
    text = autograd_function(function(spec))
    backward = lines(text, "def backward", "return")
    assert "if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:" in backward
    guarded = backward.index("if ctx.needs_input_grad[2]:")
    assert backward[guarded + 1].startswith("grad_c = ")


def test_text_of_a_person_cannot_end_the_docstring() -> None:
    made = function('name: "a \\"\\"\\" b \\\\", ' + SQUARES)
    for text in (autograd_function(made), numpy_function(made)):
        run(text, made.function_name)


@pytest.mark.parametrize(
    "drawn",
    [
        "sample: normal, mean: 1, std: 2",
        "sample: uniform, low: -1, high: 2",
        "sample: positive",
        "sample: simplex",
        "sample: spd",
        "sample: orthogonal",
        "sample: lower_triangular",
        "sample: linspace, low: -1, high: 1",
        "sample: one_hot",
        "sample: bernoulli, p: 0.25",
        "sample: zeros",
        "sample: ones",
        "sample: arange",
        "sample: normal, structure: symmetric",
        "sample: normal, structure: upper_triangular",
        "sample: normal, structure: diagonal",
        "sample: normal, avoid: {near: [0, 1], margin: 0.1}",
        "value: [[1, 2, 3], [4, 5, 6], [7, 8, 9.5]]",
    ],
)
def test_example_inputs_are_of_their_kind(drawn: str) -> None:
    text = autograd_function(
        function(
            f"inputs: {{x: {{shape: [3, 3], {drawn}, requires_grad: true}}}}, expression: x.sum()"
        )
    )
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "<made>", "exec"), scope)
    x = scope["x"].detach()
    assert x.shape == (3, 3)
    assert x.dtype is torch.float64
    kind = drawn.removeprefix("sample: ").partition(",")[0]
    if kind == "positive":
        assert (x > 0).all()
    elif kind in ("simplex", "one_hot"):
        assert torch.allclose(x.sum(-1), torch.ones(3, dtype=torch.float64))
    elif kind == "spd" or "symmetric" in drawn:
        assert torch.allclose(x, x.T)
    elif kind == "orthogonal":
        assert torch.allclose(x @ x.T, torch.eye(3, dtype=torch.float64))
    elif kind == "lower_triangular":
        assert torch.equal(x, x.tril())
    elif "upper" in drawn:
        assert torch.equal(x, x.triu())
    elif "diagonal" in drawn:
        assert torch.equal(x, torch.diag(x.diagonal()))
    elif "avoid" in drawn:
        assert x.abs().min() >= 0.1
        assert (x - 1).abs().min() >= 0.1


def test_an_expression_without_a_name() -> None:
    (check,) = load_text("{version: 1, inputs: {x: {shape: [3]}}, expression: x.exp().sum()}")
    case = prepare(check)
    bare = case.check.__class__(
        "x.exp().sum()", "x.exp().sum()", None, 1, check.inputs, check.expression, check.wrt
    )
    case = prepare(bare)
    gradients = derive_nodes(case.output, [case.variables["x"]], case.upstream)
    made = function_of(case, ["x"], gradients)
    assert (made.class_name, made.function_name) == ("DerivedExpression", "derived_expression")
