"""Text to tree: what is read, where its parts stand, and that only the language is let through."""

from __future__ import annotations

import ast

import pytest

from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.scan import MAX_LENGTH, flatten

SCOPE = {"x": variable("x", (3, 4)), "y": variable("y", (3, 4)), "größe": variable("größe", (3, 4))}


def where(
    text: str, offsets: list[int] | None = None, document: str | None = None
) -> tuple[int, int, int]:
    """Line, column and width of the only problem."""
    with pytest.raises(GradcheckError) as caught:
        build(parse(Source(text, document=document, offsets=offsets)), SCOPE)
    (problem,) = caught.value.problems
    place = problem.where
    assert place is not None
    assert place.line is not None
    assert place.column is not None
    return place.line, place.column, place.width


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x + z", (1, 5, 1)),
        ("   x + z", (1, 8, 1)),
        ("\n\n  x\n  + zz", (4, 5, 2)),
        ("größe + z", (1, 9, 1)),
        ("größe.größer()", (1, 7, 6)),
        ("größe @ größe", (1, 7, 1)),
        ("(größe)  # größe @ \n  @ x", (2, 3, 1)),
        ("x @ \\\n y", (1, 3, 1)),
        ("x\t+\tz", (1, 5, 1)),
        ("'größe' + x", (1, 1, 7)),
        ("(x\n.maen())", (2, 2, 4)),
        ("x.sum(\n  dims=1)", (2, 3, 4)),
        ("x.sum(dim=\n  'größe')", (2, 3, 7)),
        ("torch.where(x > 0,\r\n  x,\r\n  zz)", (3, 3, 2)),
    ],
)
def test_places(text: str, place: tuple[int, int, int]) -> None:
    assert where(text) == place


def test_places_go_through_the_offsets_of_a_document() -> None:
    document = 'name: größe\nexpression: "x +\n   zz"\n'
    start = document.index("x +")
    end = document.index('"', start)
    # A double-quoted scalar folds the line end and the blanks after it into one blank.
    fold = document.index("\n", start)
    offsets = [*range(start, fold + 1), *range(fold + 4, end + 1)]
    text = "x + zz"
    assert len(offsets) == len(text) + 1
    assert where(text, offsets, document) == (3, 4, 2)


def test_a_span_over_several_lines_is_marked_to_the_end_of_its_first() -> None:
    assert where("(x\n .sum)\n + 1") == (1, 2, 1)
    assert where("[1,\n 2]") == (1, 1, 3)


@pytest.mark.parametrize(
    "text",
    [
        "x # comment with ( [ { ' \" and \\",
        "x  # größe \u00d7 \u2212",
        "(x\n+ y)",
        "x\n+ y",
        "x + \\\n y",
        "\tx",
        "\f x",
        "torch.einsum('ij,jk->ik', x, y.T)",
        "torch.einsum('ij,jk->ik', x, # comment\n y.T)",
        'torch.einsum("ij,""jk->ik", x, y.T)',
        "torch.einsum('''ij,\njk->ik''', x, y.T)",
        "x * 1_000.5e-3",
        "x[..., None, :1]",
        "x.sum(\n dim=1,\n)",
        "math.nan * x",
        "größe * torch . pi",
    ],
)
def test_what_is_read(text: str) -> None:
    assert build(parse(Source(text)), SCOPE) is not None


def test_names_are_all_plain_names() -> None:
    assert parse(Source("torch.where(x > 0, y.sum(dim=z), F.relu(w))")).names == set("xyzw") | {
        "torch",
        "F",
    }


def test_the_tree_is_python_s_and_compiles() -> None:
    formula = parse(Source("  (x - y).pow(2).sum()"))
    assert isinstance(formula.tree, ast.Call)
    assert formula.text(formula.tree) == "(x - y).pow(2).sum()"
    assert formula.code.co_names == ("x", "y", "pow", "sum")


def test_flat_text_keeps_every_character_in_its_place() -> None:
    text = 'x # c\'\n  + \'a # (\' \\\n + """b\nc"""'
    flat = flatten(Source(text))
    assert len(flat.code) == len(flat.skeleton) == len(text)
    assert flat.code == "x      " + "  + 'a # ('  " + "  + " + '"""b c"""'
    assert flat.skeleton.count("(") == 0
    assert "\n" not in flat.code


def test_length_is_bounded_before_anything_else() -> None:
    with pytest.raises(GradcheckError, match="100001 characters"):
        parse(Source("\0" * (MAX_LENGTH + 1)))


@pytest.mark.parametrize(
    "text",
    [
        "().__class__",
        "x.__init__",
        "__import__",
        "[*x]",
        "f(**x)",
        "lambda: 0",
        "f'{x}'",
        "(a := 1)",
        "x if x else x",
        "b''",
        "1j",
        "f(a=1, a=2)",
        "f(__debug__=1)",
        "1 < x < 2",
    ],
)
def test_what_is_not_in_the_language_is_never_compiled(text: str) -> None:
    formula = parse(Source(text))
    assert formula.refused
    with pytest.raises(GradcheckError):
        _ = formula.code
