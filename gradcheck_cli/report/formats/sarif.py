"""SARIF 2.1.0: the findings for code scanning and editors, with the repaired formula as a fix.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", errata 01. GitHub's
documentation asks besides for a location of every result, `partialFingerprints`, and at most 25,000 results.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gradcheck_cli.codes import CODES
from gradcheck_cli.errors import printable
from gradcheck_cli.report import words

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_MOST_RESULTS = 25_000
_NO_CODE = "gradcheck"
_WARNINGS = re.compile("GC2|GC30[1346]")


def render(document: dict[str, Any]) -> str:
    """The document's findings as a SARIF log of one run."""
    found = list(islice(_findings(document), _MOST_RESULTS))
    codes = sorted({one.code or _NO_CODE for one in found})
    index = {code: number for number, code in enumerate(codes)}
    seen: set[str] = set()
    summary = document["summary"]
    run = {
        "tool": {
            "driver": {
                "name": "gradcheck",
                "version": str(document["tool"].get("version") or "unknown"),
                "rules": [_rule(code) for code in codes],
            }
        },
        "invocations": [
            {
                # Findings are no failure of the tool; that it could not look is one.
                "executionSuccessful": summary["exit_code"] in (0, 1),
                "exitCode": summary["exit_code"],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, index, document, seen) for one in found],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _findings(document: dict[str, Any]) -> Iterator[words.Finding]:
    """Errors first, so that they are kept where there are too many."""
    for level in ("error", "warning"):
        for check in document["checks"]:
            yield from (one for one in words.findings(check) if one.level == level)


def _rule(code: str) -> dict[str, Any]:
    """What a code means, from the catalogue that `gradcheck explain` prints."""
    record = CODES.get(code)
    if record is None:
        return {"id": code}
    text = record.text
    if record.wrong:
        text += f"\n\nWrong: {record.wrong}"
    if record.right:
        text += f"\n\nRight: {record.right}"
    name = "".join(word.capitalize() for word in re.findall(r"\w+", record.title))
    return {
        "id": code,
        "name": name,
        "shortDescription": {"text": record.title},
        "fullDescription": {"text": record.text},
        "help": {"text": text},
        "defaultConfiguration": {"level": "warning" if _WARNINGS.match(code) else "error"},
    }


def _result(
    finding: words.Finding, index: dict[str, int], document: dict[str, Any], seen: set[str]
) -> dict[str, Any]:
    check = finding.check
    code = finding.code or _NO_CODE
    path = words.path_in_repository(finding.file, document)
    key = words.fingerprint(finding, path or "", seen)
    result: dict[str, Any] = {
        "ruleId": code,
        "ruleIndex": index[code],
        "level": finding.level,
        "message": {"text": "\n".join([words.sentence(finding), *words.remarks(finding)])},
        "locations": [_location(finding, path)],
        "partialFingerprints": {"gradcheck/v1": key},
        "properties": {
            "check": printable(check["id"]),
            "input": None if finding.input is None else printable(finding.input),
            "method": None if finding.method is None else printable(finding.method),
            "dtype": check["dtype"],
            "device": check["device"],
            "seed": check["seed"],
        },
    }
    text = words.replacement(finding)
    if text is not None and path is not None:
        result["fixes"] = [_fix(finding, path, text)]
    return result


def _location(finding: words.Finding, path: str | None) -> dict[str, Any]:
    name = {"fullyQualifiedName": printable(finding.check["id"]), "kind": "element"}
    location: dict[str, Any] = {"logicalLocations": [name]}
    if path is not None:
        physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(path)}}
        if finding.line is not None:
            physical["region"] = _region(finding)
        location["physicalLocation"] = physical
    return location


def _region(finding: words.Finding) -> dict[str, Any]:
    region = {"startLine": finding.line}
    if finding.column is not None:
        region["startColumn"] = finding.column
        if finding.end_column is not None:
            region["endLine"] = finding.line
            region["endColumn"] = finding.end_column
    return region


def _fix(finding: words.Finding, path: str, text: str) -> dict[str, Any]:
    replaced = {"deletedRegion": _region(finding), "insertedContent": {"text": text}}
    change = {"artifactLocation": {"uri": _uri(path)}, "replacements": [replaced]}
    about = f"put {printable(finding.fix or '')} in place of the formula"
    return {"description": {"text": about}, "artifactChanges": [change]}


def _uri(path: str) -> str:
    """A relative reference, or that of a file where the path is absolute.

    >>> _uri("specs/a b:c.yaml"), _uri("/tmp/x.yaml")
    ('specs/a%20b%3Ac.yaml', 'file:///tmp/x.yaml')
    """
    try:
        content = path.encode(errors="surrogateescape")  # the bytes of a name that is no UTF-8
    except UnicodeEncodeError:
        content = path.encode(errors="backslashreplace")
    escaped = quote(content, safe="/")
    return f"file://{escaped}" if path.startswith("/") else escaped
