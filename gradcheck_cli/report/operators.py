"""The operators that an expression can use: the list of them, and a page about each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from gradcheck_cli.errors import cells, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.calculus.document import Document, Example
    from gradcheck_cli.graph import Op, Shape
    from gradcheck_cli.ops.domains import Entry
    from gradcheck_cli.report.terminal import Terminal

# Columns for an operator with its arguments in the list.
_CALL = 34
_LABEL = 14
# An example's gradients are shown up to so many lines; what is longer, `gradcheck derive` prints.
_MOST_LINES = 12
_TYPES = {
    "Tensor|Scalar": "Tensor | number",
    "Tensor[]": "list[Tensor]",
    "Scalar": "number",
    "int[]": "ints",
    "size": "shape",
    "data": "number or nested lists",
}


class Form(NamedTuple):
    """One record of an operator, written out."""

    record: Op
    document: Document | None
    example: Example | None


def op_list(terminal: Terminal, listed: Sequence[Entry], known: int) -> None:
    """Operators by domain, one or two lines each, of `known` ones in all."""
    domain = None
    for entry in listed:
        if entry.domain is not domain:
            if domain is not None:
                terminal.blank()
            domain = entry.domain
            terminal.line((domain.name, "bold"), (f"  {domain.title}", "dim"))
        call = _short_call(terminal, entry)
        text = Text.assemble((call + " " * (_CALL + 2 - cells(call)), "cyan"), entry.doc)
        if cells(call) > _CALL:
            terminal.line((call, "cyan"), indent=2)
            terminal.paragraph(entry.doc, indent=_CALL + 4)
        else:
            terminal.paragraph(text, indent=2, hanging=_CALL + 2)
    terminal.blank()
    count = f"{known} operators" if len(listed) == known else f"{len(listed)} of {known} operators"
    terminal.line((f"{count}; `gradcheck ops NAME` documents one, `-s TEXT` searches", "dim"))


def _short_call(terminal: Terminal, entry: Entry) -> str:
    """The operator with as many of its arguments as there is room for."""
    op = entry.records[0]
    if op.attribute or not entry.spellings:
        return entry.name
    parts = _arguments(op, typed=False)
    if entry.name.startswith("x."):
        del parts[0]
    whole = f"{entry.name}({', '.join(parts)})"
    rest = terminal.glyphs.ellipsis
    while parts and cells(whole) > _CALL:
        parts.pop()
        whole = f"{entry.name}({', '.join([*parts, rest])})"
    return whole


def signature(op: Op) -> str:
    """The record's signature with types, as a Python stub has it."""
    opening, parts, closing = _signature(op)
    return f"{opening}{', '.join(parts)}{closing}"


def _signature(op: Op) -> tuple[str, list[str], str]:
    if op.attribute:
        return f"x.{op.attribute}", [], ""
    result = f" -> ({', '.join(op.outputs)})" if op.outputs else ""
    return f"{op.python_name}(", _arguments(op, typed=True), f"){result}"


def _arguments(op: Op, *, typed: bool) -> list[str]:
    """The arguments, and the star that keyword-only ones stand behind."""
    parameters = op.signature.parameters
    texts: list[str] = []
    for number, parameter in enumerate(parameters):
        after = parameters[number + 1 :]
        if parameter.keyword_only and "*" not in texts:
            texts.append("*")
        # A shape can be given as several numbers only where nothing comes after it by place.
        several = parameter.variadic and not parameter.has_default
        several = several and all(p.keyword_only for p in after)
        kind = _TYPES.get(parameter.type, parameter.type)
        kind += " | None" if parameter.optional else ""
        text = f"{'*' if several else ''}{parameter.name}{f': {kind}' if typed else ''}"
        if parameter.has_default:
            default = parameter.default
            if isinstance(default, tuple) and len(default) == 1:
                default = default[0]
            text += f" = {default!r}" if typed else f"={default!r}"
        texts.append(text)
    return texts


def _show_signature(terminal: Terminal, op: Op) -> None:
    """The signature, broken between arguments."""
    line, parts, closing = _signature(op)
    indent, opened = 2, True
    for number, part in enumerate(parts):
        text = part + (", " if number + 1 < len(parts) else closing)
        if not opened and cells(line + text.rstrip()) + indent > terminal.width:
            terminal.line((line.rstrip(), "bold"), indent=indent)
            line, indent = "", 6
        line += text
        opened = False
    terminal.line((line if parts else line + closing, "bold"), indent=indent)


def op_page(terminal: Terminal, entry: Entry, forms: Sequence[Form]) -> None:
    """One operator with all that its records say."""
    terminal.line((entry.name, "bold cyan"), (f"  {entry.domain.name}", "dim"))
    terminal.paragraph(entry.doc, indent=2)
    if entry.spellings:
        _entry(terminal, "written as", ", ".join(entry.spellings))
    symbols = [_symbol(op) for op in entry.records if op.infix]
    if symbols:
        _entry(terminal, "operator", ", ".join(symbols))
    for form in forms:
        terminal.blank()
        _form(terminal, form, is_first=form is forms[0])


def see_also(terminal: Terminal, others: Sequence[Entry]) -> None:
    """Operators of the same name elsewhere."""
    if others:
        terminal.blank()
        terminal.paragraph(Text(f"see also {', '.join(other.name for other in others)}", "dim"))


