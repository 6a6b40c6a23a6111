"""Where, what and how to fix it: places in documents, carets, suggestions, exit codes."""

from __future__ import annotations

import pytest

from gradcheck_cli.errors import (
    ExitCode,
    GradcheckError,
    Problem,
    Source,
    Where,
    cells,
    did_you_mean,
    excerpt,
    folded,
    format_problem,
    printable,
)


def test_a_place_counts_from_one_and_is_cut_at_the_end_of_its_line() -> None:
    source = Source("ab\ncd ef\ng", file="f.yaml")
    assert source.where(0) == Where("f.yaml", 1, 1, "ab", 1)
    assert source.where(3, 5) == Where("f.yaml", 2, 1, "cd ef", 2)
    assert source.where(6, 10) == Where("f.yaml", 2, 4, "cd ef", 2)
    assert source.where(9) == Where("f.yaml", 3, 1, "g", 1)
    assert source.where(10) == Where("f.yaml", 3, 2, "g", 1)
    assert source.where(4, 4).width == 1


def test_a_place_in_a_document_goes_through_the_offsets() -> None:
    source = Source("abc", document="x: 'a''bc'\n", offsets=[4, 5, 7, 8, 9])
    assert source.where(1) == Where(None, 1, 6, "x: 'a''bc'", 1)
    assert source.where(0, 3) == Where(None, 1, 5, "x: 'a''bc'", 4)
    assert source.where(99).column == 10


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Where("a.yaml", 3, 7), "a.yaml:3:7"),
        (Where("a.yaml", 3), "a.yaml:3"),
        (Where("a.yaml"), "a.yaml"),
        (Where(None, 1, 2), "<expression>:1:2"),
    ],
)
def test_a_place_as_text(where: Where, text: str) -> None:
    assert str(where) == text


def shown(line: str, column: int, width: int = 1, columns: int = 76) -> tuple[str, str]:
    found = excerpt(Where(None, 1, column, line, width), columns)
    assert found is not None
    return found


def test_carets_stand_under_the_characters_wide_and_combining_ones_included() -> None:
    assert shown("x @ y", 3) == ("x @ y", "  ^")
    assert shown("漢字 @ y", 4) == ("漢字 @ y", "     ^")
    assert shown("漢字 @ y", 1, 2) == ("漢字 @ y", "^^^^")
    assert shown("e\u0301 @ y", 4) == ("e\u0301 @ y", "  ^")
    assert shown("\tx @ y", 4) == (" x @ y", "   ^")


def test_what_could_steer_a_terminal_is_escaped_and_the_caret_knows() -> None:
    assert shown("\x1b[31m @", 7) == ("\\x1b[31m @", "         ^")
    assert shown("\u202ex", 2) == ("\\u202ex", "      ^")
    assert printable("a\r\x07\u2028") == "a\\r\\x07\\u2028"
    assert printable("größe 漢") == "größe 漢"


@pytest.mark.parametrize("column", [1, 50, 149, 150])
def test_long_lines_are_cut_around_the_place(column: int) -> None:
    line = "".join(chr(97 + i % 26) for i in range(150))
    text, caret = shown(line, column, columns=40)
    assert len(text) <= 40
    assert text[len(caret) - 1] == line[column - 1]


def test_a_place_without_source_has_no_excerpt() -> None:
    assert excerpt(Where("a.yaml", 1, 1)) is None
    assert excerpt(Where("a.yaml")) is None


def test_a_problem_has_place_line_caret_and_help() -> None:
    problem = Problem("GC012", "unknown name `z`", Source("x + z").where(4), "use y")
    assert format_problem(problem).splitlines() == [
        "error[GC012]: unknown name `z`",
        "  --> <expression>:1:5",
        "   | x + z",
        "   |     ^",
        "   = help: use y",
    ]
    assert format_problem(Problem("GC012", "bad\x1b")) == "error[GC012]: bad\\x1b"


def test_an_error_holds_all_problems_and_the_gravest_exit_code() -> None:
    usage = Problem("GC012", "one")
    absent = Problem("GC302", "two", exit_code=ExitCode.CANNOT_RUN)
    assert GradcheckError(absent).exit_code is ExitCode.CANNOT_RUN
    error = GradcheckError(absent, usage)
    assert error.exit_code is ExitCode.USAGE
    assert str(error) == "error[GC302]: two\nerror[GC012]: one"
    assert error.summary == "two; one"
    assert error.problems == (absent, usage)


def test_exit_codes_are_what_ci_relies_on() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 130]


def test_suggestions() -> None:
    assert did_you_mean("maen", ["mean", "sum"]) == "did you mean `mean`?"
    assert did_you_mean("qqq", ["mean", "sum"]) is None
    assert did_you_mean("x" * 10**6, ["mean"]) is None
    assert did_you_mean("x", []) is None


def test_cells_of_a_terminal() -> None:
    assert (cells("abc"), cells("漢字"), cells("e\u0301"), cells("")) == (3, 4, 1, 0)


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_with_columns_sentences_are_folded_and_the_source_is_cut(columns: int) -> None:
    source = "expression: " + "x + " * 30 + "y"
    where = Where("a/long/path/" * 10 + "a.yaml", 3, 80, source, 1)
    problem = Problem("GC012", "too many words " * 9, where, "say it in fewer words " * 9)
    first, *rest = format_problem(problem, columns).splitlines()
    assert first.startswith("error[GC012]: too")
    wide = [line for line in (first, *rest) if cells(line) > columns]
    assert [line.startswith("  --> a/long") for line in wide] == [True]
    words = "".join(format_problem(problem, columns).split())
    assert "toomanywords" * 9 in words
    assert "sayitinfewerwords" * 9 in words


def test_folding_keeps_words_that_are_too_long_and_the_first_indent() -> None:
    assert list(folded("   = a" + "b" * 9 + " c", 6, 5)) == ["   =", "     a" + "b" * 9, "     c"]
    assert list(folded("", 6)) == [""]
