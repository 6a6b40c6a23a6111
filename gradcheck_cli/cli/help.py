"""Help in sections: a long list of options is read by what one looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Sequence


class Sections(TyperCommand):
    """A command whose options stand under the titles that they were given (`rich_help_panel`).

    Typer itself shows them only in the boxed help, which takes three times as long.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write all arguments and options, each title once, in the order of the parameters."""
        sections: dict[str, list[Sequence[str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
                title = getattr(parameter, "rich_help_panel", None) or usual
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
