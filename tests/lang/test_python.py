"""Code made of nodes: every operator's samples, and their gradients, as PyTorch and as NumPy run them."""

from __future__ import annotations

import math
import warnings
import zlib
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch
import torch.nn.functional

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import TABLE, Expr, In, Op, t, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.code.numpy_table import TABLE as SPELLINGS
from gradcheck_cli.lang.code.numpy_templates import HELPERS
from gradcheck_cli.lang.code.numpy_text import NumpyPrinter, with_spellings
from gradcheck_cli.lang.code.torch_text import TorchPrinter
from gradcheck_cli.lang.code.written import Written
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops import known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.lang.printer import Printed

Arrays = dict[str, Any]
# Of an operator with more samples, those say little of how it prints.
MOST_SAMPLES = 8
TORCH = {"torch": torch, "F": torch.nn.functional, "math": math}


def draw(spec: In, rng: np.random.Generator) -> Any:
    """One input as its record asks."""
    dtype = dtypes.BY_NAME[spec.dtype]
    if spec.value is not None:
        drawn = np.array(spec.value)
    elif spec.structure is not None:
        square = rng.standard_normal(spec.shape)
        size = spec.shape[-1]
        drawn = np.tril(square) if "lower" in spec.structure else square @ square.swapaxes(-1, -2)
        drawn = drawn + size * np.eye(size)
    elif dtype.kind == "b":
        drawn = rng.random(spec.shape) < 0.5
    elif dtype.kind == "i":
        low = int(spec.low or 0)
        drawn = rng.integers(low, int(low + 2 if spec.high is None else spec.high), spec.shape)
    elif spec.low is None and spec.high is None:
        drawn = rng.standard_normal(spec.shape)
    else:
        drawn = rng.uniform(spec.low or 0.0, 1.0 if spec.high is None else spec.high, spec.shape)
    return np.array(drawn, dtype=dtype.numpy)


class Drawn(NamedTuple):
    """A sample: its text, scope and arrays, the nodes of value and gradients, and their numbers."""

    text: str
    scope: dict[str, Expr]
    arrays: Arrays
    nodes: tuple[Expr, ...]
    expected: list[Any]


@cache
def samples(op: Op) -> tuple[Drawn, ...]:
    return tuple(drawn(op))


def drawn(op: Op) -> Iterator[Drawn]:
    for sample in op.samples[:MOST_SAMPLES]:
        rng = np.random.default_rng(zlib.crc32(sample.expression.encode()))
        arrays = {name: draw(spec, rng) for name, spec in sample.inputs.items()}
        scope = {
            name: variable(name, array.shape, dtypes.BY_NAME[sample.inputs[name].dtype])
            for name, array in arrays.items()
        }
        with known.given(partial(dict, arrays)):
            output = build(parse(Source(sample.expression)), scope)
            if output.value is not None or output.dtype.kind == "z":
                continue
            wrt = [node for node in scope.values() if node.dtype is dtypes.float64][:2]
            nodes: tuple[Expr, ...] = (output,)
            if sample.grad and output.dtype is dtypes.float64 and wrt:
                nodes += differentiate(output, wrt, t.full_like(output, 0.75))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = Plan(list(nodes))(arrays)
            yield Drawn(sample.expression, scope, arrays, nodes, expected)


def likeness(scope: dict[str, Expr]) -> str | None:
    """The name of an input of the default dtype."""
    return next((name for name, node in scope.items() if node.dtype is dtypes.float64), None)


def evaluated(printed: Printed, names: dict[str, Any]) -> list[Any]:
    scope = dict(names)
    for name, text in printed.let:
        scope[name] = eval(text, scope)
    return [eval(text, scope) for text in printed.texts]


def assert_same(actual: Any, expected: Any, text: str) -> None:
    if isinstance(actual, torch.Tensor):
        actual = actual.resolve_conj().resolve_neg().detach().numpy()
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape, text
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-8, err_msg=text)


