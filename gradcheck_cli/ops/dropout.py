"""Dropout where nothing is drawn: in evaluation, and with probabilities 0 and 1.

Everything else that dropout does is random, which a check can't be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import Expr, Op, Sample
from gradcheck_cli.ops._common import random_use, refuse_in_place, register
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_HINT = (
    "use training=False; or multiply by a mask drawn as an input, such as "
    "`mask: {shape: [3], sample: bernoulli, p: 0.5}`"
)
_DOC = "dropout in evaluation, the input itself; where it would draw, it is refused."


def _outcome(name: str, input: Expr, p: float, *, training: bool) -> Expr:
    """What dropout leaves of the input. Raises Invalid (GC014, GC017)."""
    if not 0 <= p <= 1:
        msg = f"{name}() needs a probability from 0 to 1, not {p}"
        raise Invalid("GC014", msg, argument="p")
    if p == 0 or not training or input.elements == 0:
        return input
    if p == 1:
        # As in PyTorch, where what is infinite becomes NaN, and a mask stays one.
        return input * (False if input.dtype.kind == "b" else 0)
    raise random_use(name, _HINT)


def _with_training(name: str) -> Callable[..., Expr]:
    def define(input: Expr, p: float, training: bool, inplace: bool) -> Expr:
        refuse_in_place(name, inplace=inplace)
        if name == "F.dropout1d" and input.ndim not in (2, 3):
            msg = f"dropout1d() needs two or three dimensions, not the shape {input.shape}"
            raise Invalid("GC015", msg, "the input is (batch, channels, length)", "input")
        return _outcome(name, input, p, training=training)

    return define


def _functional(name: str, what: str, shape: tuple[int, ...], *, training: bool = True) -> Op:
    return register(
        f"{name}(Tensor input, float p=0.5, bool training={training}, bool inplace=False)",
        doc=f"{what} {_DOC}",
        define=_with_training(f"F.{name}"),
        on=("F",),
        samples=(
            Sample(f"F.{name}(x, 0.3, False)", x=shape),
            Sample(f"F.{name}(x, p=0.0, training=True)", x=shape),
            Sample(f"F.{name}(x, 1.0, training=True)", x=shape),
        ),
    )


_functional("dropout", "Element-wise", (3, 4))
_functional("dropout1d", "Channel-wise", (2, 3, 4))
_functional("dropout2d", "Channel-wise", (2, 3, 2, 2))
_functional("dropout3d", "Channel-wise", (2, 3, 2, 1, 2))
_functional("alpha_dropout", "Element-wise, self-normalizing", (3, 4), training=False)
_functional("feature_alpha_dropout", "Channel-wise, self-normalizing", (2, 3, 2), training=False)


def _native(name: str, what: str) -> Op:
    """PyTorch's function behind it, which takes all its arguments by place."""

    def define(input: Expr, p: float, train: bool) -> Any:
        return _outcome(f"torch.{name}", input, p, training=train)

    return register(
        f"{name}.torch(Tensor input, float p, bool train)",
        doc=f"{what} {_DOC}",
        define=define,
        on=("torch",),
        samples=(
            Sample(f"torch.{name}(x, 0.3, False)", x=(3, 4)),
            Sample(f"torch.{name}(x, 0.0, True)", x=(3, 4)),
            Sample(f"torch.{name}(x, p=1.0, train=True)", x=(3, 4)),
        ),
    )


_native("dropout", "Element-wise")
_native("feature_dropout", "Channel-wise")
_native("alpha_dropout", "Element-wise, self-normalizing")
_native("feature_alpha_dropout", "Channel-wise, self-normalizing")
