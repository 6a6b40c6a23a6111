"""What `derive` is asked about: the checks of a spec file, or an expression made a check of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradcheck_cli.cli.target import check_for, checks_of, no_floating_input, variables
from gradcheck_cli.errors import did_you_mean
from gradcheck_cli.graph import INPUT, topological
from gradcheck_cli.methods.assumptions import Assumption, assumed, facts_of
from gradcheck_cli.methods.case import Case, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class Subject:
    """One expression with its inputs.

    `wrt` are the inputs asked for. `facts` is what is known and assumed of the inputs, `given` the texts of
    what a person assumes. `free` says that nobody chose how inputs are drawn; `stated` are lines to tell the
    reader, such as guessed shapes. `title` is None where there is only one.
    """

    case: Case
    wrt: tuple[str, ...]
    facts: tuple[Assumption, ...] = ()
    given: tuple[str, ...] = ()
    free: bool = False
    stated: tuple[str, ...] = ()
    title: str | None = None


def subjects_of_file(
    what: str, check: str | None, wrt: Sequence[str], assume: Sequence[str]
) -> Iterator[Subject]:
    """The checks of a spec file, each once. Raises GradcheckError before anything is derived."""
    checks = checks_of(what, check)
    names = chosen(wrt, [name for one in checks for name in one.wrt])
    for one in checks:
        mine = tuple(name for name in one.wrt if name in names)
        if not mine:
            continue
        case = prepare(one)
        facts = (*assumed(assume, case.scope), *facts_of(one, case.scope))
        yield Subject(case, mine, facts, tuple(assume), title=one.name if len(checks) > 1 else None)


def subject_of_expression(
    text: str, inputs: Sequence[str], wrt: Sequence[str], assume: Sequence[str]
) -> Subject:
    """An expression whose inputs `-i` describes; those it leaves out are guessed from their use.

    Raises GradcheckError where it can't be built.
    """
    from gradcheck_cli.lang.guess import guess

    scope = variables(inputs)
    found = guess(text, scope)
    scope |= found.variables
    output, guessed = found.output, [fact for fact, _ in found.facts]
    stated = (f"{found.lines[0]}, guessed from use",) if found.lines else ()
    order = topological([output], sizes=True)
    used = {node.attributes["name"] for node in order if node.op is INPUT}
    kept = {name: node for name, node in scope.items() if name in used}
    names = chosen(wrt, [name for name, node in kept.items() if node.dtype.is_floating])
    if not names:
        raise no_floating_input(text)
    case = prepare(check_for(text, kept))
    # What a guess assumes is stated with the formulas that need it.
    finite = [f"isfinite({name})" for name, node in kept.items() if node.dtype.is_floating]
    facts = (
        *assumed(assume, case.scope),
        *assumed(finite, case.scope),
        *(replace(fact, why="guessed from use") for fact in assumed(guessed, case.scope)),
    )
    return Subject(case, tuple(names), facts, (*assume, *guessed), free=True, stated=stated)


def chosen(wrt: Sequence[str], names: Sequence[str]) -> list[str]:
    """Those of `names` that `--wrt` asks for; all where it asks for none."""
    from gradcheck_cli.suite.selection.values import misused

    for name in wrt:
        if name not in names:
            listed = f"choose from {', '.join(dict.fromkeys(names))}" if names else None
            misused(f"--wrt: no gradient flows to `{name}`", did_you_mean(name, names) or listed)
    return [name for name in names if not wrt or name in wrt]
