"""What action.yml runs: `install` puts gradcheck into the job's Python, `compare` checks and reports.

Inputs come in environment variables and are handed to programs as arguments, never through a shell, so that
no value of one can become a command. Only the standard library is used: nothing is installed yet.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
from importlib import util
from pathlib import Path

_PREFIX = "GRADCHECK_ACTION_"
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!]{0,39}\Z")
_USAGE = 2
_REPORTS = {"json": "json", "junit": "xml", "sarif": "sarif", "html": "html"}
_COUNTS = ("total", "passed", "failed", "errors")


def main() -> int:
    """The step that the command line names; its exit code."""
    steps = {"install": install, "compare": compare}
    try:
        return steps[sys.argv[1]]()
    except ValueError as error:
        print(f"::error title=gradcheck::{_escaped(str(error))}")
        return _USAGE


def install() -> int:
    """Install gradcheck, and before it PyTorch from the index given, unless it is there already."""
    version = _input("VERSION")
    if version and not _VERSION.match(version):
        msg = f"the input `version` is {version!r}; give a version such as 0.1.0"
        raise ValueError(msg)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    index = _input("TORCH_INDEX")
    if index and not index.startswith(("https://", "http://", "file://")):
        msg = f"the input `torch-index` is {index!r}; give the address of an index of packages"
        raise ValueError(msg)
    if index and util.find_spec("torch") is None:
        code = subprocess.run([*pip, f"--index-url={index}", "torch"], check=False).returncode
        if code:
            return code
    ours = f"gradcheck-cli=={version}" if version else str(Path(__file__).resolve().parents[1])
    return subprocess.run([*pip, ours], check=False).returncode


def compare() -> int:
    """Run `gradcheck compare` with every report, and tell the outputs of the step."""
    # A folder of its own, as an action may be used several times in a job.
    folder = Path(tempfile.mkdtemp(prefix="gradcheck-", dir=os.environ.get("RUNNER_TEMP") or None))
    reports = {name: folder / f"gradcheck.{suffix}" for name, suffix in _REPORTS.items()}
    # Not the folder that it runs in (-P): a project may have a module of the same name as one that is used.
    command = [sys.executable, "-P", "-m", "gradcheck_cli", "compare"]
    for name, path in reports.items():
        command += ["--report", f"{name}={path}"]
    for name in ("DEVICE", "SHARD", "JOBS"):
        if _input(name):
            command += [f"--{name.lower()}", _input(name)]
    command += _arguments(_input("ARGS"))
    # After `--` nothing is an option, whatever a file is called.
    files = [line.strip() for line in _input("FILES").splitlines() if line.strip()]
    command += ["--", *(files or ["."])]
    print(f"[command]{_escaped(shlex.join(['gradcheck', *command[4:]]))}", flush=True)
    code = subprocess.run(command, check=False).returncode
    outputs = {"exit-code": str(code), "folder": str(folder)}
    outputs |= {name: str(path) for name, path in reports.items() if path.exists()}
    _tell(outputs | _counts(reports["json"]))
    return code


def _input(name: str) -> str:
    return os.environ.get(_PREFIX + name, "").strip()


def _arguments(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        msg = f"the input `args` is {text!r}: {error}"
        raise ValueError(msg) from error


def _counts(report: Path) -> dict[str, str]:
    """How the checks ended; nothing where the run got no further than its options."""
    if not report.exists():
        return {}
    summary = json.loads(report.read_text(encoding="utf-8"))["summary"]
    return {name: str(summary[name]) for name in _COUNTS}


def _tell(outputs: dict[str, str]) -> None:
    """Write the outputs where GitHub reads them; a delimiter nobody can guess keeps each a single value."""
    target = os.environ.get("GITHUB_OUTPUT")
    if not target:
        return
    with Path(target).open("a", encoding="utf-8") as stream:
        for name, value in outputs.items():
            end = secrets.token_hex(16)
            stream.write(f"{name}<<{end}\n{value}\n{end}\n")


def _escaped(text: str) -> str:
    """Text that is one line of the log and no further command to the runner."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


if __name__ == "__main__":
    sys.exit(main())
