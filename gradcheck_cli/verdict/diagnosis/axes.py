"""A wrong axis: of a reduction, a softmax, a broadcast; and reductions missing or too many."""

from __future__ import annotations

import ast
from itertools import permutations
from typing import TYPE_CHECKING

from gradcheck_cli.graph import TABLE
from gradcheck_cli.verdict.diagnosis.guesses import Guess, called, guess, quoted, sites, tried
from gradcheck_cli.verdict.diagnosis.products import REORDERED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

LEAST = 1.0

# Parameters that hold axes.
_AXES = frozenset({"dim", "dims", "axis", "axes", "dim0", "dim1", "dim2"})
_SPREADING = frozenset({"expand", "repeat", "tile", "reshape", "view"})
_MOVING = frozenset({"flip", "roll"})
_REDUCING = frozenset({"sum", "mean"})


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Axes that, changed at one place, make the formula right."""
    draft = suspect.draft
    if draft is not None:
        places = sites(draft)
        yield from tried(
            suspect,
            [*_arguments(draft, places), *_broadcasts(draft, places), *_reductions(draft, places)],
        )


def _arguments(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """Another axis in a call, or `keepdim` the other way."""
    for node in places:
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        for parameter, argument in arguments(draft, node):
            if parameter == "keepdim" and isinstance(argument, ast.Constant):
                message = f"`keepdim` of {quoted(draft, node)} should be {not argument.value}"
                yield guess("GC104", 1.1, message, argument, str(not argument.value))
            if parameter not in _AXES or name in REORDERED:
                continue
            dims = _dims(draft, node)
            own = _axis(draft, argument)
            for axis in range(dims):
                if own is not None and own % max(dims, 1) == axis:
                    continue
                message = _axis_message(draft, node, name, own, axis)
                cost = 1.12 if name in _MOVING else 1.0
                yield guess("GC104", cost, message, argument, str(axis))
        if name in _SPREADING:
            first = draft.edits.is_part(getattr(node.func, "value", node.func))
            sizes = node.args if first else node.args[1:]
            if 2 <= len(sizes) <= 3:
                for order in list(permutations(range(len(sizes))))[1:]:
                    template, parts = draft.edits.renamed(node, name)
                    offset = len(parts) - len(sizes) - len(node.keywords)
                    for place, k in enumerate(order):
                        template = template.replace(f"{{{offset + place}}}", f"<{offset + k}>")
                    template = template.replace("<", "{").replace(">", "}")
                    message = f"the sizes of `{name}` are in the wrong order"
                    yield guess("GC104", 1.2, message, node, template, *parts)


def _axis_message(draft: Draft, node: ast.Call, name: str, own: int | None, axis: int) -> str:
    of = _receiver(node)
    where = "" if of is None else f" of {quoted(draft, of)}"
    if own is None:
        return f"`{name}`{where} should be over axis {axis}"
    return f"`{name}` over axis {own}{where} should be over axis {axis}"


def _receiver(node: ast.Call) -> ast.expr | None:
    """What a call reduces: what the method is of, or the first argument."""
    if isinstance(node.func, ast.Attribute) and not (
        isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "F")
    ):
        return node.func.value
    return node.args[0] if node.args else None


def _dims(draft: Draft, node: ast.Call) -> int:
    """How many axes there are to choose from."""
    of = _receiver(node)
    tensor = None if of is None else draft.tensor(of)
    result = draft.tensor(node)
    sizes = [t.ndim for t in (tensor, result) if t is not None]
    return max(sizes, default=0)


def _axis(draft: Draft, node: ast.expr) -> int | None:
    value = draft.value(node)
    return value if type(value) is int else None


def arguments(draft: Draft, node: ast.Call) -> list[tuple[str, ast.expr]]:
    """The arguments of a call with their parameters' names."""
    found = [(keyword.arg or "", keyword.value) for keyword in node.keywords]
    found = [("dim" if name == "axis" else name, value) for name, value in found]
    overloads = TABLE.methods.get(called(node)) or TABLE.bare(called(node))
    if overloads is None:
        return found
    is_method = isinstance(node.func, ast.Attribute) and draft.edits.is_part(node.func.value)
    seen = {id(value) for _, value in found}
    for op in overloads:
        names = [p.name for p in op.signature.parameters if not p.keyword_only]
        for name, value in zip(names[is_method:], node.args, strict=False):
            is_new = id(value) not in seen or (name in _AXES and (name, value) not in found)
            if is_new and draft.tensor(value) is None:
                seen.add(id(value))
                found.append((name, value))
    return found


