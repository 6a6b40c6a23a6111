"""`Tensor` beside PyTorch: what it is made from, how it prints, what Python sees of it."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli import (
    Tensor,
    dtypes,
    functions,
    no_grad,
    tensor,
)

F = functions.nn.functional


# Ours and PyTorch's, of no type in common.
MAKERS: tuple[Any, Any] = (tensor, torch.tensor)


def both(values: Any, *, requires_grad: bool = True) -> tuple[Any, Any]:
    array = np.asarray(values)
    return tensor(array, requires_grad=requires_grad), torch.tensor(
        array, requires_grad=requires_grad
    )


# Making tensors.

DATA: list[Any] = [
    1.5,
    2,
    True,
    [1.0, 2.0],
    [1, 2.5],
    [[1, 2], [3, 4]],
    [True, False],
    [],
    [[], []],
    (1, 2),
    np.arange(6.0).reshape(2, 3),
    np.arange(6, dtype=np.int32),
    np.float64(2.0),
    [np.float64(1.0), np.float64(2.0)],
    np.zeros((0, 3)),
    np.array([1, 2], np.uint8),
    np.array(1.0, np.float16),
]


@pytest.mark.parametrize("data", DATA, ids=repr)
def test_data_gets_the_dtype_and_shape_that_pytorch_gives(data: Any) -> None:
    ours, reference = tensor(data), torch.tensor(data)
    assert repr(ours) == repr(reference)
    assert tuple(ours.shape) == tuple(reference.shape)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("text", TypeError),
        ([1.0, "a"], TypeError),
        (None, TypeError),
        (np.array([1.0, None]), TypeError),
        (object(), TypeError),
        (1j, TypeError),
        ([[1, 2], [3]], ValueError),
        ([1, [2]], ValueError),
        (2**70, (TypeError, ValueError)),
        (2**63, ValueError),
        (np.array(["2020-01-01"], "datetime64[D]"), TypeError),
    ],
)
def test_what_holds_no_numbers_is_refused(data: Any, error: Any) -> None:
    with pytest.raises(error):
        tensor(data)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0).reshape(3, 4)[::-1, ::2],
        np.broadcast_to(np.array([1.0, 2.0]), (3, 2)),
        np.arange(4, dtype=">f8"),
    ],
    ids=["fortran", "strided", "zero stride", "big endian"],
)
def test_awkward_arrays_hold_the_same_numbers(array: Any) -> None:
    array.flags.writeable = False
    x = tensor(array, requires_grad=True)
    (x * x).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.detach().numpy(), array)
    np.testing.assert_array_equal(x.grad.numpy(), 2 * array)


def test_the_caller_changing_an_array_changes_nothing() -> None:
    array = np.ones(3)
    x = tensor(array, requires_grad=True)
    loss = (x * x).sum()
    array[:] = 7.0
    loss.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_numpy_gives_a_view_that_cannot_be_written() -> None:
    x = tensor([1.0, 2.0])
    view = x.numpy()
    assert np.shares_memory(view, x.numpy())
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5.0
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    writable = np.array(x)
    writable[0] = 5.0
    assert x.tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="detach"):
        x.requires_grad_().numpy()


# Printing.


@pytest.mark.parametrize("seed", range(40))
def test_it_prints_as_in_pytorch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, rng.integers(0, 4)))
    shape = {5: (40, 30), 6: (2000,), 7: (3, 40, 30), 8: (0, 3)}.get(seed, shape)
    array = np.asarray(rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 7))
    if seed % 3 == 0:
        array = np.round(array)
    if seed % 5 == 0 and array.size:
        array.flat[0] = [np.nan, np.inf, -np.inf][seed % 3]
    with np.errstate(over="ignore"):
        array = np.asarray(
            array.astype(["float32", "float64", "float16", "int64", "bool"][seed % 5])
        )
    ours, reference = both(array, requires_grad=array.dtype.kind == "f")
    assert repr(ours) == repr(reference)
    if array.dtype.kind == "f":
        assert repr(ours * 2) == repr(reference * 2)


NAMES = [
    *("x + 1", "x * 2", "x ** 2", "2 ** x", "x ** x", "x.sum()", "x.sum(1)", "x.mean()", "-x"),
    *("x.mean(0)", "x @ x.T", "x.max()", "x.reshape(6)", "x[0]", "x[:, 1:]", "x[:, None]", "1 - x"),
    *(
        "x.exp()",
        "x.log1p()",
        "x.sigmoid()",
        "x.tanh()",
        "x.relu()",
        "x.clone()",
        "x / 2",
        "x[...]",
    ),
    *("x.softmax(1)", "x.expand(2, 2, 3)", "x.to(x.double().dtype)", "x.unsqueeze(0)", "x.amax(1)"),
]


@pytest.mark.parametrize("expression", NAMES)
def test_grad_fn_has_the_name_that_pytorch_gives(expression: str) -> None:
    ours, reference = both(np.ones((2, 3), np.float32))
    a, b = eval(expression, {"x": ours}), eval(expression, {"x": reference})
    assert a.grad_fn.name() == b.grad_fn.name()
    assert f"grad_fn=<{b.grad_fn.name()}>" in repr(a)
    assert repr(a.grad_fn).startswith(f"<{b.grad_fn.name()} object at 0x")


def names(fn: Any) -> Any:
    """The graph under a `grad_fn` as nested names."""
    return fn and (type(fn).__name__, [(names(f), n) for f, n in fn.next_functions])


def test_next_functions_lead_to_the_leaves() -> None:
    ours, reference = both(np.ones((2, 2), np.float32))
    a, b = [((x * 2 + x.exp()) @ x - 1).pow(2).sum() for x in (ours, reference)]
    assert names(a.grad_fn) == names(b.grad_fn)
    assert a.grad_fn is a.grad_fn
    accumulate = (ours * 2).grad_fn.next_functions[0][0]
    assert accumulate.variable is ours
    assert ours.grad_fn is None


# Dtypes.


@pytest.mark.parametrize("low", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_single_and_rounded(low: str) -> None:
    rng = np.random.default_rng(1)
    array = rng.standard_normal((4, 5)).astype(np.float32)
    x = tensor(array, dtype=low, requires_grad=True)
    reference: Any = torch.tensor(array, dtype=getattr(torch, low), requires_grad=True)
    for made, theirs in ((x.exp() * 3, reference.exp() * 3), (x @ x.T, reference @ reference.T)):
        assert repr(made.dtype) == str(theirs.dtype)
        np.testing.assert_allclose(made.tolist(), theirs.tolist(), rtol=1e-2)
    (x.exp() * x).sum().backward()
    (reference.exp() * reference).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype is x.dtype
    np.testing.assert_allclose(x.grad.tolist(), reference.grad.tolist(), rtol=2e-2, atol=2e-2)
    if low == "bfloat16":
        assert tensor([1.01], dtype=low).tolist() == torch.tensor([1.01]).bfloat16().tolist()
        with pytest.raises(TypeError, match="bfloat16"):
            x.detach().numpy()


def test_mixed_dtypes_are_promoted_and_gradients_go_back() -> None:
    single, double = np.ones(3, np.float32), np.full(3, 2.0)
    ours = tensor(single, requires_grad=True), tensor(double, requires_grad=True)
    theirs = torch.tensor(single, requires_grad=True), torch.tensor(double, requires_grad=True)
    for x, y in (ours, theirs):
        z = x.exp() * y
        assert repr(z.dtype) == "torch.float64"
        z.sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert repr(a.grad.dtype) == str(b.grad.dtype)
        np.testing.assert_allclose(a.grad.tolist(), b.grad.tolist(), rtol=1e-6)
    assert (tensor([1]) + 1.5).dtype is dtypes.float32
    assert (tensor([1]) / 2).dtype is dtypes.float32
    assert (tensor([1.0], dtype="float64") * tensor(2.0)).dtype is dtypes.float64


# Values in place, and out again.


def test_in_place_updates_keep_a_leaf() -> None:
    for make, off in zip(MAKERS, (no_grad, torch.no_grad), strict=True):
        w = make([1.0, 2.0], requires_grad=True)
        for _ in range(3):
            loss = (w * w).sum()
            loss.backward()
            with off():
                w -= 0.1 * w.grad
            w.grad = None
        assert w.is_leaf
        assert w.requires_grad
        np.testing.assert_allclose(w.tolist(), [0.512, 1.024], rtol=1e-5)


def test_values_cannot_be_changed_in_place() -> None:
    x = tensor([1.0, 2.0])
    with pytest.raises(TypeError, match="never change"):
        x[0] = 1.0
    with pytest.raises(AttributeError, match=r"x = x\.add\("):
        x.add_(1)
    before = x
    x += 1
    assert before.tolist() == [1.0, 2.0]
    assert x.tolist() == [2.0, 3.0]
    y = tensor([1.0], requires_grad=True) * 2
    y += 1
    y.sum().backward()


SUBSCRIPTS = ["0", "1:", "...", "None", "1:, None", "..., 0", "[0, 2]", "-1", "m", "m.any(1)", "i"]


@pytest.mark.parametrize("index", [*SUBSCRIPTS, "1, i", "i[:, None], i", "True", "n", "[], :"])
def test_subscripts_select_as_in_pytorch(index: str) -> None:
    array = np.arange(12.0).reshape(3, 4)
    where = np.array([2, 0, 1])
    found = []
    for x, make in zip(both(array), MAKERS, strict=True):
        scope = {"x": x, "m": x > 4, "i": make(where), "n": np.int64(1)}
        y = eval(f"x[{index}]", scope)
        (y * y).sum().backward()
        found.append((tuple(y.shape), y.tolist(), x.grad.tolist()))
    assert found[0] == found[1]


def test_python_sees_numbers_lists_and_rows() -> None:
    x = tensor([[1, 2], [3, 4]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert (int(x[0, 1]), float(x[0, 1]), [10, 20, 30][x[0, 1]]) == (2, 2.0, 30)
    assert x.size() == (2, 2)
    assert (repr(x.shape), x.shape.numel(), x.numel(), x.dim()) == ("torch.Size([2, 2])", 4, 4, 2)
    assert f"{tensor(1.25):.1f}" == "1.2"
    assert x.T.tolist() == [[1, 3], [2, 4]]
    assert (x == 2).tolist() == [[False, True], [False, False]]
    assert (x == None) is False  # noqa: E711 -- as in PyTorch, no comparison of elements
    assert len({x, x, x.clone()}) == 2
    assert x.device == "cpu"
    assert x.max(1).indices.tolist() == [1, 1]
    assert "softmax" in dir(x)


def test_whole_tensors_are_compared() -> None:
    x = tensor([1.0, 2.0])
    assert x.equal(x.clone())
    assert not x.equal(tensor([1.0, 2.5]))
    assert not x.equal(tensor([1.0]))
    assert functions.allclose(x, x + 1e-7)
    assert not x.allclose(x + 1)


def test_arrays_and_numpy_scalars_are_operands() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    for made in (x + np.ones(2, np.float32), np.ones(2, np.float32) + x):
        assert isinstance(made, Tensor)
        assert made.tolist() == [2.0, 3.0]
    assert (np.float64(2.0) * x).dtype is dtypes.float32
    assert (x @ np.ones(2, np.float32)).item() == 3.0


def test_leaves_are_copied_and_pickled_and_results_refused() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    deep = copy.deepcopy({"a": x, "b": x})
    assert deep["a"] is deep["b"]
    assert deep["a"].grad is not None
    assert deep["a"].requires_grad
    loaded = pickle.loads(pickle.dumps(x))
    assert (loaded.tolist(), loaded.requires_grad) == ([1.0, 2.0], True)
    for attempt in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match="no recorded operation"):
            attempt(x * 2)


def test_the_gradient_of_what_is_no_leaf_is_warned_of() -> None:
    y = tensor([1.0], requires_grad=True) * 2
    with pytest.warns(UserWarning, match="retain_grad"):
        assert y.grad is None
    y.retain_grad()
    y.sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert y.grad is not None


def test_functions_are_found_by_their_names() -> None:
    x = tensor([1.0, 2.0])
    assert functions.exp(x).tolist() == x.exp().tolist()
    assert F.softmax(x, dim=0).sum().item() == pytest.approx(1.0)
    assert functions.linalg.inv(functions.eye(2)).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert functions.zeros(2, 3, requires_grad=True).requires_grad
    assert functions.cat([x, x]).shape == (4,)
    assert functions.ones(2, dtype=np.float64).dtype is dtypes.float64
    assert functions.pi == math.pi
    assert {"exp", "nn", "linalg", "tensor"} <= set(dir(functions))
    with pytest.raises(AttributeError, match="did you mean `softmax`"):
        _ = functions.softmaxx
    with pytest.raises(TypeError, match="signature"):
        functions.exp(x, 3, foo=1)