@pytest.mark.parametrize("op", TABLE.by_name.values(), ids=lambda op: op.name)
def test_pytorch_runs_the_code_of_every_sample(op: Op) -> None:
    assert torch.get_default_dtype() is torch.float32  # so that a dtype left to PyTorch is seen
    for text, scope, arrays, nodes, expected in samples(op):
        like = likeness(scope)
        if like is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            if any(node.op.name == "_ctc_loss" for node in topological(nodes)):
                with pytest.raises(GradcheckError, match="internal to PyTorch"):
                    TorchPrinter({}, like=like).print(nodes)
                continue
            printed = TorchPrinter({}, like=like).print(nodes)
            actual = evaluated(printed, {**TORCH, **tensors})
        for node, found, wanted in zip(nodes, actual, expected, strict=True):
            assert_same(found, wanted, f"{text}: {printed}")
            if node.dtype.kind == "f":
                assert found.dtype is getattr(torch, node.dtype.name), f"{text}: {printed}"


def in_numpy(node: Expr) -> Printed | None:
    """The code; None where NumPy has no words for it."""
    try:
        return NumpyPrinter({}, {}).print(with_spellings([node]))
    except GradcheckError as error:
        if {problem.code for problem in error.problems} != {"GC029"}:
            raise
        return None


@pytest.mark.parametrize("op", TABLE.by_name.values(), ids=lambda op: op.name)
def test_numpy_runs_the_code_of_every_sample_that_it_has_words_for(op: Op) -> None:
    helpers: dict[str, Any] = {"np": np}
    for code in HELPERS.values():
        exec(code, helpers)
    modules = {"np": np, "special": scipy.special, "linalg": scipy.linalg, **helpers}
    for text, _, arrays, nodes, expected in samples(op):
        for node, wanted in zip(nodes, expected, strict=True):
            printed = in_numpy(node)
            if printed is None:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                (actual,) = evaluated(printed, {**modules, **arrays})
            assert_same(actual, wanted, f"{text}: {printed}")


def test_every_spelling_is_of_an_operator() -> None:
    unknown = [name for name in SPELLINGS if name not in TABLE.by_name]
    assert not unknown


def printed_for_torch(text: str, **inputs: tuple[int, ...] | In) -> str:
    scope = {
        name: variable(name, i.shape, dtypes.BY_NAME[i.dtype])
        if isinstance(i, In)
        else variable(name, i)
        for name, i in inputs.items()
    }
    return str(TorchPrinter({}, like="x").print([build(parse(Source(text)), scope)]))


WHOLE = In((3,), dtype="int64")
MASK = In((3,), dtype="bool")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sigmoid(x)", "torch.sigmoid(x)"),
        ("relu(x)", "torch.relu(x)"),
        ("F.softplus(x)", "F.softplus(x)"),
        ("x + torch.eye(3)", "x + torch.eye(3, dtype=x.dtype, device=x.device)"),
        ("where(m, 1.0, 0.1) * x", "torch.where(m, x.new_tensor(1.0), 0.1) * x"),
        ("where(m, n, 0.1) * x", "torch.where(m, n.to(x.dtype), 0.1) * x"),
        ("n / 2 * x", "n.to(x.dtype) / 2 * x"),
        ("exp(n) * x", "torch.exp(n.to(x.dtype)) * x"),
        ("x * arange(3)", "x * torch.arange(0, 3, device=x.device)"),
        (
            "x * torch.tensor([1.0, 2.0, 3.0])",
            "x * torch.tensor([1.0, 2.0, 3.0], dtype=x.dtype, device=x.device)",
        ),
        ("x.sum(dim=None, keepdim=True)", "x.sum(dim=None, keepdim=True)"),
    ],
)
def test_dtype_and_device_are_said(text: str, code: str) -> None:
    assert printed_for_torch(text, x=(3,), n=WHOLE, m=MASK) == code


