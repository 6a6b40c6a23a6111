"""`gradcheck trace`: the walk through checks, and the drawings of their graphs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from tests.cli.conftest import Command

GOLDEN = Path(__file__).parent / "golden"
FIRST = Path(__file__).parents[2] / "specs" / "sum_of_squared_errors.yaml"
SPECS = {
    "first": FIRST.read_text(encoding="utf-8"),
    "several_outputs": """\
version: 1
name: several outputs
inputs: {x: {shape: [4, 2]}}
let: {smallest: "x.sort(0).values[0]"}
expression: smallest * x.sort(0).indices.sum()
""",
    "broadcast": """\
version: 1
name: broadcast and accumulation
inputs: {x: {shape: [3, 4]}, b: {shape: [4], sample: ones}}
let: {y: x * b}
expression: (y * y.exp() + b).sum()
""",
    "masks": """\
version: 1
name: masks, integers and a stopped gradient
inputs:
  x: {shape: [2, 4], requires_grad: true}
  keep: {shape: [2, 4], sample: bernoulli, dtype: bool}
  kind: {shape: [2], sample: integers, low: 0, high: 4}
let:
  shifted: x - x.detach().amax(1, keepdim=True)
  allowed: keep | (shifted > -0.5)
expression: shifted.masked_fill(~allowed, 0.0).gather(1, kind[:, None]).squeeze(1)
cotangent: ones
""",
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("style", ["walk", "mermaid", "dot", "tree"])
def test_whole_output(gradcheck: Command, name: str, style: str) -> None:
    Path("spec.yaml").write_text(SPECS[name], encoding="utf-8")
    options = [] if style == "walk" else ["--graph", style]
    result = gradcheck("trace", "spec.yaml", *options)
    assert (result.code, result.err) == (ExitCode.PASSED, "")
    path = GOLDEN / f"trace_{name}_{style}.txt"
    if os.environ.get("GRADCHECK_GOLDEN") == "write":
        path.write_text(result.out, encoding="utf-8")
    assert result.out == path.read_text(encoding="utf-8")


def test_an_expression(gradcheck: Command) -> None:
    result = gradcheck(
        "trace", "(table[i] * x).sum()", "-i", "table=2,3", "-i", "i=4:int64", "-i", "x="
    )
    assert (result.code, result.err) == (ExitCode.PASSED, "")
    assert "  t1 = table[i]\n" in result.out
    assert "      number float64   0." in result.out or "      number float64   -" in result.out
    assert "      4 int64   [" in result.out


def test_a_check_by_its_name(gradcheck: Command) -> None:
    both = (
        "version: 1\nchecks:\n"
        "- {name: one, inputs: {x: {shape: [3]}}, expression: x.sin()}\n"
        "- {name: two, inputs: {x: {shape: [3]}}, expression: x.cos(), dtype: [float64, float32]}\n"
    )
    Path("both.yaml").write_text(both)
    one = gradcheck("trace", "both.yaml", "--check", "one")
    assert one == gradcheck("trace", "both.yaml::one")
    assert "SinBackward0" in one.out
    assert "CosBackward0" not in one.out
    every = gradcheck("trace", "both.yaml").out
    assert every.count("\nforward ") == 2
    assert every.startswith(one.out)
    drawn = gradcheck("trace", "both.yaml", "--graph", "dot").out
    assert 'label="one";' in drawn
    assert 'label="two";' in drawn


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["right.yaml", "--graph", "mermiad"], ExitCode.USAGE, "did you mean `mermaid`?"),
        (["right.yaml", "--graph", "png"], ExitCode.USAGE, "choose from mermaid, dot, tree"),
        (["right.yaml", "--check", "left"], ExitCode.NOTHING_SELECTED, "no check named `left`"),
        (["right.yaml", "-i", "x=3"], ExitCode.USAGE, "-i goes with an expression"),
        (["missing.yaml"], ExitCode.CANNOT_RUN, "error[GC027]"),
        (["x.sum()"], ExitCode.USAGE, "as in -i x=3,8"),
        (["x.sum()", "--check", "y"], ExitCode.USAGE, "--check goes with a spec file"),
        (["x * 1.0", "-i", "x=3:int64"], ExitCode.USAGE, "no floating-point input"),
        (["x.abs()", "-i", "x=3:complex64"], ExitCode.USAGE, "complex64 can't be drawn"),
        (["1.0 + 2.0"], ExitCode.USAGE, "no floating-point input"),
        (["x.sum()", "-i", "x=3", "-i", "y=4"], ExitCode.USAGE, "does not use the input `y`"),
        (["(x - 1", "-i", "x=3"], ExitCode.USAGE, "error[GC010]"),
        (["x.sum()", "-i", "x=900000000,900000000"], ExitCode.CANNOT_RUN, "error[GC303]"),
    ],
)
def test_refused(gradcheck: Command, arguments: list[str], code: ExitCode, message: str) -> None:
    result = gradcheck("trace", *arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.err


def test_a_graph_is_drawn_without_computing_anything(gradcheck: Command) -> None:
    result = gradcheck("trace", "x.sum()", "-i", "x=900000000,900000000", "--graph", "mermaid")
    assert result.code == ExitCode.PASSED
    assert "900000000x900000000 float64" in result.out


def test_names_are_data_in_every_format(gradcheck: Command) -> None:
    Path("hostile.yaml").write_text(
        SPECS["first"].replace("sum of squared errors", "'a \"]; }} [bold]b[/bold] <i>c</i>'")
    )
    assert gradcheck("trace", "hostile.yaml").out.startswith('a "]; }} [bold]b[/bold] <i>c</i>\n')
    assert "[bold]b[/bold]" in gradcheck("trace", "hostile.yaml", "--graph", "tree").out
    Path("other.yaml").write_text("version: 1\ninputs: {x: {shape: [1]}}\nexpression: x.exp()\n")
    dot = gradcheck("trace", ".", "--graph", "dot").out
    assert '  label="a \\"]; }} [bold]b[/bold] <i>c</i>";' in dot
    mermaid = gradcheck("trace", ".", "--graph", "mermaid").out
    assert '["a #34;]#59; #125;#125; [bold]b[/bold] #60;i#62;c#60;/i#62;"]' in mermaid
