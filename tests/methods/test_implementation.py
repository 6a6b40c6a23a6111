"""How a person's code is called, and what is found of it besides its gradient."""

# ruff: noqa: ARG001, ARG004, ARG005 -- what a Function's methods take is PyTorch's convention

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gradcheck_cli.methods.own.variants import every_other, transposed
from gradcheck_cli.spec.check import Check, Implementation
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.verdict.outcome import CheckOutcome

Tensor = torch.Tensor
LINEAR = "{x: {shape: [5, 3]}, weight: {shape: [4, 3]}, bias: {shape: [4]}}"


def check_of(
    found: Any, inputs: str = "{x: {shape: [3, 4]}}", expression: str | None = "x**2", **more: Any
) -> Check:
    kwargs = more.pop("kwargs", {})
    keys = "".join(f"{name}: {value}\n" for name, value in more.items())
    formula = "" if expression is None else f"expression: {expression}\n"
    text = f"version: 1\ninputs: {inputs}\n{formula}implementation: tests:found\n{keys}"
    (check,) = load_text(text, "own.yaml")
    return replace(check, implementation=Implementation("found", found, kwargs))


def run(found: Any, *args: Any, **more: Any) -> CheckOutcome:
    return run_check(check_of(found, *args, **more))


def codes(outcome: CheckOutcome) -> list[str]:
    return [d.code for d in outcome.diagnoses if d.method == "implementation"]


def message(outcome: CheckOutcome) -> str:
    return " ".join(d.message for d in outcome.diagnoses if d.method == "implementation")


def square(
    backward: Callable[..., Any], forward: Callable[..., Any] | None = None
) -> type[Function]:
    def saving(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    body = {"forward": staticmethod(forward or saving), "backward": staticmethod(backward)}
    return type("Square", (Function,), body)


def right_backward(ctx: Any, grad: Tensor) -> Any:
    (x,) = ctx.saved_tensors
    return 2 * grad * x


class Affine(nn.Module):
    def __init__(self, rows: int, columns: int, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, columns))
        self.bias = nn.Parameter(torch.zeros(rows))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * nn.functional.linear(x, self.weight, self.bias)


