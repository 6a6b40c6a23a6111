"""Every operator, tested from its record: what a record says is drawn on, evaluated and compared.

One test item per record and sample. It runs all aspects (the functions of `ASPECTS`) and reports each that
fails, so that a wrong rule and a wrong printer don't hide each other.
"""

from __future__ import annotations

import warnings
import zlib
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
import torch

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine import blocks, regions
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.program import Program
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import TABLE, Expr, In, Op, Sample, rebuild, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import Formula, parse
from gradcheck_cli.lang.printer import print_formulas, to_text
from gradcheck_cli.methods.torch_method import evaluate_formula
from gradcheck_cli.ops import factor
from gradcheck_cli.ops._common import DOMAINS
from gradcheck_cli.ops.known import given

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COTANGENT = "grad"
TINY = 1e-30


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def draw(spec: In, rng: np.random.Generator) -> Any:
    """One input as its record asks, read-only, so that a kernel that writes into it fails."""
    shape = spec.shape
    if spec.value is not None:
        drawn = np.array(spec.value)
    elif spec.structure == "spd":
        drawn = rng.standard_normal(shape)
        drawn = drawn @ drawn.swapaxes(-1, -2) + shape[-1] * np.eye(shape[-1])
    elif spec.structure == "lower_triangular":
        drawn = np.tril(rng.standard_normal(shape)) + shape[-1] * np.eye(shape[-1])
    elif spec.dtype == "bool":
        drawn = rng.random(shape) < 0.5
    elif dtypes.BY_NAME[spec.dtype].kind == "i":
        low = int(spec.low or 0)
        drawn = rng.integers(low, int(spec.high if spec.high is not None else low + 2), shape)
    elif spec.low is not None or spec.high is not None:
        low_, high = spec.low or 0.0, 1.0 if spec.high is None else spec.high
        drawn = rng.uniform(low_, high, shape)
    else:
        drawn = rng.standard_normal(shape)
    array = np.array(drawn, dtype=dtypes.BY_NAME[spec.dtype].numpy)
    array.flags.writeable = False
    return array


def tensor_parameters(op: Op) -> list[str] | None:
    """Names of the tensors that a call of an elementwise record needs; None where it needs more."""
    required = [p for p in op.signature.parameters if not p.has_default]
    return [p.name for p in required] if all(p.is_tensor for p in required) else None


def written(op: Op, names: str) -> str:
    """A call of `op` on the names, spelled as a function where there is one."""
    for spelling in op.spellings:
        if not spelling.startswith("Tensor."):
            return f"{spelling}({', '.join(names)})"
    if op.attribute:
        return f"{names[0]}.{op.attribute}"
    return f"{names[0]}.{op.python_name}({', '.join(names[1:])})"


SHAPES: dict[int, tuple[tuple[tuple[int, ...], ...], ...]] = {
    1: (((3, 4),), ((),), ((0, 3),)),
    2: (((3, 4), (4,)), ((), (2,)), ((3, 1), (1, 4)), ((0, 3), (3,)), ((), ())),
    3: (((3, 4), (4,), ()), ((2, 1), (3,), (1, 3)), ((0, 2), (2,), ())),
}


def automatic(op: Op) -> Iterator[Sample]:
    """Zero-dimensional, empty and broadcast samples of an elementwise record."""
    parameters = tensor_parameters(op)
    if not op.elementwise or not parameters:
        return
    low, high = DOMAINS[op.domain]
    names = "xyz"[: len(parameters)]
    for shapes in SHAPES[len(parameters)]:
        inputs = {name: In(s, low, high) for name, s in zip(names, shapes, strict=True)}
        yield Sample(written(op, names), grad=op.vjp is not None, **inputs)  # type: ignore[arg-type]


def seeded(text: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(text.encode()))


