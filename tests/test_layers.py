"""The rooms of the package, bottom first: each imports only rooms before it. And who may import what."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "gradcheck_cli"
ROOMS = (
    "errors",
    "codes",
    "limits",
    "cores",
    "dtypes",
    "schema",
    "graph",
    "ops",
    "lang",
    "calculus",
    "engine",
    "spec",
    "methods",
    "verdict",
    "suite",
    "report",
    "api",
    "pytest_plugin",
    "cli",
    "__main__",
)
# Third-party packages that only some modules may import, and why.
ONLY_IN = {
    "torch": (
        "methods/torch_method.py",
        "methods/implementation_method.py",
        "methods/own/",
        "cli/doctor.py",
    ),
    "rich": ("report/",),
    "jinja2": ("report/",),
    "distributed": ("suite/",),
    "watchfiles": ("cli/",),
    "typer": ("cli/", "__main__.py"),
    "yaml": ("spec/",),
    "pydantic": ("spec/",),
    "scipy": (),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module's full name, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in ROOMS, f"{room} is a new room: give it its place in ROOMS"
    for name, line in imports(path):
        parts = name.split(".")
        if parts[0] != "gradcheck_cli" or len(parts) == 1 or parts[1] == "__version__":
            continue
        assert ROOMS.index(parts[1]) <= ROOMS.index(room), (
            f"{path}:{line}: {room} imports {parts[1]}"
        )


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_stay_where_they_belong(path: Path) -> None:
    relative = path.relative_to(PACKAGE).as_posix()
    for name, line in imports(path):
        allowed = ONLY_IN.get(name.split(".")[0])
        if allowed is not None:
            assert relative.startswith(allowed), f"{path}:{line}: {name} does not belong here"


def test_the_test_sees_imports(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("def f():\n    from gradcheck_cli.cli import app\n    import torch\n")
    assert [name for name, _ in imports(file)] == ["gradcheck_cli.cli.app", "torch"]
