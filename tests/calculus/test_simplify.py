"""Every rewrite by the form that it gives, and by the values on both sides, NaN and infinity included."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.facts import assuming
from gradcheck_cli.calculus.simplify import PASSES, simplify
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import INPUT, Expr, t, topological, variable
from gradcheck_cli.lang.printer import print_formulas, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("x", "y", "mask"), (3, 4)),
    **dict.fromkeys(("A", "B", "C"), (3, 3)),
    **dict.fromkeys(("b", "c"), (4,)),
    **dict.fromkeys(("u", "v"), (3,)),
    "s": (),
    "z": (2, 3, 4),
    "w": (2, 4, 5),
    "X": (5, 4),
    "t": (3,),
    "i": (2, 4),
    "j": (2, 6, 5),
    "img": (2, 3, 6, 5),
}


# Operators by LAPACK, in names of functions.
LAPACK = ("inverse", "solve", "det", "cholesky", "eigh", "svd", "qr", "matrix_exp")


class Form(NamedTuple):
    """A line of `forms/*.txt`: `[fact; fact] before  ->  after`; no `after`: its value is kept.

    After `~`, what `before` computes on its way overflows, underflows or is rounded away where numbers are
    huge or tiny, and `after` doesn't: such numbers are left out, infinities are not.
    """

    facts: tuple[str, ...]
    before: str
    after: str
    moderate: bool = False


def forms() -> Iterator[Form]:
    for path in sorted((Path(__file__).parent / "forms").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                moderate, given, before, after = re.fullmatch(
                    r"(~ )?(?:\[(.*?)\] )?(.*?)  ->(?:  (.*))?", line
                ).groups()  # type: ignore[union-attr]
                facts = tuple(given.split("; ")) if given else ()
                yield Form(facts, before, after or "", bool(moderate))


FORMS = tuple(forms())


def values(node: Expr, arrays: Any) -> Any:
    return Plan([node])(arrays)[0]


def agree(before: Expr, after: Expr, arrays: Any, atol: float = 1e-300) -> None:
    """Both sides are equal, but that NaN may become a number where there are infinities.

    What was NaN in an input stays visible; where all inputs are finite, so is what was undefined.
    """
    first, second = values(before, arrays), values(after, arrays)
    assert first.shape == second.shape
    defined = ~np.isnan(first)
    # Orthogonal transformations round relative to the largest element.
    orthogonal = any(node.op.orthogonal for node in topological([before]))
    floor = 1e-13 * np.abs(first).max(initial=0) if orthogonal else atol
    np.testing.assert_allclose(second[defined], first[defined], rtol=1e-12, atol=floor)
    floating = [a for a in arrays.values() if a.dtype.kind == "f"]
    if all(np.isfinite(a).all() for a in floating) and not np.isinf(first).any():
        np.testing.assert_array_equal(np.isnan(second), ~defined)


def awkward(read: Any, strewn: Callable[..., Any], form: Form) -> Iterator[Any]:
    """Arrays with awkward values strewn in, that the facts hold for."""
    for which in range(-1, 2 if form.moderate else 4):
        arrays = read.arrays(max(which, 0))
        if which >= 0:
            if any(name in form.before for name in LAPACK):
                return  # it refuses what isn't finite
            arrays = {name: strewn(a, which) for name, a in arrays.items()}
        for fact in form.facts:
            arrays = made_true(read, fact, arrays)
        yield arrays


def made_true(read: Any, fact: str, arrays: Any) -> Any:
    """The arrays changed so that a fact holds; a fact is about finite numbers, but for what a name means."""
    mask = read(fact)
    if mask.op.name == "eq" and mask.inputs[0].op is INPUT and "T" not in fact:
        return {**arrays, mask.inputs[0].attributes["name"]: values(mask.inputs[1], arrays)}
    said_of = mask.inputs[0] if mask.op.elementwise else mask
    (name,) = {n.attributes["name"] for n in topological([said_of]) if n.op is INPUT}
    array = arrays[name]
    array = np.nan_to_num(array, posinf=3.0, neginf=-3.0) if array.dtype.kind == "f" else array
    for candidate in (
        array,
        abs(array) + 0.5,
        -abs(array) - 0.5,
        np.clip(abs(array), 0.1, 0.9),
        array + array.swapaxes(-1, -2) if len({*array.shape[-2:]}) == 1 < array.ndim else array,
        np.broadcast_to((0.5, 0.25, 0.125, 0.125), array.shape)
        if array.shape[-1:] == (4,)
        else array,
    ):
        trial = {**arrays, name: candidate}
        if np.all(values(read(fact), trial)):
            return trial
    raise AssertionError(fact)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_form_and_value(form: Form, scope: Callable[..., Any], strewn: Callable[..., Any]) -> None:
    read = scope(**SHAPES)
    node = read(form.before)
    with assuming([read(fact) for fact in form.facts]):
        (short,) = simplify([node])
        assert form.after in ("", to_text(short))
        assert simplify([short]) == (short,)
    assert (short.shape, short.dtype) == (node.shape, node.dtype)
    if not form.after and "inverse" in form.before:
        assert short is node
    for arrays in awkward(read, strewn, form):
        # Beside 1, where something is rounded away, what is left of a difference is as small.
        agree(node, short, arrays, 1e-15 if form.moderate else 1e-300)


@pytest.mark.parametrize("form", [form for form in FORMS if form.facts], ids=str)
def test_an_assumption_is_used_only_where_it_is_given(
    form: Form, scope: Callable[..., Any]
) -> None:
    (short,) = simplify([scope(**SHAPES)(form.before)])
    assert to_text(short) != form.after


def test_every_rewrite_has_an_example(scope: Callable[..., Any]) -> None:
    fired: set[Any] = set()
    known = {rewrite for table in PASSES for rewrites in table.values() for rewrite in rewrites}
    read = scope(**SHAPES)
    for form in FORMS:
        with assuming([read(fact) for fact in form.facts]):
            simplify([read(form.before)], lambda rewrite, _before, _after: fired.add(rewrite))
    assert {rewrite.__name__ for rewrite in known - fired} == set()


def test_integers_are_not_treated_as_real_numbers() -> None:
    n = variable("n", (3,), t.arange(3).dtype)
    minus = -n
    for node in (n * 2, n + n, -minus, n - minus, n * 2 / 2, minus + n, 1 - n, n * -1):
        (short,) = simplify([node])
        arrays = {"n": np.array([1, -2, 3])}
        assert short.dtype is node.dtype
        assert values(short, arrays).tolist() == values(node, arrays).tolist()


def chains() -> Iterator[tuple[str, Expr, Expr]]:
    """Deep graphs: name, output, input."""
    x = variable("x", (4,))
    node = x
    for i in range(1000):
        node = (node * 0.999 + x).tanh() if i % 2 else -node.sin()
    yield "a thousand layers", node.sum(), x
    node = x
    for _ in range(200):
        node = node + node * x
    yield "every node used twice", node.sum(), x
    node = x
    for _ in range(100):
        node = (2 * node) / 3 - node.T if node.ndim == 2 else node * node
    yield "squares of squares", node.sum(), x
    node = x
    for i in range(500):
        node = node.unsqueeze(0).squeeze(0) + (1 / (i + 1))
    yield "shapes back and forth", node.sum(), x


@pytest.mark.parametrize(("output", "x"), [pytest.param(o, x, id=n) for n, o, x in chains()])
def test_deep_graphs_neither_recurse_nor_take_long(output: Expr, x: Expr) -> None:
    start = time.process_time()
    (gradient,) = simplify(differentiate(output, [x], t.ones(())))
    printed = print_formulas([gradient])
    assert time.process_time() - start < 3
    assert len(str(printed)) < 10**6


def test_two_hundred_nodes_take_well_under_two_seconds() -> None:
    x, w = variable("x", (8, 8)), variable("w", (8, 8))
    node = x
    for i in range(25):
        node = (node @ w + x / (i + 1)).sigmoid() * node - node.mean(0)
    start = time.process_time()
    gradients = simplify(differentiate(node.sum(), [x, w], t.ones(())))
    print_formulas(gradients)
    assert time.process_time() - start < 1.5


def test_sizes_of_zero_are_left_to_tensors() -> None:
    x = variable("x", (0, 3))
    (gradient,) = simplify(differentiate(x.mean(), [x], t.ones(())))
    assert values(gradient, {"x": np.zeros((0, 3))}).shape == (0, 3)


def test_the_size_of_a_product_of_a_matrix_and_a_batch_is_the_batchs() -> None:
    x, b = variable("x", (2, 5, 3)), variable("b", (12, 3))
    product = b @ x.mT
    (gradient,) = simplify(differentiate(product.reshape(2, 60), [x], variable("grad", (2, 60))))
    found = values(gradient, {"b": np.ones((12, 3)), "grad": np.ones((2, 60))})
    np.testing.assert_array_equal(found, np.full((2, 5, 3), 12.0))