def in_pytorch(formula: Formula, leaves: dict[str, torch.Tensor]) -> Any:
    """The expression's value in PyTorch, its advice (deprecations, unequal sizes) not listened to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate_formula(formula, leaves)


def gradient_in_torch(
    value: torch.Tensor, leaves: list[torch.Tensor], upstream: torch.Tensor
) -> list[torch.Tensor]:
    """PyTorch's gradient, zeros where nothing flows, ready to be differentiated again."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
        value, leaves, upstream, create_graph=True, allow_unused=True
    )
    return [
        torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)
    ]


class Case:
    """One sample with everything that the aspects look at, each computed once."""

    def __init__(self, op: Op, sample: Sample, precision: str = "float64") -> None:
        self.op, self.sample = op, sample
        rng = seeded(op.name + sample.expression)
        self.arrays: dict[str, Any] = {}
        self.scope: dict[str, Expr] = {}
        for name, spec in sample.inputs.items():
            dtype = precision if spec.dtype == "float64" else spec.dtype
            array = draw(spec, rng).astype(dtypes.BY_NAME[dtype].numpy)
            array.flags.writeable = False
            self.arrays[name] = array
            self.scope[name] = variable(name, array.shape, dtypes.BY_NAME[dtype])
        self.formula = parse(Source(sample.expression))
        with given(lambda: self.arrays):
            self.expr = build(self.formula, self.scope)
        self.wrt = [name for name, node in self.scope.items() if node.dtype.kind == "f"]
        self.rng = rng

    @cached_property
    def exact(self) -> bool:
        """Whether nothing in the expression is rounded to less than float64."""
        return all(
            node.dtype.kind != "f" or node.dtype.rank == dtypes.float64.rank
            for node in topological([self.expr])
        )

    @cached_property
    def differentiable(self) -> bool:
        return bool(self.sample.grad and self.wrt and self.expr.dtype.kind == "f")

    @cached_property
    def plan(self) -> Plan:
        return Plan([self.expr])

    @cached_property
    def value(self) -> Any:
        return self.plan(self.arrays)[0]

    @cached_property
    def leaves(self) -> dict[str, torch.Tensor]:
        return {
            name: torch.tensor(array).requires_grad_(name in self.wrt and self.sample.grad)
            for name, array in self.arrays.items()
        }

    @cached_property
    def reference(self) -> torch.Tensor:
        found = in_pytorch(self.formula, self.leaves)
        return found if isinstance(found, torch.Tensor) else torch.tensor(found)

    @cached_property
    def upstream(self) -> Any:
        return self.rng.standard_normal(self.expr.shape)

    @cached_property
    def gradient(self) -> tuple[Expr, ...]:
        upstream = variable(COTANGENT, self.expr.shape, self.expr.dtype)
        return differentiate(self.expr, [self.scope[name] for name in self.wrt], upstream)

    @cached_property
    def gradient_values(self) -> list[Any]:
        return Plan(self.gradient)({**self.arrays, COTANGENT: self.upstream})

    @cached_property
    def reference_gradient(self) -> list[torch.Tensor]:
        leaves = [self.leaves[name] for name in self.wrt]
        return gradient_in_torch(self.reference, leaves, torch.tensor(self.upstream))

    @cached_property
    def direction(self) -> dict[str, Any]:
        return {name: self.rng.standard_normal(self.arrays[name].shape) for name in self.wrt}

    @cached_property
    def held(self) -> tuple[Plan, dict[str, Any]]:
        """The expression with what `detach` cuts off held at its value, and those values."""
        cut = [node for node in topological([self.expr]) if node.op.name == "detach"]
        names = {node: f"held{number}_" for number, node in enumerate(cut)}
        values = dict(zip(names.values(), Plan(cut)(self.arrays), strict=True))
        made: dict[Expr, Expr] = {}
        for node in topological([self.expr], sizes=True):
            made[node] = (
                variable(names[node], node.shape, node.dtype)
                if node in names
                else rebuild(node, made.__getitem__)
            )
        return Plan([made[self.expr]]), {**self.arrays, **values}

    @cached_property
    def slope(self) -> float:
        """The engine's derivative of `(upstream * value).sum()` along `direction`."""
        pairs = zip(self.wrt, self.gradient_values, strict=True)
        return float(sum((g * self.direction[name]).sum() for name, g in pairs))

    def at(self, step: complex) -> Any:
        """`(upstream * value).sum()` at the inputs moved by `step` along `direction`."""
        plan, values = self.held
        moved = {name: values[name] + step * v for name, v in self.direction.items()}
        return (plan({**values, **moved})[0] * self.upstream).sum()


