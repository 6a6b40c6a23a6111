"""What several commands share: the options that override a spec, and how they are checked."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from gradcheck_cli.errors import GradcheckError, Problem, did_you_mean
from gradcheck_cli.suite.collect import reproduce

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck_cli.spec.check import Check


def misused(message: str, hint: str | None = None) -> NoReturn:
    """Refuse a command line (exit 2)."""
    raise GradcheckError(Problem("GC028", message, None, hint))


def separated(option: str, text: str, known: Iterable[str]) -> tuple[str, ...]:
    """The parts of `a,b`, each of them known and each once."""
    known = tuple(known)
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        misused(f"{option} is empty", f"give one or more of {', '.join(known)}")
    for part in parts:
        if part not in known:
            listed = f"choose from {', '.join(known)}"
            misused(f"{option}: there is no `{part}`", did_you_mean(part, known) or listed)
    return parts


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says in place of the spec; None where it says nothing."""

    methods: tuple[str, ...] | None = None
    device: str | None = None
    dtypes: tuple[str, ...] = ()
    seed: int | None = None
    rtol: float | None = None
    atol: float | None = None

    @classmethod
    def of(
        cls,
        methods: str | None,
        device: str | None,
        dtype: str | None,
        seed: int | None,
        rtol: float | None,
        atol: float | None,
    ) -> Overrides:
        """From the options' texts. Raises GradcheckError (GC028)."""
        from gradcheck_cli.methods import METHODS
        from gradcheck_cli.spec.check import FLOATING

        if device is not None and not _is_device(device):
            misused(f"--device: there is no `{device}`", "choose cpu, cuda, cuda:1, ... or mps")
        if seed is not None and not 0 <= seed < 2**63:
            misused(f"--seed is {seed}", "give a whole number from 0 to 2**63 - 1")
        for option, number in (("--rtol", rtol), ("--atol", atol)):
            if number is not None and not (math.isfinite(number) and number >= 0):
                misused(f"{option} is {number}", "give a number of 0 or more, such as 1e-5")
        return cls(
            None if methods is None else separated("--methods", methods, METHODS),
            device,
            () if dtype is None else separated("--dtype", dtype, FLOATING),
            seed,
            rtol,
            atol,
        )

    def arguments(self) -> str:
        """The options again, for the command that reproduces a check."""
        given = {
            "--methods": self.methods and ",".join(self.methods),
            "--device": self.device,
            "--dtype": ",".join(self.dtypes) or None,
            "--seed": self.seed,
            "--rtol": self.rtol,
            "--atol": self.atol,
        }
        return " ".join(
            f"{option} {shlex.quote(str(value))}"
            for option, value in given.items()
            if value is not None
        )

    def command(self, check: Check) -> str:
        """The command line that runs `check` alone with these options; none for a spec from stdin."""
        return reproduce(check, self.arguments())

    def apply(self, checks: Sequence[Check]) -> list[tuple[Check, str | None]]:
        """The checks as they will run, each with the command that runs it alone (None: the usual one).

        Several dtypes expand a check. Siblings that an override makes the same run once.
        """
        if self == Overrides():
            return [(check, None) for check in checks]
        made: list[tuple[Check, str | None]] = []
        seen = set()
        for check in checks:
            for dtype in self.dtypes or (check.dtype,):
                one = replace(self, dtypes=(dtype,) if self.dtypes else ())
                changed = one.on(check, dtype, several=len(self.dtypes) > 1)
                sizes = tuple(changed.dims.items())
                base = _without_suffix(check)
                key = (check.file, check.line, base, changed.dtype, changed.device, sizes)
                if key not in seen:
                    seen.add(key)
                    made.append((changed, one.command(check)))
        return made

    def on(self, check: Check, dtype: str, *, several: bool) -> Check:
        """`check` as it runs with these options, in one dtype of `several`."""
        from gradcheck_cli.spec.check import Tolerance

        tolerance = check.tolerance
        if self.rtol is not None or self.atol is not None:
            old = tolerance or Tolerance()
            tolerance = Tolerance(
                old.rtol if self.rtol is None else self.rtol,
                old.atol if self.atol is None else self.atol,
            )
        return replace(
            check,
            id=f"{_without_suffix(check)}{_suffix(check, self, dtype, several=several)}",
            methods=check.methods if self.methods is None else self.methods,
            device=check.device if self.device is None else self.device,
            dtype=dtype,
            seed=check.seed if self.seed is None else self.seed,
            tolerance=tolerance,
        )


def _is_device(name: str) -> bool:
    kind, _, index = name.partition(":")
    if not index:
        return name in ("cpu", "cuda", "mps")
    return kind == "cuda" and index.isdecimal() and index.isascii()


def _parts(check: Check) -> list[str]:
    """What the id says in brackets after the name: `[float32,N=3]`."""
    known = f"{check.file}::{check.name}" if check.file is not None else check.name
    rest = check.id.removeprefix(known)
    opening = rest.find("[")
    return rest[opening + 1 : -1].split(",") if opening >= 0 and rest.endswith("]") else []


def _without_suffix(check: Check) -> str:
    parts = _parts(check)
    return check.id.removesuffix(f"[{','.join(parts)}]") if parts else check.id


def _suffix(check: Check, overrides: Overrides, dtype: str, *, several: bool) -> str:
    """The brackets with what is overridden taken out, and the dtype in where there are several."""
    parts = [
        part
        for part in _parts(check)
        if not (overrides.dtypes and part == check.dtype)
        and not (overrides.device is not None and part == check.device)
    ]
    if several:
        parts.insert(0, dtype)
    return f"[{','.join(parts)}]" if parts else ""
