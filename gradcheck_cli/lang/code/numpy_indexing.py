"""How NumPy reads and writes single elements and parts of an array, where PyTorch has operators for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.lang.code.numpy_templates import Unspelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.code.numpy_text import NumpyPrinter


def _where_text(dim: int, index: str) -> str:
    """A subscript along one dimension."""
    return ", ".join([*[":"] * dim, index])


def _index_put(printer: NumpyPrinter, node: Expr) -> str:
    x, values = node.args[0], node.args[-1]
    assert x is not None
    assert values is not None
    indices = ["slice(None)" if index is None else printer.text(index) for index in node.args[1:-1]]
    key = f"({', '.join(indices)}{',' if len(indices) == 1 else ''})"
    name = "_add_at" if node.attributes["accumulate"] else "_put_at"
    return f"{name}({printer.text(x)}, {key}, {printer.text(values)})"


def _slice_scatter(printer: NumpyPrinter, node: Expr) -> str:
    x, values = node.inputs
    attributes = node.attributes
    dim = attributes["dim"] % x.ndim
    if node.op.name == "select_scatter":
        key = printer.number_text(attributes["index"])
    else:
        bounds = [attributes["start"], attributes["end"], attributes["step"]]
        parts = ["" if bound is None else printer.number_text(bound) for bound in bounds]
        key = ":".join(parts[:2] if parts[2] == "1" else parts)
    where = _where_text(dim, key)
    return f"_put_at({printer.text(x)}, np.s_[{where}], {printer.text(values)})"


def _diagonal_scatter(printer: NumpyPrinter, node: Expr) -> str:
    x, values = node.inputs
    attributes = node.attributes
    offset, dims = attributes["offset"], (attributes["dim1"] % x.ndim, attributes["dim2"] % x.ndim)
    return f"_put_on_diagonal({printer.text(x)}, {printer.text(values)}, {offset}, {dims})"


def _index_add(printer: NumpyPrinter, node: Expr) -> str:
    x, index, source = map(printer.text, node.inputs)
    alpha = node.attributes["alpha"]
    if alpha != 1:
        source = f"{printer.literal(alpha)} * {printer.atom(node.inputs[2])}"
    dim = node.attributes["dim"] % max(node.ndim, 1)
    holes = ", ".join([*["slice(None)"] * dim, index])
    return f"_add_at({x}, ({holes}{',' if not dim else ''}), {source})"


def _gather(printer: NumpyPrinter, node: Expr) -> str:
    x, index = node.inputs
    dim = node.attributes["dim"] % max(x.ndim, 1)
    # PyTorch's index may be shorter than the tensor elsewhere, NumPy's may not.
    if x.shape[:dim] != index.shape[:dim] or x.shape[dim + 1 :] != index.shape[dim + 1 :]:
        raise Unspelled
    return f"np.take_along_axis({printer.text(x)}, {printer.text(index)}, {dim})"


def _index_select(printer: NumpyPrinter, node: Expr) -> str:
    x, index = node.inputs
    if not index.ndim:
        raise Unspelled
    return f"np.take({printer.text(x)}, {printer.text(index)}, {node.attributes['dim']})"


def _masked_select(printer: NumpyPrinter, node: Expr) -> str:
    x, mask = node.inputs
    if x.shape != mask.shape:
        raise Unspelled
    return f"{printer.atom(x)}[{printer.text(mask)}]"


INDEXING: dict[str, Callable[[NumpyPrinter, Expr], str]] = {
    "diagonal_scatter": _diagonal_scatter,
    "gather": _gather,
    "index_select": _index_select,
    "masked_select.known": _masked_select,
    "index_add": _index_add,
    "index_put": _index_put,
    "slice_scatter": _slice_scatter,
    "select_scatter": _slice_scatter,
}
