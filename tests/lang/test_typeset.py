"""Formulas on paper: what a person writes, in three styles; and every operator prints in all of them."""

# ruff: noqa: RUF001 -- a minus sign is no hyphen: these characters are what formulas are made of

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import TABLE, Expr, In, Op, Sample, call, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.typeset import to_latex, to_mathml, to_unicode, typeset
from gradcheck_cli.lang.typeset.latex import Latex
from gradcheck_cli.lang.typeset.names import split
from gradcheck_cli.lang.typeset.table import TABLE as WRITTEN
from gradcheck_cli.ops.known import given

if TYPE_CHECKING:
    from collections.abc import Iterator

SCOPE: dict[str, Expr] = {
    **{name: variable(name, (4, 4)) for name in ("A", "B", "X", "W1", "x_mean", "pred", "z")},
    **{name: variable(name, (4,)) for name in ("x", "y", "mu", "b")},
    **{name: variable(name, ()) for name in ("sigma", "a")},
    "t": variable("t", (4,), dtypes.int64),
    "mask": variable("mask", (4, 4), dtypes.bool_),
    "grad": variable("grad", (4,)),
}


def read(text: str) -> Expr:
    return build(parse(Source(text)), SCOPE)


@pytest.mark.parametrize(
    ("text", "unicode", "latex"),
    [
        ("(A - B).pow(2).sum()", "∑ (A − B)²", r"\sum (A - B)^{2}"),
        ("2 * A.T @ (A @ x - b)", "2 Aᵀ (A x − b)", r"2 A^{\top} (A x - b)"),
        ("(A + A.T) @ x", "(A + Aᵀ) x", r"(A + A^{\top}) x"),
        ("x @ A", "Aᵀ x", r"A^{\top} x"),
        ("x @ A.T", "A x", "A x"),
        ("x @ y", "xᵀ y", r"x^{\top} y"),
        ("X.inverse().T", "X⁻ᵀ", r"X^{-\top}"),
        ("A.T.T", "A", "A"),
        ("torch.logdet(X)", "log(det(X))", r"\log(\det(X))"),
        ("trace(A @ X @ B)", "tr(A X B)", r"\operatorname{tr}(A X B)"),
        ("A @ (X @ B)", "A (X B)", "A (X B)"),
        ("A * B / A", "A ⊙ B / A", r"\frac{A \odot B}{A}"),
        ("A / (B * A)", "A / (B ⊙ A)", r"\frac{A}{B \odot A}"),
        ("A - (B - A)", "A − (B − A)", "A - (B - A)"),
        ("A + -B", "A − B", "A - B"),
        ("A * -B", "A ⊙ (−B)", r"A \odot (-B)"),
        ("-(A.sum()) + a", "−∑ A + a", r"-\sum A + a"),
        ("A.sum() * x", "(∑ A) · x", r"\left( \sum A \right) x"),
        ("2 * A.sum()", "2 ∑ A", r"2 \sum A"),
        ("(A + B).sum(0)", "∑₀ (A + B)", r"\sum_{0} (A + B)"),
        ("A.sum((0, 1))", "∑ A", r"\sum A"),
        ("A.mean(-1)", "mean₁(A)", r"\operatorname{mean}_{1}(A)"),
        ("softmax(z, 1)", "softmax₁(z)", r"\operatorname{softmax}_{1}(z)"),
        ("A ** 0.5", "√A", r"\sqrt{A}"),
        ("(A ** 2) ** 3", "(A²)³", "(A^{2})^{3}"),
        ("(-A) ** 2", "(−A)²", "(-A)^{2}"),
        ("-A ** 2", "−A²", "-A^{2}"),
        ("W1 ** 2", "W₁²", "W_{1}^{2}"),
        ("x_mean * sigma", "x_mean · σ", r"x_{\mathrm{mean}} \sigma"),
        ("2.0 * A", "2 A", "2 A"),
        ("-2 * (A - B)", "−2 (A − B)", "-2 (A - B)"),
        ("2 * 1e-05 * a", "2 · 10⁻⁵ a", r"2 \cdot 10^{-5} a"),
        ("math.pi * a", "π · a", r"\pi a"),
        ("A + math.inf", "A + ∞", r"A + \infty"),
        ("A / A.numel()", "A / N(A)", r"\frac{A}{N(A)}"),
        ("A / A.shape[0]", "A / N₀(A)", r"\frac{A}{N_{0}(A)}"),
        ("(A > 0) * A", "[A > 0] ⊙ A", r"\mathbf{1}[A > 0] \odot A"),
        ("mask * A", "mask ⊙ A", r"\mathrm{mask} \odot A"),
        ("(A > 0) & mask", "A > 0 ∧ mask", r"A > 0 \land \mathrm{mask}"),
        ("~(A == 0)", "A ≠ 0", r"A \ne 0"),
        ("~(A < 0)", "¬(A < 0)", r"\lnot(A < 0)"),
        ("abs(A - B)", "|A − B|", r"\lvert A - B\rvert"),
        ("A.norm()", "‖A‖_F", r"\lVert A\rVert_{\mathrm{F}}"),
        ("x.norm(1)", "‖x‖₁", r"\lVert x\rVert_{1}"),
        ("A.floor()", "⌊A⌋", r"\lfloor A\rfloor"),
        ("outer(x, y)", "x yᵀ", r"x y^{\top}"),
        ("torch.linalg.solve(A, x)", "A⁻¹ x", "A^{-1} x"),
        ("A[0]", "A[0]", "A_{0}"),
        ("A[:, 1:3]", "A[:, 1:3]", "A_{{:}, 1{:}3}"),
        ("x[:, None]", "x[:, None]", r"x_{{:}, \mathrm{None}}"),
        ("W1[t]", "W₁[t]", "{W_{1}}_{t}"),
        ("F.one_hot(t, 4)", "onehot₄(t)", r"\operatorname{onehot}_{4}(t)"),
        ("zeros_like(A)", "𝟎", r"\mathbf{0}"),
        ("torch.eye(3)", "I₃", "I_{3}"),
        ("sigmoid(x)", "σ(x)", r"\sigma(x)"),
        ("log1p(x)", "log(1 + x)", r"\log(1 + x)"),
        ("sort(x).values", "sort(x)_values", r"{\operatorname{sort}(x)}_{\mathrm{values}}"),
        ("A.tril()", "tril(A)", r"\operatorname{tril}(A)"),
        ("grad * x", "∂o ⊙ x", r"\bar{o} \odot x"),
    ],
)
def test_what_a_person_writes(text: str, unicode: str, latex: str) -> None:
    # `y` and `z` have a meaning, so the output of which `grad` is the adjoint is called `o`.
    names = {SCOPE["y"]: "y", SCOPE["z"]: "z"}
    assert (to_unicode(read(text), names), to_latex(read(text), names)) == (unicode, latex)


