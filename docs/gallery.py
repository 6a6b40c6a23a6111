"""The derivation gallery: `docs/derivations.md`, made from the specs and from `docs/textbook/`.

python docs/gallery.py              write the page
python docs/gallery.py --check      exit 1 where the page is out of date
python docs/gallery.py --summary    the ratios of sizes, worst first
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from docs.entries import ROOT, Derivation, Entry, entries, files, one_line
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gradcheck_cli.spec.check import Check

PAGE = ROOT / "docs" / "derivations.md"
COMMAND = "python docs/gallery.py"
_PUNCTUATION = re.compile(r"[^\w\- ]")
# Labels of a block's lines are padded to the width of the longest.
_WIDTH = len("textbook") + 2

_INTRO = """\
# Derivation gallery

Gradients of {checks} tensor expressions: as a textbook or a paper has them, and as `gradcheck derive` has
them. Each textbook form is one of five methods that are compared, beside PyTorch, the own engine, the derived
form, and numerical differentiation. Each derived form is printed, parsed again, and evaluated for three draws
of the inputs, two of them with larger sizes wherever the expression leaves sizes free.

| | |
|---|---|
| textbook derivatives | {textbook} checks, {textbook_gradients} gradients |
| further specs of this repository | {specs} checks, {specs_gradients} gradients |
| derived and verified | {verified} of {gradients} gradients |
| verified at further sizes too | {general} of {sized} gradients whose expression leaves sizes free |
| textbook forms that are wrong, or used without what they assume | {wrong}, each beside the right form |
| nodes of the derived form / nodes of the textbook form | median {median:.2f}, 90th percentile {p90:.2f} |

How to read an entry:

- Matrices hold free elements, as PyTorch differentiates them; `grad` is the upstream gradient where the
  expression is not a single number.
- `let` names are shared by the expression and by both forms; `both` is a textbook form that is derived
  literally.
- `given` is what the textbook form needs; `assuming` is what the derived form takes for granted, of what is
  given or of what the inputs are drawn from. Without it, the form holds for all inputs.
- The size of a form counts each name, number, operator, function call, subscript and tensor attribute once.
  What the forms define for themselves counts in full: the `t1 = ...` lines of a derived form, and `let` names
  that the expression doesn't use.

The page is written by `{command}`. [`docs/textbook/`](textbook) holds the textbook forms as spec files;
`gradcheck compare docs/textbook` checks them.
"""


def verdict(check: Check) -> str:
    """What the five methods say of a check, in a sentence; raises ValueError where that isn't as expected."""
    outcome = run_check(replace(check, expect_fail=False, expect_code=None))
    outliers = {method for gradient in outcome.gradients for method in gradient.outliers}
    wanted = ("failed", {"manual"}) if check.expect_fail else ("passed", set())
    if (outcome.status, outliers) != wanted:
        told = outcome.error or [d.message for d in outcome.diagnoses]
        raise ValueError(f"{check.id}: {outcome.status}, outliers {sorted(outliers)}: {told}")
    return presumed(check)


def presumed(check: Check) -> str:
    """The sentence for a check that passes."""
    if check.expect_fail:
        return "**The textbook form is wrong here**: the other four methods agree against it."
    return "All five methods agree."


def page(found: Sequence[Entry], judge: Callable[[Check], str] = verdict) -> str:
    """The whole page, as Markdown."""
    domains = [(name, list(group)) for name, group in groupby(found, key=lambda e: e.domain)]
    anchors = _anchors(domains)
    parts = [_INTRO.format(**numbers(found), command=COMMAND), "## Contents\n"]
    parts += [f"- [{name}](#{anchors[name]}) ({len(group)})" for name, group in domains]
    for name, group in domains:
        links = " · ".join(f"[{e.check.name}](#{anchors[id(e)]})" for e in group)
        parts += [f"\n## {name}\n", *([f"{group[0].intro}\n"] if group[0].intro else []), links]
        parts += [_section(one, judge(one.check)) for one in group]
    return "\n".join(parts) + "\n"


def _anchors(domains: Sequence[tuple[str, Sequence[Entry]]]) -> dict[int | str, str]:
    """The anchors that GitHub gives the headings, by domain and by entry."""
    used: Counter[str] = Counter()

    def anchor(heading: str) -> str:
        slug = _PUNCTUATION.sub("", heading.lower()).replace(" ", "-")
        used[slug] += 1
        return slug if used[slug] == 1 else f"{slug}-{used[slug] - 1}"

    found: dict[int | str, str] = {}
    for heading in ("Derivation gallery", "Contents"):
        anchor(heading)
    for name, group in domains:
        found[name] = anchor(name)
        for one in group:
            found[id(one)] = anchor(one.check.name)
    return found


def _section(one: Entry, told: str) -> str:
    """One check: what it is, a block with all forms, and what is said of them."""
    block = ["```text", *_lines(one), "```"]
    remarks = [_source(one), str(one.notes.get("x-note", "")), told, *_sizes(one)]
    text = " ".join(" ".join(remark.split()) for remark in remarks if remark)
    return "\n".join([f"\n### {one.check.name}\n", *block, "", text])


