"""Spec files as tests of pytest: `*.gradcheck.yaml` (.yml, .json) always, every spec file with `--gradcheck`.

pytest imports this in every run of every project that has gradcheck installed, so that nothing else of
gradcheck is imported before there is a spec to collect, and PyTorch not before one runs.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec

    from gradcheck_cli.suite.selection.config import Config
    from gradcheck_cli.suite.selection.overrides import Planned
    from gradcheck_cli.verdict.outcome import CheckOutcome

_SUFFIXES = (".yaml", ".yml", ".json")
_ALWAYS = tuple(f".gradcheck{suffix}" for suffix in _SUFFIXES)
# Marks that make pytest or a usual plugin do something: a tag is only a name.
_TAKEN = frozenset(
    {
        "filterwarnings",
        "gradcheck",
        "parametrize",
        "skip",
        "skipif",
        "timeout",
        "tryfirst",
        "trylast",
    }
    | {"usefixtures", "xfail", "flaky", "and", "or", "not", "True", "False", "None"}
)


class GradcheckWarning(pytest.PytestWarning):
    """A check could not decide; with `--gradcheck-strict` that is a failure."""


class _AsWritten:
    """Finds gradcheck's own modules before pytest does, which would rewrite the asserts of every one.

    pytest marks all packages of a distribution that has a plugin, and offers no way out but a mark in each
    module: several hundred would be compiled again, in every run where no bytecode is kept.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """As the interpreter would find it; nothing for another package's."""
        ours = name.startswith("gradcheck_cli.")
        return PathFinder.find_spec(name, path, target) if ours else None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Keep pytest from rewriting this package, before a project's conftest can import it."""
    sys.meta_path.insert(0, _AsWritten)

    def remove() -> None:
        with suppress(ValueError):  # somebody put the list back as it was
            sys.meta_path.remove(_AsWritten)

    early_config.add_cleanup(remove)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the command line and of pytest's configuration."""
    group = parser.getgroup("gradcheck", "gradients")
    group.addoption(
        "--gradcheck",
        action="store_true",
        help="collect every spec file (YAML or JSON with a top-level `version`), not only "
        "*.gradcheck.yaml and those named",
    )
    group.addoption(
        "--gradcheck-device",
        metavar="DEVICE",
        help="the device that PyTorch uses in checks: cpu, cuda, cuda:1 or mps",
    )
    group.addoption(
        "--gradcheck-strict",
        action="store_true",
        default=None,
        help="a check that can't decide fails (default: it passes with a warning)",
    )
    parser.addini("gradcheck_device", "as --gradcheck-device, where a spec names none")
    parser.addini("gradcheck_strict", "as --gradcheck-strict", type="bool", default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known that all checks have."""
    config.addinivalue_line("markers", "gradcheck: a check of a gradient, from a spec file")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SpecFile | None:
    """A file with checks, if it is one."""
    name = file_path.name.lower()
    if not name.endswith(_SUFFIXES):
        return None
    if not name.endswith(_ALWAYS):
        named = parent.session.isinitpath(file_path)
        every = parent.config.getoption("gradcheck")
        if not (named or every):
            return None
        from gradcheck_cli.spec.load import is_spec

        # Other plugins have files of these kinds too, so that only `--gradcheck` makes one an error.
        if not (named and every) and not is_spec(file_path):
            return None
    made: SpecFile = SpecFile.from_parent(parent, path=file_path)
    return made


class _Configured(NamedTuple):
    """What holds in place of the spec (`mine`), and where it says nothing (`project`)."""

    mine: Config
    project: Config

    @property
    def settled(self) -> Config:
        return self.mine.over(self.project)


_configured = pytest.StashKey[_Configured]()


def _configuration(config: pytest.Config) -> _Configured:
    """Options before variables before the spec before pytest's configuration before pyproject.toml's section.

    Raises GradcheckError.
    """
    found = config.stash.get(_configured, None)
    if found is None:
        from gradcheck_cli.suite.selection.config import find_project, from_environment, read

        options = read(
            {
                "device": config.getoption("gradcheck_device"),
                "strict": config.getoption("gradcheck_strict"),
            },
            lambda key: f"--gradcheck-{key}",
        )
        strict = config.getini("gradcheck_strict")  # where it isn't set, pytest 7 has a list here
        ini = read(
            {
                "device": config.getini("gradcheck_device") or None,
                "strict": strict if isinstance(strict, bool) else None,
            },
            lambda key: f"gradcheck_{key}",
        )
        mine = options.over(from_environment(os.environ))
        found = _Configured(mine, ini.over(find_project(config.rootpath).config))
        config.stash[_configured] = found
    return found


class SpecFile(pytest.File):
    """A spec file; each of its checks is a test."""

    def collect(self) -> Iterator[CheckItem]:
        """Read the file; what is wrong with it is told in our own words."""
        from gradcheck_cli.errors import GradcheckError, printable

        try:
            planned = self._planned()
        except GradcheckError as error:
            raise self.CollectError(str(error)) from None
        taken: set[str] = set()
        for one in planned:
            check = one.check
            name = base = _name(printable(check.id.removeprefix(f"{check.file}::")))
            while name in taken:
                name = f"{base}#{len(taken)}"
            taken.add(name)
            item: CheckItem = CheckItem.from_parent(self, name=name, planned=one)
            for mark in ("gradcheck", *_marks(self.config, check.tags)):
                item.add_marker(mark)
            item.extra_keyword_matches.update((*check.tags, check.dtype, check.device))
            yield item

    def _planned(self) -> list[Planned]:
        from gradcheck_cli.spec.load import load_file
        from gradcheck_cli.suite.selection.overrides import Overrides, plan

        configured = _configuration(self.config)
        checks = load_file(_from_here(self.path))
        overrides, defaults = Overrides.of(configured.mine), Overrides.of(configured.project)
        return plan(checks, overrides, defaults, configured.settled.repeat or 1)


def _name(name: str) -> str:
    """A name that is the same after pytest took its id apart: at `::`, and at a `[` that ends in `]`."""
    name = re.sub("::+", ":", name)
    if "[" in name and not name.endswith("]"):
        name = name.replace("[", "(").replace("]", ")")
    return name


def _from_here(path: Path) -> str:
    """The path as a person would type it: relative, where it lies below the present folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _marks(config: pytest.Config, tags: Iterable[str]) -> Iterator[str]:
    """Tags as names of marks, which pytest then knows."""
    known = {line.partition(":")[0].strip() for line in config.getini("markers")}
    for tag in tags:
        mark = re.sub(r"\W", "_", tag)
        if mark in _TAKEN or not mark.isidentifier() or mark.startswith("_"):
            mark = f"tag_{mark.lstrip('_')}"
        if mark not in known:
            config.addinivalue_line("markers", f"{mark}: a tag of gradient checks")
            known.add(mark)
        yield mark


class WrongGradientError(Exception):
    """A check is not right; it holds the outcome, from which everything is told."""

    def __init__(self, outcome: CheckOutcome) -> None:
        super().__init__(_headline(outcome))
        self.outcome = outcome


class CheckItem(pytest.Item):
    """One check of one gradient."""

    def __init__(self, *, planned: Planned, **others: Any) -> None:
        super().__init__(**others)
        self.planned = planned

    def runtest(self) -> None:
        """Run the check; raise for what is wrong, warn where nothing can be decided."""
        from gradcheck_cli.suite.run import run_check
        from gradcheck_cli.suite.settings import Settings

        settled = _configuration(self.config).settled
        settings = Settings(allow_imports=settled.allow_imports or ())
        outcome = run_check(self.planned.check, settings)
        if self.planned.command is not None:
            outcome = replace(outcome, reproduce=self.planned.command)
        self._note(outcome)
        match outcome.status:
            case "skipped":
                pytest.skip(_headline(outcome))
            case "inconclusive" if not settled.strict:
                self._warn(outcome)
            case "failed" | "error" | "inconclusive":
                raise WrongGradientError(outcome)
            case _:
                self._blind_spots(outcome)

    def _note(self, outcome: CheckOutcome) -> None:
        """What reports such as JUnit's keep of it."""
        codes = [diagnosis.code for diagnosis in outcome.diagnoses]
        codes += [problem.code for problem in (outcome.error, *outcome.also) if problem is not None]
        self.user_properties += [
            ("seed", outcome.seed),
            ("dtype", outcome.dtype),
            ("device", outcome.device),
            *([("code", ",".join(dict.fromkeys(codes)))] if codes else []),
        ]

    def _warn(self, outcome: CheckOutcome) -> None:
        try:
            self.warn(GradcheckWarning(f"{self.name}: inconclusive: {_headline(outcome)}"))
        except GradcheckWarning:  # where warnings are errors
            raise WrongGradientError(outcome) from None

    def _blind_spots(self, outcome: CheckOutcome) -> None:
        from gradcheck_cli.verdict.outcome import BLIND

        told = [f"{d.code} {d.message}" for d in outcome.diagnoses if d.code in BLIND]
        if told:
            self.add_report_section("call", "gradcheck", "\n".join(told))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the check stands; lines count from 0 here."""
        return self.path, self.planned.check.line - 1, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The command's words, for a gradient that is wrong."""
        if isinstance(excinfo.value, WrongGradientError):
            return _told(excinfo.value.outcome, str(self.path))
        return super().repr_failure(excinfo, style)


def _headline(outcome: CheckOutcome) -> str:
    """One line."""
    from gradcheck_cli.report.json_report import check_data
    from gradcheck_cli.report.words import headline

    return headline(check_data(outcome))


def _told(outcome: CheckOutcome, path: str) -> Any:
    """The story as pytest shows it: in colour and as wide as its terminal.

    From a worker of xdist, and to a report's file, it travels as plain text in the place of a traceback.
    """
    # pytest has no public name for these, so that they are looked for where they are needed.
    from _pytest._code.code import ReprExceptionInfo, ReprFileLocation, ReprTracebackNative

    from gradcheck_cli.report.plain import story_text

    class Told(ReprExceptionInfo):
        def toterminal(self, tw: Any) -> None:
            tw.write(story_text(outcome, colour=tw.hasmarkup, width=tw.fullwidth))

        def __str__(self) -> str:
            return plain

    plain = story_text(outcome)
    crash = ReprFileLocation(path, outcome.line or 1, _headline(outcome))
    return Told(reprtraceback=ReprTracebackNative([plain]), reprcrash=crash)
