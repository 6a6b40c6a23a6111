"""Printing is the parser's inverse: the text of a node, read over the same names, is the same node."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.derive import read_back
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import print_formulas, to_text

# Names that hide functions, modules' members and the printer's own definitions are the awkward ones.
MATRICES = ("x", "exp", "t1", "sum", "größe")
SCOPE: dict[str, Expr] = {
    **{name: variable(name, (3, 3)) for name in MATRICES},
    "v": variable("v", (3,)),
    "s": variable("s", ()),
    "mask": variable("mask", (3, 3), dtypes.bool_),
    "index": variable("index", (3,), dtypes.int64),
}


def read(text: str, scope: dict[str, Expr] | None = None) -> Expr:
    return build(parse(Source(text)), SCOPE if scope is None else scope)


def assert_reads_back(node: Expr) -> None:
    printed = print_formulas([node], None, SCOPE)
    assert read_back(printed, SCOPE) is node, str(printed)


# Text as it is printed, kept as it is.
IDENTITIES = """
x
-x
--x
~mask
~(x > 0)
-x ** 2
(-x) ** 2
x ** -2
x ** -x
x ** x ** x
(x ** x) ** x
-(-x) ** 2
2 ** x
(-2.0) ** x
-2.0 * x
x - -2.0
x - (x - x)
x - x - x
x - (x + x)
x + x + x
x + (x + x)
x * (x * x)
x / (x * x)
x / x / x
x * x / x
x / (x / x)
x * (x + x)
(x + x) * x
-(x + x)
-x * x
-(x * x)
x @ x @ x
x @ (x @ x)
(x @ x).T
x.T @ x
x.T.T
-x.T
(-x).T
2 * x @ x
2 * (x @ x)
x % x * x
x % (x * x)
x // 2
(x > 0) & (x < 1)
mask & (x < 1) | ~mask
(mask | mask) & mask
mask ^ mask & mask
(mask ^ mask) & mask
(x > x) == mask
x > (mask == mask)
x == x.sum()
x != 0
1 - x
x + 1
x + 1.0
x + True
x * 0.1
x * 1e-300
x * 1e+300
x * 5e-324
x + 9007199254740993
x + math.inf
x + -math.inf
x + math.nan
x * -0.0
x * 0.0
x.sum()
x.sum(1)
x.sum((0, 1))
x.sum(1, keepdim=True)
x.sum(dtype=torch.float32)
softmax(x, 1)
torch.exp(x)
exp * torch.exp(exp)
x.reshape((9,))
x.reshape((3, 1, 3))
x.reshape((x.shape[0] * x.shape[1],))
x.reshape((-1,))
x.expand((2, 3, 3))
v.expand(x.shape)
v.expand((x.shape[0], v.shape[0]))
x / x.numel()
x / (x.shape[0] - 1)
x / (2 * x.numel()) ** 0.5
x / x.numel() // 2
x[0]
x[-1]
x[:, 0]
x[1:]
x[:, :-1]
x[::2]
x[index]
x[:, index]
x[index, index]
x[0, 1:]
x[:x.shape[0]]
x[None]
x.sort(1, descending=True).indices
x.sort(0).values
cat([x, x], 1)
stack([x, x])
cat([x, x[:1]])
einsum('ij,jk->ik', x, x)
einsum('ii', x)
where(mask, x, 0.0)
where(mask, 1.0, 0.0)
x.index_put([index], v, accumulate=True)
zeros_like(x)
full_like(x, 1 / x.numel())
full((3,), 2.0)
tensor([[1.0, 2.0], [3.0, -math.inf]]).sum() * x
tensor([True, False])
eye(3) @ x
arange(0, x.shape[0])
x.clamp(0)
x.clamp(max=1.0)
x.clamp(-1, 1.5)
gelu(x, approximate='tanh')
leaky_relu(x, 0.2)
layer_norm(x, (3,))
huber_loss(x, x, reduction='none')
x.norm(1)
x.norm(dim=1)
x.var(1, correction=0, keepdim=True)
x.detach()
solve(x, v)
slogdet(x).logabsdet
""".strip().splitlines()


@pytest.mark.parametrize("text", IDENTITIES)
def test_printed_text_is_kept(text: str) -> None:
    node = read(text)
    printed = print_formulas([node], None, SCOPE).texts[0]
    assert read(printed) is node
    assert printed == text


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("(x)", "x"),
        ("+x", "positive(x)"),
        ("x.pow(2)", "x ** 2"),
        ("torch.add(x, x)", "x + x"),
        ("torch.add(x, x, alpha=2)", "add(x, x, alpha=2)"),
        ("torch.div(x, x, rounding_mode='floor')", "div(x, x, rounding_mode='floor')"),
        ("x.softmax(dim=-1)", "softmax(x, -1)"),
        ("x.sum(axis=1, keepdims=True)", "x.sum(1, keepdim=True)"),
        ("x.sum(dim=[0, 1])", "x.sum((0, 1))"),
        ("x[None, :, 1, ...]", "x[None, :, 1]"),
        ("F.linear(x, x)", "x @ x.T"),
        ("torch.special.expit(x)", "sigmoid(x)"),
        ("x.view(x.size())", "x.reshape(x.shape)"),
        ("x.flatten() * 1.", "x.flatten() * 1.0"),
        ("x ** 2 ** 3", "x ** 8"),
        ("x * 2 ** -1", "x * 0.5"),
        ("torch.where(mask, x, x).mT.T", "where(mask, x, x).mT.T"),
        ("x.square()", "x ** 2"),
        ("F.one_hot(x.argmax(1), 3)", "one_hot(x.argmax(1), 3)"),
        ("torch.linalg.inv(x)", "x.inverse()"),
        ("x[0:2, 0::2]", "x[:2, ::2]"),
        ("1e3 * x", "1000.0 * x"),
        ("0x10 * x", "16 * x"),
        ("math.pi * x", "3.141592653589793 * x"),
        ("torch.pi * x", "3.141592653589793 * x"),
        ("x.shape[0] * x.shape[1] * x", "x.shape[0] * x.shape[1] * x"),
    ],
)
def test_other_spellings_print_in_one_way(text: str, printed: str) -> None:
    names = {name: SCOPE[name] for name in ("x", "mask")}
    node = read(text, names)
    assert to_text(node) == printed
    assert read(printed, names) is node


def test_signed_zeros_and_kinds_of_numbers_are_told_apart() -> None:
    nodes = {read(f"x + {n}") for n in ("1", "1.0", "True", "0.0", "-0.0", "0", "False")}
    assert len(nodes) == 7
    for node in nodes:
        assert_reads_back(node)
    assert read("x.add(x, alpha=-0.0)") is not read("x.add(x, alpha=0.0)")
    assert_reads_back(read("F.hardtanh(x, -0.0, 0.0)"))


class Expressions:
    """Random expressions over the scope, each a (3, 3) matrix, built bottom-up."""

    numbers = st.sampled_from(
        ["2", "-1", "0.5", "-0.0", "1e-300", "math.inf", "math.nan", "True", "3"]
    )
    sizes = st.sampled_from(["x.numel()", "x.shape[0]", "(v.shape[0] - 1)", "x.shape[1] ** 0.5"])
    leaves = st.sampled_from([*MATRICES, "v", "s"])
    infix = st.sampled_from(["+", "-", "*", "/", "**", "@", "%"])
    compare = st.sampled_from(["<", "<=", "==", "!=", ">", ">="])
    unary = st.sampled_from(
        [
            *(
                "-{}",
                "torch.exp({})",
                "{}.sin()",
                "F.relu({})",
                "{}.T",
                "{}.sum(1)",
                "torch.sum({})",
            ),
            *("F.softmax({}, 1)", "{}.mean(0, keepdim=True)", "{}[0]", "{}[:, 1:]", "{}[index]"),
            *(
                "{}.reshape(-1)[:3]",
                "{}.flip(0)",
                "{}.cumsum(1)",
                "{}.clamp(min=0)",
                "torch.tanh({})",
            ),
            *(
                "{}.expand(2, 3, 3)[1]",
                "{}.max(1).values",
                "{}.abs()",
                "{}.unsqueeze(0).squeeze(0)",
            ),
            *(
                "torch.sort({}, 1)[0]",
                "{}.norm(dim=1)",
                "torch.stack([{0}, {0}])[1]",
                "{}.detach()",
            ),
            *("torch.cat([{0}, {0}], 0)[1:4]", "torch.einsum('ij,kj->ik', {0}, {0})", "{}.tril()"),
            *(
                "F.gelu({})",
                "{}.var(1)",
                "F.layer_norm({}, (3,))",
                "{} * {}.numel()",
                "{}.diagonal()",
            ),
            *(
                "{}.index_put((index,), v)",
                "{}.gather(1, index[:, None])",
                "{}.amax(0)",
                "{}.prod(1)",
            ),
        ]
    )

    @classmethod
    def matrices(cls) -> st.SearchStrategy[str]:
        return st.recursive(
            st.one_of(cls.leaves, cls.numbers, cls.sizes),
            lambda inner: st.one_of(
                st.builds(lambda o, a, b: f"({a}) {o} ({b})", cls.infix, inner, inner),
                st.builds(lambda o, a, b: f"{a} {o} {b}", cls.infix, inner, inner),
                st.builds(
                    lambda u, a: u.replace("{}", f"({a})").replace("{0}", f"({a})"),
                    cls.unary,
                    inner,
                ),
                st.builds(
                    lambda o, a, b, c, d: f"torch.where(({a}) {o} ({b}), {c}, {d})",
                    cls.compare,
                    *(inner, inner, inner, inner),
                ),
            ),
            max_leaves=8,
        )


def built(text: str) -> Expr | None:
    try:
        node = read(text)
    except GradcheckError:
        return None  # shapes that don't fit, numbers that can't be computed
    return node if node.elements <= 1000 else None


@settings(max_examples=400, derandomize=True, deadline=None)
@given(Expressions.matrices())
def test_any_expression_reads_back_as_the_same_node(text: str) -> None:
    node = built(text)
    if node is not None:
        assert_reads_back(node)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(Expressions.matrices())
def test_gradients_read_back_too_simplified_or_not(text: str) -> None:
    node = built(text)
    if node is None or node.value is not None or not node.dtype.is_floating:
        return
    upstream = variable("grad", node.shape)
    scope = {**SCOPE, "grad": upstream}
    gradients: Any = differentiate(node, [SCOPE["x"], SCOPE["exp"], SCOPE["v"]], upstream)
    for gradient in (*gradients, *simplify(gradients)):
        printed = print_formulas([gradient], None, scope)
        assert read_back(printed, scope) is gradient, str(printed)


def test_most_random_expressions_are_valid() -> None:
    found: list[bool] = []

    @settings(max_examples=200, derandomize=True, deadline=None, database=None)
    @given(Expressions.matrices())
    def count(text: str) -> None:
        found.append(built(text) is not None)

    count()
    assert sum(found) > 80


def test_several_formulas_share_their_definitions() -> None:
    x, y = SCOPE["x"], SCOPE["größe"]
    shared = (x @ y + y).tanh() * (x - 2.5 * y).exp()
    printed = print_formulas([shared.sin() + shared.cos(), shared.sum() * shared], None, SCOPE)
    assert [name for name, _ in printed.let] == ["t2"]  # t1 is an input
    assert printed.texts == ("sin(t2) + cos(t2)", "t2.sum() * t2")


def test_named_nodes_print_as_their_names() -> None:
    x = SCOPE["x"]
    inner = x.tanh()
    assert to_text(inner * inner + 1, {inner: "h"}) == "h * h + 1"


def test_text_stays_short_however_often_parts_are_shared() -> None:
    node = SCOPE["x"]
    for _ in range(200):
        node = node * node + node
    printed = print_formulas([node], None, SCOPE)
    assert len(str(printed)) < 50_000
    assert read_back(printed, SCOPE) is node


def test_text_without_definitions_is_cut_before_it_explodes() -> None:
    node = SCOPE["x"]
    for _ in range(200):
        node = node * node
    assert "..." in to_text(node)
    assert len(to_text(node)) < 300_000


def test_deep_expressions_are_cut_into_what_the_parser_accepts() -> None:
    node = SCOPE["x"]
    for i in range(1000):
        node = node.sin() if i % 3 else -(node + i)
    printed = print_formulas([node], None, SCOPE)
    assert printed.let
    assert read_back(printed, SCOPE) is node
