"""`gradcheck derive`: the closed form of a gradient."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradcheck_cli.cli.arguments import CheckName, InputShapes  # noqa: TC001 -- typer reads them

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.calculus.steps import Derivation
    from gradcheck_cli.cli.subjects import Subject
    from gradcheck_cli.methods.answer import Answer
    from gradcheck_cli.methods.closed_form import Form, Kind


def derive(
    what: Annotated[
        str,
        typer.Argument(
            metavar="EXPR|FILE",
            help="An expression, or a spec file (FILE::NAME).",
            show_default=False,
        ),
    ],
    inputs: InputShapes = None,
    check: CheckName = None,
    wrt: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only the gradient of this input.")
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(metavar="MASK", help="What holds of the inputs, as in 'x > 0' or 'A == A.T'."),
    ] = None,
    order: Annotated[
        int, typer.Option(metavar="N", help="2: the Hessian's product with a direction v.")
    ] = 1,
    jvp: Annotated[
        bool, typer.Option("--jvp", help="Forward mode: the output's tangent from the inputs'.")
    ] = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="The derivation, as in a textbook.")
    ] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Written as LaTeX.")] = False,
    unicode: Annotated[bool, typer.Option("--unicode", help="Written as on paper.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Written as Markdown.")] = False,
    mathml: Annotated[bool, typer.Option("--mathml", help="Written as HTML with MathML.")] = False,
    python: Annotated[
        bool,
        typer.Option(
            "--python",
            help="As a torch.autograd.Function; with --order 2 one that can be differentiated again.",
        ),
    ] = False,
    numpy: Annotated[bool, typer.Option("--numpy", help="As a NumPy function.")] = False,
    json: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write formulas and verification; - for stdout (what people read goes to stderr).",
        ),
    ] = None,
    torch: Annotated[
        bool, typer.Option("--torch", help="Hold the formulas against PyTorch's gradient, too.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put the formulas into the file, under `manual:`.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --write: replace formulas that are there.")
    ] = False,
) -> int:
    """Print the gradient as a formula, ready to paste under `manual:`.

    A formula is read back, evaluated, and compared with differences and with the derivative rules, also for
    other inputs and other sizes, before it is shown.
    """
    from gradcheck_cli.errors import ExitCode

    style = _style(
        {
            "latex": latex,
            "unicode": unicode,
            "markdown": markdown,
            "mathml": mathml,
            "python": python,
            "numpy": numpy,
        }
    )
    kind = _kind(order, jvp=jvp)
    _check_together(style, kind, steps=steps, write=write, force=force)
    target = None
    if json is not None:
        from gradcheck_cli.report.files import ReportFile

        target = ReportFile(json)
    subjects = _subjects(what, inputs, check, wrt or (), assume or ())
    twice = style == "python" and kind == "hessian"
    if style in ("python", "numpy"):
        _check_single(style, subjects)
    answers = [_answer(one, "gradient" if twice else kind, torch=torch) for one in subjects]
    if write:
        from gradcheck_cli.cli.write import write as write_into

        write_into(what, answers, force=force)
    out = sys.stderr if target is not None and target.is_stdout else sys.stdout
    _show(out, subjects, answers, style, steps=steps, twice=twice)
    if target is not None:
        from json import dumps

        from gradcheck_cli.report.formulas import to_json

        target.write(dumps(to_json(answers), indent=2, ensure_ascii=False) + "\n")
    return ExitCode.PASSED


def _style(given: Mapping[str, bool]) -> str:
    """The one that is chosen; text where none is."""
    from gradcheck_cli.suite.selection.values import misused

    chosen = [name for name, wanted in given.items() if wanted]
    if len(chosen) > 1:
        misused(f"--{chosen[0]} and --{chosen[1]} contradict each other", "give one of them")
    return chosen[0] if chosen else "text"


def _kind(order: int, *, jvp: bool) -> Kind:
    from gradcheck_cli.suite.selection.values import misused

    if order not in (1, 2):
        misused(f"--order is {order}", "1 is the gradient, 2 the Hessian's product with v")
    if jvp and order == 2:
        misused("--jvp and --order 2 contradict each other", "give one of them")
    return "tangent" if jvp else "hessian" if order == 2 else "gradient"


def _check_together(style: str, kind: Kind, *, steps: bool, write: bool, force: bool) -> None:
    """Refuse what makes no sense together."""
    from gradcheck_cli.suite.selection.values import misused

    other = {"tangent": "--jvp", "hessian": "--order 2"}.get(kind)
    if steps and other:
        misused(f"--steps and {other} don't go together", "--steps derives the gradient")
    if write and other:
        misused(f"--write and {other} don't go together", "`manual` holds gradients")
    if force and not write:
        misused("--force goes with --write", "leave it out")
    if style in ("python", "numpy"):
        if steps:
            misused(f"--steps and --{style} contradict each other", "give one of them")
        if kind == "tangent" or (kind == "hessian" and style == "numpy"):
            misused(f"--{style} and {other} don't go together", f"--{style} writes gradients")


def _check_single(style: str, subjects: Sequence[Subject]) -> None:
    from gradcheck_cli.suite.selection.values import misused

    if len(subjects) > 1:
        names = ", ".join(subject.case.check.name for subject in subjects[:5])
        misused(
            f"--{style} writes one function, and the file has several checks", f"--check: {names}"
        )


def _subjects(
    what: str,
    inputs: Sequence[str] | None,
    check: str | None,
    wrt: Sequence[str],
    assume: Sequence[str],
) -> list[Subject]:
    from gradcheck_cli.cli.subjects import subject_of_expression, subjects_of_file
    from gradcheck_cli.cli.target import names_a_file

    if names_a_file(what, inputs, check):
        return list(subjects_of_file(what, check, wrt, assume))
    return [subject_of_expression(what, inputs or (), wrt, assume)]


def _answer(subject: Subject, kind: Kind, *, torch: bool) -> Answer:
    from gradcheck_cli.errors import GradcheckError, Problem
    from gradcheck_cli.methods.answer import Answer
    from gradcheck_cli.methods.closed_form import closed_form
    from gradcheck_cli.methods.verify import verify
    from gradcheck_cli.schema import Invalid

    case = subject.case
    try:
        form = closed_form(case, subject.wrt, kind, subject.facts)
    except Invalid as error:
        where = case.check.expression.where()
        raise GradcheckError(Problem(error.code, error.message, where, error.hint)) from error
    verified = verify(case.check, form, assumptions=subject.given, free=subject.free, torch=torch)
    matrices = _matrices(subject, torch=torch) if kind == "hessian" else None
    return Answer(case, form, verified, subject.stated, matrices, subject.title)


def _matrices(subject: Subject, *, torch: bool) -> Form | None:
    """The Hessians that can be written as a matrix, found right."""
    from gradcheck_cli.methods.hessian import hessians, only, products_of
    from gradcheck_cli.methods.verify import verify

    case = subject.case
    found = hessians(case, subject.wrt, subject.facts)
    if found is None:
        return None
    for name in found.wrt:
        # The direction of one input is not that of the others.
        product = products_of(case, only(found, name))
        given = subject.given
        verify(case.check, product, assumptions=given, free=subject.free, torch=torch)
    return found


def _show(
    out: Any,
    subjects: Sequence[Subject],
    answers: Sequence[Answer],
    style: Any,
    *,
    steps: bool,
    twice: bool,
) -> None:
    from gradcheck_cli.errors import printable
    from gradcheck_cli.report.terminal import Terminal

    if steps:
        from gradcheck_cli.report.derivation import write_steps

        # What is piped is wrapped as for a wide page.
        width = [Terminal(out).width] if out.isatty() else []
        for number, (subject, answer) in enumerate(zip(subjects, answers, strict=True)):
            out.write("\n" if number else "")
            out.write(f"# {printable(subject.title)}\n" if subject.title else "")
            out.write(write_steps(_steps_of(subject, answer), style, *width).rstrip("\n") + "\n")
    elif style in ("python", "numpy"):
        out.write(_code(answers[0], style, twice=twice).rstrip("\n") + "\n")
    elif style != "text":
        from gradcheck_cli.report.typeset_formulas import write_answers

        out.write(write_answers(answers, style) + "\n")
    else:
        from gradcheck_cli.report.formulas import show_answers

        show_answers(Terminal(out), answers)


def _steps_of(subject: Subject, answer: Answer) -> Derivation:
    from gradcheck_cli.calculus.steps import steps
    from gradcheck_cli.methods.assumptions import nodes

    case = subject.case
    wrt = [case.variables[name] for name in subject.wrt]
    return steps(case.output, wrt, case.upstream, case.named, nodes(answer.form.assumptions))


def _code(answer: Answer, style: str, *, twice: bool) -> str:
    from gradcheck_cli.report.function import function_of

    form = answer.form
    function = function_of(answer.case, form.wrt, form.nodes, form.assumptions)
    if style == "python":
        from gradcheck_cli.report.autograd_function import autograd_function

        return autograd_function(function, twice=twice)
    from gradcheck_cli.report.numpy_function import numpy_function

    return numpy_function(function)
