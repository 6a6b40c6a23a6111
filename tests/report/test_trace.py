"""How a walk is written: at any width, without colours where there are none, and never without end."""

from __future__ import annotations

import io

import pytest

from gradcheck_cli.cli.target import check_of
from gradcheck_cli.errors import cells
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.methods.walk import Summary, walk
from gradcheck_cli.report.terminal import Terminal
from gradcheck_cli.report.trace import show_walk, told


def written(text: str, *inputs: str, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    check = check_of(text, inputs)
    show_walk(Terminal(stream), walk(prepare(check)), check)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("columns", [40, 80])
def test_it_keeps_to_the_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = written("(predicted - real).pow(2).mean(0).sum()", "predicted=3,8", "real=8")
    steps, _, formulas = text.partition("gradients   of")
    assert formulas
    assert all(cells(line) <= columns for line in steps.splitlines() if "(predicted" not in line)


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in written("x.exp()", "x=3")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[35mExpBackward0" in written("x.exp()", "x=3")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[35m" not in written("x.exp()", "x=3")


def many(count: int) -> str:
    parts = ", ".join(f"{name} * {n}.5" for n in range(count // 2) for name in "xy")
    return f"torch.stack([{parts}]).sum()"


def test_hundreds_of_steps_lose_their_middle() -> None:
    text = written(many(600), "x=3", "y=3")
    assert text.count("  … 404 steps left out\n") == 1
    assert text.count("  … 402 steps left out\n") == 1
    assert "  t98 = " in text
    assert "  t99 = " not in text
    assert "  t602 = t601.sum()\n" in text
    assert len(text) < 1.3 * len(written(many(300), "x=3", "y=3"))
    assert text.count("  … and to 588 arguments more\n") == 2
    assert "accumulates what t599, t597," in text
    assert " and 292 others sent\n" in text.replace("\n          ", " ")


def test_an_encoding_of_ascii_only() -> None:
    assert "  ... 404 steps left out\n" in written(many(600), "x=3", "y=3", encoding="ascii")


def test_long_formulas_are_cut() -> None:
    parts = ", ".join(["x"] * 400)
    text = written(f"torch.cat([{parts}]).sum()", "x=3")
    step = next(line for line in text.splitlines() if line.startswith("  t1 = cat("))
    assert step
    assert max(len(line) for line in text.splitlines() if "t1" in line) < 500


def test_no_gradient_is_said() -> None:
    text = written("(x.detach() * y).sum()", "x=3", "y=3")
    assert "  x.grad = zeros_like(x)\n      no gradient arrives: zeros" in text
    assert "  t1 = x.detach()\n" in text
    assert text.count("grad_fn None") == 1


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (Summary((), "float64", 1, (2.5,)), "2.5"),
        (Summary((2, 2), "int64", 4, (1, 2, 3, 4)), "[[1, 2], [3, 4]]"),
        (Summary((2,), "bool", 2, (True, False)), "[True, False]"),
        (Summary((1, 1, 1), "float64", 1, (float("nan"),)), "[[[nan]]]"),
        (Summary((0, 3), "float64", 0, ()), "no elements"),
        (Summary((10,), "bool", 10, true=4), "4 of 10 True"),
        (Summary((10,), "float64", 10, None, 1.0, 1.0, 1.0), "all 1"),
        (Summary((10,), "float64", 10, None, 1.0, 1.0, 1.0, nan=2), "the others 1, 2 NaN"),
        (Summary((10,), "float64", 10, infinite=10), "10 infinite"),
    ],
)
def test_arrays_in_words(summary: Summary, expected: str) -> None:
    assert told(summary) == expected
