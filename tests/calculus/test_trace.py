"""The walk in symbols: names, order, and what is told where the whole would be too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.trace import outline, trace
from gradcheck_cli.graph import const, variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.calculus.trace import Trace
    from gradcheck_cli.graph import Expr
    from tests.calculus.conftest import Scope

GRAD = variable("grad", ())


def told(walk: Trace) -> list[str]:
    return [f"{a.step.name}: {a.text} <- {' '.join(a.senders)}" for a in walk.backward]


def chain(x: Expr, length: int) -> Expr:
    for _ in range(length):
        x = (x * x.sin()).tanh()
    total: Expr = x.sum()
    return total


def test_names_of_inputs_and_of_let_are_kept(scope: Callable[..., Scope]) -> None:
    s = scope(x=(3,), t1=(3,))
    middle = s("x * t1")
    walk = trace(s("(x * t1).exp() + x * t1"), [s("x")], GRAD, {middle: "middle"})
    assert [step.name for step in walk.forward] == ["x", "t1", "middle", "t2", "t3"]
    assert walk.forward[-1].text == "t2 + middle"


def test_constants_and_sizes_stand_where_they_are_used(scope: Callable[..., Scope]) -> None:
    s = scope(x=(3, 3))
    walk = trace(s("((x + torch.eye(3)) / x.shape[0] ** 0.5).sum()"), [s("x")], GRAD)
    texts = [step.text for step in walk.forward]
    assert texts == [None, "x + eye(3)", "t1 / x.shape[0] ** 0.5", "t2.sum()"]


def test_a_rule_refers_to_the_result_and_to_other_outputs(scope: Callable[..., Scope]) -> None:
    s = scope(x=(3,))
    walk = trace(s("x.exp() * x.sort(0).values * x.sort(0).indices.sum()"), [s("x")], GRAD)
    rules = {step.name: [sent.text for sent in step.rules] for step in walk.forward}
    names = {step.text: step.name for step in walk.forward}
    result, values, places = (
        names[text] for text in ("exp(x)", "x.sort(0).values", "x.sort(0).indices")
    )
    assert rules[result] == [f"{result}.grad * {result}"]
    assert rules[values] == [f"zeros_like(x).scatter(0, {places}, {values}.grad)"]
    assert rules[places] == []


def test_nothing_flows_through_masks_integers_and_detach(scope: Callable[..., Scope]) -> None:
    s = scope(x=(3,), y=(3,))
    output = s("(x.detach() * y + (x > 0) + x.argmax(0)).sum()")
    walk = trace(output, [s("x"), s("y")], GRAD)
    tracked = {step.text or step.name for step in walk.forward if step.grad_fn}
    assert tracked == {"x", "y", "t1 * y", "t2 + t3", "t4 + t5", "t6.sum()"}
    assert "x" not in {arrival.step.name for arrival in walk.backward}


def test_contributions_meet_and_broadcasting_is_undone(scope: Callable[..., Scope]) -> None:
    s = scope(x=(2, 3, 4), b=(3, 1))
    walk = trace(s("(x * b + b).sum()"), [s("b")], GRAD)
    assert told(walk)[-1].endswith("<- t2 t1")
    sums = {sent.to: sent.summed for a in walk.backward for sent in a.sent}
    assert sums == {"t2": (), "t1": (), "b": (0, 2)}


def test_one_argument_twice_gets_one_gradient(scope: Callable[..., Scope]) -> None:
    s = scope(x=(3,))
    walk = trace(s("(x * x).sum()"), [s("x")], GRAD)
    assert [sent.text for sent in walk.forward[1].rules] == ["2 * t1.grad * x"]
    assert told(walk) == ["t2: 1 <- ", "t1: ones_like(t1) <- t2", "x: 2 * x <- t1"]


def test_a_long_gradient_is_told_by_the_step_before(scope: Callable[..., Scope]) -> None:
    s = scope(x=(3,))
    walk = trace(chain(s("x"), 400), [s("x")], GRAD)
    assert len(walk.forward) == 1202
    texts = [sent.text for arrival in walk.backward for sent in arrival.sent]
    assert max(map(len, texts)) < 200
    assert walk.backward[-2].text is None
    assert ".grad" in texts[-1]


def test_deep_graphs_and_an_output_that_is_an_input() -> None:
    x = variable("x", (2,))
    deep = x
    for _ in range(5000):
        deep = deep.sin()
    assert len(outline(deep, [x])) == 5001
    walk = trace(x, [x], variable("grad", (2,)))
    assert told(walk) == ["x: grad <- "]
    constant = trace(const(1.0) * 2.0, [x], GRAD)
    assert constant.backward == ()
