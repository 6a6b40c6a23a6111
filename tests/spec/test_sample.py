from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.sample import cotangent, rounded, sample
from gradcheck_cli.spec.samplers import SAMPLERS

if TYPE_CHECKING:
    from gradcheck_cli.spec.check import Check

torch = pytest.importorskip("torch")


def check_of(inputs: str, more: str = "") -> Check:
    text = f"version: 1\ninputs: {{{inputs}, other: {{shape: []}}}}\nexpression: other\n{more}"
    (check,) = load_text(text)
    return check


def x_of(body: str, more: str = "") -> Any:
    return sample(check_of(f"x: {{{body}}}", more))["x"]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 1), (2, 0, 0)])
def test_every_sampler_fills_its_shape_and_repeats(name: str, shape: tuple[int, ...]) -> None:
    if name in {"one_hot", "simplex"} and 0 in shape:
        return
    body = f"shape: {list(shape)}, sample: {name}"
    first, second = x_of(body), x_of(body)
    assert first.shape == shape
    assert np.array_equal(first, second)
    assert first.dtype == (SAMPLERS[name].dtype or "float64")
    assert np.isfinite(first).all()


@pytest.mark.parametrize("name", [n for n, s in SAMPLERS.items() if not s.dims and not s.square])
def test_zero_dimensional(name: str) -> None:
    assert x_of(f"shape: [], sample: {name}").shape == ()


def test_what_each_sampler_promises() -> None:
    matrices = "shape: [50, 5, 5], sample: "
    spd = x_of(matrices + "spd")
    assert np.array_equal(spd, spd.swapaxes(-1, -2))
    assert np.linalg.eigvalsh(spd).min() >= 1.0 - 1e-12
    q = x_of(matrices + "orthogonal")
    assert np.allclose(q @ q.swapaxes(-1, -2), np.eye(5))
    lower = x_of(matrices + "lower_triangular")
    assert np.array_equal(lower, np.tril(lower))
    assert np.diagonal(lower, axis1=-2, axis2=-1).min() >= 1.0
    assert (np.sort(x_of(matrices + "permutation"), -1) == np.arange(5)).all()
    simplex = x_of(matrices + "simplex")
    assert np.allclose(simplex.sum(-1), 1.0)
    assert simplex.min() > 0
    hot = x_of(matrices + "one_hot")
    assert ((hot == 1).sum(-1) == 1).all()
    assert ((hot == 0).sum(-1) == 4).all()
    assert x_of("shape: [2000], sample: positive").min() > 0
    uniform = x_of("shape: [2000], sample: uniform, low: -3, high: -2")
    assert -3 <= uniform.min() < -2.99 < -2.01 < uniform.max() < -2
    normal = x_of("shape: [20000], mean: 10, std: 2")
    assert abs(normal.mean() - 10) < 0.1
    assert abs(normal.std() - 2) < 0.1
    assert set(x_of("shape: [200], sample: integers, low: 2, high: 5")) == {2, 3, 4}
    assert abs(x_of("shape: [20000], sample: bernoulli, p: 0.2").mean() - 0.2) < 0.02
    assert x_of("shape: [2, 2], sample: arange").tolist() == [[0, 1], [2, 3]]
    assert x_of("shape: [3], sample: linspace, high: 2").tolist() == [0, 1, 2]
    assert x_of("shape: [2], sample: zeros").tolist() == [0, 0]
    assert x_of("shape: [2], sample: ones").tolist() == [1, 1]


def test_streams_are_pinned() -> None:
    """The same numbers on every machine and in every later version: checks are repeatable."""
    assert x_of("shape: [3]").tolist() == PINNED
    assert x_of("shape: [2], sample: integers, high: 1000").tolist() == PINNED_INTEGERS
    assert cotangent(check_of("x: {shape: []}"), (2,)).tolist() == PINNED_COTANGENT


PINNED = [0.6189899044686801, 0.24981876409850987, 0.2103194857731565]
PINNED_INTEGERS = [753, 64]
PINNED_COTANGENT = [0.4286450874364982, -1.7040192440971251]


def test_an_input_more_changes_no_other() -> None:
    alone = sample(check_of("x: {shape: [4]}"))
    more = sample(check_of("a: {shape: [7]}, x: {shape: [4]}"))
    assert np.array_equal(alone["x"], more["x"])
    assert not np.array_equal(more["x"], more["a"][:4])


def test_the_seed_and_the_name_choose_the_stream() -> None:
    body = "x: {shape: [4]}, y: {shape: [4]}"
    zero, one = sample(check_of(body)), sample(check_of(body, "seed: 1"))
    assert len({tuple(a) for a in (zero["x"], zero["y"], one["x"], one["y"])}) == 4
    assert not np.array_equal(cotangent(check_of(body), (4,)), zero["x"])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@settings(max_examples=100, deadline=None)
