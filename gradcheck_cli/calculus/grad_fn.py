"""What PyTorch calls the backward of a node: the class names that `grad_fn` shows there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.graph import Expr

LEAF = "AccumulateGrad"


def grad_fn_name(node: Expr) -> str:
    """The name of the node's `grad_fn` in PyTorch, were a gradient tracked.

    An operator that PyTorch puts together from several has the name of the one that computes.

    >>> from gradcheck_cli.graph import variable
    >>> x = variable("x", (3, 4))
    >>> [grad_fn_name(node) for node in (x**2, x @ x.T, x.sum(1), x.log1p())]
    ['PowBackward0', 'MmBackward0', 'SumBackward1', 'Log1PBackward0']
    """
    name = node.op.name
    if name in _BY_ARGUMENTS:
        return _BY_ARGUMENTS[name](node)
    return _NAMES.get(name) or f"{_in_camel_case(node.op.python_name)}Backward0"


def _in_camel_case(name: str) -> str:
    """As PyTorch's code generator has it: `log1p` is `Log1P`."""
    return re.sub(r"(^|_|\d)([a-z])", lambda found: found[1] + found[2].upper(), name).replace(
        "_", ""
    )


_NAMES = {
    # One function in PyTorch for all numbers of dimensions, and for both directions.
    **dict.fromkeys(
        [f"conv{part}{ndim}d" for part in ("", "_transpose") for ndim in (1, 2, 3)],
        "ConvolutionBackward0",
    ),
    **dict.fromkeys(
        [f"conv{ndim}d_{part}" for part in ("input", "weight") for ndim in (1, 2, 3)],
        "ConvolutionBackwardBackward0",
    ),
    # Names that differ from the function's.
    **dict.fromkeys(("fftn.whole", "ifftn.whole"), "FftC2CBackward0"),
    **dict.fromkeys(("real.complex", "imag"), "SelectBackward0"),
    "logsigmoid": "LogSigmoidBackward0",
    "unfold": "Im2ColBackward0",
    "fold": "Col2ImBackward0",
    "T": "PermuteBackward0",
    "mT": "TransposeBackward0",
    "to": "ToCopyBackward0",
    "cross": "LinalgCrossBackward0",
    "inverse": "LinalgInvExBackward0",
    "det": "LinalgDetBackward0",
    "slogdet": "LinalgSlogdetBackward0",
    "pinv": "LinalgPinvBackward0",
    "solve": "LinalgSolveExBackward0",
    "solve_triangular": "LinalgSolveTriangularBackward0",
    "cholesky": "LinalgCholeskyExBackward0",
    "cholesky_ex": "LinalgCholeskyExBackward0",
    "inv_ex": "LinalgInvExBackward0",
    "solve_ex": "LinalgSolveExBackward0",
    "lu_factor_ex": "LinalgLuFactorExBackward0",
    "lstsq": "LinalgLstsqBackward0",
    "matrix_exp": "LinalgMatrixExpBackward0",
    "norm": "LinalgVectorNormBackward0",
    "layer_norm.plain": "NativeLayerNormBackward0",
    "batch_norm.plain": "NativeBatchNormBackward0",
    "max_pool1d": "MaxPool2DWithIndicesBackward0",
    "max_pool2d": "MaxPool2DWithIndicesBackward0",
    "max_pool3d": "MaxPool3DWithIndicesBackward0",
    "max_pool1d_with_indices": "MaxPool2DWithIndicesBackward0",
    "max_unpool1d": "MaxUnpool2DBackward0",
    "adaptive_max_pool1d_with_indices": "AdaptiveMaxPool2DBackward0",
    "adaptive_max_pool2d_with_indices": "AdaptiveMaxPool2DBackward0",
    "adaptive_max_pool3d_with_indices": "AdaptiveMaxPool3DBackward0",
    "avg_pool1d": "AvgPool2DBackward0",
    **{
        name: f"Special{of}Backward0"
        for name, of in {
            "i0e": "I0E",
            "i1": "I1",
            "i1e": "I1E",
            "ndtri": "Ndtri",
            "log_ndtr": "LogNdtr",
            "erfcx": "Erfcx",
            "entr": "Entr",
        }.items()
    },
    "ndtr": "MulBackward1",
    # Overloads.
    "prod.dim": "ProdBackward1",
    "median.dim": "MedianBackward1",
    "nanmedian.dim": "NanmedianBackward1",
    "max": "MaxBackward1",
    "min": "MinBackward1",
    "scatter.value": "ScatterBackward1",
    "masked_fill.tensor": "MaskedFillBackward1",
    "index_fill.tensor": "IndexFillBackward1",
    "div.Tensor_mode": "DivBackward2",
    # Put together from others, or done by one of them.
    "combinations": "StackBackward0",
    "selu": "EluBackward0",
    "relu6": "HardtanhBackward0",
    "softsign": "DivBackward0",
    "tanhshrink": "SubBackward0",
    "outer": "MulBackward0",
    "logdet": "LinalgSlogdetBackward0",
    "cross_entropy.none": "NllLossBackward0",
    "rms_norm.plain": "MulBackward0",
    "take_along_dim": "GatherBackward0",
    "reshape": "ViewBackward0",
    "flatten": "ViewBackward0",
    "unflatten": "ViewBackward0",
    "sum_to_size": "SumBackward1",
}


