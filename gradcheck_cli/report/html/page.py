"""The page: the template with its summary, styles, scripts and data, in one file that loads nothing else."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import gradcheck_cli
from gradcheck_cli.errors import printable
from gradcheck_cli.report.html.data import SEVERITY, page_data
from gradcheck_cli.report.numbers import count, seconds
from gradcheck_cli.report.reading import outcome_of
from gradcheck_cli.report.words import cut, headline, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# In the order in which they use one another.
_SCRIPTS = ("dom.js", "heatmap.js", "detail.js", "list.js", "page.js")
_WRONG = SEVERITY[:3]
# So many checks that are not right are told of where no script may run.
_MOST_PROBLEMS = 200
_LONGEST = 400
_EXIT_CODES = {
    0: "every check passed",
    1: "a check failed",
    2: "a spec or the command line is wrong",
    3: "internal error",
    4: "a check could not run",
    5: "nothing was selected",
    130: "interrupted",
}


def write_page(document: Mapping[str, Any]) -> str:
    """The report as one HTML page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    outcomes = [outcome_of(check) for check in document["checks"]]
    states = [outcome.status for outcome in outcomes]
    found: dict[str, int] = {
        status: states.count(status) for status in SEVERITY if status in states
    }
    early, script, style = _part("early.js"), _script(), _part("style.css")
    run = document.get("environment", {})
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_part("page.html.j2"))
    return template.render(
        policy=_policy(scripts=(early, script), styles=(style,)),
        headline=_headline(found),
        tone=next(iter(found), "skipped"),
        notices=_notices(document["summary"]),
        counts=list(found.items()),
        words=_word,
        problems=_problems(document),
        more_problems=max(0, sum(found.get(status, 0) for status in _WRONG) - _MOST_PROBLEMS),
        facts=_facts(document),
        command=printable(run.get("command") or ""),
        version=gradcheck_cli.__version__,
        early=Markup(early),  # noqa: S704 -- our own files; nothing of a report is in them
        script=Markup(script),  # noqa: S704
        style=Markup(style),  # noqa: S704
        data=Markup(embedded(page_data(outcomes))),  # noqa: S704 -- it holds no `<`
    )


def embedded(data: Mapping[str, Any]) -> str:
    r"""JSON that may stand in a `script` element: without `<`, nothing in it ends or opens an element.

    >>> embedded({"name": "</script>"})
    '{"name":"\\u003c/script>"}'
    """
    written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return written.replace("<", r"\u003c")


@cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    inside = "\n".join(map(_part, _SCRIPTS))
    return f'(() => {{\n"use strict";\n{inside}}})();\n'


def _policy(*, scripts: Sequence[str], styles: Sequence[str]) -> str:
    """What the browser is to allow: these scripts and styles by their hashes, no other and no network."""

    def hashes(texts: Sequence[str]) -> str:
        digests = (b64encode(sha256(one.encode()).digest()).decode() for one in texts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {hashes(scripts)}",
            f"style-src {hashes(styles)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _headline(found: Mapping[str, int]) -> str:
    """The one sentence that a reader needs."""
    total = sum(found.values())
    if not total:
        return "No check ran"
    verbs = {
        "failed": ("fails", "fail"),
        "error": ("could not run", "could not run"),
        "inconclusive": ("is inconclusive", "are inconclusive"),
    }
    for status, (one, several) in verbs.items():
        number = found.get(status, 0)
        if number:
            whole_run = count(total, "check")
            verb = one if number == 1 else several
            return f"{whole_run} {verb}" if number == total else f"{number:,} of {whole_run} {verb}"
    passed, skipped = found.get("passed", 0), found.get("skipped", 0)
    if not passed:
        return f"{count(skipped, 'check')} skipped"
    if skipped:
        return f"{count(passed, 'check')} passed, {skipped:,} skipped"
    return f"All {count(passed, 'check')} passed" if passed > 1 else "The check passed"


def _word(status: str, number: int) -> str:
    return "errors" if status == "error" and number != 1 else status


def _problems(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """A line on each check that is not right, for readers without scripts, as the page ranks them."""
    wrong = sorted(
        (check for check in document["checks"] if check["status"] in _WRONG),
        key=lambda check: _WRONG.index(check["status"]),
    )
    return [
        {
            "status": check["status"],
            "name": cut(name_of(check), _LONGEST),
            "place": cut(":".join(_place(check)), _LONGEST),
            "sentence": cut(headline(check), _LONGEST),
        }
        for check in wrong[:_MOST_PROBLEMS]
    ]


def _place(check: Mapping[str, Any]) -> list[str]:
    return [printable(str(part)) for part in (check["file"], check["line"]) if part is not None]


def _notices(summary: Mapping[str, Any]) -> list[str]:
    missing = summary.get("not_run", 0)
    rest = f"{count(missing, 'check')} did not run." if missing else ""
    interrupted = "The run was interrupted." if summary.get("interrupted") else ""
    return [" ".join(filter(None, (interrupted, rest)))] if interrupted or rest else []


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Time, end and environment of the run; what isn't known is left out."""
    summary, tool, place = document["summary"], document["tool"], document.get("environment", {})
    code = summary.get("exit_code")
    known = {
        "Time": seconds(summary["seconds"]),
        "Exit code": None if code is None else f"{code}, {_EXIT_CODES.get(code, 'unknown')}",
        "Date": (place.get("date") or "").replace("T", " ").replace("+00:00", " UTC"),
        "gradcheck": tool.get("version"),
        "PyTorch": tool.get("torch"),
        "NumPy": tool.get("numpy"),
        "Python": tool.get("python"),
        "Platform": place.get("platform"),
        "Cores": place.get("cores"),
    }
    return [(name, printable(str(fact))) for name, fact in known.items() if fact]
