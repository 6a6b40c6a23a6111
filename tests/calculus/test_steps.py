"""The steps of a derivation: each line says what is true, in the words of a textbook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.calculus.derive import derive_nodes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.steps import Derivation, steps
from gradcheck_cli.dtypes import int64
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, t, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.methods.case import Case, prepare, values_of
from gradcheck_cli.spec.load import load_text

if TYPE_CHECKING:
    from collections.abc import Mapping

SPECS = Path(__file__).parents[2] / "specs"
FILES = sorted(SPECS.rglob("*.yaml"))


def let_of(case: Case) -> dict[Expr, str]:
    return {case.scope[name]: name for name in reversed([*case.let]) if case.scope[name].args}


def derived(text: str, shapes: Mapping[str, tuple[int, ...]], **types: Any) -> Derivation:
    scope = {
        name: variable(name, shape, **({"dtype": types[name]} if name in types else {}))
        for name, shape in shapes.items()
    }
    output = build(parse(Source(text)), scope)
    wrt = [node for node in scope.values() if node.dtype.is_floating]
    return steps(output, wrt, variable("grad", output.shape))


def rules(found: Derivation) -> dict[str, list[str]]:
    return {line.of: [term.rule for term in line.terms] for line in found.backward}


def lines(found: Derivation) -> list[str]:
    definitions = [f"{line.name} = {to_text(line.node)}" for line in found.forward]
    return definitions + [f"{line.name} = {to_text(line.node)}" for line in found.backward]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SPECS).as_posix())
def test_every_line_of_a_specs_derivation_is_true(path: Path) -> None:
    for check in load_text(path.read_text(encoding="utf-8")):
        case = prepare(check)
        with values_of(check):
            assert_true(case)


def assert_true(case: Case) -> None:
    """Line by line, each over the values of the lines before it, against the gradient of that node."""
    wrt = [case.variables[name] for name in case.wrt]
    given = let_of(case)
    found = steps(case.output, wrt, case.upstream, given)
    known = dict(case.arrays)
    with np.errstate(all="ignore"):
        for definition in found.forward:
            (known[definition.name],) = Plan([definition.node])(known)
        np.testing.assert_allclose(
            known[found.output], Plan([case.output])(case.arrays)[0], rtol=1e-9
        )
        for definition in (*found.further, found.upstream):
            (known[definition.name],) = Plan([definition.node])(known)
        nodes = whole(found, case.variables)
        cotangent = t.ones(()) if case.output.ndim == 0 else case.upstream
        targets = [nodes[line.of] for line in found.backward]
        expected = Plan(differentiate(case.output, targets, cotangent))(case.arrays)
        for line, right in zip(found.backward, expected, strict=True):
            (value,) = Plan([line.node])(known)
            known[line.name] = np.broadcast_to(value, right.shape)
            assert line.node.shape == right.shape
            assert_close(known[line.name], right, f"{line.name} = {to_text(line.node)}")
        for gradient in found.gradients:
            for form in gradient.forms:
                (value,) = Plan([form.node])(known)
                right = known.get(gradient.name, np.zeros(form.node.shape))
                assert_close(value, right, to_text(form.node))
    final = derive_nodes(case.output, wrt, case.upstream, given)
    assert [g.forms[-1].node for g in found.gradients] == list(final)


def whole(found: Derivation, variables: Mapping[str, Expr]) -> dict[str, Expr]:
    """What each name stands for in the expression's own graph."""
    scope = dict(variables)
    for line in found.forward:
        scope[line.name] = build(parse(Source(to_text(line.node))), scope)
    return scope


def assert_close(value: Any, expected: Any, text: str) -> None:
    scale = np.max(np.abs(expected), initial=0.0)
    scale = scale if np.isfinite(scale) else 1.0
    np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-10 * scale, err_msg=text)


def test_sum_of_squares() -> None:
    found = derived("(a - b).pow(2).sum()", {"a": (3, 8), "b": (3, 8)})
    assert lines(found) == [
        "u1 = a - b",
        "u2 = u1 ** 2",
        "L = u2.sum()",
        "d_u2 = ones_like(u2)",
        "d_u1 = 2 * d_u2 * u1",
        "d_b = -d_u1",
        "d_a = d_u1",
    ]
    assert rules(found) == {
        "u2": ["derivative of a sum: every term gets the same"],
        "u1": ["power rule"],
        "a": ["sum rule"],
        "b": ["sum rule"],
    }
    assert [to_text(g.forms[-1].node) for g in found.gradients] == ["2 * (a - b)", "-2 * (a - b)"]