def _symbol(op: Op) -> str:
    return f"{op.infix}x" if len(op.signature.parameters) == 1 else f"x {op.infix} y"


def _form(terminal: Terminal, form: Form, *, is_first: bool) -> None:
    op, document, example = form
    _show_signature(terminal, op)
    if not is_first:
        terminal.paragraph(op.doc, indent=4)
    if not is_first and document is not None and document.definition == (document.call,):
        return  # another signature of what has been shown
    if document is not None:
        _definition(terminal, document)
        _rule(terminal, op, document)
    elif op.vjp is None and not op.is_macro:
        _entry(terminal, "derivative", "no gradient flows through it")
    if document is not None and document.kinks:
        _kinks(terminal, document.kinks)
    if op.convention:
        _entry(terminal, "convention", op.convention)
    if document is not None and (op.vjp is not None or op.is_macro):
        able = "yes" if document.complex_step else "no, numeric derivatives are differences"
        _entry(terminal, "complex step", able)
    if example is not None:
        _example(terminal, example)


def _definition(terminal: Terminal, document: Document) -> None:
    if document.definition:
        _entry(terminal, "definition", f"{document.call} is")
    several = len(document.definition) > 1
    for number, text in enumerate(document.definition):
        _formula(terminal, "", f"part {number}: " if several else "", text)


def _rule(terminal: Terminal, op: Op, document: Document) -> None:
    if op.is_macro:
        _entry(terminal, "derivative", "that of its definition")
        return
    if op.vjp is None:
        _entry(terminal, "derivative", "no gradient flows through it")
        return
    call = document.call if op.outputs else f"out = {document.call}"
    _entry(terminal, "derivative", f"{call}; grad is the upstream gradient")
    for output, products in document.rule.items():
        through = f"through {output}, " if len(document.rule) > 1 else ""
        for name, text in products.items():
            if text is not None:
                _formula(terminal, "", f"{through}d/d {name} = ", text)
        still = [name for name, text in products.items() if text is None]
        if still:
            _entry(terminal, "", f"{through}no gradient flows to {', '.join(still)}")


def _kinks(terminal: Terminal, equations: Sequence[str]) -> None:
    text = f"not differentiable where {' or '.join(equations)}"
    if cells(text) + 4 + _LABEL <= terminal.width:
        _entry(terminal, "kinks", text)
        return
    _entry(terminal, "kinks", "not differentiable where")
    for number, equation in enumerate(equations):
        _formula(terminal, "", "or " if number else "", equation)


def _example(terminal: Terminal, example: Example) -> None:
    shapes = ", ".join(f"{name}: {_shape(shape)}" for name, shape in example.inputs.items())
    _entry(terminal, "example", f"{example.expression}   ({shapes})")
    lines, left = 0, []
    for name, text in example.gradients.items():
        lines += text.count("\n") + 1
        if lines > _MOST_LINES:
            left.append(name)
        else:
            _formula(terminal, "", f"{name}: ", text)
    if left:
        _entry(terminal, "", f"{', '.join(left)}: `gradcheck derive` prints what is this long")


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "number"


def _formula(terminal: Terminal, label: str, opening: str, text: str) -> None:
    """A formula, its definitions on lines of their own below the opening."""
    start = f"{label:<{_LABEL}}"
    if "\n" not in text:
        terminal.line((start, "dim"), printable(opening), (printable(text), "cyan"), indent=4)
        return
    terminal.line((start, "dim"), printable(opening.rstrip(" =")) or "", indent=4)
    terminal.verbatim(text, "cyan", indent=4 + _LABEL + 2)


def _entry(terminal: Terminal, label: str, text: str) -> None:
    line = Text.assemble((f"{label:<{_LABEL}}", "dim"), printable(text))
    terminal.paragraph(line, indent=4, hanging=_LABEL)


def as_json(
    entry: Entry, *, gradient: bool, kinks: bool, forms: Sequence[Form] | None = None
) -> dict[str, Any]:
    """An operator for programs; with its forms written out where they are given."""
    found: dict[str, Any] = {
        "name": entry.name,
        "domain": entry.domain.name,
        "doc": entry.doc,
        "spellings": list(entry.spellings),
        "signatures": [signature(op) for op in entry.records],
        "differentiable": gradient,
        "has_kinks": kinks,
    }
    if forms is not None:
        found["forms"] = [_form_as_json(form) for form in forms]
    return found


def _form_as_json(form: Form) -> dict[str, Any]:
    op, document, example = form
    found: dict[str, Any] = {
        "record": op.name,
        "signature": signature(op),
        "doc": op.doc,
        "outputs": list(op.outputs),
        "convention": op.convention or None,
    }
    if document is not None:
        found |= {
            "call": document.call,
            "inputs": {name: list(shape) for name, shape in document.inputs.items()},
            "definition": list(document.definition),
            "derivative": document.rule,
            "kinks": list(document.kinks),
            "complex_step": document.complex_step,
        }
    if example is not None:
        found["example"] = {
            "expression": example.expression,
            "inputs": {name: list(shape) for name, shape in example.inputs.items()},
            "gradients": example.gradients,
        }
    return found
