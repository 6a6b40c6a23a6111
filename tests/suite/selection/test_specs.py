"""Files that are no specs, among files of any kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck_cli.suite.selection.specs import is_ours, without_others


@pytest.mark.parametrize(
    ("name", "text", "ours"),
    [
        ("a.yaml", "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x\n", True),
        ("a.yml", "'version': 1\nchecks: []\n", True),
        ("a.json", '{"version": 1, "inputs": {}, "expression": "x"}', True),
        ("a.yaml", "version: 1\nimplementation: a:b\n", True),
        # Broken, and meant as one: reading it says what is wrong.
        ("a.yaml", "version: 7\nexpression: [\n", True),
        ("a.txt", "version: 1\nexpression: x\n", False),
        ("docker-compose.yml", "version: '3'\nservices:\n  inputs: 1\n", False),
        ("package.json", '{"version": "1.0.0", "config": {"checks": 1}}', False),
        ("action.yml", "name: x\ninputs:\n  version: 1\n", False),
        ("a.yaml", "", False),
    ],
)
def test_what_is_ours(tmp_path: Path, name: str, text: str, ours: bool) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert is_ours(path) is ours


def test_only_files_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("a.yaml").write_text("a: 1\n")
    Path("b.yaml").write_text("version: 1\nexpression: x\n")
    given = ["folder", "a.yaml", "b.yaml", "*.yaml", "-", "nowhere.yaml"]
    assert without_others(given) == (
        ["folder", "b.yaml", "*.yaml", "-", "nowhere.yaml"],
        ["a.yaml is passed over: it is no spec"],
    )
