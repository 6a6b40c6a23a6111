"""One step of recurrent networks: the cells that a sequence is fed to, time after time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import Expr, Sample, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_ARGUMENTS = "Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None"


def _gates(
    name: str,
    input: Expr,
    hx: Expr,
    weights: tuple[Expr | None, ...],
    count: int,
) -> tuple[Expr, Expr]:
    """Both affine maps of a cell, of the input and of the hidden state, `count` gates side by side.

    Raises Invalid (GC015).
    """
    w_ih, w_hh, b_ih, b_hh = weights
    assert w_ih is not None
    assert w_hh is not None
    for x, label in ((input, "input"), (hx, "hx"), (w_ih, "w_ih"), (w_hh, "w_hh")):
        if x.ndim != 2:
            msg = f"{name}() needs two dimensions of `{label}`, not the shape {x.shape}"
            hint = (
                "input and hidden state are (batch, features); x.unsqueeze(0) makes a batch of one"
            )
            raise Invalid("GC015", msg, hint, label)
    hidden = hx.shape[1]
    wanted = {
        "hx": (hx, (input.shape[0], hidden)),
        "w_ih": (w_ih, (count * hidden, input.shape[1])),
        "w_hh": (w_hh, (count * hidden, hidden)),
        "b_ih": (b_ih, (count * hidden,)),
        "b_hh": (b_hh, (count * hidden,)),
    }
    for label, (x_, shape) in wanted.items():
        if x_ is not None and x_.shape != shape:
            msg = (
                f"{name}() of an input of shape {input.shape} and {hidden} hidden features needs a "
                f"`{label}` of shape {shape}, not {x_.shape}"
            )
            raise Invalid("GC015", msg, argument=label)
    return t.linear(input, w_ih, b_ih), t.linear(hx, w_hh, b_hh)


def _simple(name: str, activation: str) -> Callable[..., Expr]:
    def define(input: Expr, hx: Expr, *weights: Expr | None) -> Expr:
        of_input, of_state = _gates(name, input, hx, weights, 1)
        result: Expr = getattr(of_input + of_state, activation)()
        return result

    return define


def _gru_cell(input: Expr, hx: Expr, *weights: Expr | None) -> Expr:
    of_input, of_state = _gates("gru_cell", input, hx, weights, 3)
    (reset_i, update_i, new_i), (reset_h, update_h, new_h) = (
        of_input.chunk(3, 1),
        of_state.chunk(3, 1),
    )
    reset, update = (reset_i + reset_h).sigmoid(), (update_i + update_h).sigmoid()
    candidate: Expr = (new_i + reset * new_h).tanh()
    return candidate + update * (hx - candidate)  # type: ignore[no-any-return]


def _lstm_cell(input: Expr, *rest: Expr | None) -> tuple[Expr, Expr]:
    states, weights = rest[:-4], rest[-4:]
    if len(states) != 2 or states[0] is None or states[1] is None:
        msg = f"lstm_cell() wants two tensors in `hx`, not {len(states)}"
        raise Invalid("GC014", msg, "give (hidden, cell)", "hx")
    hidden, cell = states[0], states[1]
    if cell.shape != hidden.shape:
        msg = f"lstm_cell() needs a cell state of shape {hidden.shape}, not {cell.shape}"
        raise Invalid("GC015", msg, "give (hidden, cell), both (batch, features)", "hx")
    of_input, of_state = _gates("lstm_cell", input, hidden, weights, 4)
    enter, forget, new, leave = (of_input + of_state).chunk(4, 1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def _samples(name: str, hx: str, gates: int, *, take: str = "") -> tuple[Sample, ...]:
    sizes: dict[str, Any] = {"h": (2, 4), "w": (gates * 4, 3), "u": (gates * 4, 4)}
    if "c" in hx:
        sizes["c"] = (2, 4)
    biases: dict[str, Any] = {"b": (gates * 4,), "d": (gates * 4,)}
    return (
        Sample(f"torch.{name}(x, {hx}, w, u, b, d){take}", x=(2, 3), **sizes, **biases),
        Sample(f"torch.{name}(x, {hx}, w_ih=w, w_hh=u){take}", x=(2, 3), **sizes),
    )


for _name, _activation in (("rnn_tanh_cell", "tanh"), ("rnn_relu_cell", "relu")):
    register(
        f"{_name}(Tensor input, Tensor hx, {_ARGUMENTS})",
        doc=f"The next hidden state of an Elman network: {_activation} of two affine maps.",
        define=_simple(_name, _activation),
        on=("torch",),
        samples=_samples(_name, "h", 1),
    )
# Cho et al. 2014, equations 5 to 8, with the reset gate behind the product as in cuDNN and PyTorch.
register(
    f"gru_cell(Tensor input, Tensor hx, {_ARGUMENTS})",
    doc="The next hidden state of a gated recurrent unit.",
    define=_gru_cell,
    on=("torch",),
    samples=_samples("gru_cell", "h", 3),
)
# Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
register(
    f"lstm_cell(Tensor input, Tensor[] hx, {_ARGUMENTS})",
    doc="The next hidden and cell state of a long short-term memory.",
    define=_lstm_cell,
    on=("torch",),
    samples=(
        *_samples("lstm_cell", "(h, c)", 4, take="[0]"),
        *_samples("lstm_cell", "[h, c]", 4, take="[1]"),
    ),
)