def _is_number(arg: Expr | None) -> bool:
    return arg is None or arg.value is not None


def _matmul(node: Expr) -> str:
    left, right = sorted(arg.ndim for arg in node.inputs)
    names = {(1, 1): "Dot", (2, 2): "Mm", (1, 2): "Mv"}
    if node.inputs[0].ndim == 1 and right == 2:
        return "MmBackward0"
    return f"{names.get((left, right), 'Bmm')}Backward0"


def _pow(node: Expr) -> str:
    base, exponent = node.inputs
    return f"PowBackward{0 if _is_number(exponent) else 2 if _is_number(base) else 1}"


def _with_a_number(name: str) -> Callable[[Expr], str]:
    """Overload 1 has a number on the left, 2 on the right."""

    def named(node: Expr) -> str:
        left, right = node.inputs
        return f"{name}Backward{1 if _is_number(left) else 2 if _is_number(right) else 0}"

    return named


def _squeeze(node: Expr) -> str:
    dim = node.attributes["dim"]
    return f"SqueezeBackward{0 if dim is None else 2 if len(dim) != 1 else 1}"


def _einsum(node: Expr) -> str:
    if len(node.inputs) > 1:
        return "BmmBackward0"
    return "PermuteBackward0" if node.ndim == node.inputs[0].ndim else "SumBackward1"


def _pad(node: Expr) -> str:
    attributes = node.attributes
    name = {"reflect": "Reflection", "replicate": "Replication"}.get(attributes["mode"])
    if name is not None:
        return f"{name}Pad{len(attributes['pad']) // 2}DBackward0"
    return (
        "ConstantPadNdBackward0"
        if attributes["mode"] == "constant"
        else "torch::autograd::CopySlices"
    )


def _over_dims(node: Expr) -> str:
    name = node.op.name.capitalize()
    return f"{name}Backward{0 if node.attributes['dim'] is None else 1}"


def _with_a_tensor(node: Expr) -> str:
    """Overload 0 takes a number on the right, overload 1 a tensor."""
    return f"{node.op.name.capitalize()}Backward{0 if _is_number(node.args[-1]) else 1}"


_BY_ARGUMENTS: dict[str, Callable[[Expr], str]] = {
    "matmul": _matmul,
    "einsum": _einsum,
    "pow": _pow,
    "xlogy": _with_a_number("Xlogy"),
    "xlog1py": _with_a_number("SpecialXlog1Py"),
    "zeta": _with_a_number("SpecialZeta"),
    "copysign": lambda node: f"CopysignBackward{int(_is_number(node.args[-1]))}",
    "sum": _over_dims,
    "mean": _over_dims,
    "squeeze": _squeeze,
    "pad": _pad,
    "lerp": _with_a_tensor,
    "remainder": _with_a_tensor,
    "fmod": _with_a_tensor,
    "clamp": lambda node: f"ClampBackward{int(all(map(_is_number, node.args[1:])))}",
    "round": lambda node: f"RoundBackward{int(node.attributes['decimals'] != 0)}",
    "sub": lambda node: "RsubBackward1" if _is_number(node.args[0]) else "SubBackward0",
    # `2 / x` is computed as the reciprocal times 2.
    "div": lambda node: "MulBackward0" if _is_number(node.args[0]) else "DivBackward0",
}
