"""`backward` and `grad`: what asks for a sweep, where its results go, and PyTorch's refusals."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.engine.eager_backward import Sweep
from gradcheck_cli.engine.eager_calls import wrapped
from gradcheck_cli.engine.eager_record import (
    NUMPY,
    Recorded,
    Surroundings,
    another,
    enable_grad,
    leaf,
    no_grad,
)
from gradcheck_cli.engine.tensor import Tensor
from gradcheck_cli.graph import INPUT, topological

if TYPE_CHECKING:
    from collections.abc import Sequence

# Several threads may run backward() into the same leaves.
_accumulating = RLock()


def backward(
    output: Tensor,
    gradient: Tensor | None,
    *,
    retain_graph: bool | None,
    create_graph: bool,
) -> None:
    """`Tensor.backward`. Nothing has changed when it raises."""
    upstream = _upstream([output], [gradient])
    node = output.node
    wrt = [
        below for below in topological([node]) if isinstance(below, Recorded) and _gathers(below)
    ]
    found = _swept([node], wrt, upstream, retain_graph=retain_graph, create_graph=create_graph)
    with _accumulating, enable_grad() if create_graph else no_grad():
        for target, gradient_there in found.items():
            owner: Tensor | None = None if target.owner is None else target.owner()
            if owner is not None and owner.requires_grad:
                before = owner.gathered
                owner.gathered = gradient_there if before is None else before + gradient_there


def _gathers(node: Recorded) -> bool:
    """Whether a gradient is kept there: at leaves, and where that was asked for."""
    return node.tracked and (node.op is INPUT or node.owner is not None)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the outputs' sum, weighted with `grad_outputs`, with respect to each input.

    Leaves no trace in `.grad`. Raises RuntimeError where an input requires no gradient, or isn't used
    (unless `allow_unused`, which gives None there).
    """
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    starts = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = [grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs
    for start in starts:
        if not start.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    upstream = _upstream(ends, [None] * len(ends) if given is None else given)
    wrt = [start.node for start in starts]
    found = _swept(
        [end.node for end in ends],
        wrt,
        upstream,
        retain_graph=retain_graph,
        create_graph=create_graph,
        strict=not allow_unused,
    )
    return tuple([found.get(node) for node in wrt])


def _upstream(outputs: Sequence[Tensor], given: Sequence[Any]) -> list[Recorded | None]:
    """A cotangent for each output; None stands for the 1 of a scalar."""
    if len(given) != len(outputs):
        msg = f"got {len(outputs)} tensors and {len(given)} gradients"
        raise RuntimeError(msg)
    nodes: list[Recorded | None] = []
    for number, (output, cotangent) in enumerate(zip(outputs, given, strict=True)):
        shape, dtype = output.node.shape, output.dtype
        if not output.requires_grad:
            msg = f"element {number} of tensors does not require grad and does not have a grad_fn"
            raise RuntimeError(msg)
        if cotangent is None:
            if output.held.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            nodes.append(leaf(np.ones(shape, NUMPY[dtype]), dtype) if shape else None)
            continue
        if not isinstance(cotangent, Tensor):
            msg = f"gradients can be either Tensors or None, but got {type(cotangent).__name__}"
            raise TypeError(msg)
        if cotangent.node.shape != shape:
            msg = (
                f"Mismatch in shape: grad_output[{number}] has a shape of {cotangent.shape} and "
                f"output[{number}] has a shape of {output.shape}."
            )
            raise RuntimeError(msg)
        if cotangent.dtype is dtype:
            nodes.append(cotangent.as_node())
        else:
            nodes.append(cotangent.to(dtype).as_node())
    return nodes


def _swept(
    outputs: Sequence[Recorded],
    wrt: Sequence[Recorded],
    upstream: Sequence[Recorded | None],
    *,
    retain_graph: bool | None,
    create_graph: bool,
    strict: bool = False,
) -> dict[Recorded, Tensor]:
    """The gradient at each of `wrt` that is used; afterwards the graph is freed unless it is kept."""
    sweep = Sweep(outputs, wrt)
    if strict and len(sweep.wrt) < len(wrt):
        msg = (
            "One of the differentiated Tensors appears to not have been used in the graph. "
            "Set allow_unused=True if this is the desired behavior."
        )
        raise RuntimeError(msg)
    nodes: list[Any]
    with Surroundings():
        if create_graph or sweep.low:
            with enable_grad() if create_graph else no_grad():
                nodes = sweep.recorded(upstream)
                # A cotangent that comes out unchanged is still another tensor.
                nodes = [another(node) if node in upstream else node for node in nodes]
        else:
            arrays = sweep.gradients([None if node is None else node.data for node in upstream])
            nodes = [leaf(array, node.dtype) for array, node in zip(arrays, sweep.wrt, strict=True)]
    if not (create_graph if retain_graph is None else retain_graph):
        sweep.free()
    return dict(zip(sweep.wrt, map(wrapped, nodes), strict=True))
