"""Derivations as a student reads them: golden files, and what holds in every style."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.calculus.steps import Derivation, steps
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import t, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.report.derivation import DerivationStyle, write_steps
from gradcheck_cli.spec.load import load_text

if TYPE_CHECKING:
    from collections.abc import Callable

SPECS = Path(__file__).parents[2] / "specs"
SHOWN = {
    "sum_of_squares": "sum_of_squared_errors.yaml",
    "logistic_regression": "models/logistic_regression.yaml",
    "two_layer_network": "models/two_layer_network.yaml",
    "cross_entropy": "losses/cross_entropy.yaml",
    "attention": "layers/attention.yaml",
    "layer_norm": "layers/layer_norm.yaml",
    "logdet": "linear_algebra/determinant.yaml",
}
# What the samplers of these files see to.
ASSUMED = {"cross_entropy": ("target >= 0", "target < 4")}
ENDINGS: dict[DerivationStyle, str] = {
    "text": "txt",
    "unicode": "unicode.txt",
    "latex": "tex",
    "markdown": "md",
    "mathml": "html",
}


@cache
def derivation(name: str) -> Derivation:
    case = prepare(load_text((SPECS / SHOWN[name]).read_text(encoding="utf-8"))[0])
    let = {case.scope[name]: name for name in reversed([*case.let]) if case.scope[name].args}
    wrt = [case.variables[name] for name in case.wrt]
    facts = [build(parse(Source(text)), case.variables) for text in ASSUMED.get(name, ())]
    return steps(case.output, wrt, case.upstream, let, facts)


@pytest.mark.parametrize("style", ["text", "unicode", "latex"])
@pytest.mark.parametrize("name", SHOWN)
def test_golden(name: str, style: DerivationStyle, golden: Callable[[str, str], None]) -> None:
    golden(f"steps_{name}.{ENDINGS[style]}", write_steps(derivation(name), style))


@pytest.mark.parametrize("style", ["markdown", "mathml"])
def test_golden_for_web_pages(style: DerivationStyle, golden: Callable[[str, str], None]) -> None:
    text = write_steps(derivation("logistic_regression"), style)
    golden(f"steps_logistic_regression.{ENDINGS[style]}", text)


@pytest.mark.parametrize("name", SHOWN)
def test_mathml_is_well_formed(name: str) -> None:
    root = ET.fromstring(write_steps(derivation(name), "mathml"))
    assert root.findall(".//{http://www.w3.org/1998/Math/MathML}math")
    rows = root.findall(".//tr")
    assert all(len(row) == 4 for row in rows)


# What amsmath and plain LaTeX define; `\operatorname` and `align*` are amsmath's.
KNOWN = frozenset(
    """paragraph begin end text textasciicircum bar overline mathrm mathbf operatorname frac sqrt sum odot
    cdot top left right le ge ne lVert rVert lvert rvert log det exp sigma delta quad
    """.split()  # noqa: SIM905
)


@pytest.mark.parametrize("name", SHOWN)
def test_latex_needs_nothing_but_amsmath(name: str) -> None:
    text = write_steps(derivation(name), "latex")
    commands = set(re.findall(r"\\([a-zA-Z]+)", text))
    assert commands <= KNOWN, commands - KNOWN
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert text.count(r"\left") == text.count(r"\right")
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


@pytest.mark.parametrize("name", SHOWN)
def test_github_gets_no_dollar_blocks_and_no_operatorname(name: str) -> None:
    text = write_steps(derivation(name), "markdown")
    assert "operatorname" not in text
    assert "$$" not in text
    assert text.count("```math\n") == text.count("```\n") == text.count("```") // 2


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", SHOWN)
def test_text_keeps_to_the_width_unless_one_word_is_longer(name: str, width: int) -> None:
    for line in write_steps(derivation(name), "text", width).splitlines():
        assert len(line) <= width or len(line.split()[-1]) > width // 3, line


def test_several_uses_are_added_up() -> None:
    x = variable("x", (3,))
    text = write_steps(steps((x.sin() * x.exp()).sum(), [x], variable("grad", ())), "text", 120)
    assert "d_x  = d_u2 * u2" in text
    assert "       + d_u1 * cos(x)" in text
    assert "total derivative, 2 uses; from u2: derivative of exp: itself" in text


def test_assumptions_are_stated() -> None:
    matrix, x = variable("A", (3, 3)), variable("x", (3,))
    fact = t.eq(matrix, matrix.T)
    found = steps(x @ matrix @ x, [x], variable("grad", ()), facts=[fact])
    assert "Assuming A == A.T." in write_steps(found, "text")
    assert "Assuming $A = A^{\\top}$." in write_steps(found, "latex")


def test_a_long_result_gets_definitions() -> None:
    x = variable("x", (3,))
    node = x
    for _ in range(6):
        node = (node * x + 1).tanh()
    found = steps(node.sum(), [x], variable("grad", ()))
    result = write_steps(found, "text", 200).partition("Result")[2]
    assert "t1" in result
    assert "defined for what follows" in result


def test_hostile_names_stay_text() -> None:
    names = ("__x__", "a_b_c", "größe")
    total = t.zeros(())
    variables = [variable(name, (2,)) for name in names]
    for node in variables:
        total = total + (node**2).sum()
    found = steps(total, variables, variable("grad", ()))
    ET.fromstring(write_steps(found, "mathml"))
    latex = write_steps(found, "latex")
    assert "\\_\\_x\\_\\_" in latex


def test_results_of_a_deep_network_are_left_to_the_chain_rule() -> None:
    node = x = variable("x", (4, 4))
    weights = [variable(f"W{layer}", (4, 4)) for layer in range(40)]
    for weight in weights:
        node = (node @ weight).tanh()
    found = steps(node.sum(), [x, *weights], variable("grad", ()))
    for style in ENDINGS:
        text = write_steps(found, style)
        assert "Longer in closed form than by the chain rule" in text
        assert len(text) < 200_000
    assert "d_W39 = " in write_steps(found, "text").partition("Result")[2]


def test_forms_that_look_the_same_on_paper_are_one_line() -> None:
    matrix, x = variable("A", (4, 3)), variable("x", (3,))
    found = steps(((matrix @ x) ** 2).sum(), [matrix, x], variable("grad", ()))
    result = write_steps(found, "unicode").partition("Result")[2].split()
    assert " ".join(result).startswith("------ ∂A = 2 A x xᵀ ∂x = ")
