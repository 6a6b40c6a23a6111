"""The walk is true: what its texts say, evaluated, is what its numbers are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.cli.target import check_of
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.case import Case, prepare
from gradcheck_cli.methods.walk import summary, walk
from gradcheck_cli.ops.known import given
from gradcheck_cli.suite.selection.collect import collect

if TYPE_CHECKING:
    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.walk import Walk

SPECS = Path(__file__).parents[2] / "specs"
EXPRESSIONS = {
    "((x - y) ** 2).sum()": ["x=3,8", "y=3,8"],
    "(x + b).exp()": ["x=4,3", "b=3"],
    "(x * b[:, None] + c).sum(0)": ["x=2,3,4", "b=3", "c="],
    "x * x * x": ["x=3"],
    "x.sort(0).values * x.topk(2, 0).indices.sum()": ["x=5,2"],
    "torch.linalg.slogdet(A @ A.T + torch.eye(3)).logabsdet": ["A=3,3"],
    "torch.where(x > 0, x, 0.1 * x).mean()": ["x=4,4"],
    "(x / x.detach().sum()).sum()": ["x=4"],
    "F.cross_entropy(x, i)": ["x=5,3", "i=5:int64"],
    "F.layer_norm(x, (6,), w, b).pow(2).mean()": ["x=2,6", "w=6", "b=6"],
    "torch.cat([x, y, x], 1).cumsum(1)": ["x=2,3", "y=2,1"],
    "x": ["x=2"],
    "x.detach() * y": ["x=2", "y=2"],
    "(m & (x > 0)).sum() * x.sum()": ["x=4", "m=4:bool"],
    "table[i].softmax(-1).max(1).values": ["table=2,3", "i=4:int64"],
    "x.std(1) + x.amax(1) + torch.einsum('ij,ij->i', x, x)": ["x=3,4"],
    "x.sum(0) + x.reshape(-1)[:3]": ["x=2,3"],
    "torch.fft.fft(x).abs().sum()": ["x=4"],
    "(torch.complex(x, y) * torch.complex(y, x)).angle()": ["x=3", "y=3"],
    "x[x > 0] ** 2": ["x=2,3"],
}


def evaluated(text: str, scope: dict[str, Expr], arrays: dict[str, Any]) -> Any:
    text = re.sub(r"\b(\w+)\.grad\b", r"\1__grad", text)
    with given(lambda: arrays):
        return Plan([build(parse(Source(text)), scope)])(arrays)[0]


def examine(case: Case, walked: Walk) -> None:
    """Evaluate every text of a walk over the true values of what it refers to."""
    steps = {step.name: step for step in walked.trace.forward}
    arrivals = walked.trace.backward
    names = [a.step.name for a in arrivals]
    gradients = differentiate(case.output, [a.step.node for a in arrivals], case.upstream)
    nodes = [*(s.node for s in steps.values()), *gradients]
    found = Plan(nodes)(case.arrays)
    values: dict[str, Any] = dict(zip(steps, found, strict=False))
    received = {
        name: np.broadcast_to(g, steps[name].node.shape)
        for name, g in zip(names, found[len(steps) :], strict=True)
    }
    arrays = {**values, "grad": case.arrays["grad"]}
    arrays |= {f"{name}__grad": array for name, array in received.items()}
    scope = {"grad": case.upstream}
    for name, step in steps.items():
        scope[name] = variable(name, step.node.shape, step.node.dtype)
        dtype = step.node.dtype if step.node.dtype.kind == "z" else dtypes.float64
        scope[f"{name}__grad"] = variable(f"{name}__grad", step.node.shape, dtype)

    def agree(text: str, expected: Any, *, about: str) -> None:
        value = np.broadcast_to(evaluated(text, scope, arrays), expected.shape)
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12, err_msg=about)

    sums: dict[str, dict[str, Any]] = {name: {"rules": 0.0, "sent": 0.0} for name in names}
    parts: dict[str, list[str]] = {name: [] for name in names}
    for step in steps.values():
        if step.text is not None:
            agree(step.text, values[step.name], about=f"{step.name} = {step.text}")
    for arrival in arrivals:
        name = arrival.step.name
        if arrival.text is not None:
            agree(arrival.text, received[name], about=f"{name}.grad = {arrival.text}")
        assert [s.to for s in arrival.sent] == [s.to for s in arrival.step.rules]
        for kind, several in (("rules", arrival.step.rules), ("sent", arrival.sent)):
            for sent in several:
                part = evaluated(sent.text, scope, arrays)
                shape = received[sent.to].shape
                sums[sent.to][kind] = sums[sent.to][kind] + np.broadcast_to(part, shape)
        for sent in arrival.sent:
            parts[sent.to].append(name)
    for arrival in arrivals:
        name = arrival.step.name
        assert sorted(arrival.senders) == sorted(parts[name])
        if name == walked.trace.forward[-1].name and not arrival.senders:
            continue
        for kind, total in sums[name].items():
            np.testing.assert_allclose(
                total, received[name], rtol=1e-9, atol=1e-12, err_msg=f"{kind} of {name}"
            )
    # The sweep takes a node only when all that use it are through.
    place = {name: number for number, name in enumerate(names)}
    assert all(place[s] < place[a.step.name] for a in arrivals for s in a.senders)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_what_an_expressions_walk_says_is_true(text: str) -> None:
    case = prepare(check_of(text, EXPRESSIONS[text]))
    examine(case, walk(case))


@pytest.mark.parametrize(
    "path", sorted(SPECS.rglob("*.yaml")), ids=lambda p: str(p.relative_to(SPECS))
)
def test_what_a_specs_walk_says_is_true(path: Path) -> None:
    for check in collect([str(path)]).checks:
        case = prepare(check)
        examine(case, walk(case))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ([1.0, 2.0], {"numbers": (1.0, 2.0), "low": 1.0, "mean": 1.5, "high": 2.0}),
        (np.arange(9.0), {"numbers": None, "low": 0.0, "mean": 4.0, "high": 8.0}),
        ([np.nan, np.inf, 3.0, -np.inf] * 2, {"nan": 2, "infinite": 4, "low": 3.0, "mean": 3.0}),
        ([np.nan] * 8, {"nan": 8, "low": None, "mean": None, "high": None}),
        ([True, False, True], {"true": 2, "numbers": (True, False, True)}),
        (np.zeros((0, 3)), {"elements": 0, "low": None, "numbers": ()}),
        (5.0, {"shape": (), "numbers": (5.0,)}),
        (np.full(8, 2**62), {"low": 2.0**62, "mean": 2.0**62}),
    ],
)
def test_a_summary(array: Any, expected: dict[str, Any]) -> None:
    found = summary(np.asarray(array), "dtype")
    assert {name: getattr(found, name) for name in expected} == expected
