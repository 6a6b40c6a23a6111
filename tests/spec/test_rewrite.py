"""Formulas are written into spec files; all else of the file stays as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.rewrite import Addition, rewritten

FORMULAS = (
    "2 * x",
    "-x",
    "2",
    "-1.5",
    "einsum('ij,jk->ik', x, x)",
    "x[:, None] * x[None]",
    "where(x > 0, x, 0.0)",
    "[1.0, 2.0]",
    "a if b: c",
    "x #1",
    "*x",
    "'x'",
    '"x"',
    "x:",
    "true",
    "{x}",
    " + ".join(f"(x - {k}).pow({k})" for k in range(12)),
)


def write(text: str, manual: dict[str, str], let: dict[str, str] | None = None, at: int = 0) -> str:
    """The text with formulas added to one check, after reading back what was written."""
    file = "a.json" if text.lstrip().startswith("{") and '"version"' in text else "a.yaml"
    before = load_text(text, file)
    new = rewritten(text, file, [Addition(before[at], let or {}, manual)])
    after = load_text(new, file)
    assert len(after) == len(before)
    check = after[at]
    assert {n: " ".join(s.text.split()) for n, s in check.manual.items()}.items() >= {
        n: " ".join(f.split()) for n, f in manual.items()
    }.items()
    assert {n: s.text for n, s in check.let}.items() >= (let or {}).items()
    assert check.expression.text == before[at].expression.text
    for position, (old, other) in enumerate(zip(before, after, strict=True)):
        if position != at:
            assert old.manual.keys() == other.manual.keys()
    return new


def kept(old: str, new: str) -> None:
    """Every line of the old text is in the new one, in order."""
    lines = iter(new.splitlines())
    for line in old.splitlines():
        assert line in lines, line


PLAIN = """\
# A comment at the top.
version: 1
name: plain   # beside

inputs:
    x: {shape: [3]}   # four spaces
    y:
        shape: [3]
expression: (x * y).sum()  # at the end

# about the seed
seed: 3
"""


def test_a_section_follows_the_expression_with_the_indentation_of_the_file() -> None:
    new = write(PLAIN, {"x": "y", "y": "x"})
    kept(PLAIN, new)
    assert "(x * y).sum()  # at the end\nmanual:\n    x: y\n    y: x\n\n# about" in new


def test_let_comes_before_manual() -> None:
    new = write(PLAIN, {"x": "t1"}, {"t1": "y * 1"})
    kept(PLAIN, new)
    assert "\nlet:\n    t1: y * 1\nmanual:\n    x: t1\n" in new


MANUAL = """\
version: 1
inputs: {x: {shape: [3]}, y: {shape: [3]}}
expression: >-
  (x
  * y).sum()
manual:
  # of x
  x: 'y'  # keep me
# the end
"""


def test_an_entry_is_added_after_the_last_one() -> None:
    new = write(MANUAL, {"y": "x"})
    kept(MANUAL, new)
    assert "  x: 'y'  # keep me\n  y: x\n# the end" in new


def test_an_entry_is_replaced_in_place_and_in_its_quotes() -> None:
    new = write(MANUAL, {"x": "1 * y"})
    assert new == MANUAL.replace("'y'", "'1 * y'")


def test_comments_beside_what_is_replaced_stay() -> None:
    long = " + ".join(f"(x - {k})" for k in range(20))
    new = write(MANUAL, {"x": long})
    assert f"x: '{long}'  # keep me\n" in new
    text = MANUAL.replace("x: 'y'  # keep me", "x: >-  # keep me\n    y")
    assert "  x: 2  # keep me\n# the end" in write(text, {"x": "2"})
    assert "  x: >-  # keep me\n    (x - 0)" in write(text, {"x": long})


@pytest.mark.parametrize("block", ["|", ">-", ">"])
def test_a_block_scalar_is_replaced_whole(block: str) -> None:
    text = (
        f"version: 1\ninputs: {{x: {{shape: [3]}}}}\nexpression: x.sum()\nmanual:\n  x: {block}\n"
    )
    text += "    torch.ones(\n    3)\n\n# after\nseed: 1\n"
    new = write(text, {"x": "2 * x"})
    assert new.endswith("manual:\n  x: 2 * x\n\n# after\nseed: 1\n")


CHECKS = """\
version: 1
defaults:
  inputs: {x: {shape: [3]}}
