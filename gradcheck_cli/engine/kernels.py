"""What computes a node, chosen when the plan is made: a ufunc, a prepared function, or the kernel."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import concrete, kernel_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.graph import Expr


def _plain(node: Expr) -> bool:
    """Whether the arguments are all of one floating type, which is the node's too unless it is a mask.

    Then NumPy's own promotion can't differ from PyTorch's. Python's numbers are of any type.
    """
    kinds = {arg.dtype for arg in node.inputs if arg.value is None}
    if len(kinds) != 1:
        return False
    (kind,) = kinds
    if kind is node.dtype:
        return kind.is_floating or kind.kind == "b"
    return node.dtype.kind == "b" and kind.kind in "fi"


def ufunc_of(node: Expr) -> Any:
    """The NumPy ufunc that computes the node, or None."""
    ufunc = node.op.ufunc
    if ufunc is None or not _plain(node):
        return None
    if any(isinstance(arg.value, int) and abs(arg.value) > 2**53 for arg in node.inputs):
        return None
    return ufunc if isinstance(ufunc, np.ufunc) else ufunc(node)


def writer_of(node: Expr) -> Any:
    """What computes the node into a given array, called `(*arrays, out)`, or None."""
    ufunc = ufunc_of(node)
    if ufunc is not None or node.op.into is None:
        return ufunc
    if any(arg.dtype.kind == "z" for arg in node.inputs):
        return None
    return node.op.into(node)


def number_type(node: Expr) -> Any:
    """The dtype in which a ufunc wants Python's numbers; None where it has to be Python's number.

    As an array of no dimensions, a number of the others' type is taken in half the time.
    """
    if ufunc_of(node) is None:
        return None
    (dtype,) = {arg.dtype for arg in node.inputs if arg.value is None}
    return dtype.numpy if dtype.is_floating else None


def prepared(node: Expr) -> Callable[..., Any]:
    """A function of the node's arrays alone."""
    ufunc = ufunc_of(node)
    if ufunc is not None:
        return ufunc  # type: ignore[no-any-return]
    if node.op.prepare is not None and all(arg.dtype.kind != "z" for arg in node.inputs):
        found = node.op.prepare(node)
        if found is not None:
            return found
    write = writer_of(node)
    if write is not None:
        return partial(_written, write, node.shape, node.dtype.numpy)
    attributes = concrete(node.attrs)
    kernel = kernel_of(node.op, node.inputs)
    if attributes:
        kernel = partial(kernel, **attributes)
    if node.op.outputs or (all(arg.dtype is node.dtype for arg in node.inputs) and node.inputs):
        return kernel
    # What a kernel makes of integers depends on the default dtype when it runs; the node's type is fixed.
    dtype = node.dtype.numpy
    return lambda *arrays: np.asarray(kernel(*arrays)).astype(dtype, copy=False)


def _written(write: Callable[..., Any], shape: Any, dtype: Any, *arrays: Any) -> Any:
    out = np.empty(shape, dtype)
    write(*arrays, out)
    return out


def identity_of(reduction: np.ufunc) -> float:
    """What a reduction of nothing gives."""
    if reduction.identity is not None:
        return float(reduction.identity)
    return -np.inf if reduction is np.maximum else np.inf
