"""`gradcheck derive`: what it prints, what it refuses, and that nothing wrong is ever shown."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_cli.calculus.derive import derive_nodes
from gradcheck_cli.errors import ExitCode
from gradcheck_cli.methods import closed_form, manual_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck_cli.graph import Expr
    from tests.cli.conftest import Command

TWO = """\
version: 1
checks:
  - name: first
    inputs: {x: {shape: [3]}, A: {shape: [3, 3], sample: spd}}
    let: {y: A @ x}
    expression: x @ y
  - name: second
    inputs: {x: {shape: [3, 4], sample: positive}}
    expression: x.abs()
"""


def test_shapes_given(gradcheck: Command) -> None:
    result = gradcheck("derive", "(x - y).pow(2).sum()", "-i", "x=3,8", "-i", "y=3,8", "--wrt", "x")
    assert result == (ExitCode.PASSED, "d/d x = 2 * (x - y)\n", "")


def test_shapes_guessed_and_left_sides_aligned(gradcheck: Command) -> None:
    result = gradcheck("derive", "(predicted - real).pow(2).sum()")
    assert result.out == (
        "# predicted: (N, D), real: (N, D), guessed from use\n"
        "d/d predicted = 2 * (predicted - real)\n"
        "d/d real      = -2 * (predicted - real)\n"
    )


def test_grad_is_explained_where_it_is_used(gradcheck: Command) -> None:
    shown = gradcheck("derive", "x.exp()", "-i", "x=3").out
    assert "# grad is the upstream gradient, of shape (3,)\n" in shown
    assert "grad" not in gradcheck("derive", "x.exp().sum()", "-i", "x=3").out


def test_a_spec(gradcheck: Command) -> None:
    assert gradcheck("derive", "right.yaml").out == "d/d x = 2 * x\n"
    assert gradcheck("derive", "right.yaml::right").out == "d/d x = 2 * x\n"
    assert gradcheck("derive", "right.yaml", "--check", "right").out == "d/d x = 2 * x\n"


def test_several_checks_their_let_names_and_what_is_assumed(gradcheck: Command) -> None:
    Path("two.yaml").write_text(TWO)
    lines = gradcheck("derive", "two.yaml").out.splitlines()
    assert lines[:3] == [
        "# first",
        "# y = A @ x",
        "# assuming A == A.T (A is sampled as spd)",
    ]
    assert "d/d x = 2 * y" in lines
    assert lines[lines.index("") + 1] == "# second"
    assert lines[-1] == "d/d x = grad"
    assert "# assuming x > 0 (x is sampled as positive)" in lines


def test_an_assumption_is_used_and_stated(gradcheck: Command) -> None:
    plain = gradcheck("derive", "x.abs().sum()", "-i", "x=3").out
    assert plain == "d/d x = sign(x)\n"
    assumed = gradcheck("derive", "x.abs().sum()", "-i", "x=3", "--assume", "x > 0").out
    assert assumed == "# assuming x > 0\nd/d x = ones_like(x)\n"
    unused = gradcheck("derive", "x.sum()", "-i", "x=3", "--assume", "x > 0").out
    assert unused == "d/d x = ones_like(x)\n"


def test_what_nothing_satisfies_is_said_to_be_not_verified(gradcheck: Command) -> None:
    both = ["--assume", "x > 0", "--assume", "x < 0"]
    assert "# not verified" in gradcheck("derive", "x.exp().sum()", "-i", "x=3", *both).out


def test_second_order(gradcheck: Command) -> None:
    inputs = ["-i", "A=5,3", "-i", "x=3", "-i", "b=5"]
    expression = "(A @ x - b).pow(2).sum()"
    shown = gradcheck("derive", expression, *inputs, "--order", "2", "--wrt", "x").out
    assert "Hv x = 2 * A.T @ (A @ v_x)\n" in shown or "Hv x = 2 * A.T @ A @ v_x\n" in shown
    assert "H x = 2 * A.T @ A\n" in shown


def test_forward_mode(gradcheck: Command) -> None:
    shown = gradcheck("derive", "x.sin()", "-i", "x=3", "--jvp").out
    assert "jvp = dx * cos(x)\n" in shown
    assert "of shape (3,)" in shown


def test_names_of_directions_are_free(gradcheck: Command) -> None:
    shown = gradcheck("derive", "x * dx", "-i", "x=3", "-i", "dx=3", "--jvp", "--wrt", "x").out
    assert "jvp = dx * dx_\n" in shown or "jvp = dx_ * dx\n" in shown


def test_steps_say_the_rules(gradcheck: Command) -> None:
    shown = gradcheck("derive", "(x - 1).pow(2).sum()", "-i", "x=3", "--steps").out
    assert "power rule" in shown
    assert shown.splitlines()[-1].strip().startswith(("= 2 * (x - 1)", "d_x = 2 * (x - 1)"))


@pytest.mark.parametrize(
    ("style", "part"),
    [
        ("latex", r"\frac{\partial f}{\partial x} &= 2 A^{\top} (A x - b)"),
        ("unicode", "∂f/∂x = 2 Aᵀ (A x − b)"),  # noqa: RUF001 -- a minus sign
        ("markdown", "```math\n\\begin{aligned}"),
        ("python", "class DerivedExpression(torch.autograd.Function)"),
        ("numpy", "import numpy as np"),
    ],
)
def test_styles(gradcheck: Command, style: str, part: str) -> None:
    result = gradcheck("derive", "(A @ x - b).pow(2).sum()", "--wrt", "x", f"--{style}")
    assert result.code == ExitCode.PASSED
    assert part in result.out


@pytest.mark.parametrize("more", [[], ["--order", "2"], ["--jvp"]])
def test_mathml_is_well_formed(gradcheck: Command, more: list[str]) -> None:
    shown = gradcheck("derive", "(A @ x - b).pow(2)", "--mathml", *more).out
    page = ET.fromstring(f"<body>{shown}</body>")
    assert page.findall(".//{http://www.w3.org/1998/Math/MathML}math")


@pytest.mark.parametrize("more", [["--latex"], ["--unicode"], ["--markdown"], ["--json", "-"]])
@pytest.mark.parametrize("kind", [["--order", "2"], ["--jvp"]])
def test_styles_of_other_kinds(gradcheck: Command, more: list[str], kind: list[str]) -> None:
    assert gradcheck("derive", "(x * w).tanh().sum()", *more, *kind).code == ExitCode.PASSED


def test_json(gradcheck: Command) -> None:
    result = gradcheck("derive", "right.yaml", "--json", "-")
    answer = json.loads(result.out)["answers"][0]
    assert answer["gradients"] == [
        {"input": "x", "shape": [3, 4], "formula": "2 * x", "latex": "2 x", "nodes": 3}
    ]
    assert answer["order"] == 1
    assert answer["verified"]["own_sizes"] is True
    assert answer["verified"]["other_sizes"] is True
    assert {point["numeric"] for point in answer["verified"]["points"]} == {True}
    assert "d/d x = 2 * x" in result.err


def test_json_to_a_file(gradcheck: Command) -> None:
    assert gradcheck("derive", "x.sin()", "--json", "out.json").out.startswith("# x:")
    assert json.loads(Path("out.json").read_text())["format_version"] == "1.0"


def test_one_line_where_piped_and_wrapped_on_a_terminal(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    expression = " + ".join(f"(x - {k}).pow(2).sin().sum()" for k in range(1, 5))
    piped = gradcheck("derive", expression, "-i", "x=3").out
    formula = piped.splitlines()[-1]
    assert len(formula) > 80
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = gradcheck("derive", expression, "-i", "x=3").out.splitlines()
    assert len(lines) > len(piped.splitlines())
    assert " ".join(line.strip() for line in lines).endswith(formula.rpartition(" = ")[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.sum()", "-i", "x"], "write NAME=SHAPE"),
        (["x.sum()", "-i", "x=a"], "write NAME=SHAPE"),
        (["x.sum()", "-i", "x=3", "-i", "x=4"], "each name once"),
        (["x.sum()", "-i", "x=3:float31"], "did you mean `float32`?"),
        (["x.sum()", "-i", "x=3", "--wrt", "y"], "no gradient flows to `y`"),
        (["x.sum()", "-i", "x=3", "--check", "y"], "--check goes with a spec file"),
        (["x.sum()", "-i", "x=3:int64"], "no floating-point input"),
        (["right.yaml", "-i", "x=3"], "-i goes with an expression"),
        (["right.yaml", "--wrt", "z"], "no gradient flows to `z`"),
        (["x +", "-i", "x=3"], "error[GC010]"),
        (["", "-i", "x=3"], "error[GC010]"),
        (["x.sum()", "--order", "3"], "--order is 3"),
        (["x.sum()", "--order", "2", "--jvp"], "contradict"),
        (["x.sum()", "--order", "2", "--steps"], "don't go together"),
        (["x.sum()", "--latex", "--unicode"], "contradict"),
        (["x.sum()", "--python", "--steps"], "contradict"),
        (["x.sum()", "--numpy", "--jvp"], "don't go together"),
        (["x.sum()", "--numpy", "--order", "2"], "don't go together"),
        (["x.sum()", "--force"], "--force goes with --write"),
        (["x.sum()", "--write"], "--write goes with a spec file"),
        (["right.yaml", "--write", "--jvp"], "don't go together"),
        (["x.sum()", "--assume", "x + 1"], "is a mask that holds everywhere"),
        (["x.sum()", "--assume", "True"], "is a mask that holds everywhere"),
        (["x.sum()", "--assume", "y > 1"], "unknown name `y`"),
        (["x.sum()", "--assume", "x >"], "error[GC010]"),
        (["x.sum()", "--json", "no/such/folder.json"], "error[GC305]"),
        (["x.smu()"], "did you mean"),
        (["(" * 500 + "x" + ")" * 500], "error[GC0"),
    ],
)
def test_refusals(gradcheck: Command, arguments: list[str], message: str) -> None:
    result = gradcheck("derive", *arguments)
    assert result.code in (ExitCode.USAGE, ExitCode.CANNOT_RUN)
    assert message in result.err
    assert result.out == ""


def test_several_checks_are_no_single_function(gradcheck: Command) -> None:
    Path("two.yaml").write_text(TWO)
    assert "--check: first, second" in gradcheck("derive", "two.yaml", "--python").err
    assert gradcheck("derive", "two.yaml", "--check", "second", "--numpy").code == ExitCode.PASSED


def wrong(change: Callable[[Expr], Expr]) -> Any:
    real = derive_nodes

    def derived(*args: Any, **more: Any) -> Sequence[Expr]:
        return tuple(change(node) for node in real(*args, **more))

    return derived


@pytest.mark.parametrize("kind", [[], ["--order", "2"], ["--jvp"]])
@pytest.mark.parametrize("style", [[], ["--latex"], ["--json", "-"], ["--steps"]])
def test_a_wrong_formula_is_a_bug_and_never_shown(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch, kind: list[str], style: list[str]
) -> None:
    if kind and style == ["--steps"]:
        return
    monkeypatch.setattr(closed_form, "derive_nodes", wrong(lambda node: 2 * node))
    result = gradcheck("derive", "x.exp().sum()", "-i", "x=3", *kind, *style)
    assert result.code == ExitCode.INTERNAL
    assert result.out == ""
    assert "error[GC307]: a bug in gradcheck" in result.err
    assert "by the formula" in result.err


def test_a_formula_for_its_own_sizes_only_says_so(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        closed_form, "derive_nodes", wrong(lambda node: node * (node.shape[0] / node.size(0)))
    )
    result = gradcheck("derive", "x.exp().sum()", "-i", "x=3")
    assert result.code == ExitCode.PASSED
    assert "# for these sizes only: with others x at" in result.out


def test_torch_is_imported_only_where_it_is_asked_for(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "gradcheck_cli.methods.torch_method"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert gradcheck("derive", "x.exp().sum()", "-i", "x=3").code == ExitCode.PASSED
    assert "torch" not in sys.modules


def test_against_torch(gradcheck: Command) -> None:
    result = gradcheck("derive", "x.exp().sum()", "-i", "x=3", "--torch", "--json", "-")
    points = json.loads(result.out)["answers"][0]["verified"]["points"]
    assert all(point["torch"] for point in points)


BARE = """\
# Two inputs.
version: 1
inputs:
  x: {shape: [3, 4]}   # rows
  w: {shape: [4]}
