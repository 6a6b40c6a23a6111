from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gradcheck_cli.spec.json_reader import read_json
from gradcheck_cli.spec.nodes import Entries, Scalar, document
from gradcheck_cli.spec.offsets import ScalarOffsets
from gradcheck_cli.spec.yaml_reader import read_yaml

if TYPE_CHECKING:
    from gradcheck_cli.errors import Source

STYLES = {"plain": None, "single": "'", "double": '"', "literal": "|", "folded": ">"}
WORDS = st.text(st.sampled_from(list("abx +*().,é漢😀'\"\\#:-0\n")), max_size=60)


def source_of(text: str, key: str = "k", file: str | None = None) -> Source:
    made = document(text, file)
    root = (read_json if file and file.endswith(".json") else read_yaml)(made)[0]
    assert not made.problems
    assert isinstance(root, Entries)
    node = root.entries[key]
    assert isinstance(node, Scalar)
    return made.source(node)


def assert_aligned(source: Source) -> None:
    """Every character stands where the offsets say, unless it is written as an escape or a fold."""
    assert source.document is not None
    assert source.offsets is not None
    offsets = list(source.offsets)
    assert len(offsets) == len(source.text) + 1
    assert offsets == sorted(set(offsets)) or not source.text
    for char, at in zip(source.text, offsets, strict=False):
        written = source.document[at]
        assert written == char or written == "\\" or (char in " \n" and written == "\n")


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=150, deadline=None)
@given(text=WORDS, width=st.integers(10, 40), unicode=st.booleans(), deep=st.booleans())
@example(text="a\n\n b\n  c\nd\n\n", width=20, unicode=True, deep=False)
@example(text="\n  a\nb", width=20, unicode=True, deep=True)
def test_every_character_of_a_dumped_text_is_found(
    style: str, text: str, width: int, unicode: bool, deep: bool
) -> None:
    value = {"é": [{"k": text}]} if deep else {"k": text}
    dumped = yaml.dump(
        value, default_style=STYLES[style], allow_unicode=unicode, width=width, sort_keys=False
    )
    made = document("# ü\n" + dumped, None)
    root = read_yaml(made)[0]
    assert isinstance(root, Entries)
    while "k" not in root.entries:
        root = root.entries["é"].items[0]  # type: ignore[union-attr]
        assert isinstance(root, Entries)
    node = root.entries["k"]
    assert isinstance(node, Scalar)
    assert node.text == text
    assert_aligned(made.source(node))


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=40), ascii_only=st.booleans())
def test_every_character_of_a_json_text_is_found(text: str, ascii_only: bool) -> None:
    try:
        dumped = json.dumps({"é": 1, "k": text}, ensure_ascii=ascii_only)
        dumped.encode()
    except UnicodeEncodeError:
        return
    if not dumped.isprintable():
        return
    source = source_of(dumped, file="a.json")
    assert source.text == text
    assert_aligned(source)


@pytest.mark.parametrize(
    ("written", "text", "places"),
    [
        ("k: ab c", "ab c", [3, 4, 5, 6, 7]),
        ("k: a\n  b", "a b", [3, 4, 7, 8]),
        ("k: a\n\n  b", "a\nb", [3, 5, 8, 9]),
        ("k: 'a''b'", "a'b", [4, 5, 7, 8]),
        (r'k: "\u00e9x"', "éx", [4, 10, 11]),
        ('k: "a\\\n   b"', "ab", [4, 10, 11]),
        ('k: "a\\\n\n   b"', "a\nb", [4, 7, 11, 12]),
        ("k: |\n  a\n   b\n", "a\n b\n", [7, 8, 11, 12, 13, 14]),
        ("k: |2-\n    a\n", "  a", [9, 10, 11, 12]),
        ("k: >\n  a\n  b\n\n  c\n", "a b\nc\n", [7, 8, 11, 13, 16, 17, 18]),
        ("k: >+\n  a\n\n", "a\n\n", [8, 9, 10, 11]),
        ("k: >-\n  a\n   b\n  c", "a\n b\nc", [8, 9, 12, 13, 14, 17, 18]),
        ("é漢😀: 1\nk: ü+x", "ü+x", [10, 11, 12, 13]),
        ("k: ''", "", [4]),
        ("\ufeffk: a", "a", [3, 4]),
        ("z: 1\r\nk: |\r\n  a\r\n  b", "a\nb", [12, 13, 16, 17]),
    ],
)
def test_places_are_exact(written: str, text: str, places: list[int]) -> None:
    source = source_of(written)
    assert source.text == text
    assert source.offsets is not None
    assert list(source.offsets) == places


def test_a_caret_stands_under_the_character_of_a_folded_text() -> None:
    source = source_of("k: >-\n  é + 1\n  - bad\n")
    start = source.text.index("bad")
    where = source.where(start, start + 3)
    assert (where.line, where.column, where.width, where.source) == (3, 5, 3, "  - bad")


def test_what_cannot_be_aligned_stands_at_the_start() -> None:
    offsets = ScalarOffsets("k: 'abc'", 3, 8, "'", "something else")
    assert list(offsets) == [3] * 15
    assert offsets[2:4] == [3, 3]
