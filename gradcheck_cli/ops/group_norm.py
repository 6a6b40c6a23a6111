"""Group normalisation: groups of channels, each with mean 0 and variance 1 (Wu and He 2018)."""

from __future__ import annotations

from gradcheck_cli.graph import Expr, Sample, make
from gradcheck_cli.ops._common import register, require_floating
from gradcheck_cli.ops.channel_norm import channels, several
from gradcheck_cli.ops.normalization import LAYER_NORM, affine, statistics
from gradcheck_cli.schema import Invalid


def _group_norm(
    input: Expr, weight: Expr | None, bias: Expr | None, num_groups: int, eps: float
) -> Expr:
    channels("group_norm", input)
    several("group_norm", input.shape, input.elements // max(num_groups, 1))
    return _group_norm_torch(input, weight, bias, num_groups, eps, cudnn_enabled=True)


def _group_norm_torch(
    input: Expr,
    weight: Expr | None,
    bias: Expr | None,
    num_groups: int,
    eps: float,
    cudnn_enabled: bool,
) -> Expr:
    shape = channels("group_norm", input)
    _divides("group_norm", num_groups, shape[0], "num_groups")
    if input.elements:
        grouped = input.reshape(input.size(0), num_groups, -1)
    else:  # where -1 could be any size
        grouped = input.unflatten(1, (num_groups, -1)).flatten(2)
    normal = _normal(grouped, eps).reshape(tuple(input.size(d) for d in range(input.ndim)))
    return affine("group_norm", normal, shape, weight, bias, input.ndim - 2)


def _divides(name: str, groups: int, count: int, argument: str) -> None:
    if groups <= 0 or count % groups:
        msg = f"{name}() can't divide {count} channels into {groups} groups"
        raise Invalid("GC014", msg, "use a divisor of the number of channels", argument)


def _normal(grouped: Expr, eps: float) -> Expr:
    """(batch, groups, elements), each group standardised."""
    attributes = {"normalized_shape": (grouped.size(2),), "eps": eps}
    return make(LAYER_NORM, (grouped,), attributes)  # type: ignore[no-any-return]


register(
    "group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, "
    "float eps=1e-5)",
    doc="Group normalisation: each group of channels of each sample with mean 0 and variance 1.",
    define=_group_norm,
    on=("F",),
    samples=(
        Sample("F.group_norm(x, 2, w, b)", x=(2, 4, 3), w=(4,), b=(4,)),
        Sample("F.group_norm(x, num_groups=3, weight=w)", x=(1, 3, 2, 2), w=(3,)),
        Sample("F.group_norm(x, 2, w, b)", x=(0, 4), w=(4,), b=(4,)),
        Sample("F.group_norm(x, 1)", x=(2, 3, 0)),
    ),
)
register(
    "group_norm.torch(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, "
    "float eps=1e-5, bool cudnn_enabled=True)",
    doc="Group normalisation as torch has it, of single values too.",
    define=_group_norm_torch,
    on=("torch",),
    samples=(
        Sample("torch.group_norm(x, 1, eps=0.1)", x=(2, 3)),
        Sample("torch.group_norm(x, 3, w, None, 0.1, False)", x=(1, 3), w=(3,)),
    ),
)


def _native_group_norm(
    input: Expr,
    weight: Expr | None,
    bias: Expr | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> tuple[Expr, Expr, Expr]:
    name = "native_group_norm"
    require_floating(input, name)
    if min(N, C, HxW) < 0 or input.elements != N * C * HxW:
        msg = f"{name}() can't see an input of shape {input.shape} as ({N}, {C}, {HxW})"
        raise Invalid("GC015", msg, "N * C * HxW is the number of elements", "N")
    _divides(name, group, C, "group")
    grouped = input.reshape((N, group, C // group * HxW))
    normal = affine(name, _normal(grouped, eps).reshape((N, C, HxW)), (C,), weight, bias, 1)
    result: Expr = normal.reshape(tuple(input.size(d) for d in range(input.ndim)))
    mean, scale = statistics(grouped, (2,), eps)
    return result, mean.squeeze(2), scale.squeeze(2)


register(
    "native_group_norm(Tensor input, Tensor? weight, Tensor? bias, int N, int C, int HxW, int group, "
    "float eps)",
    doc="Group normalisation, with each group's mean and reciprocal standard deviation as constants.",
    define=_native_group_norm,
    on=("torch",),
    samples=(
        Sample(
            "torch.native_group_norm(x, w, b, 2, 4, 3, 2, 1e-5)[0]", x=(2, 4, 3), w=(4,), b=(4,)
        ),
        Sample("torch.native_group_norm(x, None, None, 2, 3, 1, 1, 0.1)[1]", x=(2, 3), grad=False),
        Sample("torch.native_group_norm(x, None, None, 2, 3, 1, 1, 0.1)[2]", x=(2, 3), grad=False),
        Sample("torch.native_group_norm(x, w, b, 0, 2, 1, 1, 0.1)[0]", x=(0, 2), w=(2,), b=(2,)),
    ),
)