def test_cases_are_in_brackets_within_a_product() -> None:
    node = read("torch.where(A > 0, 2 * A, 0.0) @ x")
    assert to_unicode(node) == "(2 A if A > 0 else 0) x"
    cases = r"\begin{cases} 2 A & A > 0 \\ 0 & \text{otherwise} \end{cases}"
    assert to_latex(node) == rf"\left( {cases} \right) x"


def test_mathml_has_the_same_structure() -> None:
    text = to_mathml(read("sigma ** 2 / a"))
    assert text.partition(">")[2] == (
        "<mfrac><msup><mi>σ</mi><mn>2</mn></msup><mi>a</mi></mfrac></math>"
    )
    root = ET.fromstring(to_mathml(read("torch.where(A > 0, A, 0.0) @ x / x.norm()")))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} >= {"mtable", "mfrac"}


def test_two_names_never_look_the_same() -> None:
    names = ("x1", "x_1", "alpha", "α", "x_alpha", "x_α", "W", "N")
    node = variable("x1", ())
    for name in names[1:]:
        node = node + variable(name, ())
    for write in (to_unicode, to_latex, to_mathml):
        written = {write(variable(name, ())) for name in names}
        together = write(node)
        assert len(written) < len(names)  # alone, they may
        assert together.count("x") >= 2
    parts = to_latex(node).split(" + ")
    assert len(set(parts)) == len(names), parts