def affine(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return nn.functional.linear(x, weight, bias)


def in_order(a: Tensor, b: Tensor, c: Tensor, scale: float = 1.0) -> Tensor:
    return scale * nn.functional.linear(a, b, c)


def anything(**tensors: Tensor) -> Tensor:
    return nn.functional.linear(tensors["x"], tensors["weight"], tensors["bias"])


def stacked(*tensors: Tensor) -> Tensor:
    x, weight, bias = tensors
    return nn.functional.linear(x, weight, bias)


class SetUpApart(Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return right_backward(ctx, grad)


@pytest.mark.parametrize(
    ("found", "kwargs"),
    [
        (affine, {}),
        (in_order, {"scale": 1.0}),
        (anything, {}),
        (nn.functional.linear, {}),
        (stacked, {}),
        (Affine, {"rows": 4, "columns": 3}),
        (Affine(4, 3), {}),
        (lambda rows: Affine(rows, 3), {"rows": 4}),
        (lambda: nn.Linear(3, 4), {}),
        (torch.ops.aten.linear, {}),
    ],
    ids=[
        "names",
        "order",
        "kwargs",
        "C++",
        "args",
        "class",
        "module",
        "factory",
        "plain",
        "operator",
    ],
)
def test_whatever_can_be_called_is(found: Any, kwargs: dict[str, Any]) -> None:
    outcome = run(found, LINEAR, "F.linear(x, weight, bias)", kwargs=kwargs)
    assert (outcome.status, codes(outcome)) == ("passed", []), (outcome.diagnoses, outcome.error)


def test_functions_of_autograd_are_applied() -> None:
    for found in (square(right_backward), square(right_backward).apply, SetUpApart):
        outcome = run(found)
        assert (outcome.status, codes(outcome)) == ("passed", []), outcome.diagnoses
        assert outcome.gradients[0].methods[2].method == "implementation"


def test_a_constant_of_a_function_is_a_positional_argument() -> None:
    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, scale: float = 2.0) -> Tensor:
            ctx.scale = scale
            return scale * x

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
            return ctx.scale * grad, None

    assert run(Scaled, expression="3 * x", kwargs={"scale": 3.0}).status == "passed"
    assert run(Scaled, expression="2 * x").status == "passed"


def test_a_parameter_inside_of_a_module_has_underscores_for_dots() -> None:
    layer = nn.Linear(3, 4)
    named = nn.Sequential()
    named.add_module("layer", layer)
    named.add_module("tanh", nn.Tanh())
    inputs = "{x: {shape: [5, 3]}, layer_weight: {shape: [4, 3]}, layer_bias: {shape: [4]}}"
    expression = "torch.tanh(F.linear(x, layer_weight, layer_bias))"
    left = layer.weight.detach().clone()
    assert run(named, inputs, expression, dtype="float64").status == "passed"
    assert torch.equal(layer.weight.detach(), left)  # the module given is left alone
    assert layer.weight.dtype == torch.float32
    assert layer.weight.grad is None


def test_a_parameter_that_is_no_input_is_named() -> None:
    outcome = run(nn.Linear(3, 4), "{x: {shape: [5, 3]}}", "x @ torch.eye(3, 4)")
    assert outcome.status == "failed"
    assert codes(outcome)[0] == "GC220"
    assert "`weight`, `bias` of the module are no inputs of the check" in message(outcome)


@pytest.mark.parametrize(
    ("found", "kwargs", "said"),
    [
        (3, {}, "can't be called: its type is int"),
        (lambda x, eps: x, {}, "needs a value for its argument `eps`"),
        (lambda x: x, {"epsilon": 1}, "has no argument `epsilon` for `kwargs`"),
        (lambda a, b: a, {}, "needs a value for its argument `b`"),
        (lambda: 3, {}, "takes none of the check's inputs"),
        (dict, {}, "is the class dict, which is no nn.Module"),
        (lambda x: (x, 2 * x), {}, "returns 2 floating-point tensors"),
        (lambda x: x > 0, {}, "returns a tensor of torch.bool"),
        (lambda x: 3.0, {}, "returns a float"),
    ],
)
def test_what_can_not_be_called_is_refused(found: Any, kwargs: dict[str, Any], said: str) -> None:
    outcome = run(found, kwargs=kwargs)
    assert outcome.status == "error"
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.exit_code) == ("GC032", 2)
    assert said in outcome.error.message


def test_of_several_results_the_one_floating_point_tensor_is_taken() -> None:
    assert run(lambda x: x.max(1), "{x: {shape: [3, 4]}}", "x.max(1).values").status == "passed"


def test_an_error_of_the_code_is_the_checks_with_its_place() -> None:
    def failing(ctx: Any, grad: Tensor) -> Tensor:
        raise KeyError("scale")

    outcome = run(square(failing))
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.exit_code) == ("GC308", 4)
    assert "raised an error in its backward pass: KeyError: 'scale'" in outcome.error.message
    assert outcome.error.hint is not None
    assert "test_implementation.py" in outcome.error.hint
    assert "in failing: raise KeyError" in outcome.error.hint


def ignoring_strides(ctx: Any, grad: Tensor) -> Any:
    (x,) = ctx.saved_tensors
    memory = torch.empty(0, dtype=grad.dtype).set_(grad.untyped_storage())
    memory = memory.repeat(grad.numel())[: grad.numel()]
    return 2 * memory.view(grad.shape) * x


def in_double(ctx: Any, grad: Tensor) -> Any:
    (x,) = ctx.saved_tensors
    return (2 * grad * x).double()


def into_grad(ctx: Any, grad: Tensor) -> Any:
    (x,) = ctx.saved_tensors
    return grad.mul_(2).mul_(x)


def zero_by_zero(ctx: Any, grad: Tensor) -> Any:
    (x,) = ctx.saved_tensors
    return grad / grad.norm() * grad.norm() * 2 * x


def unready(ctx: Any, x: Tensor) -> Tensor:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x)
    return x**2


def detached(ctx: Any, grad: Tensor) -> Any:
    (x,) = ctx.saved_tensors
    return 2 * grad * x.detach()


