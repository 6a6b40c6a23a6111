"""Signatures in PyTorch's notation, and the binding of calls to them."""

from __future__ import annotations

from typing import Any

import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, const, variable
from gradcheck_cli.schema import Invalid, bind, describe, parse_schema

X, Y = variable("x", (3, 4)), variable("y", (3, 4))
SUM = "sum(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)"


def bound(
    schema: str, *args: Any, strict: bool = True, **kwargs: Any
) -> tuple[Any, dict[str, Any]]:
    return bind(parse_schema(schema), args, kwargs, Expr, strict=strict)


def refused(schema: str, *args: Any, **kwargs: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        bound(schema, *args, **kwargs)
    assert caught.value.code == "GC014"
    return caught.value


@pytest.mark.parametrize(
    ("schema", "signature"),
    [
        (SUM, "sum(input, dim=None, keepdim=False, *, dtype=None)"),
        ("max.dim(Tensor input, int dim)", "max(input, dim)"),
        ("permute(Tensor input, int[]... dims)", "permute(input, *dims)"),
        ("f(float eps=1, int[] dims=[0, 1], str s='a')", "f(eps=1.0, dims=(0, 1), s='a')"),
        ("f(int[] stride=1)", "f(stride=(1,))"),
        ("f()", "f()"),
    ],
)
def test_signatures(schema: str, signature: str) -> None:
    assert str(parse_schema(schema)) == signature


def test_the_name_is_without_the_overload() -> None:
    assert parse_schema("max.dim(Tensor input, int dim)").python_name == "max"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((X, 1, True), {}),
        ((X, [1], True), {}),
        ((X, (1,)), {"keepdim": True}),
        ((X,), {"dim": 1, "keepdim": True}),
        ((), {"input": X, "dim": 1, "keepdim": True}),
        ((), {"x": X, "axis": 1, "keepdims": True}),
        ((X, const(1), const(value=True)), {}),
    ],
)
def test_every_way_to_give_the_same_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    tensors, attributes = bound(SUM, *args, **kwargs)
    assert tensors == (X,)
    assert attributes == {"dim": (1,), "keepdim": True, "dtype": None}


def test_defaults_are_filled_in_as_bound_arguments_are() -> None:
    tensors, attributes = bound("f(Tensor input, Tensor? w=None, float eps=1, int[] d=0)", X)
    assert tensors == (X, None)
    assert attributes == {"eps": 1.0, "d": (0,)}
    assert type(attributes["eps"]) is float


def test_sizes_stay_symbolic_and_other_whole_numbers_do_not() -> None:
    n = X.size(0)
    _, attributes = bound("reshape(Tensor input, size shape)", X, n, -1)
    assert attributes == {"shape": (n, -1)}
    assert bound("reshape(Tensor input, size shape)", X, (n, -1))[1] == attributes
    assert bound("f(int dim)", n)[1] == {"dim": 3}
    assert bound("f(int[] dims)", [n, 1])[1] == {"dims": (3, 1)}
    assert bound("f(Scalar value)", n)[1] == {"value": n}
    assert bound("f(Scalar value)", const(2))[1] == {"value": 2}
    assert bound("f(size shape)", [const(2), 3])[1] == {"shape": (2, 3)}


def test_lists_of_tensors() -> None:
    assert bound("cat(Tensor[] tensors, int dim=0)", [X, Y])[0] == (X, Y)
    assert bound("cat(Tensor[] tensors, int dim=0)", (X, Y), 1) == ((X, Y), {"dim": 1})
    einsum = "einsum(str equation, Tensor[]... operands)"
    assert bound(einsum, "ij,ij", X, Y) == ((X, Y), {"equation": "ij,ij"})
    assert bound(einsum, "ij,ij", [X, Y]) == ((X, Y), {"equation": "ij,ij"})
    assert bound("f(data data)", [[1, 2.0], [True, const(3)]])[1] == {"data": ((1, 2.0), (True, 3))}


def test_numbers_where_tensors_are_wanted() -> None:
    assert bound("exp(Tensor input)", const(1.0), strict=False)[0] == (const(1.0),)
    assert bound("add(Tensor|Scalar input)", 2)[0] == (2,)
    assert refused("exp(Tensor input)", 2).hint == "make a tensor of it: torch.tensor(2.0)"
    assert refused("exp(Tensor input)", X.numel()).argument == "input"


