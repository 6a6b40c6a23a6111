"""Tree to graph: names, modules, methods, attributes, sizes, and what is refused although it is Python."""

from __future__ import annotations

import math

import pytest

from gradcheck_cli import dtypes
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, const, t, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.names import RANDOM, known_members
from gradcheck_cli.lang.parse import parse

X = variable("x", (3, 4))
SCOPE: dict[str, Expr] = {
    "x": X,
    "y": variable("y", (3, 4)),
    "n": variable("n", (3,), dtypes.int64),
    "mask": variable("mask", (3, 4), dtypes.bool_),
}


def read(text: str, scope: dict[str, Expr] | None = None) -> Expr:
    return build(parse(Source(text)), SCOPE if scope is None else scope)


def codes(text: str, scope: dict[str, Expr] | None = None) -> list[str]:
    with pytest.raises(GradcheckError) as caught:
        read(text, scope)
    return [problem.code for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "sigmoid(x)",
        "torch.sigmoid(x)",
        "torch.special.expit(x)",
        "F.sigmoid(x)",
        "torch.nn.functional.sigmoid(x)",
        "x.sigmoid()",
        "torch.sigmoid(input=x)",
    ],
)
def test_every_spelling_of_an_operator_is_the_same_node(text: str) -> None:
    assert read(text) is X.sigmoid()


def test_the_check_s_own_names_come_before_functions() -> None:
    scope = {"exp": X, "torch_": X}
    assert read("exp + torch.exp(exp)", scope) is X + X.exp()
    assert codes("exp(exp)", scope) == ["GC011"]


def test_constants_and_dtypes() -> None:
    assert read("math.pi") is const(math.pi)
    assert read("torch.inf") is const(math.inf)
    assert math.isnan(read("math.nan").value or 0)
    assert read("torch.zeros(2, dtype=torch.float32)").dtype is dtypes.float32
    assert read("x.to(torch.long)").dtype is dtypes.int64
    assert read("torch.zeros(2, dtype=n.dtype)").dtype is dtypes.int64
    with dtypes_default(dtypes.float32):
        assert read("torch.eye(4)").dtype is dtypes.float32


class dtypes_default:  # noqa: N801 -- reads as a statement
    def __init__(self, dtype: dtypes.DType) -> None:
        self.dtype = dtype

    def __enter__(self) -> None:
        self.token = dtypes.default_dtype.set(self.dtype)

    def __exit__(self, *_: object) -> None:
        dtypes.default_dtype.reset(self.token)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x.shape[0]", 3),
        ("x.shape[-1]", 4),
        ("x.size(1)", 4),
        ("x.size()[1]", 4),
        ("x.numel()", 12),
        ("x.ndim", 2),
        ("x.dim()", 2),
        ("x.shape[0] * 2 - 1", 5),
        ("x.numel() // 5 % 2", 0),
        ("x.numel() / 8", 1.5),
        ("x.shape[1] ** 0.5", 2.0),
        ("-x.shape[0]", -3),
        ("+x.shape[0]", 3),
        ("x.shape[:1][0]", 3),
        ("(x.shape + (7,))[2]", 7),
        ("(x.shape[:-1] + x.T.shape)[1]", 4),
        ("[1, 2, 3][-1]", 3),
        ("x.shape[x.ndim - 1]", 4),
        ("2 ** 62", 2**62),
        ("-5 % 3", 1),
        ("-7 // 2", -4),
    ],
)
def test_arithmetic_on_sizes(text: str, value: float) -> None:
    node = read(text)
    assert node.value == value
    assert type(node.value) is type(value)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("x.reshape(x.shape[1], -1)", (4, 3)),
        ("x.reshape(x.shape[::-1])", (4, 3)),
        ("x.reshape(x.shape[:-1] + (2, 2))", (3, 2, 2)),
        ("x.reshape([x.shape[0] * 2, 2])", (6, 2)),
        ("torch.zeros(x.shape)", (3, 4)),
        ("torch.zeros(3, x.ndim)", (3, 2)),
        ("torch.arange(x.shape[0])", (3,)),
        ("x[:x.shape[0] - 1]", (2, 4)),
        ("x[x.shape[0] - 1]", (4,)),
        ("torch.ones(n.shape[0], n.shape[0])", (3, 3)),
        ("F.layer_norm(x, x.shape[1:])", (3, 4)),
        ("x.sum(-1, keepdim=True)", (3, 1)),
        ("x.sum(x.ndim - 1)", (3,)),
        ("x.max(1)[0]", (3,)),
        ("x.max(1).indices", (3,)),
        ("torch.linalg.slogdet(x @ x.T)[1]", ()),
    ],
)
def test_sizes_as_arguments(text: str, shape: tuple[int, ...]) -> None:
    assert read(text).shape == shape


def test_numbers_alone_are_an_expression() -> None:
    assert read("3") is const(3)
    assert read("-2.5") is const(-2.5)
    assert read("True") is const(value=True)


def test_each_unknown_name_is_told_once_and_every_other_problem_too() -> None:
    assert codes("a + a * a") == ["GC012"]
    text = "a + x.maen() + torch.rand(3) + x.relu_() + x @ y + x.sum(dims=1) + ~x + 9**9**9"
    assert codes(text) == [f"GC0{n}" for n in (12, 13, 17, 18, 15, 14, 16, 19)]


def test_problems_come_in_the_order_of_the_text() -> None:
    with pytest.raises(GradcheckError) as caught:
        read("b + (lambda: 0)\n + a")
    places = [p.where.line for p in caught.value.problems if p.where is not None]
    assert places == [1, 1, 2]


def test_what_uses_a_wrong_part_is_not_blamed() -> None:
    assert codes("torch.exp(zz).sum(1)[0] @ x.reshape(7, 7) + zz") == ["GC012", "GC015"]
    assert codes("torch.where(zz, zz, x)") == ["GC012"]


def test_the_number_of_problems_is_bounded() -> None:
    assert len(codes(" + ".join(f"a{i}" for i in range(60)))) == 20


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random_operators_are_refused(name: str) -> None:
    rest = ", 2, 1" if name.startswith("fractional") else ""
    for text in (f"torch.{name}(3{rest})", f"F.{name}(x{rest})", f"{name}(x{rest})"):
        assert "GC017" in codes(text)


@pytest.mark.parametrize(
    "text", ["x.sigmoid_()", "x.mul_(2)", "x.clamp_(0)", "F.relu_(x)", "x.unknown_()"]
)
def test_in_place_operators_are_refused(text: str) -> None:
    assert codes(text) == ["GC018"]


@pytest.mark.parametrize(
    "text",
    [
        "x.max(1)",
        "x.exp",
        "torch",
        "torch.float64",
        "'a'",
        "[x]",
        "x.shape",
        "None",
        "...",
        "(x, y)",
        "()",
    ],
)
def test_what_is_no_tensor_is_no_expression(text: str) -> None:
    assert codes(text) == ["GC011"]


def test_members_known_anywhere_include_those_of_every_kind() -> None:
    assert {"sum", "T", "values", "linalg", "float64", "pi", "shape", "softmax"} <= known_members()


def test_nodes_are_the_ones_that_python_builds() -> None:
    y = SCOPE["y"]
    assert read("(x - y).pow(2).sum()") is ((X - y) ** 2).sum()
    assert read("2 * x[0]") is 2 * X[0]
    assert read("torch.where(mask, x, 0.0)") is t.where(SCOPE["mask"], X, 0.0)