@given(
    array=hnp.arrays(
        np.float64,
        st.integers(0, 8),
        elements=st.floats(allow_subnormal=True)
        | st.floats(-10, 10)
        | st.integers(-(2**20), 2**20).map(lambda n: n / 2**10),
    )
)
def test_rounding_is_pytorchs(dtype: str, array: Any) -> None:
    expected = torch.from_numpy(array).to(getattr(torch, dtype)).to(torch.float64).numpy()
    if dtype == "float16":
        # PyTorch rounds twice, which may differ in the last place; what it holds must be kept.
        near = np.isclose(rounded(array, dtype), expected, rtol=2**-10, atol=2**-24, equal_nan=True)
        assert near.all()
        held = torch.from_numpy(rounded(array, dtype)).to(torch.float16).to(torch.float64).numpy()
        assert np.array_equal(held, rounded(array, dtype), equal_nan=True)
    else:
        assert np.array_equal(rounded(array, dtype), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_lower_precision_holds_the_same_draw_rounded(dtype: str) -> None:
    exact = sample(check_of("x: {shape: [50]}"))["x"]
    check = check_of("x: {shape: [50]}", f"dtype: {dtype}")
    assert np.array_equal(sample(check)["x"], rounded(exact, dtype))
    assert sample(check)["x"].dtype == np.float64
    drawn = cotangent(check, (5,))
    assert np.array_equal(drawn, rounded(drawn, dtype))
    own = sample(check_of("x: {shape: [50], dtype: float64}", f"dtype: {dtype}"))["x"]
    assert np.array_equal(own, exact)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("shape: [9], sample: integers, dtype: int8, low: -128, high: 128", "int8"),
        ("shape: [9], sample: integers, dtype: uint8, high: 256", "uint8"),
        ("shape: [9], sample: bernoulli, dtype: bool", "bool"),
        ("value: [1, 2], dtype: int32", "int32"),
        ("value: [true, false]", "bool"),
        ("value: [9223372036854775807]", "int64"),
    ],
)
def test_whole_numbers_keep_their_dtype(body: str, kind: str) -> None:
    assert x_of(body).dtype == kind


def test_values() -> None:
    array = x_of("value: [[1.0, .nan], [.inf, 3]]")
    assert np.array_equal(array, [[1, math.nan], [math.inf, 3]], equal_nan=True)
    assert x_of("value: 2.5").shape == ()
    assert x_of("value: [[], []]").shape == (2, 0)
    assert x_of("value: [0.1], dtype: float32").tolist() == [float(np.float32(0.1))]


@pytest.mark.parametrize("sampler", ["normal", "uniform, low: -1", "positive"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("margin", [1e-3, 0.4])
def test_samples_keep_their_distance(sampler: str, dtype: str, margin: float) -> None:
    array = x_of(
        f"shape: [500], sample: {sampler}, avoid: {{near: [0, 0.5], margin: {margin}}}",
        f"dtype: {dtype}",
    )
    for point in (0.0, 0.5):
        assert np.abs(array - point).min() >= margin
    assert np.array_equal(array, rounded(array, dtype))
    if "uniform" in sampler:
        assert -1 <= array.min() <= array.max() <= 1


def test_one_element_that_always_falls_too_near_is_moved() -> None:
    array = x_of("shape: [3], std: 0, mean: 1, avoid: {near: [1], margin: 0.25}")
    assert (np.abs(array - 1) >= 0.25).all()
    assert (np.abs(array - 1) < 0.26).all()


@pytest.mark.parametrize(
    ("body", "more", "code", "words"),
    [
        ("shape: [3], sample: uniform, avoid: {near: [0.5], margin: 2}", "", "GC002", "no room"),
        ("value: [1.0e10]", "dtype: float16", "GC002", "too large for float16"),
        ("shape: [3], mean: 1.0e300", "dtype: float32", "GC002", "too large for float32"),
        ("shape: [300], sample: arange, dtype: int8", "", "GC002", "int8 can't hold"),
        ("value: [[1.0, 2.0], [3.0, 1.0]], structure: symmetric", "", "GC002", "not symmetric"),
    ],
)
def test_what_does_not_fit(body: str, more: str, code: str, words: str) -> None:
    check = check_of(f"x: {{{body}}}", more)
    with pytest.raises(GradcheckError) as caught:
        sample(check)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert words in problem.message
    assert problem.where is not None
    assert problem.where.column == 10


@pytest.mark.parametrize(
    "shape", ["[1000000, 1000000]", "[9223372036854775807, 9]", "[0, 9223372036854775807, 9]"]
)
def test_a_huge_shape_allocates_nothing(shape: str) -> None:
    check = check_of(f"x: {{shape: {shape}}}")
    with pytest.raises(GradcheckError) as caught:
        sample(check)
    (problem,) = caught.value.problems
    assert (problem.code, problem.exit_code) == ("GC303", ExitCode.CANNOT_RUN)
    assert shape in problem.message
    assert "iB" in problem.message


def test_the_limit_counts_all_inputs() -> None:
    check = check_of("x: {shape: [10]}, y: {shape: [10]}")
    assert sample(check, limit=168).keys() == {"x", "y", "other"}
    with pytest.raises(GradcheckError):
        sample(check, limit=167)
    assert sample(check_of("x: {shape: [0, 1000000000000]}"))["x"].size == 0


@pytest.mark.parametrize(
    ("structure", "holds"),
    [
        ("symmetric", lambda a: np.array_equal(a, a.swapaxes(-1, -2))),
        ("lower_triangular", lambda a: np.array_equal(a, np.tril(a))),
        ("upper_triangular", lambda a: np.array_equal(a, np.triu(a))),
        ("diagonal", lambda a: np.array_equal(a, a * np.eye(3))),
    ],
)
def test_structures(structure: str, holds: Any) -> None:
    array = x_of(f"shape: [2, 3, 3], structure: {structure}")
    assert holds(array)
    assert (np.diagonal(array, axis1=-2, axis2=-1) != 0).all()


def test_a_symmetric_value_with_nan_is_symmetric() -> None:
    assert x_of("value: [[.nan, 1.0], [1.0, 2.0]], structure: symmetric").shape == (2, 2)


def test_a_changed_dtype_is_the_only_difference_between_expanded_checks() -> None:
    text = "version: 1\ndtype: [float64, float32]\ninputs: {x: {shape: [4]}}\nexpression: x"
    double, single = load_text(text)
    assert dataclasses.replace(double, id="", dtype="") == dataclasses.replace(
        single, id="", dtype=""
    )
    assert np.allclose(sample(double)["x"], sample(single)["x"], rtol=1e-6)
