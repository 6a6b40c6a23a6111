"""What is said of a check, for every format alike: its name, its headline, its findings and its full story.

The story is the terminal's own, so that a report says no other words than what people saw. Everything here is
of one check of the JSON report.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from gradcheck_cli.errors import printable
from gradcheck_cli.verdict.outcome import BLIND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.verdict.outcome import CheckOutcome

Check = Mapping[str, Any]
Level = Literal["error", "warning"]

_COLUMNS = 100
# A formula that YAML reads as a text without quotes, in a flow mapping too, and never as a number.
_REST = r"[^,\[\]{}:#'\"\\]*"
_PLAIN = re.compile(rf"[A-Za-z(]{_REST}|[0-9]{_REST}[ (]{_REST}[A-Za-z(]{_REST}")
# What a failed check has been told besides: it limits the evidence, and is not the mistake.
ASIDE = BLIND | {"GC201", "GC202", "GC203", "GC204", "GC205", "GC207", "GC301", "GC304", "GC306"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or doubtful, at a place in a file; lines and columns count from 1.

    `fix` is the formula to put in place of the text from `column` to `end_column`, which is `replaced`.
    """

    level: Level
    code: str
    message: str
    check: Check
    file: str | None
    line: int | None = None
    column: int | None = None
    end_column: int | None = None
    source: str | None = None
    input: str | None = None
    method: str | None = None
    fix: str | None = None
    replaced: str | None = None
    hint: str | None = None
    also: tuple[str, ...] = ()


def name_of(check: Check) -> str:
    """The name, with what tells an expanded check from its siblings."""
    known = f"{check['file']}::" if check["file"] else ""
    return printable(check["id"].removeprefix(known) or check["name"])


def counts_as_failed(check: Check, document: Mapping[str, Any]) -> bool:
    """Whether its gradients are wrong, or undecided where that counts as wrong."""
    if check["status"] == "inconclusive":
        return bool(document["summary"].get("strict"))
    return bool(check["status"] == "failed")


def headline(check: Check) -> str:
    """One line: what is wrong, or that nothing is."""
    if check["status"] == "skipped":
        reason = "" if check["error"] is None else f": {printable(check['error']['message'])}"
        return f"skipped{reason}"
    found = findings(check)
    if not found or check["status"] == "passed":
        return "fails as expected" if check["expected_failure"] else check["status"]
    # The mistake is told rather than what limits the evidence.
    first = next((one for one in found if one.level == "error"), found[0])
    more = sum(one.level == first.level for one in found) - 1
    return sentence(first) + (f" (and {more} more)" if more else "")


def sentence(finding: Finding) -> str:
    """The code and what it says, of which method and input."""
    about = " of ".join(filter(None, (finding.method, finding.input)))
    known = not about or (finding.method or "") in finding.message
    text = finding.message if known else f"{finding.message} ({about})"
    return printable(f"{finding.code} {text}" if finding.code else text)


def remarks(finding: Finding) -> list[str]:
    """What follows the sentence, a line each: the repair, other explanations, how to reproduce it."""
    lines = []
    if finding.fix:
        lines.append(f"fix: {finding.fix}")
    if finding.hint:
        lines.append(f"help: {finding.hint}")
    lines += [f"or {other}" for other in finding.also]
    if finding.check["reproduce"]:
        lines.append(f"reproduce with: {finding.check['reproduce']}")
    return [printable(line) for line in lines]


def findings(check: Check) -> list[Finding]:
    """What is wrong with a check, or doubtful; nothing of one that passes but for its blind spots."""
    match check["status"]:
        case "error":
            problems = [check["error"], *check["more_errors"]]
            found = [_of_problem(check, one) for one in problems if one is not None]
        case "passed":
            return [
                _of_diagnosis(check, one, "warning")
                for one in check["diagnoses"]
                if one["code"] in BLIND
            ]
        case "failed" | "inconclusive" as status:
            found = list(_of_evidence(check, "error" if status == "failed" else "warning"))
        case _:
            return []
    level: Level = "warning" if check["status"] == "inconclusive" else "error"
    if not any(one.level == level for one in found):
        bare = Finding(level, "", f"the check is {check['status']}", check, check["file"])
        found.insert(0, _placed(bare, {"line": check["line"]}))
    return found


def _of_evidence(check: Check, level: Level) -> Iterator[Finding]:
    shown = set()
    for one in check["diagnoses"]:
        found = _of_diagnosis(check, one, "warning" if one["code"] in ASIDE else level)
        shown.add(one["input"])
        yield found
    for gradient in check["gradients"]:
        name = gradient["input"]
        wrong = any(
            m["method"] == "manual" and m["status"] == "disagrees" for m in gradient["methods"]
        )
        if wrong and name not in shown:
            shown.add(name)
            message = f"the manual formula for {name} disagrees"
            bare = Finding(level, "", message, check, check["file"], input=name, method="manual")
            yield _placed(bare, check["manual"].get(name) or {"line": check["line"]})


