"""How NumPy and SciPy spell operators: the table, and functions for what no template can say.

PyTorch's meaning is kept: its defaults, its order of arguments, what it does where there are no dims.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradcheck_cli.lang.code.numpy_indexing import INDEXING
from gradcheck_cli.lang.code.numpy_templates import TEMPLATES, Unspelled
from gradcheck_cli.ops._common import dim_of, dims_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.code.numpy_text import NumpyPrinter

    Spelling: TypeAlias = "str | Callable[[NumpyPrinter, Expr], str]"


# Of these the text takes care of tensors without dims itself.
_REDUCTIONS = frozenset(
    [
        *("sum", "mean", "prod", "var", "std", "norm", "amax", "amin", "logsumexp", "squeeze"),
        "unsqueeze",
    ]
)


def refuse_unlike(node: Expr) -> None:
    """Raise Unspelled where NumPy does something else, or refuses it, and PyTorch doesn't.

    Dims of a tensor without any, tensors without elements, and negative powers of whole numbers.
    """
    if not all(math.prod(x.shape) for x in (node, *node.inputs)):
        raise Unspelled
    names = {"dim", "dims", "dim0", "dim1"} & node.attributes.keys()
    if names and node.inputs and not node.inputs[0].ndim and node.op.name not in _REDUCTIONS:
        raise Unspelled
    if node.op.name == "pow" and node.value is None and node.dtype.kind == "i":
        exponent = node.inputs[1].value
        if exponent is None or exponent < 0:
            raise Unspelled


def _unsqueeze(printer: NumpyPrinter, node: Expr) -> str:
    """New dims as a subscript, several of them as one."""
    chain = [node]
    while (x := chain[-1].inputs[0]).op is node.op and not printer.atom(x).isidentifier():
        chain.append(x)
    places = [":"] * x.ndim
    for step in reversed(chain):
        places.insert(dim_of(step.attributes["dim"], step.ndim), "None")
    while places[-1] == ":":
        places.pop()
    return f"{printer.atom(x)}[{', '.join(places)}]"


def _squeeze(printer: NumpyPrinter, node: Expr) -> str:
    x = node.inputs[0]
    dim = node.attributes["dim"]
    ones = tuple(d for d in dims_of(dim, x.ndim) if x.shape[d] == 1)
    if not ones or dim == ():
        return printer.atom(x)
    return f"{printer.atom(x)}.squeeze({ones[0] if len(ones) == 1 else ones})"


def _flatten(printer: NumpyPrinter, node: Expr) -> str:
    x = node.inputs[0]
    text = printer.atom(x)
    start = dim_of(node.attributes["start_dim"], x.ndim)
    end = dim_of(node.attributes["end_dim"], x.ndim)
    if x.ndim < 2 or end - start == x.ndim - 1:
        return f"{text}.reshape(-1)"
    before = [f"*{text}.shape[:{start}]"] if start else []
    after = [f"*{text}.shape[{end + 1}:]"] if end + 1 < x.ndim else []
    return f"{text}.reshape({', '.join([*before, '-1', *after])})"


def _unflatten(printer: NumpyPrinter, node: Expr) -> str:
    x = node.inputs[0]
    text = printer.atom(x)
    dim = dim_of(node.attributes["dim"], x.ndim)
    sizes = [printer.number_text(size) for size in node.attributes["sizes"]]
    before = [f"*{text}.shape[:{dim}]"] if dim else []
    after = [f"*{text}.shape[{dim + 1}:]"] if dim + 1 < x.ndim else []
    return f"{text}.reshape({', '.join([*before, *sizes, *after])})"


def _expand(printer: NumpyPrinter, node: Expr) -> str:
    x, sizes = node.inputs[0], node.attributes["size"]
    added = len(sizes) - x.ndim
    whole = tuple(
        x.size(position - added) if size == -1 else size for position, size in enumerate(sizes)
    )
    if any(size == -1 for size in sizes):
        text = printer.atom(x)
        parts = [
            f"{text}.shape[{position - added}]" if size == -1 else printer.number_text(size)
            for position, size in enumerate(sizes)
        ]
        return f"np.broadcast_to({printer.text(x)}, ({', '.join(parts)},))"
    return f"np.broadcast_to({printer.text(x)}, {printer.shape(whole)})"


def _transpose(printer: NumpyPrinter, node: Expr) -> str:
    attributes = node.attributes
    return f"{printer.atom(node.inputs[0])}.swapaxes({attributes['dim0']}, {attributes['dim1']})"


def _roll(printer: NumpyPrinter, node: Expr) -> str:
    shifts, dims = node.attributes["shifts"], node.attributes["dims"]
    axis = f", {printer.literal(dims)}" if dims else ""
    by = shifts[0] if len(shifts) == 1 and not dims else shifts
    return f"np.roll({printer.text(node.inputs[0])}, {printer.literal(by)}{axis})"


def _diag_embed(printer: NumpyPrinter, node: Expr) -> str:
    x, attributes = node.inputs[0], node.attributes
    if x.ndim != 1 or (attributes["dim1"] % 2, attributes["dim2"] % 2) != (0, 1):
        raise Unspelled
    return f"np.diag({printer.text(x)}, {attributes['offset']})"


def _cat(printer: NumpyPrinter, node: Expr) -> str:
    parts = ", ".join(printer.text(arg) for arg in node.inputs)
    name = "concatenate" if node.op.name == "cat" else "stack"
    dim = node.attributes["dim"]
    return f"np.{name}([{parts}]{f', axis={dim}' if dim else ''})"


def _pad(printer: NumpyPrinter, node: Expr) -> str:
    x, pad, mode = node.inputs[0], node.attributes["pad"], node.attributes["mode"]
    ends = [(pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]
    widths = [(0, 0)] * (x.ndim - len(ends)) + ends[::-1]
    text = printer.atom(x)
    if any(end < 0 for width in widths for end in width):
        kept = [f"{-low if low < 0 else ''}:{high if high < 0 else ''}" for low, high in widths]
        text = f"{text}[{', '.join(kept)}]"
        widths = [(max(low, 0), max(high, 0)) for low, high in widths]
    if not any(map(any, widths)):
        return text
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode != "constant":
        return f"np.pad({text}, {tuple(widths)}, {modes[mode]!r})"
    value = node.attributes["value"]
    filled = f", constant_values={printer.literal(value)}" if value else ""
    return f"np.pad({text}, {tuple(widths)}{filled})"


def _norm(printer: NumpyPrinter, node: Expr) -> str:
    attributes, x = node.attributes, node.inputs[0]
    p = 2 if attributes["p"] is None else attributes["p"]
    dims = dims_of(attributes["dim"], x.ndim)
    if attributes["dtype"] is not None or x.dtype.kind == "z" or not x.ndim:
        raise Unspelled
    keepdims = ", keepdims=True" if attributes["keepdim"] else ""
    if len(dims) == 1:
        order = "" if p == 2 else f", {printer.literal(p)}"
        axis = "" if x.ndim == 1 else f", axis={dims[0]}"
        return f"np.linalg.norm({printer.text(x)}{order}{axis}{keepdims})"
    if p != 2:
        raise Unspelled
    if len(dims) == x.ndim:
        return f"np.linalg.norm({printer.text(x)}{keepdims})"
    return f"np.sqrt(np.square({printer.text(x)}).sum({dims}{keepdims}))"


def _deviation(printer: NumpyPrinter, node: Expr) -> str:
    """`var` and `std`: PyTorch divides by n - 1 unless told otherwise, NumPy by n."""
    correction = node.attributes["correction"]
    ddof = "" if correction == 0 else f"ddof={1 if correction is None else correction}"
    dims, keepdims = printer.axis(node), printer.keepdims(node)
    parts = [dims, ddof, keepdims.removeprefix(", ")]
    listed = ", ".join(part for part in parts if part)
    return f"{printer.atom(node.inputs[0])}.{node.op.name}({listed})"


def _extreme(printer: NumpyPrinter, node: Expr) -> str:
    name = {"amax": "max", "amin": "min"}.get(node.op.name, node.op.name)
    listed = f"{printer.axis(node)}{printer.keepdims(node)}".removeprefix(", ")
    return f"{printer.atom(node.inputs[0])}.{name}({listed})"


def _prod_dim(printer: NumpyPrinter, node: Expr) -> str:
    axis = node.attributes["dim"]
    return f"{printer.atom(node.inputs[0])}.prod({axis}{printer.keepdims(node)})"


def _reduced(printer: NumpyPrinter, node: Expr) -> str:
    if node.attributes["dtype"] not in (None, node.inputs[0].dtype):
        raise Unspelled
    listed = f"{printer.axis(node)}{printer.keepdims(node)}".removeprefix(", ")
    return f"{printer.atom(node.inputs[0])}.{node.op.name}({listed})"


def _logsumexp(printer: NumpyPrinter, node: Expr) -> str:
    if not node.inputs[0].ndim:
        raise Unspelled
    axis = printer.axis(node)
    axis = f", axis={axis}" if axis else ""
    return f"special.logsumexp({printer.text(node.inputs[0])}{axis}{printer.keepdims(node)})"


def _sum_to_size(printer: NumpyPrinter, node: Expr) -> str:
    x, shape = node.inputs[0], node.shape
    added = x.ndim - len(shape)
    axes = tuple(range(added)) + tuple(
        d + added for d, size in enumerate(shape) if size == 1 and x.shape[d + added] != 1
    )
    text = f"{printer.atom(x)}.sum({axes}, keepdims=True)"
    return f"{text}.reshape({printer.shape(node.attributes['size'])})"


def _solve(printer: NumpyPrinter, node: Expr) -> str:
    a, b = node.inputs
    left, right = printer.text(a), printer.text(b)
    vector = b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])
    if not node.attributes["left"]:
        # X A = B is A' X' = B'.
        return f"np.linalg.solve({printer.atom(a)}.mT, {printer.atom(b)}.mT).mT"
    if vector and b.ndim > 1:
        return f"np.linalg.solve({left}, {printer.atom(b)}[..., None])[..., 0]"
    return f"np.linalg.solve({left}, {right})"


def _solve_triangular(printer: NumpyPrinter, node: Expr) -> str:
    a, b = node.inputs
    attributes = node.attributes
    if a.ndim != 2 or b.ndim != 2:
        raise Unspelled
    lower = not attributes["upper"]
    left, right, tail = printer.text(a), printer.text(b), ""
    if not attributes["left"]:
        left, right, tail = f"{printer.atom(a)}.T", f"{printer.atom(b)}.T", ".T"
        lower = not lower
    unit = ", unit_diagonal=True" if attributes["unitriangular"] else ""
    return f"linalg.solve_triangular({left}, {right}, lower={lower}{unit}){tail}"


def _gelu(printer: NumpyPrinter, node: Expr) -> str:
    if node.attributes["approximate"] != "none":
        raise Unspelled
    x = node.inputs[0]
    return f"{printer.atom(x)} * special.ndtr({printer.text(x)})"


def _softplus(printer: NumpyPrinter, node: Expr) -> str:
    x, beta = node.inputs[0], node.attributes["beta"]
    scaled = printer.text(x) if beta == 1 else f"{printer.literal(beta)} * {printer.atom(x)}"
    smooth = f"np.logaddexp(0, {scaled})" + ("" if beta == 1 else f" / {printer.literal(beta)}")
    threshold = printer.literal(node.attributes["threshold"])
    return f"np.where({scaled} > {threshold}, {printer.text(x)}, {smooth})"


def _to(printer: NumpyPrinter, node: Expr) -> str:
    # NumPy has no bfloat16 and rounds to float16 in another order than PyTorch's kernels do.
    if node.dtype.name not in ("float64", "float32", "int64", "int32", "bool", "complex128"):
        raise Unspelled
    return f"{printer.atom(node.inputs[0])}.astype({printer.dtype(node)})"


def _filled(printer: NumpyPrinter, node: Expr) -> str:
    """`zeros`, `full`, `zeros_like` and their kind."""
    name, attributes = node.op.name, node.attributes
    like = name.endswith("_like")
    where = printer.text(node.inputs[0]) if like else printer.shape(attributes["size"])
    parts = [where]
    if name.startswith("full"):
        parts.append(printer.number_text(attributes["fill_value"]))
    made = node.inputs[0].dtype if like else None
    if node.dtype is not made and (node.dtype.name != "float64" or like or name == "full"):
        parts.append(f"dtype={printer.dtype(node)}")
    return f"np.{name}({', '.join(parts)})"


def _eye(printer: NumpyPrinter, node: Expr) -> str:
    attributes = node.attributes
    sizes = [attributes["n"], *([attributes["m"]] if attributes["m"] is not None else [])]
    parts = [printer.number_text(size) for size in sizes]
    if node.dtype.name != "float64":
        parts.append(f"dtype={printer.dtype(node)}")
    return f"np.eye({', '.join(parts)})"


def _arange(printer: NumpyPrinter, node: Expr) -> str:
    attributes = node.attributes
    numbers = [getattr(attributes[k], "value", attributes[k]) for k in ("start", "end", "step")]
    if node.dtype.kind == "i" and any(isinstance(number, float) for number in numbers):
        raise Unspelled
    start, end, step = (printer.number_text(attributes[k]) for k in ("start", "end", "step"))
    parts = [start, end, step] if step != "1" else [start, end] if start != "0" else [end]
    dtype = "" if node.dtype.name == "int64" else f", dtype={printer.dtype(node)}"
    return f"np.arange({', '.join(parts)}{dtype})"


def _fft(printer: NumpyPrinter, node: Expr) -> str:
    name = node.op.name.partition(".")[0]
    norm = node.attributes["norm"]
    said = "" if norm == "backward" else f", norm={norm!r}"
    axes = tuple(node.attributes["dim"])
    if len(axes) == 1:
        return f"np.fft.{name[:-1]}({printer.text(node.inputs[0])}, axis={axes[0]}{said})"
    return f"np.fft.{name}({printer.text(node.inputs[0])}, axes={axes}{said})"


def _einsum(printer: NumpyPrinter, node: Expr) -> str:
    before, _, after = node.attributes["equation"].partition("->")
    if "..." in before and "..." not in after:
        raise Unspelled  # PyTorch sums over what the dots stand for
    operands = ", ".join(printer.text(arg) for arg in node.inputs)
    return f"np.einsum({node.attributes['equation']!r}, {operands})"


def _outputs(printer: NumpyPrinter, node: Expr) -> str:
    """Factorisations: NumPy's results have the same names as PyTorch's."""
    x, attributes = printer.text(node.inputs[0]), node.attributes
    field = node.op.outputs[node.output]
    match node.op.name:
        case "linalg_svd":
            full = "" if attributes["full_matrices"] else ", full_matrices=False"
            return f"np.linalg.svd({x}{full}).{field}"
        case "linalg_qr" if attributes["mode"] != "r":
            mode = "" if attributes["mode"] == "reduced" else f", {attributes['mode']!r}"
            return f"np.linalg.qr({x}{mode}).{field}"
        case "linalg_eigh":
            return f"np.linalg.eigh({x}, {attributes['UPLO']!r}).{field}"
        case "slogdet":
            return f"np.linalg.slogdet({x}).{field}"
        case "lstsq" if field == "solution" and attributes["rcond"] is None:
            if node.inputs[0].ndim != 2:
                raise Unspelled
            return f"np.linalg.lstsq({x}, {printer.text(node.inputs[1])})[0]"
    raise Unspelled


def _pinv(printer: NumpyPrinter, node: Expr) -> str:
    if len(node.inputs) > 1 or node.attributes["hermitian"]:
        raise Unspelled
    return f"np.linalg.pinv({printer.text(node.inputs[0])})"


def _cholesky(printer: NumpyPrinter, node: Expr) -> str:
    tail = ".mT" if node.attributes["upper"] else ""
    return f"np.linalg.cholesky({printer.text(node.inputs[0])}){tail}"


TABLE: dict[str, Spelling] = {
    **TEMPLATES,
    **INDEXING,
    "gelu": _gelu,
    "softplus": _softplus,
    "logsumexp": _logsumexp,
    "sum": _reduced,
    "mean": _reduced,
    "prod": _reduced,
    "prod.dim": _prod_dim,
    "var": _deviation,
    "std": _deviation,
    "norm": _norm,
    **dict.fromkeys(("amax", "amin", "max", "min"), _extreme),
    "reshape": lambda p, n: f"{p.atom(n.inputs[0])}.reshape({p.shape(n.attributes['shape'])})",
    "flatten": _flatten,
    "unflatten": _unflatten,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "expand": _expand,
    "sum_to_size": _sum_to_size,
    "transpose": _transpose,
    "roll": _roll,
    "diag_embed": _diag_embed,
    "cat": _cat,
    "stack": _cat,
    "pad": _pad,
    "einsum": _einsum,
    "solve": _solve,
    "solve_triangular": _solve_triangular,
    "pinv": _pinv,
    "cholesky": _cholesky,
    **dict.fromkeys(("linalg_svd", "linalg_qr", "linalg_eigh", "slogdet", "lstsq"), _outputs),
    **dict.fromkeys(("zeros", "ones", "full", "zeros_like", "ones_like", "full_like"), _filled),
    "eye": _eye,
    "arange.start_step": _arange,
    "to": _to,
    **dict.fromkeys(("fftn.whole", "ifftn.whole"), _fft),
}
