"""Reverse-mode differentiation of a graph: the chain rule, and the only place that undoes broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.graph import Expr, const, t, topological
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def differentiate(
    output: Expr, wrt: Sequence[Expr], cotangent: Expr | None = None
) -> tuple[Expr, ...]:
    """The gradient of `(cotangent * output).sum()` with respect to each of `wrt`, as expressions.

    A missing cotangent is 1, for a scalar output. A node of `wrt` that the output does not depend on, or
    that holds whole numbers or a mask, gets zeros. Reverse accumulation: Griewank and Walther, Evaluating
    Derivatives, section 3.2. Raises Invalid where a derivative is asked for that an operator doesn't have.
    """
    order = topological([output])
    depends = tracked(order, wrt)
    gradients: dict[Expr, Expr] = {}
    if output in depends:
        gradients[output] = const(1.0) if cotangent is None else cotangent
    targets = set(wrt)
    for node in reversed(order):
        if node not in gradients or node.op.vjp is None or node not in depends:
            continue
        upstream = gradients[node] if node in targets else gradients.pop(node)
        for arg, gradient in zip(node.args, _local(node, upstream), strict=True):
            if arg is None or gradient is None or arg not in depends:
                continue
            if isinstance(gradient, Invalid):
                raise gradient
            fitted = fit(gradient, arg)
            gradients[arg] = gradients[arg] + fitted if arg in gradients else fitted
    return tuple(
        fit(gradients[node], node) if node in gradients else t.zeros_like(node) for node in wrt
    )


def tracked(order: Iterable[Expr], wrt: Iterable[Expr]) -> set[Expr]:
    """Those of `wrt` and of the nodes in `order`, arguments before users, that a gradient flows through."""
    depends = {node for node in wrt if node.dtype.kind in "fz"}
    for node in order:
        if (
            node not in depends
            and node.dtype.kind in "fz"
            and node.op.vjp is not None
            and any(arg in depends for arg in node.inputs)
        ):
            depends.add(node)
    return depends


def _local(node: Expr, upstream: Expr) -> Sequence[Expr | Invalid | None]:
    assert node.op.vjp is not None
    attributes = node.attributes
    if node.op.outputs:
        attributes["output"] = node.output
    # A rule gives J^T g. For complex numbers PyTorch's convention is J^H g, the direction of steepest
    # ascent (documentation, "Autograd for Complex Numbers"): the conjugate of J^T conj(g).
    conjugated = node.op.analytic and (_is_complex(node) or any(map(_is_complex, node.inputs)))
    if conjugated:
        upstream = t.conj(upstream)
    found = node.op.vjp(upstream, node, *node.args, **attributes)
    result: Sequence[Expr | Invalid | None] = (
        found if isinstance(found, (tuple, list)) else [found] + [None] * (len(node.args) - 1)
    )
    if conjugated:
        return [t.conj(gradient) if isinstance(gradient, Expr) else gradient for gradient in result]
    return result


def _is_complex(node: Expr) -> bool:
    return node.dtype.kind == "z"


def fit(gradient: Expr, target: Expr) -> Expr:
    """`gradient` in `target`'s shape and dtype.

    Summed where `target` was broadcast, expanded where it was reduced, rounded where it was promoted,
    its real part where a real `target` was combined with complex numbers.
    """
    if gradient.value is not None:
        return t.full_like(target, gradient)  # type: ignore[no-any-return]
    if gradient.shape != target.shape:
        wider = gradient.ndim > target.ndim or any(
            a != b and b == 1
            for a, b in zip(reversed(gradient.shape), reversed(target.shape), strict=False)
        )
        sizes = tuple(target.size(d) for d in range(target.ndim))
        gradient = gradient.sum_to_size(sizes) if wider else gradient.expand(sizes)
    if _is_complex(gradient) and not _is_complex(target):
        gradient = t.real(gradient)  # an imaginary part can't move a real number
    if gradient.dtype is not target.dtype and target.dtype.kind in "fz":
        gradient = gradient.to(target.dtype)
    return gradient
