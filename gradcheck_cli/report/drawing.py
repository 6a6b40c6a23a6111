"""The forward graph drawn: Mermaid or Graphviz text, or a tree for the terminal.

Edges go from argument to user; they are dashed where no gradient flows back. Labels are data: whatever
could end them or be taken for markup is written as each format's escape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from gradcheck_cli.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck_cli.calculus.trace import Step
    from gradcheck_cli.report.terminal import Terminal

FORMATS = ("mermaid", "dot", "tree")

_MOST_CHARACTERS = 60
# What hangs deeper in a tree starts a tree of its own, so that lines stay short.
_MOST_LEVELS = 10


@dataclass(frozen=True, slots=True)
class Drawing:
    """The graph of one check: its name, and its steps with the output last."""

    title: str
    steps: tuple[Step, ...]


def draw(terminal: Terminal, drawings: Sequence[Drawing], style: str) -> None:
    """Draw the graphs of checks in one of `FORMATS`; several make one document."""
    if style == "tree":
        for drawing in drawings:
            _tree(terminal, drawing)
        return
    lines = _mermaid(drawings) if style == "mermaid" else _dot(drawings)
    for line in lines:
        terminal.line(line)


def _label(step: Step) -> tuple[str, ...]:
    """A node's lines: what it computes, what it is, its backward."""
    text = step.name if step.text is None else f"{step.name} = {step.text}"
    shape = "x".join(map(str, step.node.shape)) or "number"
    return (
        _cut(printable(text)),
        f"{shape} {step.node.dtype.name}",
        step.grad_fn or "no gradient",
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."


def _edges(steps: Sequence[Step]) -> Iterator[tuple[str, Step, bool]]:
    """Every argument with its user, and whether a gradient flows from this to that."""
    tracked = {step.name for step in steps if step.grad_fn is not None}
    for step in steps:
        for name in step.arguments:
            yield name, step, step.name in tracked and name in tracked


def _numbered(
    drawings: Sequence[Drawing],
) -> Iterator[tuple[Drawing, dict[str, str]]]:
    """The drawings with a short identifier for each step, unique in the document."""
    number = 0
    for drawing in drawings:
        ids = {}
        for step in drawing.steps:
            ids[step.name] = f"n{number}"
            number += 1
        yield drawing, ids


def _mermaid(drawings: Sequence[Drawing]) -> Iterator[str]:
    yield "flowchart TD"
    for index, (drawing, ids) in enumerate(_numbered(drawings)):
        if len(drawings) > 1:
            yield f'  subgraph g{index}["{_in_mermaid(_cut(printable(drawing.title)))}"]'
        for step in drawing.steps:
            label = "<br/>".join(map(_in_mermaid, _label(step)))
            opening, closing = ("([", "])") if step.text is None else ("[", "]")
            yield f'  {ids[step.name]}{opening}"{label}"{closing}'
        for name, user, flows in _edges(drawing.steps):
            yield f"  {ids[name]} {'-->' if flows else '-.->'} {ids[user.name]}"
        if len(drawings) > 1:
            yield "  end"


# Mermaid reads `#` and a number in decimal as that character. What is left as it is has no meaning
# inside quotes.
_PLAIN = frozenset(" _.,()[]=+-*/@'")


def _in_mermaid(text: str) -> str:
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text)


def _dot(drawings: Sequence[Drawing]) -> Iterator[str]:
    yield "digraph {"
    yield '  node [shape=box, fontname="monospace"];'
    for index, (drawing, ids) in enumerate(_numbered(drawings)):
        if len(drawings) > 1:
            yield f"  subgraph cluster_{index} {{"
            yield f'  label="{_in_dot(_cut(printable(drawing.title)))}";'
        for step in drawing.steps:
            label = "\\n".join(map(_in_dot, _label(step)))
            shape = ", shape=ellipse" if step.text is None else ""
            yield f'  {ids[step.name]} [label="{label}"{shape}];'
        for name, user, flows in _edges(drawing.steps):
            yield f"  {ids[name]} -> {ids[user.name]}{'' if flows else ' [style=dashed]'};"
        if len(drawings) > 1:
            yield "  }"
    yield "}"


def _in_dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _tree(terminal: Terminal, drawing: Drawing) -> None:
    """From the output down to the inputs; what several use is drawn once and then referred to."""
    terminal.line((terminal.cut(printable(drawing.title), terminal.width), "bold"))
    steps = {step.name: step for step in drawing.steps}
    flows = {(name, user.name): flow for name, user, flow in _edges(drawing.steps)}
    users: dict[str, int] = {}
    for name, _ in flows:
        users[name] = users.get(name, 0) + 1
    drawn: set[str] = set()
    pending = [drawing.steps[-1].name]
    for root in pending:
        if root not in drawn:
            with terminal.console.capture() as capture:
                terminal.console.print(_branches(root, steps, flows.__getitem__, drawn, pending))
            for line in capture.get().splitlines():
                terminal.console.file.write(f"{line.rstrip()}\n")
    terminal.blank()


def _branches(
    root: str,
    steps: dict[str, Step],
    flows: Callable[[tuple[str, str]], bool],
    drawn: set[str],
    pending: list[str],
) -> Tree:
    """The tree below a step; what hangs too deep goes to `pending`."""
    drawn.add(root)
    tree = Tree(_shown(steps[root], tracked=True))
    stack = [(tree, root, name, 1) for name in reversed(steps[root].arguments)]
    while stack:
        parent, user, name, level = stack.pop()
        step, flow = steps[name], flows((name, user))
        if name in drawn:
            parent.add(_referred(step, "above"))
        elif level > _MOST_LEVELS and step.arguments:
            parent.add(_referred(step, "below"))
            pending.append(name)
        else:
            drawn.add(name)
            branch = parent.add(_shown(step, tracked=flow))
            stack += [(branch, name, arg, level + 1) for arg in reversed(step.arguments)]
    return tree


def _shown(step: Step, *, tracked: bool) -> Text:
    first, what, grad_fn = _label(step)
    text = Text.assemble((first, "bold"), (f"   {what}", "dim"))
    text.append(f"   {grad_fn}", "magenta" if step.grad_fn else "dim")
    if step.grad_fn and not tracked:
        text.append("   no gradient flows back here", "dim")
    return text


def _referred(step: Step, where: str) -> Text:
    return Text.assemble((printable(step.name), "bold"), (f"   {where}", "dim"))