checks:
- name: first
  expression: x.sum()
  # between
- name: "second"
  expression: "x.exp().sum()"
  manual: {x: exp(x)}
- {name: third, expression: x.sin().sum()}
- {name: fourth,
   expression: x.cos().sum(), seed: 3}
"""


@pytest.mark.parametrize("at", range(4))
def test_each_of_several_checks(at: int) -> None:
    new = write(CHECKS, {"x": "a[0, 1] * 'b'"}, {"t1": "x * 1"}, at)
    if at != 1:
        kept(CHECKS.splitlines()[0], new)
    changed = [a for a in CHECKS.splitlines() if a not in new.splitlines()]
    assert len(changed) <= 1


def test_quotes_follow_those_of_the_expression() -> None:
    assert '\n  manual:\n    x: "' not in write(CHECKS, {"x": "x"}, at=0)
    text = CHECKS.replace("  manual: {x: exp(x)}\n", "")
    assert '\n  manual:\n    x: "exp(x)"\n' in write(text, {"x": "exp(x)"}, at=1)


def test_a_flow_mapping_gets_entries() -> None:
    text = "version: 1\ninputs: {x: {shape: [3]}, y: {shape: [3]}}\nexpression: (x * y).sum()\n"
    new = write(text + "manual: {x: y}  # short\n", {"y": "x[:]"})
    assert new.endswith("manual: {x: y, y: 'x[:]'}  # short\n")
    new = write(text + "manual: {x: y\n  }  # short\n", {"y": "x"})
    assert "{x: y, y: x\n  }" in new
    assert write(text + "manual: {}\n", {"y": "x"}).endswith("manual: {y: x}\n")


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("more", [{}, {"manual": {"x": "y"}}, {"manual": {}}])
def test_json(indent: int | None, more: dict[str, object]) -> None:
    spec = {
        "version": 1,
        "inputs": {"x": {"shape": [3]}, "y": {"shape": [3]}},
        "expression": "(x * y).sum()",
        **more,
        "seed": 1,
    }
    old = json.dumps(spec, indent=indent)
    new = write(old, {"y": 'x * "é"', "x": "z"}, {"t1": "y"})
    found = json.loads(new)
    assert found["manual"] == {"x": "z", "y": 'x * "é"'}
    assert list(found)[:3] == ["version", "inputs", "expression"]
    assert ("\n" in new) == (indent is not None)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_mark_stay(ends: str, mark: str) -> None:
    text = mark + PLAIN.replace("\n", ends)
    new = write(text, {"x": "y"})
    assert new.startswith(mark + "# A")
    assert new.count("\n") == new.count(ends)


def test_a_file_without_a_last_line_end() -> None:
    text = "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x.sum()"
    assert write(text, {"x": "x"}).endswith("x.sum()\nmanual:\n  x: x")


X = {"x": {"shape": [2]}}
SPLIT = {"version": 1, "defaults": {"inputs": X}}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (PLAIN.replace("\n", "\r\n", 3), "different ways"),
        (PLAIN.replace("seed: 3", "description: 'a\rb'"), "different ways"),
        (
            json.dumps({**SPLIT, "defaults": {"expression": "x"}, "checks": [{"inputs": X}]}),
            "`defaults`",
        ),
        (
            json.dumps({**SPLIT, "checks": [{"expression": "x"}, {"expression": "2 * x"}]}),
            "can't be told from another",
        ),
    ],
)
def test_what_can_not_be_edited_safely_is_refused(text: str, part: str) -> None:
    with pytest.raises(GradcheckError, match=part):
        write(text, {"x": "x"})


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.sampled_from(FORMULAS), min_size=2, max_size=2),
    st.sampled_from((PLAIN, MANUAL, CHECKS)),
    st.integers(0, 3),
    st.booleans(),
)
def test_any_formula_is_read_back(
    formulas: list[str], text: str, at: int, definitions: bool
) -> None:
    if text is CHECKS:
        manual = {"x": formulas[0]}
    else:
        at, manual = 0, {"x": formulas[0], "y": formulas[1]}
    write(text, manual, {"t1": formulas[1]} if definitions else None, at)
