"""Something in place of something else: a function, an operator, an exponent, a name, a derivative."""

from __future__ import annotations

import ast
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

from gradcheck_cli.graph import TABLE, topological
from gradcheck_cli.lang.edits import Change, Edits
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.verdict.diagnosis.axes import arguments
from gradcheck_cli.verdict.diagnosis.guesses import (
    Guess,
    called,
    guess,
    is_number,
    quoted,
    sites,
    tried,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

LEAST = 1.0

# Functions that are taken for one another; a call of one is tried with all others of its groups.
_ALIKE = (
    ("tanh", "sigmoid", "softsign", "erf", "atan", "hardtanh", "tanhshrink", "hardsigmoid"),
    ("sin", "cos", "tan", "sinh", "cosh", "tanh", "sinc", "sec", "csc"),
    ("asin", "acos", "atan", "asinh", "acosh", "atanh"),
    ("exp", "exp2", "expm1", "sigmoid", "softplus", "logsigmoid"),
    ("log", "log1p", "log2", "log10", "reciprocal", "exp", "logit"),
    ("sqrt", "rsqrt", "square", "reciprocal"),
    ("abs", "sign", "square", "neg", "sgn", "signbit"),
    ("floor", "ceil", "round", "trunc", "frac"),
    ("erf", "erfc", "erfinv", "erfcx", "ndtr", "log_ndtr"),
    ("lgamma", "digamma", "gammaln", "polygamma", "multigammaln"),
    ("i0", "i0e", "i1", "i1e"),
    ("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus"),
    ("hardswish", "hardsigmoid", "hardtanh", "silu", "relu6", "sigmoid", "tanh"),
    ("softmax", "log_softmax", "softmin", "logsumexp"),
    ("logsumexp", "sum", "amax", "mean"),
    ("max", "min"),
    ("amax", "amin", "mean", "sum"),
    ("maximum", "minimum", "fmax", "fmin"),
    ("argmax", "argmin"),
    ("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"),
    ("sum", "prod", "mean", "nansum", "nanmean", "var", "std", "norm", "amax"),
    ("var", "std"),
    ("tril", "triu"),
    ("det", "logdet"),
    ("inverse", "pinverse", "pinv", "inv"),
    ("eq", "ne", "lt", "le", "gt", "ge"),
    ("zeros_like", "ones_like"),
    ("zeros", "ones"),
    ("mul", "div", "add", "sub"),
    ("atan2", "hypot"),
    ("xlogy", "xlog1py"),
    ("fft", "ifft"),
    ("rfft", "irfft"),
    ("repeat", "tile", "repeat_interleave"),
)
# What changes some elements only.
_PARTIAL = frozenset({"tril", "triu", "relu", "relu6", "hardtanh"})
# A mean for a sum is a factor.
_FACTORS = frozenset({frozenset({"sum", "mean"}), frozenset({"nansum", "nanmean"})})
_REDUCING = frozenset({"sum", "mean", "prod", "var", "std", "norm", "numel", "size"})
_COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
# Two arguments of these are often given in the wrong order.
_ORDERED = frozenset(
    {"atan2", "pow", "div", "sub", "xlogy", "solve", "matmul", "where", "hypot", "copysign"}
)


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Replacements that, at one place or everywhere, make the formula right."""
    draft = suspect.draft
    if draft is not None:
        places = sites(draft)
        yield from tried(
            suspect,
            [
                *_functions(draft, places),
                *_operators(draft, places),
                *_powers(draft, places),
                *_roots_of_numbers(draft),
                *_names(suspect, draft, places),
                *_forgotten(suspect, draft, places),
                *_options(draft, places),
            ],
        )


@cache
def pool(name: str) -> tuple[str, ...]:
    """What is taken for a function of this name, the likeliest first."""
    alike = [other for group in _ALIKE if name in group for other in group]
    return tuple(dict.fromkeys(other for other in alike if other != name))


def _functions(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """Another function or method with the same arguments; the same with two of them interchanged."""
    for node in places:
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        for cost, other in enumerate(pool(name)):
            if frozenset({name, other}) in _FACTORS:
                continue
            message = f"`{name}` is used where `{other}` is right, in {quoted(draft, node)}"
            for extra, (template, parts) in enumerate(_spelled(draft, node, other)):
                yield guess(
                    "GC113", 1.04 + 1e-3 * cost + 0.01 * extra, message, node, template, *parts
                )
        yield from _interchanged(draft, node, name)


def _spelled(draft: Draft, node: ast.Call, name: str) -> Iterator[tuple[str, tuple[ast.expr, ...]]]:
    """A call of another function, written as the old one is where that exists."""
    template, parts = draft.edits.renamed(node, name)
    yield template, parts
    func = node.func
    prefix = draft.edits.segment(func.value) + "." if isinstance(func, ast.Attribute) else ""
    if isinstance(func, ast.Attribute) and draft.edits.is_part(func.value):
        if TABLE.bare(name) and name not in TABLE.methods:
            holes = ", ".join(f"{{{k}}}" for k in range(len(parts)))
            if not node.keywords:
                yield f"{_function(draft, name)}({holes})", parts
    elif prefix and TABLE.bare(name):
        rest = template.removeprefix(prefix + name)
        yield _function(draft, name) + rest, parts


def _function(draft: Draft, name: str) -> str:
    """A function's shortest spelling that no name of the check hides."""
    if name not in draft.scope:
        return name
    return f"torch.{name}" if f"torch.{name}" in TABLE.functions else f"F.{name}"


# Functions of the expression that may have been forgotten; and those that derivatives bring in.
_MOST_FORGOTTEN = 8
_COMMON = ("tanh", "sigmoid", "exp", "log", "sign", "sqrt", "square")


def _forgotten(suspect: Suspect, draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """A function left out in the formula; and one that is too much."""
    wrappers = _wrappers(suspect, draft)
    for node in places:
        tensor = draft.tensor(node)
        if isinstance(node, ast.Call) and len(parts := draft.edits.renamed(node, "")[1]) == 1:
            yield _unwrapped(draft, node, parts[0])
        if tensor is None or tensor.dtype.kind != "f" or node is draft.edits.tree:
            continue
        for cost, template, name in wrappers:
            if called(node) != name:
                message = f"`{name}` of {quoted(draft, node)} is forgotten"
                yield guess("GC113", cost, message, node, template, node)


def _wrappers(suspect: Suspect, draft: Draft) -> list[tuple[float, str, str]]:
    """Calls that may be forgotten: their cost, the template, the name."""
    assert suspect.case is not None
    found: dict[str, str] = {}
    for formula in (suspect.case.expression, *suspect.case.let.values()):
        edits = Edits(formula)
        for node in edits.nodes():
            if isinstance(node, ast.Call):
                template, parts = edits.renamed(node, called(node))
                rest = parts[1:]
                if all(_is_literal(part) for part in rest) and called(node) not in _REDUCING:
                    for k, part in enumerate(rest, start=1):
                        template = template.replace(f"{{{k}}}", edits.segment(part))
                    found.setdefault(template, called(node))
    for op in dict.fromkeys(part.op for part in topological([suspect.truth])):
        tensors = [p for p in op.signature.parameters if p.is_tensor]
        if op.elementwise and len(tensors) == 1 and not op.infix:
            name = op.python_name
            if TABLE.bare(name):
                found.setdefault(f"{_function(draft, name)}({{0}})", name)
    near = list(found.items())[:_MOST_FORGOTTEN]
    far = [(f"{_function(draft, name)}({{0}})", name) for name in _COMMON]
    return [
        *((1.3, template, name) for template, name in near),
        *((1.36, *pair) for pair in far if pair not in near),
    ]


def _unwrapped(draft: Draft, node: ast.Call, inner: ast.expr) -> Guess:
    """A call left out."""
    name, shown = called(node), quoted(draft, inner)
    if name == "ones_like":
        what = "the upstream gradient" if draft.edits.segment(inner) == UPSTREAM else "the factor"
        message = f"{what} {shown} is forgotten: {quoted(draft, node)} stands in its place"
        return guess("GC106", 1.05, message, node, "{0}", inner)
    if name in _PARTIAL:
        message = f"wrong only in a region: `{name}` of {shown} is too much"
        return guess("GC108", 1.05, message, node, "{0}", inner)
    return guess("GC113", 1.25, f"`{name}` of {shown} is too much", node, "{0}", inner)


def _is_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)
    )


