"""`gradcheck doctor`: what this machine has, for a bug report and before a run on a device."""

import importlib
import platform
import sys
from typing import Any

# A fact: its name, what is so, and whether it is as it should be.
_Row = tuple[str, str, bool]
_PACKAGES = ("numpy", "scipy", "pyyaml", "pydantic", "typer", "rich")
_EXTRAS = ("distributed", "safetensors", "watchfiles")


def doctor() -> int:
    """Show versions, devices and what is missing. Imports PyTorch."""
    import gradcheck_cli
    from gradcheck_cli.errors import ExitCode
    from gradcheck_cli.report.catalogue import facts
    from gradcheck_cli.report.terminal import Terminal

    rows: list[_Row] = [
        ("gradcheck", gradcheck_cli.__version__, True),
        ("python", f"{platform.python_version()} ({sys.executable})", True),
        ("system", platform.platform(), True),
    ]
    rows += [_configuration(), *(_package(name) for name in _PACKAGES)]
    rows += _torch()
    rows += [(name, _version(name) or "not installed (optional)", True) for name in _EXTRAS]
    facts(Terminal(sys.stdout), rows)
    return ExitCode.PASSED if all(good for _, _, good in rows) else ExitCode.CANNOT_RUN


def _configuration() -> _Row:
    """Where this folder's defaults come from."""
    from gradcheck_cli.cli.config import configuration
    from gradcheck_cli.errors import GradcheckError

    try:
        found = configuration({})
    except GradcheckError as error:
        return "configuration", error.problems[0].message, False
    file = found.project.file
    return "configuration", "none" if file is None else str(file), True


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str) -> _Row:
    version = _version(name)
    return name, version or f"not installed: pip install {name}", version is not None


def _torch() -> list[_Row]:
    """PyTorch and its devices; a broken installation is a fact to show, not a reason to stop."""
    try:
        torch: Any = importlib.import_module("torch")
    except (ImportError, OSError, AttributeError) as error:
        return [("torch", f"can't be imported: {str(error).splitlines()[0]}", False)]
    rows: list[_Row] = [
        ("torch", f"{torch.__version__}, {torch.get_num_threads()} threads", True),
        ("device cpu", platform.processor() or platform.machine(), True),
    ]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        rows.append((f"device cuda:{index}", f"{properties.name}, {memory}", True))
    if not count:
        built = torch.version.cuda
        why = (
            f"built for CUDA {built}, none found" if built else "this PyTorch is built without CUDA"
        )
        rows.append(("device cuda", f"none: {why}", True))
    if torch.backends.mps.is_available():
        rows.append(("device mps", "available", True))
    return rows
