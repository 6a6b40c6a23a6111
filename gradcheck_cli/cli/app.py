"""The application: the commands put together, each from the module of its name."""

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

import gradcheck_cli
from gradcheck_cli.cli.help import Sections

_HELP = (
    "Is this gradient right? Checks a gradient five independent ways and says which one is wrong."
)
# In the order in which the help lists them.
_COMMANDS = (
    *("compare", "merge", "audit", "derive", "trace", "validate"),
    *("init", "ops", "explain", "schema", "doctor", "completion"),
)


def _version(value: bool) -> None:
    if value:
        print(f"gradcheck {gradcheck_cli.__version__}")  # noqa: T201 -- the answer itself
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def build(arguments: Sequence[str] = ()) -> typer.Typer:
    """The typer application, to be run with `arguments`: where they begin with a command, with that alone.

    To import and describe all commands takes time at every start, and nobody sees the others.
    """
    named = [name for name in _COMMANDS if name in arguments[:1]]
    app = typer.Typer(
        name="gradcheck",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Plain help: it costs a third of the time of the boxed one and fits any terminal.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=(
            "Exit codes: 0 every check passed, 1 a gradient is wrong, 2 bad usage, spec or "
            "expression, 3 a bug in gradcheck, 4 a check could not run, 5 nothing was selected, "
            "130 interrupted."
        ),
    )
    app.callback()(_root)
    for name in named or _COMMANDS:
        app.command(name, cls=Sections)(getattr(import_module(f"gradcheck_cli.cli.{name}"), name))
    return app
