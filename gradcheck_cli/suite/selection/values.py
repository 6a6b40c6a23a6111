"""Values that a person gives by an option, a variable or a key of the configuration: read and judged alike.

Every function takes the name under which the value was given (`--jobs`, `GRADCHECK_JOBS`, `jobs`) and the
value, as text or as the type that it has already, and raises GradcheckError (GC028) where it is wrong.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

from gradcheck_cli.errors import GradcheckError, Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_SEED = 2**63 - 1
_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)\s*([a-z]*)")
# Longer than that is as good as no limit, and timers of the system would overflow.
_LONGEST = 10 * 24 * 3600.0
_WORDS = {"true": True, "1": True, "yes": True, "on": True}
_WORDS |= {"false": False, "0": False, "no": False, "off": False}
_MOST_PARTS = 4096


def misused(message: str, hint: str | None = None) -> NoReturn:
    """Refuse a value (exit 2)."""
    raise GradcheckError(Problem("GC028", message, None, hint))


def parts(name: str, value: Any) -> tuple[str, ...]:
    """The parts of `a,b`, or of a list; none twice, none empty."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(part, str) for part in given):
        misused(f"{name} is {_shown(value)}", "give text, or a list of texts")
    found = tuple(dict.fromkeys(part.strip() for part in given if part.strip()))
    if len(found) > _MOST_PARTS:
        misused(f"{name} has {len(found):,} parts", f"give at most {_MOST_PARTS:,}")
    return found


def separated(name: str, value: Any, known: Iterable[str]) -> tuple[str, ...]:
    """The same, each of them known, and at least one."""
    known = tuple(known)
    found = parts(name, value)
    if not found:
        misused(f"{name} is empty", f"give one or more of {', '.join(known)}")
    for part in found:
        if part not in known:
            listed = f"choose from {', '.join(known)}"
            misused(f"{name}: there is no `{part}`", did_you_mean(part, known) or listed)
    return found


def texts(name: str, value: Any) -> tuple[str, ...]:
    """One text, or a list of them; commas are part of a text."""
    return parts(name, [value] if isinstance(value, str) else value)


def text(name: str, value: Any) -> str:
    """Text as it is."""
    if not isinstance(value, str):
        misused(f"{name} is {_shown(value)}", "give text")
    return value


def methods(name: str, value: Any) -> tuple[str, ...]:
    """Methods by their names."""
    from gradcheck_cli.methods import METHODS

    return separated(name, value, METHODS)


def dtypes(name: str, value: Any) -> tuple[str, ...]:
    """Dtypes of a check by their names."""
    from gradcheck_cli.spec.check import FLOATING

    return separated(name, value, FLOATING)


def device(name: str, value: Any) -> str:
    """A device as PyTorch names it."""
    given = text(name, value)
    kind, _, index = given.partition(":")
    numbered = kind == "cuda" and index.isdecimal() and index.isascii()
    if not (numbered or (not index and given in ("cpu", "cuda", "mps"))):
        misused(f"{name}: there is no `{given}`", "choose cpu, cuda, cuda:1, ... or mps")
    return given


def seed(name: str, value: Any) -> int:
    """A seed of samples."""
    return whole(name, value, 0, _MOST_SEED, "give a whole number from 0 to 2**63 - 1")


def whole(name: str, value: Any, least: int, most: int = _MOST_SEED, hint: str = "") -> int:
    """A whole number from `least` to `most`."""
    hint = hint or f"give a whole number of {least} or more"
    number = value
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,20}", value.strip(), re.ASCII):
        number = int(value)
    if not isinstance(number, int) or isinstance(number, bool):
        misused(f"{name} is {_shown(value)}", hint)
    if not least <= number <= most:
        misused(f"{name} is {number}", hint if number < least else f"give at most {most:,}")
    return number


def tolerance(name: str, value: Any) -> float:
    """A tolerance: finite, and not negative."""
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = None
    good = isinstance(number, int | float) and not isinstance(number, bool)
    if not (good and math.isfinite(number) and number >= 0):
        misused(f"{name} is {_shown(value)}", "give a number of 0 or more, such as 1e-5")
    return float(number)


def flag(name: str, value: Any) -> bool:
    """Yes or no."""
    found = _WORDS.get(value.strip().casefold()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        misused(f"{name} is {_shown(value)}", "give true or false")
    return found


def duration(name: str, value: Any) -> float:
    """Seconds, from `30s`, `500ms`, `2m`, `1h` or a plain number of seconds; 0 for no limit."""
    hint = "give a time such as 30s, 500ms or 2m"
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    given = f"{value:f}" if plain else value
    found = _DURATION.fullmatch(given.strip().lower()) if isinstance(given, str) else None
    if found is None or found[2] not in _SECONDS:
        misused(f"{name} is {_shown(value)}", hint)
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST:
        misused(f"{name} is {_shown(value)}", "give at most 10 days (240h), or 0 for no limit")
    return seconds


def jobs(name: str, value: Any) -> int:
    """How many workers: a number, or `auto`."""
    from gradcheck_cli.suite.workers.execute import parse_jobs

    try:
        return parse_jobs(str(value))
    except GradcheckError as error:
        misused(f"{name} is {_shown(value)}", error.problems[0].hint)


def shard(name: str, value: Any) -> tuple[int, int]:
    """Which part of how many, from `2/3`."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text(name, value).strip(), re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        misused(f"{name} is {_shown(value)}", "give which part of how many, such as 1/3, 2/3, 3/3")
    return int(found[1]), int(found[2])


def packages(name: str, value: Any) -> tuple[str, ...]:
    """Names of packages and modules, with dots."""
    found = parts(name, value)
    for part in found:
        if not all(piece.isidentifier() for piece in part.split(".")):
            misused(f"{name}: `{part}` is no package's name", "as in `import`: package.module")
    return found


def _shown(value: Any) -> str:
    """What was given, short enough for a sentence."""
    shown = value if isinstance(value, str) else f"{value!r}"
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    return f"`{shown}`" if isinstance(value, str) else shown