def close(found: Any, expected: Any, what: str, rtol: float, atol: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=what)


def value_shape_and_dtype(case: Case) -> None:
    assert case.expr.shape == tuple(case.reference.shape)
    assert case.value.shape == case.expr.shape
    if not case.expr.dtype.weak:
        assert repr(case.expr.dtype) == str(case.reference.dtype)
        assert case.value.dtype == case.expr.dtype.numpy
    rtol = 1e-10 if case.exact else 1e-5
    close(case.value, case.reference.numpy(force=True), "value", rtol, rtol / 100)


def gradient_against_torch(case: Case) -> None:
    if not case.differentiable:
        return
    found = zip(case.wrt, case.gradient_values, case.reference_gradient, strict=True)
    for name, ours, reference in found:
        assert ours.shape == case.arrays[name].shape
        rtol = 1e-8 if case.exact else 1e-5
        close(ours, reference.numpy(force=True), f"gradient of {name}", rtol, rtol / 100)


def gradient_against_differences(case: Case) -> None:
    if not (case.differentiable and case.exact and np.isfinite(case.value).all()):
        return
    step = 1e-5
    numeric = (case.at(step) - case.at(-step)) / (2 * step)
    close(case.slope, numeric, "slope by central differences", 1e-5, 1e-5)


def gradient_against_complex_step(case: Case) -> None:
    if not (case.differentiable and case.exact and np.isfinite(case.value).all()):
        return
    moving = set(map(case.scope.__getitem__, case.wrt))
    for node in topological([case.expr]):
        if any(arg in moving for arg in node.inputs):
            if node.op.name == "detach":
                continue
            if not node.op.analytic:
                return
            moving.add(node)
    close(case.slope, case.at(TINY * 1j).imag / TINY, "slope by complex step", 1e-8, 1e-9)


def scalar_gradient(case: Case) -> None:
    """Without a cotangent the upstream gradient of a scalar is the number 1, not a tensor."""
    if not case.differentiable or case.expr.ndim or case.expr in case.scope.values():
        return
    wrt = [case.scope[name] for name in case.wrt]
    gradient = differentiate(case.expr, wrt)
    ones = {**case.arrays, COTANGENT: np.ones(())}
    for ours, same in zip(Plan(gradient)(case.arrays), Plan(case.gradient)(ones), strict=True):
        close(ours, same, "gradient with upstream 1", 1e-12, 1e-14)
    assert_round_trip(case, gradient)


def second_derivative_against_torch(case: Case) -> None:
    if not (case.differentiable and case.sample.second):
        return
    weights = [case.rng.standard_normal(case.arrays[name].shape) for name in case.wrt]
    pairs = list(zip(case.reference_gradient, weights, strict=True))
    total = sum((g * torch.tensor(w)).sum() for g, w in pairs)
    assert isinstance(total, torch.Tensor)
    leaves = [case.leaves[name] for name in case.wrt]
    reference = gradient_in_torch(total, leaves, torch.tensor(1.0))
    ours: Expr | None = None
    values = {**case.arrays, COTANGENT: case.upstream}
    for position, (gradient, weight) in enumerate(zip(case.gradient, weights, strict=True)):
        values[f"w{position}_"] = weight
        term = (gradient * variable(f"w{position}_", weight.shape)).sum()
        ours = term if ours is None else ours + term
    assert ours is not None
    second = differentiate(ours, [case.scope[name] for name in case.wrt])
    for name, found, expected in zip(case.wrt, Plan(second)(values), reference, strict=True):
        what = f"second derivative of {name}"
        close(found, expected.numpy(force=True), what, 1e-7, 1e-9)