expression: (x * w).tanh()
seed: 3
"""
LONG = """\
version: 1
name: long
dims: {N: [2, 5]}
inputs:
  x: {shape: [N, 4]}
  w: {shape: [4]}
expression: torch.logsumexp((x * w).tanh() + (x * w).sigmoid() * (x - w), 1).pow(2).sum()
"""


def test_write(gradcheck: Command) -> None:
    Path("bare.yaml").write_text(BARE)
    result = gradcheck("derive", "bare.yaml", "--write")
    assert result.code == ExitCode.PASSED
    assert "wrote the formulas of x, w to `bare`" in result.err
    new = Path("bare.yaml").read_text()
    head, _, tail = BARE.partition("seed")
    assert new.startswith(head + "manual:\n  x: ")
    assert new.endswith("\nseed" + tail)
    assert gradcheck("compare", "bare.yaml", "--methods", "engine,manual,numeric").code == 0
    again = gradcheck("derive", "bare.yaml", "--write")
    assert "manual.x of `bare` is there already; --force replaces it" in again.err
    assert Path("bare.yaml").read_text() == new


def test_write_leaves_what_is_there_unless_forced(gradcheck: Command) -> None:
    before = Path("wrong.yaml").read_text()
    assert gradcheck("derive", "wrong.yaml", "--write").code == ExitCode.PASSED
    assert Path("wrong.yaml").read_text() == before
    assert gradcheck("derive", "wrong.yaml", "--write", "--force").code == ExitCode.PASSED
    assert Path("wrong.yaml").read_text() == before.replace("{x: x}", "{x: 2 * x}")


def test_write_puts_what_is_long_under_let_and_holds_for_all_sizes(gradcheck: Command) -> None:
    Path("long.yaml").write_text(LONG)
    assert gradcheck("derive", "long.yaml", "--write").code == ExitCode.PASSED
    new = Path("long.yaml").read_text()
    assert new.startswith(LONG + "let:\n  t1: ")
    result = gradcheck("compare", "long.yaml", "--methods", "engine,manual,numeric")
    assert "2 passed" in result.out


def test_write_into_one_of_several_checks(gradcheck: Command) -> None:
    Path("two.yaml").write_text(TWO)
    assert gradcheck("derive", "two.yaml", "--check", "second", "--write").code == ExitCode.PASSED
    assert Path("two.yaml").read_text() == TWO + "    manual:\n      x: grad\n"


def test_nothing_is_written_where_what_was_written_is_wrong(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual_text, "to_text", lambda node, *_: "x" if node.ndim == 2 else "w")
    Path("bare.yaml").write_text(BARE)
    result = gradcheck("derive", "bare.yaml", "--write")
    assert result.code == ExitCode.INTERNAL
    assert "a formula is wrong once it is written" in result.err
    assert Path("bare.yaml").read_text() == BARE
    assert sorted(path.name for path in Path().iterdir()) == [
        "bare.yaml",
        "right.yaml",
        "wrong.yaml",
    ]


@pytest.mark.parametrize("what", ["-", ".", "none.yaml"])
def test_write_goes_with_a_single_file(gradcheck: Command, what: str) -> None:
    assert gradcheck("derive", what, "--write").code != ExitCode.PASSED
