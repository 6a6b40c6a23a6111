"""Which operations run together: as few passes over the data as dependence allows."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine import regions
from gradcheck_cli.engine.fuse import partition
from gradcheck_cli.engine.lower import lower
from gradcheck_cli.engine.regions import Region
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

N, C = 500, 300


def parts(text: str, *, gradients: bool = True, **shapes: tuple[int, ...]) -> list[Expr | Region]:
    """The steps and regions of a value and its gradients."""
    scope = {name: variable(name, shape) for name, shape in shapes.items()}
    output = build(parse(Source(text)), scope)
    wrt = list(scope.values()) if gradients else []
    roots = lower([output, *differentiate(output, wrt)])
    order = [node for node in topological(roots) if node.value is None]
    result = partition(order, set(roots))
    assert_runs(result, order)
    return result


def assert_runs(items: list[Expr | Region], order: list[Expr]) -> None:
    """Everything runs once, after what it needs; what leaves a region is an output of it."""
    there: set[Expr] = set()
    for item in items:
        nodes = item.nodes if isinstance(item, Region) else (item,)
        inside: set[Expr] = set()
        for node in nodes:
            for arg in node.inputs:
                assert arg.value is not None or arg in there or arg in inside, (node, arg)
            assert node not in there | inside
            inside.add(node)
        there |= set(item.outputs) if isinstance(item, Region) else inside
    counted = sum(len(item.nodes) if isinstance(item, Region) else 1 for item in items)
    assert counted == len(order)


def found(items: list[Expr | Region]) -> list[Region]:
    return [item for item in items if isinstance(item, Region)]


ONE_PASS: dict[str, tuple[str, dict[str, Any]]] = {
    "squares": ("(p - r).pow(2).sum()", {"p": (N * C,), "r": (N * C,)}),
    "rows": ("(torch.softmax(x, 1) * y).sum()", {"x": (N, C), "y": (N, C)}),
    "normalised": (
        "(F.layer_norm(x, (x.size(1),), w, b) * y).sum()",
        {"x": (N, C), "w": (C,), "b": (C,), "y": (N, C)},
    ),
    "running sums": ("x.cumsum(1).pow(2).sum()", {"x": (N, C)}),
    "attention": (
        "(F.scaled_dot_product_attention(q, k, v) * q).sum()",
        {"q": (8, 64, 32), "k": (8, 64, 32), "v": (8, 64, 32)},
    ),
    "mixture": (
        "torch.logsumexp(a - ((x.unsqueeze(1) - m) * s.exp()).pow(2).sum(-1), 1).mean()",
        {"x": (N, 4), "m": (50, 4), "s": (50, 4), "a": (50,)},
    ),
}


@pytest.mark.parametrize("name", ONE_PASS)
def test_value_and_gradients_in_one_pass(name: str) -> None:
    text, shapes = ONE_PASS[name]
    assert len(found(parts(text, **shapes))) == 1


def test_a_total_that_is_used_again_starts_another_pass() -> None:
    first, second = found(parts("((x - x.mean()) ** 2).sum()", gradients=False, x=(N * C,)))
    assert len(first.nodes) == 1
    assert len(second.nodes) > 2


def test_what_is_only_needed_later_is_computed_later() -> None:
    """The sine goes into the second pass, instead of being stored by the first."""
    items = parts("(x.sin() * x.sum()).sum()", gradients=False, x=(N * C,))
    first, *_ = found(items)
    assert [node.op.name for node in first.nodes] == ["sum"]


def test_long_rows_are_cut_too() -> None:
    regions_ = found(parts("torch.logsumexp(x, 1).sum()", x=(2, regions.WIDE)))
    assert regions_
    assert all(region.wide for region in regions_)


def test_small_arrays_are_left_alone() -> None:
    assert not found(parts("(x.sin() * y).sum()", x=(3, 4), y=(4,)))


def test_different_leading_dims_are_different_regions() -> None:
    items = parts("(x.sin().sum(1) * y.cos().sum(0)).sum()", x=(N, C), y=(C, N))
    assert len({region.lead for region in found(items)}) == 2


@pytest.mark.parametrize("big", [1, regions.BIG])
def test_families_that_need_each_other_in_turn_still_run(big: int) -> None:
    """x's rows need a total of y's, those another of x's, and so on: no order of two regions would do."""
    text = "x.sum()"
    for _ in range(3):
        text = f"((x + (y * {text}).sum()).sin()).sum()"
    with mock.patch.object(regions, "BIG", big):
        items = parts(text, x=(N, C), y=(C, N))
    assert found(items)