def _lines(one: Entry) -> Iterator[str]:
    check = one.check
    shapes = ", ".join(f"{spec.name} {_shape(spec.shape)}" for spec in check.inputs)
    yield _labelled("inputs", shapes)
    if "x-assume" in one.notes:
        yield _labelled("given", ", ".join(one.notes["x-assume"]))
    for name, source in check.let:
        yield _labelled("let", f"{name} = {one_line(source.text)}")
    yield _labelled("", f"f = {one_line(check.expression.text)}")
    for derivation in one.derivations:
        yield from _forms(derivation)


def _forms(derivation: Derivation) -> Iterator[str]:
    left = f"df/d{derivation.name}"
    derived = derivation.derived.texts[0]
    if derivation.same and not derivation.derived.let:
        yield _labelled("both", f"{left} = {derived}")
        return
    if derivation.textbook is not None:
        yield _labelled("textbook", f"{left} = {derivation.textbook}")
    for name, text in derivation.derived.let:
        yield _labelled("", f"{name} = {text}")
    yield _labelled("derived", f"{left} = {derived}")
    if derivation.assumed:
        yield _labelled("assuming", ", ".join(derivation.assumed))


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_WIDTH}}{text}"


def _shape(shape: tuple[int, ...]) -> str:
    return str(shape).replace(",)", ")")


def _source(one: Entry) -> str:
    source = one.notes.get("x-source")
    if source is not None:
        return f"{source[0].upper()}{source[1:]}."
    path = one.file.relative_to(ROOT).as_posix()
    return f"[{path}](../{path})."


def _sizes(one: Entry) -> Iterator[str]:
    """Where the derived forms were verified, and how large the forms are."""
    wrong = [d.name for d in one.derivations if d.wrong]
    if wrong:
        yield f"Derived for these sizes only: {', '.join(wrong)}."
    elif one.resized:
        yield "The derived forms hold for other sizes too."
    if one.check.expect_fail:
        return
    sizes = [f"{d.textbook_size} → {d.derived_size}" for d in one.derivations if d.textbook_size]
    yield f"Nodes, textbook → derived: {', '.join(sizes)}."


def numbers(found: Iterable[Entry]) -> dict[str, float]:
    """The figures of the page's head."""
    found = list(found)
    textbook = [e for e in found if e.textbook]
    specs = [e for e in found if not e.textbook]
    every = [(e, d) for e in found for d in e.derivations]
    sized = [d for e, d in every if e.resized]
    ratios = sorted(r for _, _, r in rated(found))
    return {
        "checks": len(found),
        "textbook": len(textbook),
        "textbook_gradients": sum(len(e.derivations) for e in textbook),
        "specs": len(specs),
        "specs_gradients": sum(len(e.derivations) for e in specs),
        "gradients": len(every),
        "verified": sum(0 in d.verified for _, d in every),
        "sized": len(sized),
        "general": sum(not d.wrong for d in sized),
        "wrong": sum(e.check.expect_fail for e in found),
        "median": statistics.median(ratios),
        "p90": percentile(ratios, 90),
    }


def percentile(ordered: Sequence[float], rank: int) -> float:
    """The smallest value that at least `rank` percent of the ordered ones don't exceed (nearest rank)."""
    return ordered[-(-rank * len(ordered) // 100) - 1]


def rated(found: Iterable[Entry]) -> list[tuple[Entry, Derivation, float]]:
    """The derivations that have a right textbook form, with the ratio of sizes, the worst first."""
    rows = [
        (e, d, d.ratio)
        for e in found
        if not e.check.expect_fail
        for d in e.derivations
        if d.ratio is not None
    ]
    return sorted(rows, key=lambda row: -row[2])


def summary(found: Sequence[Entry]) -> Iterator[str]:
    """The figures, then every derivation with its two forms, the worst ratio first."""
    figures = numbers(found)
    yield ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    for one, derivation, ratio in rated(found):
        marks = "" if not derivation.wrong else "  FOR THESE SIZES ONLY"
        path = one.file.relative_to(ROOT).as_posix()
        yield ""
        yield (
            f"{ratio:.2f}  {derivation.derived_size}/{derivation.textbook_size}  "
            f"{path}::{one.check.name}  d/d {derivation.name}{marks}"
        )
        yield from _forms(derivation)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 where the page is old")
    parser.add_argument("--summary", action="store_true", help="print the ratios, worst first")
    parser.add_argument("files", nargs="*", type=Path, help="with --summary: only these specs")
    options = parser.parse_args()
    if options.summary:
        chosen = [path.resolve() for path in options.files] or files()
        sys.stdout.writelines(f"{line}\n" for line in summary(list(entries(chosen))))
        return 0
    text = page(list(entries(files())))
    if options.check:
        current = PAGE.exists() and PAGE.read_text("utf-8") == text
        sys.stdout.write("up to date\n" if current else f"out of date: run {COMMAND}\n")
        return 0 if current else 1
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