def kernel_against_definition(case: Case) -> None:
    if case.op.kernel is None or case.op.define is None:
        return
    found = [node for node in topological([case.expr]) if node.op is case.op]
    for node in found:
        definition = case.op.define(*node.args, **node.attributes)
        assert (definition.shape, definition.dtype) == (node.shape, node.dtype)
        both = Plan([node, definition])(case.arrays)
        close(both[0], both[1], "kernel against definition", 1e-10, 1e-12)
        if not case.differentiable:
            continue
        upstream = variable(COTANGENT, node.shape, node.dtype)
        values = {**case.arrays, COTANGENT: seeded(case.sample.expression).random(node.shape)}
        wrt = [case.scope[name] for name in case.wrt]
        by_rule = Plan(differentiate(node, wrt, upstream))(values)
        by_definition = Plan(differentiate(definition, wrt, upstream))(values)
        for name, a, b in zip(case.wrt, by_rule, by_definition, strict=True):
            close(a, b, f"rule against definition, {name}", 1e-8, 1e-10)


def assert_round_trip(case: Case, nodes: tuple[Expr, ...]) -> None:
    """Printing and parsing gives the same node, with and without `let` names."""
    grad = variable(COTANGENT, case.expr.shape, case.expr.dtype)
    scope = {**case.scope, COTANGENT: grad}
    printed = print_formulas(nodes)
    for name, text in printed.let:
        scope[name] = build(parse(Source(text)), scope)
    for node, text in zip(nodes, printed.texts, strict=True):
        again = build(parse(Source(text)), scope)
        assert again is node, f"{printed}\nreads back as\n{to_text(again)}"


def print_and_parse(case: Case) -> None:
    text = to_text(case.expr)
    again = build(parse(Source(text)), case.scope)
    assert again is case.expr, f"{text} reads back as {to_text(again)}"
    if case.differentiable:
        assert_round_trip(case, case.gradient)


def spread(array: Any) -> Any:
    """The same numbers with gaps between them in memory."""
    if array.ndim == 0:
        return array
    view = np.repeat(array, 2, axis=-1)[..., ::2]
    view.flags.writeable = False
    return view


def inputs_with_strides(case: Case) -> None:
    inputs = {name: spread(array) for name, array in case.arrays.items()}
    close(case.plan(inputs)[0], case.value, "value of non-contiguous inputs", 1e-12, 1e-14)


def single_precision(case: Case) -> None:
    if not case.wrt:
        return
    single = Case(case.op, case.sample, "float32")
    assert repr(single.expr.dtype) == str(single.reference.dtype)
    assert single.value.dtype == single.expr.dtype.numpy
    expected = single.reference.numpy(force=True)
    close(single.value, expected, "value in float32", 2e-4, 2e-5)
    program_against_plan(single)


@contextmanager
def everything_in_blocks() -> Iterator[None]:
    """Sizes at which even two numbers are cut into blocks and shared between threads."""
    with (
        mock.patch.object(regions, "BIG", 1),
        mock.patch.object(factor, "LARGE", 1),
        mock.patch.object(blocks, "BLOCK", 24),
        mock.patch.object(blocks, "WORTH_A_THREAD", 1e-12),
        mock.patch.object(blocks, "cores", return_value=2),
    ):
        yield


def program_against_plan(case: Case) -> None:
    """The planned forms, straight-line and in blocks, against one kernel after the other."""
    nodes = [case.expr, *(case.gradient if case.differentiable else ())]
    values = case.arrays
    if case.differentiable:
        values = {**values, COTANGENT: np.asarray(case.upstream, case.expr.dtype.numpy)}
    expected = Plan(nodes)(values)
    straight = Program(nodes, list(values))(*values.values())
    with everything_in_blocks():
        blocked = Program(nodes, list(values))(*values.values())
        with mock.patch.object(regions, "WIDE", 2):
            wide = Program(nodes, list(values))(*values.values())
    results = (("straight-line", straight), ("in blocks", blocked), ("in wide blocks", wide))
    for what, found in results:
        for node, a, b in zip(nodes, found, expected, strict=True):
            assert (np.shape(a), np.asarray(a).dtype) == (b.shape, b.dtype), f"{what}: {node}"
            # Near zero, what is left of terms that cancel is rounding.
            close(a, b, what, *((1e-10, 1e-11) if case.exact else (1e-4, 1e-5)))


