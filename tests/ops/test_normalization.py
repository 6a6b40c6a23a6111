"""Layers beyond their samples: what they refuse, and names without a module that F and torch share."""

from __future__ import annotations

import pytest

from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import TABLE, Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

SCOPE = {
    "x": variable("x", (2, 6, 3)),
    "y": variable("y", (1, 2, 1)),
    "w": variable("w", (6,)),
    "v": variable("v", (3,)),
    "s": variable("s", (2, 3)),
    "u": variable("u", (4, 3)),
    "h": variable("h", (2, 4)),
    "r": variable("r", (4, 4)),
}


def read(text: str) -> Expr:
    return build(parse(Source(text)), SCOPE)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("F.batch_norm(x, None, None)", "GC014", "needs `running_mean`"),
        ("F.batch_norm(x, w, None, training=True)", "GC014", "running_var together"),
        ("F.batch_norm(x, v, v)", "GC015", "`running_mean` of shape (6,), not (3,)"),
        ("F.batch_norm(x, None, None, v, training=True)", "GC015", "`weight` of shape (6,)"),
        ("F.batch_norm(x, None, None, training=True, eps=0.0)", "GC014", "a positive eps"),
        ("F.batch_norm(y, None, None, training=True)", "GC015", "more than one value"),
        ("F.batch_norm(v, v, v)", "GC015", "at least two dimensions"),
        ("F.batch_norm(x, w.float(), w.float())", "GC016", "float32 for float64"),
        ("F.instance_norm(y)", "GC015", "more than one value"),
        ("F.instance_norm(x, use_input_stats=False)", "GC014", "needs `running_mean`"),
        ("F.group_norm(x, 4)", "GC014", "can't divide 6 channels into 4 groups"),
        ("F.group_norm(x, 0)", "GC014", "into 0 groups"),
        ("F.group_norm(x, 2, v)", "GC015", "`weight` of shape (6,), not (3,)"),
        ("F.layer_norm(x, (6,))", "GC015", "doesn't fit the last dimensions"),
        ("F.layer_norm(x, ())", "GC014", "at least one dimension"),
        ("F.layer_norm(x, (3,), v.float())", "GC016", "`weight` of float32 for float64"),
        ("F.rms_norm(x, (3,), w)", "GC015", "`weight` of shape (3,), not (6,)"),
        ("torch.native_group_norm(x, w, w, 2, 6, 2, 1, 0.1)[0]", "GC015", "as (2, 6, 2)"),
        ("F.dropout(x)", "GC017", "`F.dropout` is random"),
        ("F.dropout(x, 1.5)", "GC014", "from 0 to 1, not 1.5"),
        ("F.dropout1d(v, training=False)", "GC015", "two or three dimensions"),
        ("F.dropout(x, training=False, inplace=True)", "GC018", "inplace=True"),
        ("torch.alpha_dropout(x, 0.5, True)", "GC017", "`torch.alpha_dropout` is random"),
        ("torch.rnn_tanh_cell(v, h, u, r)", "GC015", "two dimensions of `input`"),
        ("torch.rnn_relu_cell(s, h, r, r)", "GC015", "`w_ih` of shape (4, 3), not (4, 4)"),
        ("torch.lstm_cell(s, [h], u, r)[0]", "GC014", "two tensors in `hx`, not 1"),
    ],
)
def test_refusals(text: str, code: str, message: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        read(text)
    problem = caught.value.problems[0]
    assert (problem.code, message in problem.message) == (code, True), problem.message


def test_torch_takes_single_values_that_f_refuses() -> None:
    for text in (
        "torch.batch_norm(y, None, None, None, None, True, 0.1, 1e-5, False)",
        "torch.native_batch_norm(y, None, None, None, None, True, 0.1, 0.0)[0]",
        "torch.group_norm(y, 2)",
        "torch.instance_norm(y, None, None, None, None, True, 0.1, 1e-5, False)",
    ):
        assert read(text).shape == (1, 2, 1)


@pytest.mark.parametrize("name", ["batch_norm", "dropout", "embedding", "instance_norm"])
def test_without_a_module_a_name_means_the_function_of_f(name: str) -> None:
    assert TABLE.bare(name) == TABLE.functions[f"F.{name}"]
    assert TABLE.bare(name) != TABLE.functions[f"torch.{name}"]


def test_dropout_that_draws_nothing_is_the_input() -> None:
    for text in (
        "F.dropout(x, 0.0)",
        "F.dropout2d(x, training=False)",
        "torch.dropout(x, 0.3, False)",
    ):
        assert read(text) is SCOPE["x"]
    assert read("F.alpha_dropout(x)") is SCOPE["x"]