def _broadcasts(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """A vector along the wrong axis of what it is combined with."""
    for node in places:
        tensor = draft.tensor(node)
        assert tensor is not None
        shown = quoted(draft, node)
        match node:
            case ast.Subscript(value=value, slice=ast.Tuple(elts=items)) if any(
                _is_none(item) for item in items
            ):
                base = draft.tensor(value)
                if base is not None and len(items) <= 3 and all(map(_is_plain, items)):
                    texts = [draft.edits.segment(item) for item in items]
                    for order in sorted(set(permutations(texts))):
                        if list(order) != texts:
                            index = ", ".join(order)
                            message = f"{shown} is broadcast along the wrong axis: it should be `[{index}]`"
                            yield guess("GC104", 1.0, message, node, f"{{0}}[{index}]", value)
                yield guess(
                    "GC104",
                    1.1,
                    f"{shown} is broadcast along the wrong axis",
                    node,
                    "{0}",
                    value,
                )
            case ast.Subscript(value=value, slice=ast.Constant(value=None)):
                message = f"{shown} is broadcast along the wrong axis: it should be `[:, None]`"
                yield guess("GC104", 1.0, message, node, "{0}[:, None]", value)
            case ast.Call(func=ast.Attribute(value=value, attr="unsqueeze")):
                message = f"{shown} is broadcast along the wrong axis"
                yield guess("GC104", 1.1, message, node, "{0}", value)
            case _ if tensor.ndim == 1 and _is_combined(draft, node):
                message = f"{shown} is broadcast along the wrong axis: it should be `[:, None]`"
                yield guess("GC104", 1.15, message, node, "{0}[:, None]", node)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_plain(node: ast.expr) -> bool:
    return _is_none(node) or (
        isinstance(node, ast.Slice)
        and node.lower is None
        and node.upper is None
        and node.step is None
    )


def _is_combined(draft: Draft, node: ast.expr) -> bool:
    """Whether it is an operand beside something of more axes."""
    parent = draft.edits.parent(node)
    tensor = draft.tensor(parent) if isinstance(parent, (ast.BinOp, ast.Call)) else None
    return tensor is not None and tensor.ndim > 1


def _reductions(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """A reduction over fewer axes, over more, none at all; or one where none stands."""
    others = _used(draft, places)
    for node in places:
        tensor = draft.tensor(node)
        assert tensor is not None
        shown = quoted(draft, node)
        for call in others:
            message = f"{shown} should be reduced: `{call}` is missing"
            yield guess("GC104", 1.45, message, node, f"{{0}}.{call}", node)
        if isinstance(node, ast.Call) and called(node) in _REDUCING:
            of = _receiver(node)
            if of is not None:
                yield from _reduced(draft, node, of)
            continue
        if not tensor.ndim or _in_reduction(draft, node):
            continue
        whole = node is draft.edits.tree
        for axis in range(tensor.ndim):
            for name in ("sum", "mean"):
                message = f"the {name} of {shown} over axis {axis} is missing"
                yield guess(
                    "GC104", 1.5, message, node, f"{{0}}.{name}({axis}, keepdim=True)", node
                )
        if whole:
            continue
        yield guess(
            "GC104", 1.55, f"the sum of {shown} over all axes is missing", node, "{0}.sum()", node
        )


def _used(draft: Draft, places: Sequence[ast.expr]) -> list[str]:
    """The reductions that stand in the formula, as they would be written behind something else."""
    found = []
    for node in places:
        if isinstance(node, ast.Call) and called(node) in _REDUCING:
            of = _receiver(node)
            rest = [*node.args, *node.keywords]
            texts = [draft.edits.segment(arg) for arg in rest if arg is not of]
            found.append(f"{called(node)}({', '.join(texts)})")
    return list(dict.fromkeys(found))


def _reduced(draft: Draft, node: ast.Call, of: ast.expr) -> Iterator[Guess]:
    """Other axes for a sum or a mean."""
    tensor = draft.tensor(of)
    if tensor is None:
        return
    name, shown = called(node), quoted(draft, of)
    message = f"{shown} is reduced by `{name}`, which is too much"
    yield guess("GC104", 1.3, message, node, "{0}", of)
    if _given_axis(draft, node):
        yield guess(
            "GC104",
            1.05,
            f"`{name}` of {shown} should be over all axes",
            node,
            f"{{0}}.{name}()",
            of,
        )
        yield from _kept(draft, node, of, tensor, name)
    for axis in range(tensor.ndim):
        message = f"`{name}` of {shown} should be over axis {axis}"
        for kept in ("", ", keepdim=True"):
            yield guess("GC104", 1.05, message, node, f"{{0}}.{name}({axis}{kept})", of)
            other = "mean" if name == "sum" else "sum"
            message = f"`{name}` of {shown} should be `{other}`, over axis {axis}"
            yield guess("GC104", 1.4, message, node, f"{{0}}.{other}({axis}{kept})", of)


def _kept(draft: Draft, node: ast.Call, of: ast.expr, tensor: Expr, name: str) -> Iterator[Guess]:
    """The same with more axes."""
    for first, second in permutations(range(tensor.ndim), 2):
        if first < second and tensor.ndim > 2:
            message = f"`{name}` of {quoted(draft, of)} should be over axes {first} and {second}"
            for kept in ("", ", keepdim=True"):
                yield guess(
                    "GC104", 1.1, message, node, f"{{0}}.{name}(({first}, {second}){kept})", of
                )


def _given_axis(draft: Draft, node: ast.Call) -> bool:
    return any(parameter in _AXES for parameter, _ in arguments(draft, node))


def _in_reduction(draft: Draft, node: ast.expr) -> bool:
    """Whether it is what a sum or a mean is of: another reduction there is that one's matter."""
    parent = draft.edits.parent(node)
    if isinstance(parent, ast.Attribute):
        parent = draft.edits.parent(parent)
    return isinstance(parent, ast.Call) and called(parent) in _REDUCING
