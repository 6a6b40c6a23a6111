"""The derivation gallery: its page is what the code derives, every form is checked, and forms are short."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # docs are no part of the installed package

from docs import gallery
from docs.entries import TEXTBOOK, Entry, entries, files, size, written
from gradcheck_cli.spec.load import load_file
from gradcheck_cli.suite.run import run_check

FILES = sorted(TEXTBOOK.glob("*.yaml"))


@pytest.fixture(scope="module")
def found() -> list[Entry]:
    return list(entries(files()))


def test_there_are_enough_textbook_derivatives_with_sources(found: list[Entry]) -> None:
    textbook = [one for one in found if one.textbook]
    assert len(textbook) >= 140
    for one in textbook:
        assert one.notes.get("x-source"), one.check.id
        assert set(one.check.manual) == set(one.check.wrt), one.check.id


def test_the_page_is_up_to_date(found: list[Entry]) -> None:
    assert gallery.page(found, gallery.presumed) == gallery.PAGE.read_text("utf-8"), gallery.COMMAND


def test_every_derived_form_is_verified(found: list[Entry]) -> None:
    for one in found:
        for derivation in one.derivations:
            assert 0 in derivation.verified, (
                one.check.id,
                derivation.name,
                str(derivation.derived),
            )


def test_derived_forms_are_short(found: list[Entry]) -> None:
    ratios = sorted(ratio for _, _, ratio in gallery.rated(found))
    assert statistics.median(ratios) <= 1.0
    assert gallery.percentile(ratios, 90) <= 1.6


@pytest.mark.parametrize(
    ("name", "wrt", "form"),
    [
        ("sum of squares", "predicted", "2 * (predicted - real)"),
        ("mean squared error", "predicted", "2 * (predicted - real) / predicted.numel()"),
        ("linear least squares", "x", "2 * A.T @ (A @ x - b)"),
        ("logistic regression", "w", "x.T @ (sigmoid(x @ w) - y)"),
        ("cross entropy", "z", "(softmax(z, 1) - one_hot(t, z.shape[1])) / z.shape[0]"),
        ("log-determinant", "X", "X.inverse().T"),
        ("trace of a triple product", "X", "A.T @ B.T"),
        ("quadratic form", "x", "(A + A.T) @ x"),
        ("sigmoid by its output", "x", "grad * s * (1 - s)"),
        ("tanh by its output", "x", "grad * (1 - t ** 2)"),
        ("softmax by its output", "z", "s * (grad - (grad * s).sum(-1, keepdim=True))"),
        (
            "layer norm",
            "x",
            (
                "inv_std * (grad * weight - (grad * weight).mean(-1, keepdim=True)"
                " - n * (grad * weight * n).mean(-1, keepdim=True))"
            ),
        ),
    ],
)
def test_well_known_forms(found: list[Entry], name: str, wrt: str, form: str) -> None:
    one = next(e for e in found if e.textbook and e.check.name == name)
    derivation = next(d for d in one.derivations if d.name == wrt)
    assert str(derivation.derived) == form or derivation.derived_size < size(form)


def test_wrong_forms_stand_beside_right_ones_of_the_same_expression(found: list[Entry]) -> None:
    right = {one.check.expression.text for one in found if not one.check.expect_fail}
    wrong = [one for one in found if one.check.expect_fail]
    assert wrong
    for one in wrong:
        assert one.check.expression.text in right, one.check.id
        assert one.notes.get("x-note"), one.check.id


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_textbook_forms_pass(path: Path) -> None:
    for check in load_file(path)[::6]:
        assert run_check(check).status == "passed", check.id


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_all_textbook_forms_pass(path: Path) -> None:
    for check in load_file(path):
        gallery.verdict(check)  # raises where it isn't as the page says
        outcome = run_check(check)
        for gradient in outcome.gradients:
            told = {row.method: row.status for row in gradient.methods}
            assert set(told) == {"torch", "engine", "manual", "derived", "numeric"}, check.id
            if not check.expect_fail:
                assert set(told.values()) == {"agrees"}, (check.id, told)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("x", 1),
        ("2.5", 1),
        ("-2 * x", 3),
        ("-x", 2),
        ("x.T", 2),
        ("x.shape[0]", 3),
        ("x.numel()", 2),
        ("math.pi * x", 3),
        ("2 * A.T @ (A @ x - b)", 10),
        ("softmax(z, -1)", 3),
        ("F.one_hot(t, z.shape[1])", 5),
        ("torch.linalg.solve(A.T, b)", 4),
        ("grad[:, None] * x", 4),
        ("table[index]", 3),
        ("x[:n]", 3),
        ("(p * g).sum(-1, keepdim=True)", 6),
        ("x.sum((0, 1))", 4),
        ("torch.where((x > 0) & (x < 1), grad, 0.0)", 10),
    ],
)
def test_size_of_a_form(text: str, nodes: int) -> None:
    assert size(text) == nodes


def test_definitions_that_a_form_needs_count_with_their_names() -> None:
    definitions = {"p": "softmax(z, 1)", "delta": "p - t", "unused": "exp(z)"}
    assert written("delta + delta", definitions) == 3 + (1 + 3) + (1 + 3)
    assert written("z + t", definitions) == 3


def test_percentile_is_the_nearest_rank() -> None:
    assert gallery.percentile([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], 90) == 9.0
    assert gallery.percentile([1.0, 2.0, 3.0], 50) == 2.0
