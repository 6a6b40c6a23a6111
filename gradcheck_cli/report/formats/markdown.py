"""Markdown for a comment on a pull request, and for the step summary of GitHub Actions.

Whatever comes from a spec stands in a code block, or in `<code>` with every character that Markdown or HTML
would read as markup written as a character reference: neither links, mentions nor markup come out of it.
What doesn't fit the room that GitHub gives is left out from the end, and how much is said.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import printable
from gradcheck_cli.report import words
from gradcheck_cli.report.files import append
from gradcheck_cli.report.numbers import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# A comment's body on GitHub has at most 65,536 characters, a step's summaries together 1 MiB.
_COMMENT = 65_000
_STEP = 2**20
# Told from the end on which the room runs out.
_RESERVED = 400
_MOST_IN_NAME = 160
_MOST_IN_CELL = 300
_MARKS = {"passed": "✅", "failed": "❌", "inconclusive": "❔", "error": "⛔", "skipped": "⏭️"}
_BACKTICKS = re.compile("`+")
# GitHub makes a link of every word that begins with it.
_DOMAIN = re.compile(r"(?<=www)\.", re.IGNORECASE)


def render(document: dict[str, Any]) -> str:
    """The document as Markdown of at most 65,000 bytes."""
    return _within(document, _COMMENT)


def append_summary(target: str, document: dict[str, Any]) -> None:
    """Put the document at the end of the step's summary, as far as there is room. Raises OSError.

    Another command of the same step may have written to it before.
    """
    path = Path(target)
    written = path.stat().st_size if path.exists() else 0
    if written + 2 * _RESERVED < _STEP:
        append(target, ("\n" if written else "") + _within(document, _STEP - written - 1))


def _within(document: dict[str, Any], room: int) -> str:
    """The Markdown, blocks of it left out from the end so that it has at most `room` bytes."""
    text = "".join(f"{line}\n" for line in _head(document))
    told = _told(document)
    if told:
        text += "\n| check | what is wrong | where |\n| --- | --- | --- |\n"
        rows = (_row(check, document) for check in told)
        text += _fitting(rows, len(told), room - _size(text), "check", "checks")
    return text + _fitting(map(_details, told), len(told), room - _size(text), "story", "stories")


def _fitting(blocks: Iterable[str], total: int, room: int, noun: str, nouns: str) -> str:
    """As many of the blocks as there is room for, and how many are left out."""
    text: list[str] = []
    left = room - _RESERVED
    for block in blocks:
        left -= _size(block)
        if left < 0:
            rest = total - len(text)
            name = noun if rest == 1 else nouns
            text.append(f"\n... and {rest:,} more {name}, for which there is no room here\n")
            break
        text.append(block)
    return "".join(text)


def _size(text: str) -> int:
    return len(text.encode(errors="backslashreplace"))


def _head(document: dict[str, Any]) -> Iterator[str]:
    summary = document["summary"]
    parts = []
    for key, word in (
        ("failed", "failed"),
        ("errors", "error" if summary["errors"] == 1 else "errors"),
        ("inconclusive", "inconclusive"),
        ("passed", "passed"),
        ("skipped", "skipped"),
    ):
        if summary[key]:
            parts.append(f"{_MARKS['error' if key == 'errors' else key]} {summary[key]:,} {word}")
    yield "### gradcheck"
    yield ""
    time = summary["seconds"]
    spent = f" in {seconds(time)}" if isinstance(time, (int, float)) else ""
    yield (" · ".join(parts) or "no check ran") + spent
    if summary.get("interrupted"):
        yield ""
        yield f"The run was interrupted; {count(summary.get('not_run', 0), 'check')} not run."
    elif summary.get("not_run"):
        yield ""
        yield f"{count(summary['not_run'], 'check')} not run."


def _told(document: dict[str, Any]) -> list[Mapping[str, Any]]:
    """The checks that are not right, the gravest first."""
    order = ["failed", "error", "inconclusive"]
    wrong = [check for check in document["checks"] if check["status"] in order]
    return sorted(wrong, key=lambda check: order.index(check["status"]))


def _row(check: Mapping[str, Any], document: dict[str, Any]) -> str:
    path = words.path_in_repository(check["file"], document) or check["file"] or "<expression>"
    found = words.findings(check)
    line = next((one.line for one in found if one.line is not None), check["line"])
    place = path if line is None else f"{path}:{line}"
    mark = _MARKS[check["status"]]
    cells = [
        f"{mark} {_code(words.name_of(check), _MOST_IN_NAME)}",
        _code(words.headline(check), _MOST_IN_CELL),
        _code(place, _MOST_IN_NAME),
    ]
    return f"| {' | '.join(cells)} |\n"


def _details(check: Mapping[str, Any]) -> str:
    name = _code(words.name_of(check), _MOST_IN_NAME)
    text = words.story(check)
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    summary = f"<summary>{_MARKS[check['status']]} {name}</summary>"
    return f"\n<details>\n{summary}\n\n{fence}text\n{text}\n{fence}\n\n</details>\n"


def _code(text: str, most: int) -> str:
    """Text as inline code that holds no markup, on one line.

    >>> _code("a|b", 10)
    '<code>a&#124;b</code>'
    """
    shown = words.cut(printable(text), most)
    plain = "".join(c if c.isalnum() or c in " ,;=/.()+-" else f"&#{ord(c)};" for c in shown)
    return f"<code>{_DOMAIN.sub('&#46;', plain)}</code>"
