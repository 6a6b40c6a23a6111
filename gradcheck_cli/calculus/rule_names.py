"""What textbooks call the rules of differentiation, by operator; one that isn't here is named after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from gradcheck_cli.graph import Expr

    Namer = Callable[[Expr, Container[Expr]], str]

_PRODUCT, _QUOTIENT, _SUM = "product rule", "quotient rule", "sum rule"
_CONSTANT = "constant factor"
_TURNED = "transposition"
_MOVED = "the elements go back to their places"
_SHAPED = "back to the argument's shape"
_PICKED = "zero but for the elements that were picked"
_EXTREME = "the gradient goes to the largest or smallest element"


def _product(node: Expr, tracked: Container[Expr]) -> str:
    """Where but one factor moves, the other is a constant."""
    moving = [arg in tracked for arg in node.inputs]
    return _PRODUCT if all(moving) else _CONSTANT


def _quotient(node: Expr, tracked: Container[Expr]) -> str:
    return _QUOTIENT if node.inputs[1] in tracked else _CONSTANT


def _power(node: Expr, tracked: Container[Expr]) -> str:
    return "derivative of an exponential" if node.inputs[1] in tracked else "power rule"


_NAMERS: Mapping[str, Namer] = {"mul": _product, "div": _quotient, "pow": _power}

_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("add", "sub"), _SUM),
    "neg": _CONSTANT,
    "sum": "derivative of a sum: every term gets the same",
    "mean": "derivative of a mean: every element gets an equal part",
    "prod": "product rule for many factors",
    "prod.dim": "product rule for many factors",
    "sqrt": "derivative of the square root",
    "rsqrt": "power rule for the exponent -1/2",
    "reciprocal": "power rule for the exponent -1",
    "exp": "derivative of exp: itself",
    "log": "derivative of log: 1 / x",
    "abs": "derivative of abs: the sign",
    "sin": "derivative of sin: cos",
    "cos": "derivative of cos: -sin",
    "tanh": "derivative of tanh: 1 - tanh squared",
    "sigmoid": "derivative of sigmoid: s (1 - s)",
    "logsigmoid": "derivative of log sigmoid: 1 - sigmoid",
    "softplus": "derivative of softplus: sigmoid",
    "relu": "derivative of relu: 1 where positive",
    "clamp": "derivative of clamp: 1 between the bounds",
    "where": "case by case",
    "masked_fill": "case by case",
    "softmax": "softmax Jacobian: diag(s) - s s^T",
    "log_softmax": "log-softmax Jacobian: I - 1 s^T",
    "logsumexp": "derivative of log-sum-exp: softmax",
    "norm": "derivative of a norm",
    "var": "derivative of the variance: deviations from the mean",
    "std": "derivative of the standard deviation",
    "matmul": "matrix product: d(AB) = dA B + A dB",
    "outer": "outer product: d(x y^T) = dx y^T + x dy^T",
    "einsum": "product rule, index by index",
    **dict.fromkeys(("T", "mT", "transpose", "permute"), _TURNED),
    "trace": "derivative of the trace: the identity",
    "inverse": "inverse: d(A^-1) = -A^-1 dA A^-1",
    "det": "determinant: Jacobi's formula",
    "logdet": "log-determinant: d log det A = tr(A^-1 dA)",
    "solve": "linear system: dx = A^-1 (db - dA x)",
    **dict.fromkeys(("reshape", "flatten", "unflatten", "squeeze", "unsqueeze"), _SHAPED),
    **dict.fromkeys(("expand", "broadcast_to", "repeat"), "broadcasting undone by a sum"),
    **dict.fromkeys(("flip", "roll", "cat", "stack", "fold", "unfold"), _MOVED),
    **dict.fromkeys(("select", "slice", "index", "gather", "index_select", "take"), _PICKED),
    **dict.fromkeys(("diagonal", "masked_select.known", "tril", "triu"), _PICKED),
    **dict.fromkeys(("amax", "amin", "max", "min", "maximum", "minimum"), _EXTREME),
    "cumsum": "derivative of a running sum: the sum of what comes after",
    "layer_norm.plain": "derivative of layer norm: mean and deviation move too",
    "cross_entropy.none": "cross entropy: softmax - one-hot",
    "binary_cross_entropy_with_logits.none": "cross entropy of a logit: sigmoid - label",
    "nll_loss.none": _PICKED,
}


def rule_name(path: Iterable[Expr], tracked: Container[Expr], broadcast: Iterable[int]) -> str:
    """The name of the rule by which the nodes on a `path` pass a gradient on, the last one first.

    `tracked` are the nodes that a gradient flows through, `broadcast` the dimensions that were summed.

    >>> from gradcheck_cli.graph import variable
    >>> x, b = variable("x", (3, 2)), variable("b", (2,))
    >>> rule_name([x.sin()], {x}, ()), rule_name([x + b], {x, b}, (0,))
    ('derivative of sin: cos', 'sum rule, broadcasting undone by a sum')
    """
    found = dict.fromkeys(_one(node, tracked) for node in path)
    for quiet in (_SHAPED, _TURNED):
        if len(found) > 1:
            found.pop(quiet, None)
    return ", ".join([*found, *(["broadcasting undone by a sum"] if tuple(broadcast) else [])])


def _one(node: Expr, tracked: Container[Expr]) -> str:
    name = node.op.name
    namer = _NAMERS.get(name)
    found = namer(node, tracked) if namer else _NAMES.get(name)
    return found or f"derivative of {node.op.python_name.lstrip('_')}"
