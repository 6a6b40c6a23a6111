"""`compile`: values and gradients as PyTorch's, whatever the arrays are like; what is refused, and how."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
import torch

import gradcheck_cli
from gradcheck_cli.engine import blocks, compiled, regions
from gradcheck_cli.engine.compiled import compile as compiled_from
from gradcheck_cli.errors import ExitCode, GradcheckError

RNG = np.random.default_rng(0)
if TYPE_CHECKING:
    from collections.abc import Callable

# Large enough for blocks, and no multiple of any block.
MANY = 70_001

EXPRESSIONS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "squares": ("(p - r).pow(2).sum()", {"p": (MANY,), "r": (MANY,)}),
    "chain": (
        "(torch.tanh(torch.sin(x) * torch.exp(y)) / (1 + x * x)).mean()",
        {"x": (301, 233), "y": (233,)},
    ),
    "columns": (
        "((x * w + b).relu() * x.amax(1, keepdim=True)).sum()",
        {"x": (300, 301), "w": (301,), "b": (301,)},
    ),
    "softmax": ("(torch.softmax(x, -1) * y).sum()", {"x": (7, 100, 101), "y": (7, 100, 101)}),
    "log softmax": ("(F.log_softmax(x, 1) * y).sum()", {"x": (300, 301), "y": (300, 301)}),
    "layer norm": (
        "(F.layer_norm(x, (x.size(-1),), w, b) * x.sin()).sum()",
        {"x": (400, 200), "w": (200,), "b": (200,)},
    ),
    "rms norm": ("F.rms_norm(x, (200,), w).square().sum()", {"x": (400, 200), "w": (200,)}),
    "batch norm": (
        "(F.batch_norm(x, None, None, w, b, training=True) * y).sum()",
        {"x": (40, 30, 60), "w": (30,), "b": (30,), "y": (40, 30, 60)},
    ),
    "attention": (
        "(F.scaled_dot_product_attention(q, k, v) * q).sum()",
        {"q": (6, 90, 40), "k": (6, 90, 40), "v": (6, 90, 40)},
    ),
    "logsumexp": ("torch.logsumexp(x, -1).sum()", {"x": (2, MANY)}),
    "gelu and silu": (
        "(F.gelu(x) + F.silu(x) + F.gelu(x, approximate='tanh')).sum()",
        {"x": (MANY,)},
    ),
    "running sums": ("x.cumsum(1).pow(2).sum()", {"x": (200, 300)}),
    "transposed": ("(x.T * y).sum().sqrt()", {"x": (300, 200), "y": (200, 300)}),
    "totals used again": ("((x - x.mean()) / x.std()).pow(3).sum()", {"x": (MANY,)}),
    "outer": ("torch.exp(-(x.unsqueeze(1) - y).pow(2)).sum()", {"x": (290,), "y": (280,)}),
    "several families": (
        "(x.sin().sum(0) * y.cos().sum(1)).sum()",
        {"x": (300, 200), "y": (200, 300)},
    ),
    "small": ("(x @ w).tanh().sum()", {"x": (3, 4), "w": (4, 2)}),
    "number": ("x.exp() * x", {"x": ()}),
    "empty": ("(x * y).sum() + y.sum()", {"x": (0, 3), "y": (3,)}),
}


def in_torch(text: str, arrays: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    leaves = {
        name: torch.tensor(array).requires_grad_(array.dtype.kind == "f")
        for name, array in arrays.items()
    }
    value = eval(text, {"torch": torch, "F": torch.nn.functional}, dict(leaves))
    value.backward()
    gradients = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return value.detach().numpy(), {name: g.numpy() for name, g in gradients.items()}


def drawn(shapes: dict[str, tuple[int, ...]], dtype: str) -> dict[str, Any]:
    return {name: RNG.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def close(found: Any, expected: Any, dtype: str) -> None:
    scale = float(np.max(np.abs(expected), initial=0.0))
    # The error of a sum is relative to its largest terms, not to what is left of them.
    rtol, atol = (1e-9, 1e-12) if dtype == "float64" else (2e-3, 2e-5)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol * max(scale, 1.0))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_value_and_gradients_are_pytorchs(name: str, dtype: str) -> None:
    text, shapes = EXPRESSIONS[name]
    arrays = drawn(shapes, dtype)
    value, gradients = compiled_from(text)(**arrays)
    expected, expected_gradients = in_torch(text, arrays)
    assert value.dtype == dtype
    close(value, expected, dtype)
    assert gradients.keys() == expected_gradients.keys()
    for key, gradient in gradients.items():
        assert gradient.shape == arrays[key].shape
        assert gradient.dtype == dtype
        close(gradient, expected_gradients[key], dtype)


def test_class_indices() -> None:
    logits = RNG.standard_normal((300, 101))
    target = RNG.integers(0, 101, 300)
    target[::7] = -100
    value, gradients = compiled_from("F.cross_entropy(x, t)")(x=logits, t=target)
    expected, expected_gradients = in_torch("F.cross_entropy(x, t)", {"x": logits, "t": target})
    assert list(gradients) == ["x"]
    close(value, expected, "float64")
    close(gradients["x"], expected_gradients["x"], "float64")


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "Fortran order": np.asfortranarray,
    "reversed": lambda x: x[::-1, ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "zero strides": lambda x: np.broadcast_to(x[:1], x.shape),
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
}


@pytest.mark.parametrize("shape", [(3, 4), (200, 300)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_in_memory(layout: str, shape: tuple[int, int]) -> None:
    text = "(x * y).sin().sum() + x.logsumexp(1).sum()"
    x = LAYOUTS[layout](RNG.standard_normal(shape))
    x.setflags(write=False)
    y = RNG.standard_normal(shape)
    f = compiled_from(text)
    value, gradients = f(x=x, y=y)
    plain = np.array(x, dtype=np.float64)
    expected, expected_gradients = f(x=plain, y=y)
    close(value, expected, "float64")
    close(gradients["x"], expected_gradients["x"], "float64")


@pytest.mark.parametrize("size", [4, MANY])
def test_results_are_the_callers_own(size: int) -> None:
    """Neither an input, nor another result, nor a later call shares memory with them."""
    f = compiled_from("(x * y + z + w).sum()")
    arrays = drawn(dict.fromkeys("xyzw", (size,)), "float64")
    kept = {name: array.copy() for name, array in arrays.items()}
    _, gradients = f(**arrays)
    before = {name: gradient.copy() for name, gradient in gradients.items()}
    for gradient in gradients.values():
        for other in (*arrays.values(), *(g for g in gradients.values() if g is not gradient)):
            assert not np.shares_memory(gradient, other)
    second = f(**{name: array + 1 for name, array in arrays.items()})
    for name, gradient in gradients.items():
        assert np.array_equal(gradient, before[name])
        np.add(gradient, 1, out=gradient)
        assert np.array_equal(arrays[name], kept[name])
    assert np.array_equal(second[1]["x"], kept["y"] + 1)


def test_memory_of_dropped_results_is_used_again() -> None:
    f = compiled_from("x.sin().sum()")
    x = RNG.standard_normal(MANY)
    addresses = set()
    for _ in range(5):
        _, gradients = f(x=x)
        addresses.add(gradients["x"].ctypes.data)
        del gradients
    assert len(addresses) == 1


def test_runs_repeat_bit_by_bit_for_a_number_of_threads() -> None:
    text, shapes = EXPRESSIONS["layer norm"]
    arrays = drawn(shapes, "float32")
    found = {}
    for threads in (1, 2, 3):
        with (
            mock.patch.object(blocks, "cores", lambda threads=threads: threads),
            mock.patch.object(blocks, "WORTH_A_THREAD", 1e-9),
        ):
            f = compiled_from(text)
            runs = [f(**arrays) for _ in range(3)]
        for value, gradients in runs[1:]:
            assert value == runs[0][0]
            assert all(np.array_equal(g, runs[0][1][name]) for name, g in gradients.items())
        found[threads] = runs[0]
    for value, gradients in found.values():
        close(value, found[1][0], "float32")
        for name, gradient in gradients.items():
            close(gradient, found[1][1][name], "float32")


def test_threads_can_share_one_callable() -> None:
    f = compiled_from("(x.exp() * x).sum()")
    problems: list[str] = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).standard_normal(MANY if seed % 2 else 5)
        for _ in range(10):
            _, gradients = f(x=x)
            if not np.allclose(gradients["x"], np.exp(x) * (1 + x)):
                problems.append(f"thread {seed}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


@pytest.mark.parametrize("rows", [3, 400])
def test_after_an_error_in_the_middle_the_next_call_is_right(rows: int) -> None:
    f = compiled_from("F.cross_entropy(x.sin(), t)")
    x = RNG.standard_normal((rows, 200))
    right, wrong = np.zeros(rows, np.int64), np.full(rows, 200)
    first = f(x=x, t=right)
    with pytest.raises(GradcheckError, match="out of range") as raised:
        f(x=x, t=wrong)
    assert raised.value.problems[0].code == "GC014"
    again = f(x=x, t=right)
    assert again[0] == first[0]
    assert np.array_equal(again[1]["x"], first[1]["x"])


def test_half_precision_is_computed_in_single_and_rounded_once() -> None:
    x = RNG.standard_normal((40, 50)).astype(np.float16)
    value, gradients = compiled_from("torch.logsumexp(x * 30, 1).sum()")(x=x)
    reference = compiled_from("torch.logsumexp(x * 30, 1).sum()")(x=x.astype(np.float32))
    assert value.dtype == gradients["x"].dtype == np.float16
    assert value == reference[0].astype(np.float16)
    assert np.array_equal(gradients["x"], reference[1]["x"].astype(np.float16))


def test_what_half_precision_cannot_hold_is_infinite() -> None:
    value, gradients = compiled_from("(x * x).sum()")(x=np.ones(70_000, np.float16))
    assert value == np.inf
    assert np.array_equal(gradients["x"], np.full(70_000, 2.0))


def test_an_input_may_have_any_name() -> None:
    assert compiled_from("(self * arrays).sum()")(self=np.ones(2), arrays=np.ones(2))[0] == 2


def test_mixed_dtypes_promote_and_gradients_have_their_inputs() -> None:
    x = RNG.standard_normal((300, 100)).astype(np.float32)
    y = RNG.standard_normal(100)
    n = RNG.integers(0, 5, (300, 1))
    text = "(x * y + n).tanh().sum()"
    value, gradients = compiled_from(text)(x=x, y=y, n=n)
    expected, expected_gradients = in_torch(text, {"x": x, "y": y, "n": n})
    assert value.dtype == np.float64
    assert {name: g.dtype.name for name, g in gradients.items()} == {"x": "float32", "y": "float64"}
    close(value, expected, "float64")
    close(gradients["x"], expected_gradients["x"], "float32")
    close(gradients["y"], expected_gradients["y"], "float64")


def test_only_what_is_asked_for() -> None:
    f = compiled_from("(x * y).sum()", wrt=["y"])
    assert list(f(x=np.ones(3), y=np.ones(3))[1]) == ["y"]


def test_an_upstream_gradient() -> None:
    x, upstream = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
    value, gradients = compiled_from("x.sin()")(x=x, grad=upstream)
    assert value.shape == (3, 4)
    close(gradients["x"], upstream * np.cos(x), "float64")


def test_lists_and_numbers_are_arrays_too() -> None:
    value, gradients = compiled_from("(x * s).sum()")(x=[1.0, 2.0], s=3.0)
    assert value == 9.0
    assert gradients["s"] == 3.0
    assert gradients["s"].shape == ()


def test_plans_are_kept_by_shape_and_dtype_but_not_without_end() -> None:
    f = compiled_from("x.sum()")
    for size in (2, 3, 2):
        f(x=np.ones(size))
    assert len(f._plans) == 2
    for size in range(100):
        f(x=np.ones(size))
    assert len(f._plans) <= compiled._MOST_PLANS


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ({"x": np.array([object()])}, TypeError, "dtype object"),
        ({"x": np.array(["a"])}, TypeError, "dtype <U1"),
        ({"x": np.ones(2, complex)}, TypeError, "complex128"),
        ({"x": np.ones(2, np.longdouble)}, TypeError, "float128"),
        ({"x": np.ma.array([1.0, 2.0], mask=[False, True])}, TypeError, "masked"),
        ({"x": [[1.0, 2.0], [3.0]]}, TypeError, "`x` is no array"),
        ({"x": np.ones(2), "z": np.ones(2)}, TypeError, "no input `z`"),
        ({}, GradcheckError, "`x`"),
        ({"x": np.ones((2, 3)), "y": np.ones(4)}, GradcheckError, r"\(2, 3\) and \(4,\)"),
        ({"x": np.ones(2, int), "y": np.ones(2, int)}, GradcheckError, "no gradient"),
    ],
)
def test_bad_arrays_are_refused_in_words(
    arrays: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        compiled_from("(x * y).sum()")(**({"y": np.ones(2)} if "x" in arrays else {}) | arrays)


def test_bad_expressions_are_refused_at_once() -> None:
    with pytest.raises(GradcheckError, match="sumx"):
        compiled_from("(x * y).sumx()")(x=np.ones(2), y=np.ones(2))
    with pytest.raises(GradcheckError, match="does not use the input `z`"):
        compiled_from("x.sum()", wrt=["z"])
    with pytest.raises(GradcheckError, match="no scalar"):
        compiled_from("x * 2")(x=np.ones(3))
    with pytest.raises(TypeError, match="no gradient"):
        compiled_from("(x * n).sum()", wrt=["n"])(x=np.ones(2), n=np.ones(2, int))


def test_an_expression_is_text() -> None:
    with pytest.raises(TypeError, match="an expression is text"):
        compiled_from(3)  # type: ignore[arg-type]


def test_copies_of_arrays_that_are_not_contiguous_are_counted() -> None:
    """A huge array with zero strides takes no memory, until its dims are joined."""
    f = compiled_from("(x * y).sin().sum()", wrt=["y"])
    with pytest.raises(GradcheckError) as raised:
        f(x=np.broadcast_to(1.0, (10**7, 10**6)), y=2.0)
    assert raised.value.problems[0].code == "GC303"


def test_what_exceeds_memory_is_refused_before_it_is_allocated() -> None:
    with (
        mock.patch.object(compiled, "memory_limit", return_value=10**9),
        pytest.raises(GradcheckError) as raised,
    ):
        # Blocks do without the whole outer product; a matrix product needs it.
        compiled_from("(torch.outer(x, x) @ x).sum()")(x=np.ones(40_000))
    assert raised.value.problems[0].code == "GC303"
    assert raised.value.exit_code == ExitCode.CANNOT_RUN


def test_blocks_need_no_memory_for_what_is_in_between() -> None:
    """100 million products, in blocks: the plan's peak is far below the 800 MB of one of them."""
    f = compiled_from("(x.unsqueeze(1) - y).abs().sum()")
    f(x=np.ones(20_000), y=np.zeros(5_000))
    (planned,) = f._plans.values()
    assert planned._program.peak_bytes < 50e6


def test_the_package_exports_it() -> None:
    assert gradcheck_cli.compile is compiled_from
    assert repr(gradcheck_cli.compile("x.sum()")) == "compile('x.sum()')"


def test_large_arrays_do_run_in_blocks() -> None:
    """Else the tests above would show less than they seem to."""
    made = []
    original = regions.Region.__init__

    def counting(self: regions.Region, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self)

    with mock.patch.object(regions.Region, "__init__", counting):
        text, shapes = EXPRESSIONS["layer norm"]
        compiled_from(text)(**drawn(shapes, "float64"))
    assert len(made) == 1
    assert len(made[0].nodes) > 20
