"""How operators are written on paper, a line each; one that isn't here is written as a call.

Conventions: vectors are columns, whatever side of `@` they stand on; products of elements are marked, of
scalars and of matrices not; powers are of elements; a subscript is a dimension, counted from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.lang.typeset.makers import (
    along,
    big,
    digits,
    dims,
    element,
    fence,
    first,
    function,
    further,
    logic,
    mark,
    marked,
    only,
    output,
    relation,
)
from gradcheck_cli.lang.typeset.parts import Part, call, part, scripted, word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.typeset.build import Writer
    from gradcheck_cli.lang.typeset.makers import Rule


# Dimensions that are no `dim`.


def _flip(w: Writer, node: Expr) -> Part:
    rank = max(node.ndim, 1)
    return call("flip", first(w, node), dims=[digits(d % rank) for d in node.attributes["dims"]])


def _layer_norm(w: Writer, node: Expr) -> Part:
    rank, over = node.inputs[0].ndim, len(node.attributes["normalized_shape"])
    listed = [digits(dim) for dim in range(rank - over, rank)]
    return call("LayerNorm", *map(w, node.inputs), *further(w, node), dims=listed)


# Arithmetic.


def _add(w: Writer, node: Expr) -> Part | None:
    left, right = map(w, node.inputs)
    if not only(node):
        return None
    return part("-", left, right.below[0]) if right.kind == "neg" else part("+", left, right)


def _sub(w: Writer, node: Expr) -> Part | None:
    return part("-", *map(w, node.inputs)) if only(node) else None


def _mul(w: Writer, node: Expr) -> Part:
    left, right = node.inputs
    one, other = w(left), w(right)
    if right.value is not None and left.value is None:
        return part("scale", other, one)
    scalar = left.ndim == 0 or right.ndim == 0
    return part("scale", one, other) if scalar else part("hadamard", one, other, text="⊙")


def _div(w: Writer, node: Expr) -> Part | None:
    return part("fraction", *map(w, node.inputs)) if only(node) else None


def _pow(w: Writer, node: Expr) -> Part:
    base, exponent = node.inputs
    if exponent.value == 0.5:
        return part("root", w(base))
    if exponent.value == -0.5:
        return _over_one(part("root", w(base)))
    return part("power", w(base), w(exponent))


def _over_one(bottom: Part) -> Part:
    return part("fraction", digits(1), bottom)


# Matrices.


def _matmul(w: Writer, node: Expr) -> Part:
    left, right = node.inputs
    one, other = w(left), w(right)
    if left.ndim == 1 and right.ndim == 2:
        return part("matmul", marked(other, "⊤"), one)
    return part("matmul", marked(one, "⊤") if left.ndim == 1 else one, other)


def _outer(w: Writer, node: Expr) -> Part:
    left, right = map(w, node.inputs)
    return part("matmul", left, marked(right, "⊤"))


def _turned(w: Writer, node: Expr) -> Part | None:
    """A transposition of the last two dimensions."""
    rank = node.inputs[0].ndim
    turned = {node.attributes["dim0"] % max(rank, 1), node.attributes["dim1"] % max(rank, 1)}
    return marked(first(w, node), "⊤") if turned == {rank - 2, rank - 1} else None


def _transposed(w: Writer, node: Expr) -> Part | None:
    return marked(first(w, node), "⊤") if node.inputs[0].ndim == 2 else None


def _solve(w: Writer, node: Expr) -> Part | None:
    matrix, right = map(w, node.inputs)
    return part("matmul", marked(matrix, "−1"), right) if only(node) else None


def _log_det(w: Writer, node: Expr) -> Part:
    return call("log", call("det", first(w, node)))


def _log_abs_det(w: Writer, node: Expr) -> Part:
    return call("log", part("fence", call("det", first(w, node)), text="|"))


def _sign_det(w: Writer, node: Expr) -> Part:
    return call("sign", call("det", first(w, node)))


def _norm(w: Writer, node: Expr) -> Part | None:
    order = node.attributes["p"]
    if not only(node, "p", "dim", "keepdim") or isinstance(order, str):
        return None
    over = dims(node)
    frobenius = node.inputs[0].ndim == 2 and not over and order in (None, 2)
    script = [word("F") if frobenius else w.whole(2 if order is None else order)]
    if over:
        script.append(part("keyword", part("list", *over), text="dim"))
    return scripted(part("fence", first(w, node), text="‖"), script)


# Choices.


def _where(w: Writer, node: Expr) -> Part:
    condition, value, other = node.inputs
    return part("cases", w(value), w.bare(condition), w(other))


def _masked_fill(w: Writer, node: Expr) -> Part:
    value, mask = node.inputs[:2]
    return part("cases", w.whole(node.attributes["value"]), w.bare(mask), w(value))


def _not(w: Writer, node: Expr) -> Part | None:
    inner = w.bare(node.inputs[0])
    opposite = _OPPOSITES.get(inner.text) if inner.kind == "relation" else None
    if opposite is not None:
        return part("relation", *inner.below, text=opposite)
    return part("not", inner) if node.inputs[0].dtype.kind == "b" else None


# The opposite of `<` is not `>=` where there are NaNs.
_OPPOSITES = {"=": "≠", "≠": "="}


# Places and sizes.


def subscripted(w: Writer, node: Expr, dim: int, index: Part) -> Part:
    """`x` with a subscript at one of its dimensions."""
    colons = [part("symbol", text=":")] * dim
    return w.item(first(w, node), [*colons, index])


def _select(w: Writer, node: Expr) -> Part:
    attributes = node.attributes
    dim = attributes["dim"] % node.inputs[0].ndim
    return subscripted(w, node, dim, w.whole(attributes["index"]))


def _slice(w: Writer, node: Expr) -> Part:
    attributes = node.attributes
    start, end, step = attributes["start"], attributes["end"], attributes["step"]
    bounds = [None if start == 0 else start, end, *([] if step == 1 else [step])]
    written = [part("list") if bound is None else w.whole(bound) for bound in bounds]
    dim = attributes["dim"] % node.inputs[0].ndim
    return subscripted(w, node, dim, part("range", *written))


def _index(w: Writer, node: Expr) -> Part:
    colon = part("symbol", text=":")
    return w.item(first(w, node), [colon if i is None else w.bare(i) for i in node.args[1:]])


def _unsqueeze(w: Writer, node: Expr) -> Part:
    subscripts = [part("symbol", text=":")] * node.ndim
    subscripts[node.attributes["dim"] % node.ndim] = word("None")
    return w.item(first(w, node), subscripts)


def _size(w: Writer, node: Expr) -> Part:
    dim = node.attributes["dim"]
    if dim is None:
        return call("size", first(w, node))
    name = "size" if w.names.has("N") else "N"
    return call(name, first(w, node), dims=[digits(dim % max(node.inputs[0].ndim, 1))])


def _numel(w: Writer, node: Expr) -> Part:
    return call("numel" if w.names.has("N") else "N", first(w, node))


def _one_hot(w: Writer, node: Expr) -> Part:
    return call("onehot", first(w, node), dims=[w.whole(node.attributes["num_classes"])])


# Made tensors.


def filled(sign: str) -> Rule:
    """A tensor of zeros or ones; its shape is a subscript, but that of another tensor."""

    def write(w: Writer, node: Expr) -> Part:
        if node.ndim == 0:
            return digits(1 if sign == "𝟏" else 0)
        symbol = part("symbol", text=sign)
        size = node.attributes.get("size")
        return symbol if size is None or node.inputs else scripted(symbol, _sizes(w, size))

    return write


def _sizes(w: Writer, size: Any) -> list[Part]:
    items = [w.whole(item) for item in (size if isinstance(size, tuple) else (size,))]
    if not items:
        return []
    product = items[0]
    for item in items[1:]:
        product = part("hadamard", product, item, text="×")
    return [product]


def _full_like(w: Writer, node: Expr) -> Part:
    value = w.whole(node.attributes["fill_value"])
    return part("scale", value, part("symbol", text="𝟏")) if node.ndim else value


def _expand(w: Writer, node: Expr) -> Part | None:
    """A number everywhere is that times ones."""
    if node.inputs[0].ndim:
        return None
    return part("scale", first(w, node), part("symbol", text="𝟏"))


def _full(w: Writer, node: Expr) -> Part:
    value = w.whole(node.attributes["fill_value"])
    ones = scripted(part("symbol", text="𝟏"), _sizes(w, node.attributes["size"]))
    return part("scale", value, ones) if node.ndim else value


def _eye(w: Writer, node: Expr) -> Part:
    n, m = node.attributes["n"], node.attributes["m"]
    return scripted(part("symbol", text="I"), _sizes(w, (n,) if m is None else (n, m)))


def _cast(w: Writer, node: Expr) -> Part | None:
    """A mask as numbers needs no word: in Iverson's brackets it is."""
    source = node.inputs[0]
    plain = source.dtype.kind == "b" and node.dtype.kind != "b"
    return w(source) if plain else None