@once_differentiable
def once(ctx: Any, grad: Tensor) -> Any:
    return detached(ctx, grad)


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (square(ignoring_strides), "GC221", "where the upstream gradient is every other element"),
        (square(into_grad), "GC225", "writes into the upstream gradient"),
        (square(zero_by_zero), "GC223", "where the upstream gradient is zero: the gradient of `x`"),
        (square(right_backward, unready), "GC224", "undefined: `found` raised an error"),
        (square(detached), "GC229", "the second derivative with respect to `x`"),
    ],
)
def test_what_else_is_wrong_is_found(found: Any, code: str, said: str) -> None:
    outcome = run(found)
    assert outcome.status == "failed"
    assert codes(outcome) == [code]
    assert said in message(outcome)


def test_a_second_derivative_that_is_not_claimed_is_not_checked() -> None:
    outcome = run(square(once))
    assert (outcome.status, codes(outcome)) == ("passed", [])
    asked = run(square(once), order=2)
    assert asked.status == "inconclusive"
    assert "once_differentiable" in message(asked)
    assert run(square(right_backward), order=2).status == "passed"


def test_a_wrong_second_derivative_fails_where_it_is_asked_for() -> None:
    outcome = run(square(detached), order=2)
    assert outcome.status == "failed"
    second = next(g for g in outcome.gradients if g.order == 2)
    assert second.outliers == ("implementation",)


def test_a_gradient_of_another_dtype_or_shape_is_told() -> None:
    outcome = run(square(in_double), dtype="float32")
    assert codes(outcome) == ["GC227"]
    assert "has dtype torch.float64, `x` has torch.float32" in message(outcome)

    class Bias(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, b: Tensor) -> Tensor:
            return x + b

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
            return grad, grad

    outcome = run(Bias, "{x: {shape: [3, 4]}, b: {shape: [4]}}", "x + b")
    assert codes(outcome) == ["GC227"]
    assert "the gradient of `b` has shape [3, 4], `b` has [4]" in message(outcome)


