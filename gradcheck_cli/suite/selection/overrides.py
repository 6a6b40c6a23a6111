"""What the command line, the environment and the project say in place of a spec, put onto its checks."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.suite.selection.collect import reproduce

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.suite.selection.config import Config

# Every planned check is held in memory until the end.
MOST_PLANNED = 200_000


@dataclass(frozen=True, slots=True)
class Planned:
    """A check as it will run, and the command that runs it alone (None: the usual one)."""

    check: Check
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """Values in place of the spec's; None, or no dtype, where they say nothing."""

    methods: tuple[str, ...] | None = None
    device: str | None = None
    dtypes: tuple[str, ...] = ()
    seed: int | None = None
    rtol: float | None = None
    atol: float | None = None

    @classmethod
    def of(cls, config: Config) -> Overrides:
        """Those of a configuration's keys that a spec has too."""
        return cls(
            config.methods, config.device, config.dtype or (), config.seed, config.rtol, config.atol
        )

    def arguments(self) -> str:
        """As options, for the command that reproduces a check."""
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

    def with_defaults(self, defaults: Overrides, check: Check) -> Overrides:
        """These, and of `defaults` what neither they nor the spec of `check` say."""
        from gradcheck_cli.spec.check import Tolerance

        given, spec = check.given, check.tolerance or Tolerance()

        def says(mine: object, key: str) -> bool:
            return mine not in (None, ()) or key in given

        def tolerates(mine: float | None, of_spec: float | None) -> bool:
            return mine is not None or of_spec is not None

        return Overrides(
            self.methods if says(self.methods, "methods") else defaults.methods,
            self.device if says(self.device, "device") else defaults.device,
            self.dtypes if says(self.dtypes, "dtype") else defaults.dtypes,
            self.seed if says(self.seed, "seed") else defaults.seed,
            self.rtol if tolerates(self.rtol, spec.rtol) else defaults.rtol,
            self.atol if tolerates(self.atol, spec.atol) else defaults.atol,
        )

    def on(self, check: Check, dtype: str, *, several: bool) -> Check:
        """`check` as it runs with these, in one dtype of `several`."""
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


_NONE = Overrides()


def plan(
    checks: Sequence[Check], overrides: Overrides, defaults: Overrides = _NONE, repeat: int = 1
) -> list[Planned]:
    """The checks as they will run: with `overrides`, and with `defaults` where their spec says nothing.

    Several dtypes expand a check, and so does `repeat`: into as many with a seed one larger each. Siblings
    that an override makes the same run once.

    Raises GradcheckError (GC028) where that makes too many.
    """
    if len(checks) * repeat > MOST_PLANNED:
        message = f"{len(checks):,} checks repeated {repeat:,} times are more than {MOST_PLANNED:,}"
        raise GradcheckError(Problem("GC028", message, None, "repeat fewer, or fewer times"))
    found: list[Planned] = []
    seen = set()
    for check in checks:
        one = overrides.with_defaults(defaults, check)
        if one == _NONE:
            found += _repeated(check, check, one, repeat)
            continue
        for dtype in one.dtypes or (check.dtype,):
            single = replace(one, dtypes=(dtype,) if one.dtypes else ())
            changed = single.on(check, dtype, several=len(one.dtypes) > 1)
            sizes = tuple(changed.dims.items())
            base = _without_suffix(check)
            key = (check.file, check.line, base, changed.dtype, changed.device, sizes)
            if key not in seen:
                seen.add(key)
                found += _repeated(check, changed, single, repeat)
    return found


def _repeated(spec: Check, check: Check, overrides: Overrides, repeat: int) -> Iterator[Planned]:
    """`check` with each of its seeds; `spec` is the same as its file has it, for the command."""
    if repeat == 1:
        yield Planned(check, None if overrides == _NONE else overrides.command(spec))
        return
    if check.seed + repeat > 2**63:
        message = f"{repeat:,} seeds from {check.seed} on go beyond 2**63 - 1"
        raise GradcheckError(Problem("GC028", message, None, "give a smaller seed"))
    base, known = _without_suffix(check), _parts(check)
    for seed in range(check.seed, check.seed + repeat):
        name = f"{base}[{','.join([*known, f'seed={seed}'])}]"
        command = replace(overrides, seed=seed).command(spec)
        yield Planned(replace(check, id=name, seed=seed), command)


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
