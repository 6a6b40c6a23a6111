"""Subscripts, gathering and scattering: what they are taken apart into, refusals, bounds at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import TABLE, Expr, call, const, t, variable
from gradcheck_cli.schema import Invalid

X = variable("x", (3, 4))
I = variable("i", (2,), dtypes.int64)  # noqa: E741  -- an index
MASK = variable("m", (3, 4), dtypes.bool_)


def names(node: Expr) -> list[str]:
    """The operators from the outside in, along first arguments."""
    found = []
    while node.args:
        found.append(node.op.name)
        assert node.args[0] is not None
        node = node.args[0]
    return found


def run(node: Expr, **arrays: Any) -> Any:
    return Plan([node])({name: np.asarray(array) for name, array in arrays.items()})[0]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ((0, 1), ["select", "select"]),
        ((slice(None), 1), ["select"]),
        ((slice(1, None), slice(None, None, 2)), ["slice", "slice"]),
        ((None, 0), ["select", "unsqueeze"]),
        ((Ellipsis, I), ["index"]),
        ((slice(None), slice(0, None, 1)), []),
        (I, ["index"]),
        (False, ["slice", "unsqueeze"]),
    ],
)
def test_subscripts_are_taken_apart(index: Any, expected: list[str]) -> None:
    assert names(X[index]) == expected


def test_equal_subscripts_are_one_node() -> None:
    assert X[0:2] is X[:2]
    assert X[1, ...] is X[1]
    assert X[:, None] is X[..., None, :]
    assert X.select(-1, 0) is X[:, 0]
    assert X.narrow(0, 1, 2) is X[1:3]


def test_sizes_in_subscripts_stay_symbolic() -> None:
    last = X[: X.size(0) + const(-1)]
    assert last.shape == (2, 4)
    assert isinstance(last.attributes["end"], Expr)
    assert isinstance(X[X.size(0) + const(-1)].attributes["index"], Expr)


@pytest.mark.parametrize(
    ("index", "code", "words"),
    [
        (3, "GC015", "index 3 is out of range for dimension 0 of size 3"),
        ((0, 0, 0), "GC015", "3 indices are too many"),
        (1.0, "GC014", "1.0"),
        (slice(None, None, -1), "GC014", "greater than zero"),
        (MASK, "GC011", "mask"),
        ([True, False, True], "GC011", "True and False"),
        (variable("k", (2,), dtypes.int16), "GC016", "int16"),
        (X, "GC016", "float64"),
        ([[0, 1], [1, 2]], "GC014", "could mean"),
        ((Ellipsis, Ellipsis), "GC014", "only once"),
        (slice(variable("j", (), dtypes.int64), None), "GC011", "known beforehand"),
    ],
)
def test_refused_subscripts(index: Any, code: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        X[index]
    assert caught.value.code == code
    assert words in caught.value.message


def test_a_mask_is_refused_with_the_way_around() -> None:
    with pytest.raises(Invalid) as caught:
        X[MASK]
    assert "torch.where(mask, x, 0.0)" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        (variable("q", (2, 3, 4, 5))[:, I, I], (2, 2, 5)),
        (variable("q", (2, 3, 4, 5))[:, I, :, I], (2, 2, 4)),
        (variable("q", (2, 3, 4, 5))[I, 0, :, I], (2, 4)),
        (variable("q", (2, 3, 4, 5))[variable("z", (), dtypes.int64), :, I], (3, 2, 5)),
    ],
)
def test_shape_of_several_indices(node: Expr, shape: tuple[int, ...]) -> None:
    assert node.shape == shape


@pytest.mark.parametrize(
    ("node", "index", "words"),
    [
        (X[I], [0, 7], "index 7 is out of range for dimension 0 of size 3"),
        (X[:, I], [-5, 0], "index -5 is out of range for dimension 1 of size 4"),
        (X.index_select(0, I), [0, -1], "index -1 is out of range"),
        (X[:2, 0].gather(0, I), [2, 0], "index 2 is out of range for dimension 0 of size 2"),
        (X[:2, 0].scatter(0, I, 1.0), [0, -1], "index -1 is out of range"),
        (t.one_hot(I, 3), [0, 3], "class 3 is not among the 3 classes"),
        (t.one_hot(I, 3), [-1, 2], "class -1 is not among the 3 classes"),
    ],
)
def test_bounds_are_checked_when_it_runs(node: Expr, index: list[int], words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        run(node, x=np.zeros((3, 4)), i=index)
    assert caught.value.code == "GC014"


def test_one_hot_needs_the_number_of_classes() -> None:
    with pytest.raises(Invalid, match="the indices that it would count aren't known"):
        call(TABLE.functions["F.one_hot"], I)


def test_kernels_leave_their_inputs_alone() -> None:
    x, y = np.zeros((3, 4)), np.ones(4)
    for node in (
        X.select_scatter(variable("y", (4,)), 0, 1),
        X.index_put((I,), variable("y", (4,)), accumulate=True),
        X.index_add(0, I, variable("y", (4,)).expand((2, 4))),
    ):
        assert run(node, x=x, y=y, i=[0, 2]).sum() != 0
        assert not x.any()


def test_scatter_of_a_larger_source_uses_only_the_covered_part() -> None:
    from gradcheck_cli.calculus.differentiate import differentiate

    source, index = variable("y", (3, 3)), variable("i", (2, 2), dtypes.int64)
    out = X.scatter(1, index, source)
    (gradient,) = differentiate(out, [source], t.ones_like(out))
    found = run(gradient, x=np.zeros((3, 4)), y=np.ones((3, 3)), i=[[0, 1], [2, 3]])
    np.testing.assert_array_equal(found, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_float32_stays_float32() -> None:
    x = variable("x", (3, 4), dtypes.float32)
    for node in (x.masked_fill(x > 0, 2.0), t.zeros_like(x).index_put((I,), x[I], True)):
        assert run(node, x=np.ones((3, 4), np.float32), i=[0, 1]).dtype == np.float32