def test_reading_memory_of_an_expanded_tensor_is_found() -> None:
    class Memory(Function):
        """Reads its input's memory as if each element had a place of its own."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            storage = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
            kept = torch.zeros(x.numel(), dtype=x.dtype)
            count = min(x.numel(), storage.numel() - x.storage_offset())
            if x.stride(0) == 0:
                kept[:count] = storage[x.storage_offset() :][:count]
            else:
                kept[:] = x.reshape(-1)
            made = kept.view(x.shape)
            ctx.save_for_backward(made)
            return made**2

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: Tensor) -> Any:
            return right_backward(ctx, grad)

    outcome = run(Memory)
    assert codes(outcome) == ["GC222"]
    assert "another result where `x` is expanded along axis 0" in message(outcome)


def test_refusing_a_layout_is_a_warning() -> None:
    def wanting(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.view(-1).view(x.shape) ** 2

    outcome = run(square(right_backward, wanting))
    assert outcome.status == "passed"
    assert set(codes(outcome)) == {"GC232"}
    assert "view size is not compatible" in message(outcome)


def test_a_gradient_that_depends_on_what_else_needs_one() -> None:
    class Product(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Any:
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            a, b = ctx.saved_tensors
            of_a = grad * b if ctx.needs_input_grad[1] else None
            return of_a, grad * a if ctx.needs_input_grad[1] else None

    outcome = run(Product, "{a: {shape: [3]}, b: {shape: [3]}}", "a * b")
    assert codes(outcome) == ["GC228"]
    assert "where only `a` requires a gradient" in message(outcome)


def test_random_results_are_told() -> None:
    outcome = run(lambda x: torch.nn.functional.dropout(x, 0.5), expression="x")
    assert outcome.status == "failed"
    assert "GC226" in codes(outcome)


def test_an_input_that_is_written_to_is_told() -> None:
    def scribbling(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.clone())
        value = x**2
        x.data[0] = 0
        return value

    outcome = run(square(once, scribbling))
    assert "GC225" in codes(outcome)
    assert "writes into its input `x`" in message(outcome)


def test_another_value_is_told_and_its_gradient_is_not_explained() -> None:
    outcome = run(lambda x: x**2 + x)
    assert outcome.status == "failed"
    assert codes(outcome) == ["GC220"]
    outcome = run(lambda x: (x**2).sum())
    assert codes(outcome) == ["GC220"]
    assert "has shape (), the expression's (3, 4)" in message(outcome)


def test_a_dtype_in_which_only_the_code_is_wrong() -> None:
    def in_eighths(x: Tensor) -> Tensor:
        rough = (x * 8).round() / 8 if x.dtype == torch.float32 else x
        return rough + 0 * x if x.dtype == torch.float64 else x + (rough - x).detach()

    outcome = run(in_eighths, expression="x", dtype="float32")
    assert outcome.status == "failed"
    assert codes(outcome) == ["GC231"]


def test_code_that_takes_no_float64_is_diagnosed_by_its_numbers() -> None:
    def single(ctx: Any, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise TypeError("float32 only")
        ctx.save_for_backward(x)
        return x**2

    def half(ctx: Any, grad: Tensor) -> Any:
        return right_backward(ctx, grad) / 2

    assert run(square(right_backward, single), dtype="float32").status == "passed"
    outcome = run(square(half, single), dtype="float32")
    assert codes(outcome) == ["GC101"]
    assert outcome.diagnoses[0].fix == "2 * grad * x"


def test_layouts_hold_the_same_numbers() -> None:
    tensor = torch.arange(24.0).reshape(2, 3, 4)
    for layout in (every_other, transposed):
        made = layout(tensor)
        assert torch.equal(made, tensor)
        assert not made.is_contiguous()
    assert every_other(torch.tensor(2.0)) == 2.0


def test_the_code_is_a_witness_of_its_own_and_no_more() -> None:
    outcome = run(square(right_backward), methods="[implementation, engine]")
    assert outcome.status == "passed"
    outcome = run(square(right_backward), methods="[implementation]")
    assert outcome.status == "inconclusive"
    outcome = run(square(right_backward), methods="[torch, engine, numeric]")
    assert "implementation" not in {m.method for m in outcome.gradients[0].methods}


def test_a_formula_and_code_that_err_alike_are_both_outliers() -> None:
    def half(ctx: Any, grad: Tensor) -> Any:
        return right_backward(ctx, grad) / 2

    outcome = run(square(half), manual="{x: grad * x}")
    assert set(outcome.gradients[0].outliers) == {"implementation", "manual"}
    assert outcome.gradients[0].groups[0] == ("torch", "engine", "derived", "numeric")


def test_empty_inputs_and_numbers_are_fine() -> None:
    for shape in ("[]", "[0]", "[1, 1]"):
        outcome = run(square(right_backward), f"{{x: {{shape: {shape}}}}}")
        assert outcome.status == "passed", (shape, outcome.diagnoses, outcome.error)
    assert np.isfinite(outcome.seconds)


def test_custom_operators_are_checked_by_opcheck() -> None:
    @torch.library.custom_op("gradcheck_tests::square", mutates_args=())
    def operator(x: Tensor) -> Tensor:
        return x**2

    @operator.register_fake
    def _(x: Tensor) -> Tensor:
        return torch.empty_like(x)

    def setup(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    operator.register_autograd(right_backward, setup_context=setup)
    outcome = run(operator)
    assert (outcome.status, codes(outcome)) == ("passed", []), outcome.diagnoses

    @torch.library.custom_op("gradcheck_tests::halved", mutates_args=())
    def wrong(x: Tensor) -> Tensor:
        return x**2

    @wrong.register_fake
    def _(x: Tensor) -> Tensor:
        return torch.empty(x.shape[0] + 1)

    wrong.register_autograd(right_backward, setup_context=setup)
    outcome = run(torch.ops.gradcheck_tests.halved)
    assert "GC230" in codes(outcome)


def test_a_dtype_that_is_not_enough_for_anybody_is_no_mistake_of_the_code() -> None:
    outcome = run(
        lambda x: (x * x).mean(), "{x: {value: [300.0, 200.0]}}", "(x * x).mean()", dtype="float16"
    )
    assert outcome.status == "inconclusive"
    assert {d.code for d in outcome.diagnoses} >= {"GC306"}
    assert "GC231" not in codes(outcome)


def test_a_compiled_function_is_code_like_any_other() -> None:
    compiled = torch.compile(lambda x: torch.tanh(x) * x, backend="aot_eager")
    outcome = run(compiled, expression="torch.tanh(x) * x")
    assert (outcome.status, codes(outcome)) == ("passed", []), (outcome.diagnoses, outcome.error)