ASPECTS: tuple[Callable[[Case], None], ...] = (
    value_shape_and_dtype,
    gradient_against_torch,
    gradient_against_differences,
    gradient_against_complex_step,
    scalar_gradient,
    second_derivative_against_torch,
    kernel_against_definition,
    print_and_parse,
    inputs_with_strides,
    single_precision,
    program_against_plan,
)
SAMPLES = [
    pytest.param(op, sample, id=f"{op.name}-{number}")
    for op in TABLE.by_name.values()
    for number, sample in enumerate((*op.samples, *automatic(op)))
]


@pytest.mark.parametrize(("op", "sample"), SAMPLES)
def test_sample(op: Op, sample: Sample) -> None:
    case = Case(op, sample)
    failures = []
    for aspect in ASPECTS:
        try:
            with given(lambda: case.arrays):
                aspect(case)
        except Exception as error:  # noqa: BLE001  -- every aspect is told, whatever broke
            failures.append(f"{aspect.__name__}: {type(error).__name__}: {error}")
    shapes = {name: array.shape for name, array in case.arrays.items()}
    head = f"{op.name}: {sample.expression} with {shapes}"
    assert not failures, "\n".join([head, *failures])


WITHOUT_RULE = [op for op in TABLE.by_name.values() if op.kernel is not None and op.vjp is None]


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in WITHOUT_RULE])
def test_a_record_without_a_rule_is_one_that_pytorch_has_none_for(op: Op) -> None:
    """Also on the samples whose gradients aren't compared otherwise."""
    for sample in (*op.samples, *automatic(op)):
        case = Case(op, Sample(sample.expression, **sample.inputs))  # type: ignore[arg-type]
        if case.expr.dtype.kind != "f" or not case.reference.requires_grad:
            continue
        with suppress(RuntimeError):  # PyTorch refuses to differentiate it
            gradient_against_torch(case)


INTEGERS = [
    op for op in TABLE.by_name.values() if op.elementwise and tensor_parameters(op) is not None
]


@pytest.mark.parametrize("dtype", ["int64", "bool"])
@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in INTEGERS])
def test_integers_are_promoted_or_refused_as_in_pytorch(op: Op, dtype: str) -> None:
    parameters = tensor_parameters(op)
    assert parameters
    names = "xyz"[: len(parameters)]
    inputs = {name: In((3,), dtype=dtype, low=1, high=4) for name in names}
    sample = Sample(written(op, names), **inputs)  # type: ignore[arg-type]
    formula = parse(Source(sample.expression))
    rng = seeded(op.name)
    arrays = {name: draw(spec, rng) for name, spec in sample.inputs.items()}
    try:
        reference = in_pytorch(formula, {k: torch.tensor(a) for k, a in arrays.items()})
    except (RuntimeError, TypeError):
        with pytest.raises(GradcheckError):
            Case(op, sample)
        return
    case = Case(op, sample)
    assert repr(case.expr.dtype) == str(reference.dtype)
    value = case.plan(arrays)[0]
    assert value.dtype == case.expr.dtype.numpy
    close(value, reference.numpy(force=True), sample.expression, 1e-10, 1e-12)


def test_hardsigmoid_has_the_slope_that_pytorch_rounds() -> None:
    """Its samples can't be held to PyTorch's gradient, which is 3e-8 off, so differences have to do."""
    op = TABLE.by_name["hardsigmoid"]
    inside = Sample("F.hardsigmoid(x)", x=In((3,), -2.5, 2.5))
    outside = Sample("F.hardsigmoid(x)", x=In(value=[-4.0, 5.0, 3.5]))
    for sample in (inside, outside):
        gradient_against_differences(Case(op, sample))
    assert Case(op, inside).slope != 0
