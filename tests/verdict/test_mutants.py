"""Wrong formulas made of right ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.codes import CODES
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.lang.edits import Edits
from gradcheck_cli.methods.case import Case, prepare
from gradcheck_cli.spec.load import load_file, load_text
from gradcheck_cli.verdict.mutants import KINDS, Mutant, candidates, mutants
from gradcheck_cli.verdict.mutants.evaluate import codes_by_numbers, differ, evaluate, ratio
from gradcheck_cli.verdict.mutants.generate import built
from gradcheck_cli.verdict.mutants.record import Subject, place

SPECS = Path(__file__).parent.parent.parent / "specs"
# The codes that a diagnosis can have.
NAMES = {f"GC{number}" for number in range(101, 114)}


def case_of(inputs: str, expression: str, let: str = "") -> Case:
    text = f"version: 1\ninputs: {{{inputs}}}\nexpression: {expression}\n"
    return prepare(load_text(text + (f"let: {{{let}}}\n" if let else ""))[0])


def made(case: Case, formula: str, name: str = "x") -> dict[str, list[Mutant]]:
    """The mutants of a formula by kind."""
    found: dict[str, list[Mutant]] = {}
    for mutant in mutants(case, name, formula):
        found.setdefault(mutant.kind, []).append(mutant)
    return found


def test_there_are_many_kinds_and_each_says_what_it_is() -> None:
    assert len(KINDS) >= 30
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.doc.endswith(".")
        assert kind.codes
        assert set(kind.codes) <= NAMES


@pytest.mark.parametrize(
    "file", ["losses/huber.yaml", "layers/linear.yaml", "linear_algebra/quadratic_form.yaml"]
)
def test_every_mutant_can_be_built_has_the_shape_and_differs(file: str) -> None:
    for check in load_file(SPECS / file):
        case = prepare(check)
        for name, formula in case.formulas.items():
            right = Plan([case.manual[name]])(case.arrays)[0]
            unseen = 0
            for mutant in mutants(case, name, formula.flat):
                assert mutant.kind in KINDS
                assert mutant.codes
                assert mutant.what
                assert set(mutant.codes) <= NAMES
                node = built(Subject.of(case, name, mutant.text), mutant.text)
                assert node is not None
                assert node.shape == case.variables[name].shape
                wrong = evaluate([node], case.arrays, node.shape)[0]
                unseen += wrong is not None and not differ(right, wrong)
            # Some differ at other inputs only.
            assert unseen <= 5


@pytest.mark.parametrize(
    ("kind", "formula", "expected", "code"),
    [
        ("constant factor dropped", "2 * x", "x", "GC101"),
        ("constant factor dropped", "x / 2", "x", "GC101"),
        ("divided by a size", "2 * x", "(2 * x) / x.numel()", "GC101"),
        ("wrong size", "x / x.numel()", "x / x.shape[0]", "GC101"),
        ("mean for sum", "x - x.sum(0)", "x - x.mean(0)", "GC105"),
        ("sign of the whole", "2 * x", "-(2 * x)", "GC102"),
        ("sign of a term", "x - y", "x + y", "GC105"),
        ("minus dropped", "-x", "x", "GC102"),
        ("factor dropped", "x * y", "y", "GC106"),
        ("term dropped", "x + y", "x", "GC105"),
        ("weight decay added", "2 * x", "2 * x + 0.01 * x", "GC101"),
        ("weight decay added", "2 * y", "2 * y + 0.01 * x", "GC105"),
        ("mask dropped", "x * (y > 0)", "x", "GC108"),
        ("bound dropped", "x.clamp(-1, 1)", "x", "GC108"),
        ("comparison flipped", "x * (y > 0)", "x * (y < 0)", "GC108"),
        ("threshold moved", "x * (y > 0)", "x * (y > 0.5)", "GC108"),
        ("shifted", "2 * x", "(2 * x).roll(1, 0)", "GC109"),
        ("reversed", "2 * x", "(2 * x).flip(1)", "GC109"),
        ("wrong axis reduced", "x - x.sum(0, keepdim=True)", "x - x.sum(1, keepdim=True)", "GC104"),
        (
            "row for a reduction",
            "x - x.sum(0, keepdim=True)",
            "x - x[:1]",
            "GC104",
        ),
        ("wrong axis normalised", "softmax(x, 1)", "softmax(x, 0)", "GC104"),
        ("zero by zero", "2 * x", "(2 * x) * relu(x) / relu(x)", "GC110"),
        ("constant rounded", "math.pi * x", "3.14 * x", "GC111"),
        ("epsilon changed", "rsqrt(y * y + 1e-5)", "rsqrt(y * y)", "GC111"),
        ("single precision", "2 * x / 3", "(2 * x / 3).to(torch.float32)", "GC111"),
        ("zeros", "2 * x", "torch.zeros_like(x)", "GC112"),
        ("look-alike", "tanh(x)", "sigmoid(x)", "GC113"),
        ("exponent off by one", "x**2", "x**3", "GC113"),
        ("product for quotient", "x / y", "x * y", "GC113"),
        ("operands interchanged", "x - y", "y - x", "GC102"),
        ("other variable", "2 * x * y", "2 * y * y", "GC113"),
    ],
)
def test_a_kind_makes_what_it_says(kind: str, formula: str, expected: str, code: str) -> None:
    case = case_of("x: {shape: [3, 4]}, y: {shape: [3, 4]}", "(x * y).sum()")
    texts = {mutant.text: mutant for mutant in made(case, formula)[kind]}
    assert expected in texts
    assert code in texts[expected].codes


@pytest.mark.parametrize(
    ("kind", "formula", "expected", "code"),
    [
        ("whole transposed", "A.T", "A.T.mT", "GC103"),
        ("operand transposed", "A @ B.T", "A @ B", "GC103"),
        ("operands swapped", "A @ B", "B @ A", "GC103"),
        (
            "einsum indices swapped",
            "einsum('ij,jk->ik', A, B)",
            "einsum('ji,jk->ik', A, B)",
            "GC103",
        ),
        ("reshape for a transpose", "A.T @ B", "A.reshape(A.T.shape) @ B", "GC109"),
        ("slice off by one", "torch.cat([A[1:], B[:1]])", "torch.cat([A[:-1], B[:1]])", "GC109"),
        ("reordering dropped", "A.flip(0)", "A", "GC109"),
        ("wrong axis broadcast", "A * v[:, None]", "A * v[None, :]", "GC104"),
        ("triangle only", "A.T", "A.T.tril()", "GC108"),
    ],
)
def test_kinds_of_square_matrices(kind: str, formula: str, expected: str, code: str) -> None:
    inputs = "A: {shape: [4, 4]}, B: {shape: [4, 4]}, v: {shape: [4]}"
    texts = {
        mutant.text: mutant
        for mutant in made(case_of(inputs, "(A @ B @ v).sum()"), formula, "A")[kind]
    }
    assert expected in texts
    assert code in texts[expected].codes


def test_what_is_held_constant_is_derived() -> None:
    case = case_of("x: {shape: [3, 4]}", "(x / s).sum()", "s: x.sum()")
    found = made(case, "1 / s - x.sum() / s**2 + 0 * x")
    assert any(m.text == "1 / s" or "held" in m.what for m in found["part held constant"])
    square = made(
        case_of("x: {shape: [3, 4]}, y: {shape: [4, 3]}", "(x @ y @ x).sum()"), "x @ y @ x"
    )
    assert len(square["occurrence forgotten"]) == 2
    assert all("GC107" in mutant.codes for mutant in square["occurrence forgotten"])


def test_the_numbers_say_what_a_mistake_is() -> None:
    right = np.array([1.0, -2.0, 3.0])
    again = np.array([0.5, 0.25, -1.0])
    assert codes_by_numbers(("GC105",), [(right, 3 * right), (again, 3 * again)]) == ("GC101",)
    assert codes_by_numbers(("GC105",), [(right, -right), (again, -again)]) == ("GC102",)
    assert codes_by_numbers(("GC105",), [(right, 0 * right), (again, 0 * again)]) == ("GC112",)
    assert codes_by_numbers(("GC105",), [(right, right * np.nan)]) == ("GC110",)
    # The same factor everywhere, but another at each draw: a function of the inputs.
    assert codes_by_numbers(("GC106",), [(right, 3 * right), (again, 2 * again)]) == (
        "GC106",
        "GC101",
    )
    assert codes_by_numbers(("GC108",), [(right, right + np.eye(3)[1])]) == ("GC108",)
    assert codes_by_numbers(("GC108",), [(right, right + 1.0)]) == ("GC108", "GC113")
    assert "GC111" in codes_by_numbers(("GC113",), [(right, right + 1e-4 * right**2)])


def test_no_ratio_where_there_is_none() -> None:
    assert ratio(np.array([1.0, 2.0]), np.array([2.0, 4.0])) == 2.0
    assert ratio(np.array([1.0, 2.0]), np.array([2.0, 4.1])) is None
    assert ratio(np.zeros(2), np.ones(2)) is None


def test_a_constant_factor_of_a_scalar_isn_t_taken_for_one_by_chance() -> None:
    """Two numbers always have a ratio; only one that stays the same at other inputs is constant."""
    case = case_of("x: {shape: []}, y: {shape: [3]}", "(x * y.exp()).sum()")
    found = made(case, "y.exp().sum()")
    assert all("GC101" not in mutant.codes for mutant in found["look-alike"])
    assert all(mutant.codes == ("GC101",) for mutant in found["constant factor added"][:3])


@pytest.mark.parametrize(
    ("text", "part", "expected"),
    [
        ("2 * (a + b)", "2", "factor"),
        ("2 * (a + b)", "b", "term"),
        ("(a + b).sum(0)", "a", "term"),
        ("a / b", "b", "factor"),
        ("a / (b + c)", "c", "inner"),
        ("exp(a)", "a", "inner"),
        ("a @ b.T", "b", "factor"),
    ],
)
def test_where_a_mistake_stands(text: str, part: str, expected: str) -> None:
    edits = Edits.of(text)
    node = next(n for n in edits.nodes() if edits.segment(n) == part)
    assert place(edits, node) == expected


def test_axes_and_indices_are_not_numbers_of_the_formula() -> None:
    case = case_of("x: {shape: [3, 4]}", "x.square().sum()")
    found = made(case, "2 * x - 0 * x.mean(-1, keepdim=True)")
    assert "minus dropped" not in found


def test_values_that_shapes_depend_on_are_kept() -> None:
    case = prepare(load_file(SPECS / "losses" / "masked_mean.yaml")[0])
    assert len(list(mutants(case, "x", case.formulas["x"].flat))) > 30


def test_a_formula_that_is_none_is_refused() -> None:
    with pytest.raises(GradcheckError):
        candidates(case_of("x: {shape: [3]}", "x.sum()"), "x", "2 *")


@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.sampled_from(["x", "y", "2", "0.5", "x.mean()"]),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(
                lambda t: f"({t[0]} {t[1]} {t[2]})"
            ),
            st.tuples(st.sampled_from(["exp", "tanh", "relu"]), inner).map(
                lambda t: f"{t[0]}({t[1]} + x)"
            ),
        ),
        max_leaves=5,
    )
)
def test_any_formula_has_mutants_that_are_formulas(formula: str) -> None:
    case = case_of("x: {shape: [2, 3]}, y: {shape: [2, 3]}", "(x * y).sum()")
    try:
        found = candidates(case, "x", f"{formula} + 0 * x")
    except GradcheckError:
        return  # a number divided by zero
    assert found
    for one in found:
        assert one.node.shape in ((2, 3), ())
        assert set(one.mutant.codes) <= set(CODES) | NAMES
