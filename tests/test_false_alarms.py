"""No false alarm: right formulas never fail, whatever the seed, the dtype and the inputs' magnitude.

A sample runs always; `pytest -m slow -s tests/test_false_alarms.py` sweeps over everything and prints counts.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.methods import engine_method
from gradcheck_cli.methods.case import prepare, values_of
from gradcheck_cli.schema import Invalid
from gradcheck_cli.spec.load import load_file
from gradcheck_cli.spec.sample import rounded, sample
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradcheck_cli.spec.check import Check

SPECS = Path(__file__).parent.parent / "specs"
FILES = [path for path in sorted(SPECS.rglob("*.yaml")) if path.parent.name != "mistakes"]
DTYPES = ("float64", "float32", "bfloat16", "float16")
SCALES = (1.0, 1e-6, 1e6)
SEEDS = 20
# Numbers of any magnitude. The others' have a meaning that a factor would take away.
MAGNITUDES = {"normal", "uniform", "positive", "linspace", "arange", "spd", "lower_triangular"}


@dataclass(frozen=True)
class Variant:
    """A right check in another dtype, with another seed, its inputs multiplied."""

    check: Check
    scale: float

    def __str__(self) -> str:
        return f"{self.check.id} {self.check.dtype} seed {self.check.seed} x{self.scale:g}"

    def made(self) -> Check | None:
        """The check, or None where an input or a result is outside of the domain or of the dtype."""
        check = self.check
        try:
            if self.scale != 1.0:
                check = multiplied(check, self.scale)
            with values_of(check):
                found = engine_method.run(prepare(check))
        except (GradcheckError, Invalid):
            return None
        results = [found.value, *(estimate.gradient for estimate in found.estimates.values())]
        finite = all(np.isfinite(rounded(np.asarray(r), check.dtype)).all() for r in results)
        return check if finite else None


def multiplied(check: Check, factor: float) -> Check:
    """The check with its sampled inputs times `factor`, given as values."""
    # In float64, so that nothing is rounded twice.
    drawn = sample(replace(check, dtype="float64"))
    inputs = [
        replace(spec, value=(drawn[spec.name] * factor).tolist(), avoid=None, structure=None)
        if spec.sampler in MAGNITUDES and spec.value is None and spec.is_floating
        else spec
        for spec in check.inputs
    ]
    return replace(check, inputs=tuple(inputs))


def variants(
    dtypes: Iterable[str] = DTYPES, scales: Iterable[float] = SCALES, seeds: int = SEEDS
) -> Iterator[Variant]:
    for path in FILES:
        for check in load_file(path):
            for dtype in dtypes:
                for scale in scales:
                    for seed in range(seeds):
                        yield Variant(replace(check, dtype=dtype, seed=seed), scale)


def swept(chosen: Iterable[Variant]) -> tuple[Counter[str], list[str]]:
    """How many ended how, and what was reported of those that didn't pass."""
    counts: Counter[str] = Counter()
    told = []
    for variant in chosen:
        check = variant.made()
        if check is None:
            counts["outside of the domain"] += 1
            continue
        outcome = run_check(check)
        counts[outcome.status] += 1
        if outcome.status != "passed":
            words = [f"{d.code} {d.method or ''} {d.message}" for d in outcome.diagnoses]
            told.append(f"{outcome.status}: {variant}: {outcome.error or ''} {'; '.join(words)}")
    return counts, told


def test_a_sample_of_right_formulas_raises_no_alarm() -> None:
    rng = np.random.default_rng(5)
    everything = list(variants())
    chosen = rng.choice(len(everything), 300, replace=False)
    counts, told = swept(everything[i] for i in chosen)
    assert counts["passed"] > 200
    assert not counts["failed"] + counts["error"], "\n".join(told)


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_right_formulas_raise_no_alarm(dtype: str, scale: float) -> None:
    counts, told = swept(variants([dtype], [scale]))
    sys.stdout.write("\n".join((f"\n{dtype} x{scale:g}: {dict(counts)}", *told, "")))
    assert not counts["failed"] + counts["error"], "\n".join(told)
