"""GitLab's code quality report: the findings, each at its line, with a fingerprint that stays over runs.

The fields are those that GitLab documents: description, check_name, fingerprint, severity, location.path and
location.lines.begin.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gradcheck_cli.report import words
from gradcheck_cli.verdict.outcome import BLIND

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_CHARACTERS = 2000


def render(document: dict[str, Any]) -> str:
    """The document's findings as a list of issues."""
    issues = []
    seen: set[str] = set()
    for check in document["checks"]:
        for finding in words.findings(check):
            path = (
                words.path_in_repository(finding.file, document) or finding.file or "<expression>"
            )
            text = ". ".join([words.sentence(finding), *words.remarks(finding)])
            issues.append(
                {
                    "description": words.cut(text, _MOST_CHARACTERS),
                    "check_name": finding.code or "gradcheck",
                    "fingerprint": words.fingerprint(finding, path, seen),
                    "severity": _severity(check, finding),
                    "location": {"path": path, "lines": {"begin": finding.line or 1}},
                }
            )
    return json.dumps(issues, indent=2) + "\n"


def _severity(check: Mapping[str, Any], finding: words.Finding) -> str:
    """One of GitLab's: a wrong gradient is critical, what can't be checked major, what is doubtful minor."""
    if finding.level == "error":
        return "major" if check["status"] == "error" else "critical"
    return "info" if finding.code in BLIND else "minor"