def _interchanged(draft: Draft, node: ast.Call, name: str) -> Iterator[Guess]:
    template, parts = draft.edits.renamed(node, name)
    tensors = [
        k
        for k, part in enumerate(parts)
        if draft.tensor(part) is not None or is_number(draft, part)
    ]
    if name not in _ORDERED or len(tensors) < 2:
        return
    for i, j in combinations(tensors, 2):
        swapped = (
            template.replace(f"{{{i}}}", "{<}")
            .replace(f"{{{j}}}", f"{{{i}}}")
            .replace("{<}", f"{{{j}}}")
        )
        code = "GC108" if name == "where" else "GC113"
        what = "the branches" if name == "where" else "arguments"
        message = f"{what} of {quoted(draft, node)} are interchanged"
        yield guess(code, 1.06, message, node, swapped, *parts)


def _operators(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """Another operator between the same operands, or the same with the operands interchanged."""
    for node in places:
        shown = quoted(draft, node)
        match node:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                message = f"{shown} should be a quotient"
                yield guess("GC113", 1.15, message, node, "{0} / {1}", left, right)
                yield guess("GC113", 1.25, message, node, "{1} / {0}", left, right)
                message = f"{shown} should be a matrix product"
                yield guess("GC113", 1.2, message, node, "{0} @ {1}", left, right)
                message = f"{shown} should be a sum"
                yield guess("GC113", 1.4, message, node, "{0} + {1}", left, right)
                yield guess(
                    "GC113", 1.4, f"{shown} should be a difference", node, "{0} - {1}", left, right
                )
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                message = f"{shown} should be a product"
                yield guess("GC113", 1.1, message, node, "{0} * {1}", left, right)
                message = f"the operands of the quotient {shown} are interchanged"
                yield guess("GC113", 1.1, message, node, "{1} / {0}", left, right)
            case ast.BinOp(left=left, op=ast.MatMult(), right=right):
                message = f"{shown} should be a product of elements"
                yield guess("GC113", 1.2, message, node, "{0} * {1}", left, right)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                message = f"{shown} should be a product"
                yield guess("GC113", 1.4, message, node, "{0} * {1}", left, right)
                yield guess(
                    "GC113", 1.4, f"{shown} should be a quotient", node, "{0} / {1}", left, right
                )
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                message = f"base and exponent of {shown} are interchanged"
                yield guess("GC113", 1.2, message, node, "{1} ** {0}", left, right)
                yield guess(
                    "GC113", 1.2, f"{shown} should be a product", node, "{0} * {1}", left, right
                )
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                equality = isinstance(op, (ast.Eq, ast.NotEq))
                for kind, symbol in _COMPARED.items():
                    if type(op) is not kind and equality == (symbol in ("==", "!=")):
                        message = f"the mask {shown} should compare with `{symbol}`"
                        yield guess(
                            "GC108", 1.05, message, node, f"{{0}} {symbol} {{1}}", left, right
                        )
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                yield guess("GC108", 1.1, f"{shown} should be `|`", node, "{0} | {1}", left, right)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                yield guess("GC108", 1.1, f"{shown} should be `&`", node, "{0} & {1}", left, right)
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                yield guess("GC108", 1.05, f"the mask {shown} is inverted", node, "{0}", operand)
        tensor = draft.tensor(node)
        if tensor is not None and tensor.dtype.kind == "b" and not isinstance(node, ast.Compare):
            yield guess("GC108", 1.06, f"the mask {shown} is inverted", node, "~{0}", node)


def _powers(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """An exponent that is wrong, missing or too much; literal ones that are solved for are elsewhere."""
    for node in places:
        tensor = draft.tensor(node)
        if tensor is None or tensor.dtype.kind != "f":
            continue
        match node:
            case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
                pass
            case ast.Call(func=ast.Attribute(value=base, attr="pow"), args=[exponent]):
                pass
            case ast.Call(func=ast.Attribute(value=base, attr="square" | "sqrt")):
                message = f"the power {quoted(draft, node)} is too much"
                yield guess("GC113", 1.1, message, node, "{0}", base)
                continue
            case (
                ast.Name()
                | ast.Call()
                | ast.Subscript()
                | ast.BinOp(op=ast.Add() | ast.Sub() | ast.Div())
            ):
                shown = quoted(draft, node)
                for cost, (template, what) in enumerate(
                    (("{0}**2", "2"), ("{0}**0.5", "1/2"), ("1 / {0}", "-1"), ("{0}**3", "3"))
                ):
                    message = f"the exponent of {shown} is 1, it should be {what}"
                    yield guess("GC113", 1.35 + 0.01 * cost, message, node, template, node)
                continue
            case _:
                continue
        shown = quoted(draft, node)
        message = f"the power {shown} is too much"
        yield guess("GC113", 1.08, message, node, "{0}", base)
        for cost, template in enumerate(
            ("{0}**({1} - 1)", "{0}**({1} + 1)", "{0}**(-{1})", "{0}**({1} / 2)", "{0}**(2 * {1})")
        ):
            if isinstance(exponent, ast.Constant):
                text = _exponent(exponent.value, cost)
                if text is None:
                    continue
                own = quoted(draft, exponent).strip("`")
                message = f"the exponent of {quoted(draft, base)} is {own}, it should be {text}"
                yield guess("GC113", 1.0 + 1e-3 * cost, message, exponent, text)
            else:
                message = f"the exponent of {quoted(draft, base)} is wrong"
                yield guess("GC113", 1.1 + 1e-3 * cost, message, node, template, base, exponent)


def _roots_of_numbers(draft: Draft) -> Iterator[Guess]:
    """A root or a square of a size or of a quotient of numbers forgotten."""
    for node in draft.edits.nodes():
        parent = draft.edits.parent(node)
        if not isinstance(parent, ast.BinOp) or not is_number(draft, node):
            continue
        is_named = isinstance(node, (ast.Call, ast.Subscript, ast.Attribute))
        of_numbers = isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Pow)
        if isinstance(parent.op, ast.Pow):
            continue
        literal = isinstance(node, ast.Constant) and isinstance(parent.op, (ast.Mult, ast.Div))
        if not (is_named or of_numbers or literal):
            continue
        shown = quoted(draft, node)
        for cost, power in enumerate(("0.5",) if literal else ("0.5", "2")):
            message = f"the exponent of {shown} is 1, it should be {power}"
            yield guess("GC113", 1.0 + 0.01 * cost, message, node, f"{{0}}**{power}", node)


def _exponent(value: object, kind: int) -> str | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    other = (value - 1, value + 1, -value, value / 2, 2 * value)[kind]
    return None if other in (0, 1) else f"{other:g}"


def _names(suspect: Suspect, draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """An input, a `let` name or `grad` in place of another; two of them interchanged."""
    used: dict[str, list[ast.Name]] = {}
    for node in places:
        if isinstance(node, ast.Name):
            used.setdefault(node.id, []).append(node)
    for name, nodes in used.items():
        own = draft.scope[name]
        for cost, (other, value) in enumerate(suspect.named.items()):
            if other == name or value.value is not None or own in value.inputs:
                continue  # of what is one operation more, that is forgotten: see `analogies`
            same = value.shape == own.shape
            message = f"`{name}` is used where `{other}` is right"
            for node in nodes:
                yield guess("GC113", (1.1 if same else 1.3) + 1e-3 * cost, message, node, other)
    for first, second in combinations(used, 2):
        changes = [Change(node, second) for node in used[first]]
        changes += [Change(node, first) for node in used[second]]
        message = f"`{first}` and `{second}` are interchanged"
        yield Guess("GC113", 1.12, message, tuple(changes))


def _options(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """True for False in a call, and whole numbers that are off by one."""
    for node in places:
        if not isinstance(node, ast.Call):
            continue
        for parameter, argument in arguments(draft, node):
            value = draft.value(argument)
            if type(value) is bool and parameter != "keepdim":
                message = f"`{parameter}` of {quoted(draft, node)} should be {not value}"
                code = "GC103" if parameter in ("upper", "adjoint", "left") else "GC113"
                yield guess(code, 1.1, message, argument, str(not value))
            if type(value) is int and parameter in ("correction", "n", "p", "ord", "num_classes"):
                for other in (value - 1, value + 1):
                    message = (
                        f"`{parameter}` of {quoted(draft, node)} is {value}, it should be {other}"
                    )
                    code = "GC101" if parameter == "correction" else "GC113"
                    yield guess(code, 1.1, message, argument, str(other))
