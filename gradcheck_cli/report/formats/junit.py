"""JUnit XML: a test suite per spec file, a test case per check, the terminal's words as the text.

There is no standard; this keeps to what the consumers have in common: the grammar of Jenkins' JUnit plugin
and of GitLab's and GitHub's readers. GitLab drops the second of two cases of one name, so names are unique.
Characters that XML 1.0 can't hold, not even escaped, are left out, and no CDATA section is used.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from gradcheck_cli.report import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# All but the characters that XML 1.0 allows (https://www.w3.org/TR/xml/, production 2), and those that are
# allowed and steer a terminal or reorder a line.
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    "|[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_IN_ATTRIBUTE = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def render(document: dict[str, Any]) -> str:
    """The document as JUnit XML."""
    return to_xml(document, places=True)


def to_xml(document: dict[str, Any], *, places: bool) -> str:
    """The document as XML; with `places`, a test case says in which file and line it stands."""
    return "".join(f"{line}\n" for line in _lines(document, places=places))


def _lines(document: dict[str, Any], *, places: bool) -> Iterator[str]:
    suites: dict[str, list[Mapping[str, Any]]] = {}
    for check in document["checks"]:
        path = words.path_in_repository(check["file"], document)
        suites.setdefault(path or check["file"] or "<expression>", []).append(check)
    every = {**_numbers(document["checks"], document), "time": document["summary"]["seconds"]}
    yield '<?xml version="1.0" encoding="utf-8"?>'
    # Jenkins' grammar has no `skipped` here.
    yield _tag("testsuites", name="gradcheck", **_without(every, "skipped")) + ">"
    for path, checks in suites.items():
        yield from _suite(path, checks, document, places=places)
    yield "</testsuites>"


def _suite(
    path: str, checks: Sequence[Mapping[str, Any]], document: dict[str, Any], *, places: bool
) -> Iterator[str]:
    seconds = sum(_seconds(check["seconds"]) for check in checks)
    begun = document["environment"].get("date")
    yield (
        _tag(
            "  <testsuite",
            name=path,
            **_numbers(checks, document),
            time=seconds,
            timestamp=begun,
            file=path,
        )[1:]
        + ">"
    )
    yield "    <properties>"
    for name, value in _properties(checks, document):
        yield f"{_tag('      <property', name=name, value=value)[1:]}/>"
    yield "    </properties>"
    names: Counter[str] = Counter()
    for check in checks:
        name = words.name_of(check)
        names[name] += 1
        unique = name if names[name] == 1 else f"{name} #{names[name]}"
        yield from _case(path, unique, check, document, places=places)
    yield "  </testsuite>"


def _properties(
    checks: Sequence[Mapping[str, Any]], document: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """What the checks of a file ran with. Of a single test case, the readers take no properties."""
    for key in ("dtype", "device", "seed"):
        yield key, ", ".join(dict.fromkeys(str(check[key]) for check in checks))
    for key, value in document["tool"].items():
        if value is not None:
            yield ("gradcheck" if key == "version" else key), str(value)


def _case(
    path: str,
    name: str,
    check: Mapping[str, Any],
    document: dict[str, Any],
    *,
    places: bool,
) -> Iterator[str]:
    place = {"file": path, "line": check["line"]} if places else {}
    # Dots part packages from classes in every reader, and are none in a path.
    group = path.replace(".", "_").replace("/", ".")
    case = _tag(
        "    <testcase", name=name, classname=group, **place, time=_seconds(check["seconds"])
    )
    yield f"{case[1:]}>"
    found = words.findings(check)
    kind = _kind(check, document)
    if kind is not None:
        code = next((one.code for one in found if one.level == "error"), "")
        code = code or next((one.code for one in found), "") or check["status"]
        opening = _tag(f"      <{kind}", type=code, message=words.headline(check))[1:]
        text = "" if check["status"] == "skipped" else _text(words.story(check))
        yield f"{opening}>{text}</{kind}>"
    said = [f"{check['dtype']} on {check['device']}, seed {check['seed']}"]
    if check["reproduce"]:
        said.append(f"reproduce with: {check['reproduce']}")
    if kind is None:
        said += [f"warning: {words.sentence(one)}" for one in found]
    yield f"      <system-out>{_text(chr(10).join(said))}</system-out>"
    yield "    </testcase>"


def _kind(check: Mapping[str, Any], document: dict[str, Any]) -> str | None:
    """The element that says how a test case ended; what is undecided is neither passed nor failed."""
    if words.counts_as_failed(check, document):
        return "failure"
    return {"error": "error", "skipped": "skipped", "inconclusive": "skipped"}.get(check["status"])


def _numbers(checks: Sequence[Mapping[str, Any]], document: dict[str, Any]) -> dict[str, int]:
    kinds = Counter(_kind(check, document) for check in checks)
    return {
        "tests": len(checks),
        "failures": kinds["failure"],
        "errors": kinds["error"],
        "skipped": kinds["skipped"],
    }


def _without(numbers: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in numbers.items() if key != name}


def _seconds(number: float | str | None) -> float:
    return float(number) if isinstance(number, (int, float)) else 0.0


def _tag(opening: str, **attributes: str | float | None) -> str:
    """`<name` with its attributes; those that are None are left out, and times are in milliseconds."""
    shown = "".join(
        f' {name}="{_attribute(f"{value:.3f}" if isinstance(value, float) else str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{opening}{shown}"


def _attribute(text: str) -> str:
    return escape(_FORBIDDEN.sub("", text), _IN_ATTRIBUTE)


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("", text))