def test_work_that_is_used_twice_is_done_once() -> None:
    A = variable("A", (3, 3))
    root = (A @ A).exp()
    printed = TorchPrinter({}, like="A").print([root.sum() + root.mean()])
    assert str(printed) == "t1 = torch.exp(A @ A)\nt1.sum() + t1.mean()"


def test_a_factorisation_is_called_once() -> None:
    scope = {"A": variable("A", (3, 3))}
    text = "torch.linalg.qr(A).Q @ torch.linalg.qr(A).R"
    printed = TorchPrinter({}, like="A").print([build(parse(Source(text)), scope)])
    assert str(printed) == "t1 = torch.linalg.qr(A)\nt1.Q @ t1.R"


def test_of_a_shape_only_the_shape_is_read() -> None:
    x = variable("x", (3, 4))
    g = variable("grad", ())
    printer = TorchPrinter({}, like="grad", shapes={x: "x_shape"})
    nodes = [g.expand((x.size(0), x.size(1))), g / x.numel(), t.zeros_like(x), g * x.size(1)]
    assert list(printer.print(nodes).texts) == [
        "grad.expand(x_shape)",
        "grad / x_shape.numel()",
        "grad.new_zeros(x_shape)",
        "grad * x_shape[1]",
    ]


def written(text: str, kept: dict[Expr, str] | None = None, **inputs: Expr) -> Written:
    lines = Written(inputs, {name: name for name in inputs}, "x", kept)
    lines.add("y", parse(Source(text)))
    return lines


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("softmax(x,0)", "torch.softmax(x, 0)"),
        ("F.cross_entropy(x, n[0])", "F.cross_entropy(x, n[0])"),
        ("torch.nn.functional.relu(x)", "torch.nn.functional.relu(x)"),
        ("one_hot(n, 3) * x", "F.one_hot(n, 3) * x"),
        ("x @ eye(3)", "x @ torch.eye(3, dtype=x.dtype, device=x.device)"),
        ("x + arange(3)", "x + torch.arange(3, device=x.device)"),
        (
            "x + arange(3, dtype=torch.float64)",
            "x + torch.arange(3, dtype=torch.float64, device=x.device)",
        ),
        ("x + n.to(x.dtype)", "x + n.to(x.dtype)"),
        ("linspace(x[0], 1, 3)", "torch.linspace(x[0], 1, 3, dtype=x.dtype, device=x.device)"),
    ],
)
def test_the_persons_words_get_their_modules(text: str, code: str) -> None:
    found = written(text, x=variable("x", (3,)), n=variable("n", (3,), dtypes.int64))
    assert found.lines == [("y", code)]
    assert not found.refused


@pytest.mark.parametrize(
    "text", ["where(m, 1.0, 0.1) * x", "n / 2 * x", "exp(n) * x", "n.sqrt() * x", "(n * 0.5) * x"]
)
def test_words_that_rest_on_a_checks_dtype_are_refused(text: str) -> None:
    x, n, m = (
        variable("x", (3,)),
        variable("n", (3,), dtypes.int64),
        variable("m", (3,), dtypes.bool_),
    )
    assert written(text, x=x, n=n, m=m).refused


def test_parts_that_are_kept_get_a_line() -> None:
    x = variable("x", (3, 3))
    found = written("tanh(x @ x) + (x @ x)", {x @ x: "s1"}, x=x)
    assert found.lines == [("s1", "x @ x"), ("y", "torch.tanh(s1) + s1")]


def test_a_formula_is_left_as_it_was() -> None:
    formula = parse(Source("softmax(x, dim=0) @ eye(3)"))
    x = variable("x", (3,))
    texts = []
    for _ in range(2):
        lines = Written({"x": x}, {"x": "x"}, "x")
        lines.add("y", formula)
        texts.append(lines.lines)
    assert texts[0] == texts[1]
    build(formula, {"x": x})
