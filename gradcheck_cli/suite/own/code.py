"""The import of the person's own code: only what was allowed, only when a check runs, and never otherwise."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Where, did_you_mean
from gradcheck_cli.methods.own.failing import running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradcheck_cli.spec.check import Check, Implementation
    from gradcheck_cli.suite.settings import Settings


def loaded(check: Check, settings: Settings) -> Check:
    """The check with its implementation's object: imported, if that is allowed, where it is not at hand.

    Raises GradcheckError where it is not allowed (GC030), not there (GC031), or where importing it raises an
    error (GC308).
    """
    own = check.implementation
    if own is None or own.object is not None:
        return check
    module, _, path = own.target.partition(":")
    if not allowed(module, settings.allow_imports):
        package = module.partition(".")[0]
        message = f"this check imports {module}: allow it with --allow-import {package}"
        hint = (
            f'or put `allow-imports = ["{package}"]` under [tool.gradcheck] in pyproject.toml; '
            "importing code runs it"
        )
        raise GradcheckError(Problem("GC030", message, _where(own), hint))
    found = _attribute(own, _imported(own, module), path.split("."))
    return replace(check, implementation=replace(own, object=found))


def allowed(module: str, packages: Iterable[str]) -> bool:
    """Whether a module is one of the packages, or inside of one.

    >>> allowed("fused.kernels", ["fused"]), allowed("fused_evil", ["fused"])
    (True, False)
    """
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _where(own: Implementation) -> Where | None:
    return None if own.source is None else own.source.where(0, len(own.source.text))


def _imported(own: Implementation, module: str) -> Any:
    with running(own, "when it was imported"), _current_folder():
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if module != missing and not module.startswith(f"{missing}."):
                raise  # another module, that the person's own code needs
            raise GradcheckError(_no_module(own, missing)) from None


def _no_module(own: Implementation, missing: str) -> Problem:
    beside = [path.stem for path in Path.cwd().glob("*.py")]
    beside += [path.parent.name for path in Path.cwd().glob("*/__init__.py")]
    hint = did_you_mean(missing, beside) if "." not in missing else None
    hint = hint or "installed packages and the current folder are searched, as with `python -m`"
    return Problem("GC031", f"there is no module {missing}", _where(own), hint, ExitCode.USAGE)


@contextmanager
def _current_folder() -> Iterator[None]:
    """The current folder is searched first, as `python -m` does, and no longer than this."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _attribute(own: Implementation, module: Any, names: list[str]) -> Any:
    try:
        return reduce(getattr, names, module)
    except AttributeError:
        pass
    holder: Any = module
    for name in names:
        if not hasattr(holder, name):
            break
        holder = getattr(holder, name)
    of = getattr(holder, "__name__", type(holder).__name__)
    public = [known for known in dir(holder) if not known.startswith("__")]
    message = f"{of} has no `{name}`"
    raise GradcheckError(Problem("GC031", message, _where(own), did_you_mean(name, public)))