def _log(base: str) -> Rule:
    return lambda w, node: call("log", first(w, node), dims=[part("number", text=base)])


_transpose = mark("⊤")

TABLE: Mapping[str, Rule] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "neg": lambda w, node: part("neg", first(w, node)),
    "remainder": element("mod"),
    "reciprocal": lambda w, node: _over_one(first(w, node)),
    "sqrt": lambda w, node: part("root", first(w, node)),
    "rsqrt": lambda w, node: _over_one(part("root", first(w, node))),
    "exp2": lambda w, node: part("power", digits(2), first(w, node)),
    "expm1": lambda w, node: part("-", call("exp", first(w, node)), digits(1)),
    "log1p": lambda w, node: call("log", part("+", digits(1), first(w, node))),
    "log2": _log("2"),
    "log10": _log("10"),
    "abs": fence("|"),
    "floor": fence("⌊"),
    "ceil": fence("⌈"),
    "sgn": function("sign"),
    "sigmoid": function("σ"),
    "logsigmoid": lambda w, node: call("log", call("σ", first(w, node))),
    "relu": function("ReLU"),
    "gelu": function("GELU"),
    "silu": function("SiLU"),
    "lgamma": lambda w, node: call("log", part("fence", call("Γ", first(w, node)), text="|")),
    "digamma": function("ψ"),
    "ndtr": function("Φ"),
    "log_ndtr": lambda w, node: call("log", call("Φ", first(w, node))),
    "acos": function("arccos"),
    "asin": function("arcsin"),
    "atan": function("arctan"),
    "acosh": function("arcosh"),
    "asinh": function("arsinh"),
    "atanh": function("artanh"),
    "xlogy": lambda w, n: part("hadamard", w(n.inputs[0]), call("log", w(n.inputs[1])), text="⊙"),
    "maximum": function("max"),
    "minimum": function("min"),
    "conj.complex": mark("∗"),
    "real.complex": function("ℜ"),
    "imag": function("ℑ"),
    "sum": big("∑"),
    "prod": big("∏"),
    "prod.dim": big("∏"),
    "mean": along("mean"),
    "amax": along("max"),
    "amin": along("min"),
    "max": along("max"),
    "min": along("min"),
    "argmax": along("argmax"),
    "argmin": along("argmin"),
    "logsumexp": along("logsumexp"),
    "softmax": along("softmax"),
    "log_softmax": lambda w, n: call("log", call("softmax", first(w, n), dims=dims(n))),
    "cumsum": along("cumsum"),
    "cumprod": along("cumprod"),
    "var": along("var"),
    "std": along("std"),
    "flip": _flip,
    "layer_norm.plain": _layer_norm,
    "cross_entropy.none": function("CrossEntropy"),
    "binary_cross_entropy.none": function("BCE"),
    "binary_cross_entropy_with_logits.none": function("BCEWithLogits"),
    "nll_loss.none": function("NLL"),
    "norm": _norm,
    "matmul": _matmul,
    "outer": _outer,
    "T": _transposed,
    "mT": _transpose,
    "transpose": _turned,
    "inverse": mark("−1"),
    "pinv": lambda w, node: marked(first(w, node), "+") if only(node) else None,
    "trace": function("tr"),
    "det": function("det"),
    "logdet": _log_det,
    "slogdet": output(logabsdet=_log_abs_det, sign=_sign_det),
    "solve": _solve,
    "where": _where,
    "masked_fill": _masked_fill,
    "eq": relation("="),
    "ne": relation("≠"),
    "lt": relation("<"),
    "le": relation("≤"),
    "gt": relation(">"),
    "ge": relation("≥"),
    "bitwise_and": logic("and"),
    "bitwise_or": logic("or"),
    "logical_and": logic("and"),
    "logical_or": logic("or"),
    "bitwise_not": _not,
    "logical_not": _not,
    "select": _select,
    "slice": _slice,
    "index": _index,
    "unsqueeze": _unsqueeze,
    "size": _size,
    "numel": _numel,
    "one_hot.counted": _one_hot,
    "zeros": filled("𝟎"),
    "zeros_like": filled("𝟎"),
    "ones": filled("𝟏"),
    "ones_like": filled("𝟏"),
    "full": _full,
    "full_like": _full_like,
    "eye": _eye,
    "expand": _expand,
    "to": _cast,
}
