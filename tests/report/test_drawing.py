"""Drawings can be read by the programs that they are for, whatever stands in a spec."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field

import pytest

from gradcheck_cli.cli.target import check_of
from gradcheck_cli.errors import cells
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.methods.walk import steps_of
from gradcheck_cli.report.drawing import Drawing, draw
from gradcheck_cli.report.terminal import Terminal

HOSTILE = 'a "b" <i>c</i> #d; [e] {f} `g` \\h %%i| é\nend\x1b[31m'
MASKED = ("torch.where(x > 0, x, y).sum() + x.sum()", "x=3", "y=3")


@dataclass
class Read:
    """A drawing as a program reads it: labels by identifier, and edges with whether they are solid."""

    labels: dict[str, str] = field(default_factory=dict)
    edges: list[tuple[str, str, bool]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def node(self, identifier: str, label: str) -> None:
        assert identifier not in self.labels
        self.labels[identifier] = label

    def check(self) -> Read:
        assert all({a, b} <= self.labels.keys() for a, b, _ in self.edges)
        assert len(set(self.edges)) == len(self.edges)
        return self


def drawn(style: str, *expressions: tuple[str, ...], title: str | None = None) -> str:
    drawings = []
    for text, *inputs in expressions:
        check = check_of(text, inputs)
        drawings.append(Drawing(title or check.name, steps_of(prepare(check))))
    stream = io.StringIO()
    draw(Terminal(stream), drawings, style)
    return stream.getvalue()


def read_mermaid(text: str) -> Read:
    first, *lines = text.splitlines()
    assert first == "flowchart TD"
    read, depth = Read(), 0
    for line in lines:
        if found := re.fullmatch(r'  (n\d+)(?:\[|\(\[)"([^"`]*)"(?:\]|\]\))', line):
            label = re.sub(r"#(\d+);", lambda c: chr(int(c[1])), found[2].replace("<br/>", "\n"))
            assert not set("<>&") & set(found[2].replace("<br/>", ""))
            read.node(found[1], label)
        elif found := re.fullmatch(r"  (n\d+) (-->|-\.->) (n\d+)", line):
            read.edges.append((found[1], found[3], found[2] == "-->"))
        elif found := re.fullmatch(r'  subgraph (g\d+)\["([^"]*)"\]', line):
            read.groups.append(found[2])
            depth += 1
        else:
            assert line == "  end", line
            depth -= 1
    assert depth == 0
    return read.check()


def read_dot(text: str) -> Read:
    opening, defaults, *lines, closing = text.splitlines()
    assert (opening, closing) == ("digraph {", "}")
    assert defaults.startswith("  node [")
    read, depth = Read(), 0
    quoted = r'"((?:[^"\\]|\\.)*)"'
    for line in lines:
        if found := re.fullmatch(rf"  (n\d+) \[label={quoted}(, shape=ellipse)?\];", line):
            label = re.sub(r"\\(.)", lambda c: {"n": "\n"}.get(c[1], c[1]), found[2])
            read.node(found[1], label)
        elif found := re.fullmatch(r"  (n\d+) -> (n\d+)( \[style=dashed\])?;", line):
            read.edges.append((found[1], found[2], not found[3]))
        elif found := re.fullmatch(rf"  label={quoted};", line):
            read.groups.append(found[1])
        elif re.fullmatch(r"  subgraph cluster_\d+ \{", line):
            depth += 1
        else:
            assert line == "  }", line
            depth -= 1
    assert depth == 0
    return read.check()


READERS = {"mermaid": read_mermaid, "dot": read_dot}


@pytest.mark.parametrize("style", READERS)
def test_labels_and_edges(style: str) -> None:
    read = READERS[style](drawn(style, MASKED))
    ids = {label.partition(" ")[0].partition("\n")[0]: key for key, label in read.labels.items()}
    assert read.labels[ids["t1"]] == "t1 = x > 0\n3 bool\nno gradient"
    assert read.labels[ids["x"]] == "x\n3 float64\nAccumulateGrad"
    assert read.labels[ids["t2"]] == "t2 = where(t1, x, y)\n3 float64\nWhereBackward0"
    solid = {(a, b) for a, b, is_solid in read.edges if is_solid}
    dashed = {(a, b) for a, b, is_solid in read.edges if not is_solid}
    # Through the mask flows no gradient: neither from x to it, nor from it on.
    assert dashed == {(ids["x"], ids["t1"]), (ids["t1"], ids["t2"])}
    assert (ids["x"], ids["t2"]) in solid
    assert len(solid) == 6
    assert read.groups == []


@pytest.mark.parametrize("style", READERS)
def test_several_checks_are_one_document(style: str) -> None:
    both = drawn(style, MASKED, ("x.exp()", "x=3"), title=HOSTILE)
    read = READERS[style](both)
    assert len(read.groups) == 2
    assert len(read.labels) == 9
    assert "\x1b" not in both
    assert "é" in both


@pytest.mark.parametrize("style", READERS)
def test_names_in_any_script(style: str) -> None:
    read = READERS[style](drawn(style, ("(größe * 数).sum()", "größe=3", "数=3")))
    assert any(label.startswith("t1 = größe * 数\n") for label in read.labels.values())


@pytest.mark.parametrize("style", [*READERS, "tree"])
def test_strings_and_long_lists_are_data(style: str) -> None:
    parts = ", ".join(["x"] * 200)
    text = drawn(style, (f'torch.einsum("i,i->i", torch.stack([{parts}]).sum(0), x)', "x=3"))
    if style in READERS:
        read = READERS[style](text)
        assert any("einsum('i,i->i', t2, x)" in label for label in read.labels.values())
    assert max(map(len, text.splitlines())) < 200


def test_a_tree_draws_what_is_shared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = drawn("tree", ("(x.exp() * x.exp().sin()).sum()", "x=3"), title="[bold]shared[/bold]")
    assert text.splitlines() == [
        "[bold]shared[/bold]",
        "t4 = t3.sum()   number float64   SumBackward0",
        "└── t3 = t1 * t2   3 float64   MulBackward0",
        "    ├── t1 = exp(x)   3 float64   ExpBackward0",
        "    │   └── x   3 float64   AccumulateGrad",
        "    └── t2 = sin(t1)   3 float64   SinBackward0",
        "        └── t1   above",
        "",
    ]


def test_a_tree_says_where_no_gradient_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = drawn("tree", ("(x.exp().detach() * x).sum()", "x=3"))
    assert "exp(x)   3 float64   ExpBackward0   no gradient flows back here\n" in text


def test_a_deep_tree_goes_on_at_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = drawn("tree", ("x" + ".exp().sin()" * 45 + ".sum()", "x=3"))
    assert all(cells(line) <= 80 for line in text.splitlines())
    assert sum(line.startswith("t") for line in text.splitlines()) > 5
    for number in range(1, 92):
        assert text.count(f"t{number} = ") == 1