def test_several_uses_are_terms_of_their_own() -> None:
    found = derived("(x.sin() * x.exp()).sum()", {"x": (3,)})
    (line,) = (line for line in found.backward if line.of == "x")
    assert [(term.user, term.rule) for term in line.terms] == [
        ("u2", "derivative of exp: itself"),
        ("u1", "derivative of sin: cos"),
    ]
    assert [to_text(term.node) for term in line.terms] == ["d_u2 * u2", "d_u1 * cos(x)"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("3 * x", "constant factor"),
        ("x / 3", "constant factor"),
        ("x / y", "quotient rule"),
        ("x * y", "product rule"),
        ("x * x.detach()", "constant factor"),
        ("x ** 3", "power rule"),
        ("2 ** x", "derivative of an exponential"),
        ("-x", "constant factor"),
        ("x + y", "sum rule"),
        ("x + v", "sum rule"),
        ("x @ y", "matrix product: d(AB) = dA B + A dB"),
        ("x @ y + v", "sum rule, matrix product: d(AB) = dA B + A dB"),
        ("softmax(x, 1)", "softmax Jacobian: diag(s) - s s^T"),
        ("x.T", "transposition"),
        ("x.erf()", "derivative of erf"),
        ("torch.where(y > 0, x, 0.0)", "case by case"),
        ("x[0]", "zero but for the elements that were picked"),
    ],
)
def test_rules_have_the_names_of_textbooks(text: str, rule: str) -> None:
    found = derived(text, {"x": (3, 3), "y": (3, 3), "v": (3,)})
    assert rules(found)["x"] == [rule]


def test_what_was_broadcast_is_summed() -> None:
    found = derived("x + b", {"x": (4, 3), "b": (3,)})
    assert rules(found)["b"] == ["sum rule, broadcasting undone by a sum"]
    assert [to_text(line.node) for line in found.backward if line.of == "b"] == ["d_y.sum(0)"]


def test_names_that_are_taken_are_left_alone() -> None:
    shapes = dict.fromkeys(("L", "u1", "u2", "d_u1", "d_x", "y", "x"), (3,))
    found = derived("(L * u1 * u2 * d_u1 * d_x * y * x).exp().sum()", shapes)
    names = [line.name for line in found.forward] + [line.name for line in found.backward]
    assert len(set(names) | shapes.keys()) == len(names) + len(shapes)


def test_names_of_a_check_are_kept() -> None:
    x, w = variable("x", (5, 3)), variable("w", (3,))
    score = x @ w
    found = steps(score.sigmoid().sum(), [w], variable("grad", ()), {score: "score"})
    assert [line.name for line in found.forward] == ["score", "u1", "L"]
    assert {"d_score", "d_w"} <= {line.name for line in found.backward}


def test_facts_shorten_the_result() -> None:
    matrix, x = variable("A", (3, 3)), variable("x", (3,))
    symmetric = t.eq(matrix, matrix.T)
    found = steps(x @ matrix @ x, [x], variable("grad", ()), facts=[symmetric])
    assert to_text(found.gradients[0].forms[-1].node) == "2 * A @ x"
    assert found.facts == (symmetric,)


def test_an_output_that_is_an_input_has_no_rules() -> None:
    x = variable("x", ())
    found = steps(x, [x], variable("grad", ()))
    assert found.forward == ()
    assert found.output == "x"
    assert [to_text(g.forms[-1].node) for g in found.gradients] == ["ones(())"]


def test_an_input_that_gets_no_gradient_has_no_rule() -> None:
    found = derived("(x.detach() * w).sum()", {"x": (3,), "w": (3,)})
    assert [to_text(g.forms[-1].node) for g in found.gradients] == ["zeros_like(x)", "x.detach()"]
    assert "x" not in rules(found)


def test_a_deep_network_is_no_problem() -> None:
    node = x = variable("x", (3,))
    for _ in range(300):
        node = (node * 2).tanh()
    found = steps(node.sum(), [x], variable("grad", ()))
    assert len(found.forward) == 601
    assert len(found.gradients[0].forms) <= 2


def test_forms_become_shorter() -> None:
    classes = {"z": (4, 3), "t": (4,)}
    found = derived("F.cross_entropy(z, t)", classes, t=int64)
    texts = [to_text(form.node) for form in found.gradients[0].forms]
    assert texts == sorted(texts, key=len, reverse=True)
    assert all(form.reasons for form in found.gradients[0].forms[1:])