def test_an_element_is_told_from_a_name_with_a_subscript() -> None:
    matrix, other = variable("A", (4, 4)), variable("A_0", (4,))
    assert to_latex(matrix[0] + other) == "A[0] + A_{0}"
    assert to_latex(matrix[0]) == "A_{0}"


def test_a_tensor_called_n_is_told_from_the_number_of_elements() -> None:
    x, n = variable("x", (3,)), variable("N", ())
    assert to_latex(n * x / x.numel()) == r"\frac{N x}{\operatorname{numel}(x)}"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("x", ("x", ())),
        ("W12", ("W", ("12",))),
        ("x_mean", ("x", ("mean",))),
        ("sigma_2_max", ("σ", ("2", "max"))),
        ("h1_t", ("h", ("1", "t"))),
        ("__x__", ("__x__", ())),
        ("x__y", ("x__y", ())),
        ("_", ("_", ())),
        ("größe", ("größe", ())),
        ("a" * 100 + "_1", ("a" * 100 + "_1", ())),
    ],
)
def test_names(name: str, parts: tuple[str, tuple[str, ...]]) -> None:
    assert split(name) == parts


HOSTILE = ("__x__", "x_", "_1", "größe", "数", "ℵ0", "x" * 300, "a_b_c_d", "ª", "x\u0301")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: str) -> None:
    assert name.isidentifier()
    assert_sound(variable(name, (3,)).exp() * variable("y", (3,)) + variable(name, (3,))[0])


@settings(max_examples=100, derandomize=True, deadline=None)
@hypothesis_given(st.text(min_size=1, max_size=12).filter(str.isidentifier))
def test_any_identifier_is_a_sound_formula(name: str) -> None:
    assert_sound(variable(name, (2,)) ** 2)


def test_text_within_formulas_is_escaped() -> None:
    node = read("einsum('ij,jk->ik', A, B)")
    assert_sound(node)
    assert Latex().upright(r"a_b#%&${}\^~") == (
        r"\mathrm{a\_b\#\%\&\$\{\}\backslash{}\hat{\ }\sim{}}"
    )


def assert_sound(node: Expr) -> None:
    latex = to_latex(node)
    bare = re.sub(r"\\[{}]", "", latex)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0, latex
    assert depth == 0, latex
    assert latex.count(r"\left") == latex.count(r"\right"), latex
    assert not re.search(r"}_\{[^{}]*}_|\^\{[^{}]*}\^", bare), f"two at one place: {latex}"
    assert not re.search(r"(?<!\\)[#%&$](?![^{}]*cases)", latex.replace(" & ", " ")), latex
    ET.fromstring(to_mathml(node))
    unicode = to_unicode(node)
    assert unicode
    assert "\n" not in unicode
    assert unicode.count("(") == unicode.count(")"), unicode


def every_node(op: Op) -> Iterator[Expr]:
    """An operator as its samples have it, and on matrices where it has none."""
    found = False
    for sample in op.samples[:3]:
        with given(partial(values, sample)):
            output = build(parse(Source(sample.expression)), scope_of(sample))
        nodes = [n for n in topological([output], sizes=True) if n.op is op]
        found = found or bool(nodes)
        yield from nodes or [output]
    tensors = [p for p in op.signature.parameters if p.is_tensor]
    if not found and not op.is_macro and all(p.has_default or p.is_tensor for p in tensors):
        square = (variable(name, (2, 2)) for name in "ABC")
        yield call([op], *(node for node, _ in zip(square, tensors, strict=False)))


def values(sample: Sample) -> dict[str, np.ndarray]:
    return {
        name: np.array(spec.value)
        if spec.value is not None
        else np.ones(spec.shape, dtypes.BY_NAME[spec.dtype].numpy)
        for name, spec in sample.inputs.items()
    }


def scope_of(sample: Sample) -> dict[str, Expr]:
    def shape(spec: In) -> tuple[int, ...]:
        return spec.shape if spec.value is None else np.shape(spec.value)

    return {
        name: variable(name, shape(spec), dtypes.BY_NAME[spec.dtype])
        for name, spec in sample.inputs.items()
    }