def _of_problem(check: Check, problem: Mapping[str, Any]) -> Finding:
    found = Finding(
        "error",
        problem["code"],
        problem["message"],
        check,
        problem.get("file") or check["file"],
        hint=problem["hint"],
    )
    return _placed(found, problem if problem["line"] else {"line": check["line"]})


def _of_diagnosis(check: Check, diagnosis: Mapping[str, Any], level: Level) -> Finding:
    manual = check["manual"].get(diagnosis["input"]) if diagnosis["method"] == "manual" else None
    place = diagnosis if diagnosis["line"] else manual or {"line": check["line"]}
    found = Finding(
        level,
        diagnosis["code"],
        diagnosis["message"],
        check,
        check["file"],
        input=diagnosis["input"],
        method=diagnosis["method"],
        fix=diagnosis["fix"],
        replaced=None if manual is None else manual["formula"],
        also=tuple(
            f"{other['code']} {other['message']}"
            + (f"; fix: {other['fix']}" if other["fix"] else "")
            for other in diagnosis["also"]
        ),
    )
    return _placed(found, place)


def _placed(finding: Finding, place: Mapping[str, Any]) -> Finding:
    return replace(
        finding,
        line=place.get("line"),
        column=place.get("column"),
        end_column=place.get("end_column"),
        source=place.get("source"),
    )


def path_in_repository(file: str | None, document: Mapping[str, Any]) -> str | None:
    """A file's path from the repository's top, as CI systems want it; None for a spec from stdin.

    A path outside of the repository, or from a run outside of one, is as it was given.
    """
    if file is None or file == "<stdin>":
        return None
    from gradcheck_cli.report.json_report import root

    path = file.replace(os.sep, "/")
    if PurePosixPath(path).is_absolute():
        top = root()
        if top is None or not Path(path).is_relative_to(top):
            return path
        return Path(path).relative_to(top).as_posix()
    inside = os.path.normpath(PurePosixPath(document["environment"].get("folder") or ".") / path)
    return inside.replace(os.sep, "/")


def fingerprint(finding: Finding, path: str, seen: set[str]) -> str:
    """What is the same for the same finding in the next run, also after lines were put in above it.

    `seen` are the ones given out; it grows by this.
    """
    check = finding.check
    facts = (path, check["id"], check["device"], finding.code, finding.input, finding.method)
    number = 0
    while True:
        key = "\0".join(map(str, (*facts, number) if number else facts))
        found = sha256(key.encode(errors="backslashreplace")).hexdigest()
        if found not in seen:
            seen.add(found)
            return found
        number += 1


def cut(text: str, most: int) -> str:
    """`text` with its end left out where it is too long.

    >>> cut("abcdef", 5)
    'ab...'
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def replacement(finding: Finding) -> str | None:
    """What to put in the file in place of the wrong formula, None where that can't be said safely.

    The formula has to stand there as it is, on one line, and not in a block whose end isn't known. In YAML
    the new one is quoted where it would not be read as a text otherwise.
    """
    fix, source, column, end = finding.fix, finding.source, finding.column, finding.end_column
    if not fix or source is None or column is None or end is None or not fix.isprintable():
        return None
    if source[column - 1 : end - 1] != finding.replaced:
        return None
    before, after = source[: column - 1], source[end - 1 :]
    quote = before[-1:]
    if quote in ("'", '"') and after.startswith(quote):
        if quote == "'":
            return fix.replace("'", "''")
        return None if '"' in fix or "\\" in fix else fix
    if not before.rstrip().endswith(":"):
        return None
    if _PLAIN.fullmatch(fix):
        return fix
    return None if '"' in fix or "\\" in fix else f'"{fix}"'


def story(check: Check) -> str:
    """The full story as the terminal tells it, without colour and pictures, in lines of 100 columns."""
    bare = [{**gradient, "grid": None} for gradient in check["gradients"]]
    return _story(json.dumps({**check, "gradients": bare}))


@lru_cache(maxsize=2048)
def _story(check: str) -> str:
    # Several formats tell it, and to lay out its tables takes longer than all else.
    from gradcheck_cli.report.reading import outcome_of

    return story_of(outcome_of(json.loads(check)))


def story_of(outcome: CheckOutcome) -> str:
    """As `story`, of an outcome."""
    from rich.text import Text

    from gradcheck_cli.report.plain import Page
    from gradcheck_cli.report.story import tell

    page = Page(width=_COLUMNS)
    title = Text(f"{outcome.status.upper()} {printable(outcome.short_name)}")
    tell(page, outcome, title, full=False, pictures=False)
    return "\n".join(line.rstrip() for line in page.text.split("\n")).strip("\n")