@pytest.mark.parametrize(
    ("args", "kwargs", "message", "argument"),
    [
        ((), {}, "sum() misses its argument `input`", None),
        ((X, 1, True, None), {}, "sum() takes 3 positional arguments, but 4 were given", None),
        ((X,), {"axes": 1}, "sum() has no argument `axes`", "axes"),
        ((X, 1), {"dim": 1}, "sum() got `dim` twice", "dim"),
        ((X,), {"dim": 1, "axis": 1}, "sum() got `dim` twice", "axis"),
        ((X, 1.5), {}, "sum() wants whole numbers for `dim`, not the number 1.5", "dim"),
        ((X, True), {}, "sum() wants whole numbers for `dim`, not True", "dim"),
        ((X, "a"), {}, "sum() wants whole numbers for `dim`, not 'a'", "dim"),
        ((X, Y), {}, "sum() wants whole numbers for `dim`, not a tensor of shape (3, 4)", "dim"),
        ((X, 1, 1), {}, "sum() wants True or False for `keepdim`, not the number 1", "keepdim"),
        (
            (X,),
            {"dtype": "float32"},
            "sum() wants a dtype such as torch.float64 for `dtype`, not 'float32'",
            "dtype",
        ),
        (([X],), {}, "sum() wants a tensor for `input`, not a list", "input"),
        ((None,), {}, "sum() wants a tensor for `input`, not None", "input"),
    ],
)
def test_refusals(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str, argument: str | None
) -> None:
    error = refused(SUM, *args, **kwargs)
    assert (error.message, error.argument) == (message, argument)


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ("f(Tensor[] a)", [X, 2], "a list with the number 2 in it"),
        ("f(Tensor[] a)", [X, None], "a list with None in it"),
        ("f(Tensor[] a)", X, "a tensor of shape (3, 4)"),
        ("f(data a)", [1, [X]], "a list with a list with a tensor of shape (3, 4) in it in it"),
        ("f(float a)", "1", "'1'"),
        ("f(int a)", 1.0, "the number 1.0"),
        ("f(str a)", 1, "the number 1"),
        ("f(bool a)", None, "None"),
        ("f(size a)", [1, 2.5], "a list"),
    ],
)
def test_what_was_given_is_described(schema: str, value: Any, message: str) -> None:
    assert refused(schema, value).message.endswith(f"for `a`, not {message}")


def test_the_nearest_overload_ranks_highest() -> None:
    plain, dim, other = (
        "max(Tensor input)",
        "max.dim(Tensor input, int dim, bool keepdim=False)",
        "max.other(Tensor input, Tensor other)",
    )

    def ranks(*args: Any, **kwargs: Any) -> list[int]:
        return [refused(schema, *args, **kwargs).rank for schema in (plain, dim, other)]

    assert max(range(3), key=ranks(X, keepdim=True).__getitem__) == 1
    assert max(range(3), key=ranks(X, 1, True, 3).__getitem__) == 1
    assert max(range(3), key=ranks(X, dim=1, foo=2).__getitem__) == 1
    first, second, third = ranks(X, 1.5)
    assert first < second == third


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (X, "a tensor of shape (3, 4)"),
        (X.numel(), "the number 12"),
        (const(2.5), "the number 2.5"),
        (True, "True"),
        ("text", "'text'"),
        (None, "None"),
        (..., "`...`"),
        ([1], "a list"),
        ((1,), "a tuple"),
        (slice(1), "a slice"),
        (dtypes.float32, "the dtype torch.float32"),
        (X.sort(1), "a result with the fields values and indices"),
        ("long" * 100, ("'" + "long" * 100)[:40]),
    ],
)
def test_values_in_words(value: Any, words: str) -> None:
    assert describe(value) == words


def test_lists_of_sizes_may_leave_some_as_they_are() -> None:
    schema = parse_schema("pool(Tensor input, int?[] output_size, float[]? ratio=None)")
    x = variable("x", (3,))
    assert bind(schema, (x, [5, None]), {}, Expr)[1] == {"output_size": (5, None), "ratio": None}
    assert bind(schema, (x, 5), {"ratio": 2}, Expr)[1] == {"output_size": (5,), "ratio": (2.0,)}
    for wrong in ([1.5], "5"):
        with pytest.raises(Invalid, match="whole numbers, None for those of the input"):
            bind(schema, (x, wrong), {}, Expr)
    with pytest.raises(Invalid, match="numbers"):
        bind(schema, (x, 5), {"ratio": [None]}, Expr)