@pytest.mark.parametrize("op", TABLE.by_name.values(), ids=lambda op: op.name)
def test_every_operator_prints_in_every_style(op: Op) -> None:
    nodes = list(dict.fromkeys(every_node(op)))[:4]
    assert nodes or op.is_macro or not op.samples, "nothing was printed"
    for node in nodes:
        assert_sound(node)


def test_every_line_of_the_table_is_an_operator_that_stands_in_graphs() -> None:
    assert not [name for name in WRITTEN if name not in TABLE.by_name]
    sizes = {"size", "numel"}
    assert not [n for n in WRITTEN if TABLE.by_name[n].is_macro and n not in sizes]


def test_a_deep_network_is_no_problem() -> None:
    node = variable("x", (3,))
    for _ in range(1000):
        node = (node * 2).tanh()
    for write in (to_latex, to_unicode, to_mathml):
        assert len(write(node)) < 150_000
    printed = typeset([node], None, "latex")
    assert len(printed.let) > 10
    assert all(len(text) < 4000 for _, text in printed.let)


def test_text_that_doubles_with_every_node_is_cut() -> None:
    node = variable("x", (3,))
    for _ in range(200):
        node = node * node
    for write in (to_latex, to_unicode, to_mathml):
        assert len(write(node)) < 500_000


def test_definitions_are_those_of_the_printer() -> None:
    x, y = SCOPE["A"], SCOPE["B"]
    shared = (x @ y + y).tanh() * (x - 2.5 * y).exp()
    printed = typeset([shared.sin() + shared.cos(), shared.sum() * shared], None, "unicode")
    assert printed.let == (("t₁", "tanh(A B + B) ⊙ exp(A − 2.5 B)"),)
    assert printed.texts == ("sin(t₁) + cos(t₁)", "(∑ t₁) · t₁")


def test_names_stand_for_nodes() -> None:
    node = read("(A @ x - b).exp()")
    assert to_latex(node.sum(), {node: "u_1"}) == r"\sum u_{1}"


def arithmetic() -> st.SearchStrategy[Expr]:
    """Sums, products, quotients, powers and signs of two numbers and two vectors."""
    return st.recursive(
        st.sampled_from(["x", "y", "a", "sigma", "2", "3"]).map(read),
        lambda inner: st.one_of(
            st.builds(
                lambda name, left, right: read_over(f"l {name} r", left, right),
                st.sampled_from(["+", "-", "*", "/"]),
                inner,
                inner,
            ),
            st.builds(lambda one: read_over("-l", one, one), inner),
            st.builds(lambda one: read_over("l ** 2", one, one), inner),
        ),
        max_leaves=8,
    )


def read_over(text: str, left: Expr, right: Expr) -> Expr:
    return build(parse(Source(text)), {"l": left, "r": right})


def from_unicode(text: str) -> str:
    """A formula as a Python expression; a space between two factors is a product."""
    for sign, python in (("−", "-"), ("⊙", "*"), ("·", "*"), ("²", "**2"), ("σ", "sigma")):
        text = text.replace(sign, python)
    return re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", text)


def from_latex(text: str) -> str:
    for sign, python in (
        *((r"\left( ", "("), (r" \right)", ")"), (r"\odot", "*"), (r"\cdot", "*")),
        *((r"\sigma", "sigma"), (r"\,", ""), ("^{2}", "**2")),
    ):
        text = text.replace(sign, python)
    text = re.sub(r"(?<=[\w)}]) +(?=[\w(\\])", " * ", text)
    return text.replace(r"\frac{", "((").replace("}{", ")/(").replace("}", "))")


@settings(max_examples=300, derandomize=True, deadline=None)
@hypothesis_given(arithmetic())
def test_brackets_stand_where_the_value_needs_them(node: Expr) -> None:
    if node.value is not None:
        return
    arrays = {"x": np.array([1.5, -0.7, 2.0, 3.0]), "y": np.array([0.4, 1.1, -2.5, 1.0])}
    arrays |= {"a": np.array(1.7), "sigma": np.array(-0.6)}
    with np.errstate(all="ignore"):
        (expected,) = Plan([node])(arrays)
        for text in (from_unicode(to_unicode(node)), from_latex(to_latex(node))):
            (value,) = Plan([read(text)])(arrays)
            np.testing.assert_allclose(value, expected, rtol=1e-9, err_msg=text)
