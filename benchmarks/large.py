"""Checks of a million elements: all five methods and the verdict, against one forward evaluation.

    python -m benchmarks.large [--elements 1000000] [--rounds 5] [--only NAME,...]

The whole of `run_check` (parsing the formulas, five methods, verdict), less drawing the inputs, over one
run of the engine's forward plan on the same arrays. That each check passes is asserted first. A round times
the two in turn; what is printed is the shortest of each, and how the check divides.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.methods import METHODS, load
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.sample import sample
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.spec.check import Check

AIM = 30.0


@dataclass(frozen=True)
class Large:
    """A check's texts; `inputs` in terms of n rows and columns, `x` is the input that is checked."""

    name: str
    expression: str
    manual: str | None
    inputs: str

    def check(self, elements: int) -> Check:
        """The check with an `x` of about so many elements."""
        n = round(elements**0.5)
        text = f"version: 1\ndims: {{n: {n}, k: {max(1, n // 50)}}}\n"
        text += f"inputs: {{x: {{shape: [n, n], requires_grad: true}}{self.inputs}}}\n"
        text += f"expression: {self.expression}\n"
        if self.manual:
            text += f"manual: {{x: '{self.manual}'}}\n"
        return load_text(text)[0]


_Y = ", y: {shape: [n, n]}"
_LABELS = ", y: {shape: [n], sample: integers, low: 0, high: 10}"
_LAYER = ", w: {shape: [n]}, b: {shape: [n]}, y: {shape: [n, n]}"
_WEIGHTS = ", u: {shape: [n, k], std: 0.05}, v: {shape: [k]}, y: {shape: [n]}"
PORTFOLIO = (
    Large("sum of squared errors", "(x - y).pow(2).sum()", "2 * (x - y)", _Y),
    Large("exponential", "(x * y).exp().sum()", "y * (x * y).exp()", _Y),
    Large("logistic loss", "F.softplus(-x * y).mean()", "-y * sigmoid(-x * y) / x.numel()", _Y),
    Large("log-cosh", "(x - y).cosh().log().mean()", "(x - y).tanh() / x.numel()", _Y),
    Large("Huber loss", "F.huber_loss(x, y)", "(x - y).clamp(-1, 1) / x.numel()", _Y),
    Large("tanh-approximated GELU", '(F.gelu(x, approximate="tanh") * y).sum()', None, _Y),
    Large(
        "cross entropy",
        "F.cross_entropy(x, y)",
        "(softmax(x, 1) - F.one_hot(y, x.shape[1])) / x.shape[0]",
        _LABELS,
    ),
    Large("layer norm", "(F.layer_norm(x, [x.shape[1]], w, b) * y).sum()", None, _LAYER),
    Large("two layers", "((x @ u).tanh() @ v - y).pow(2).mean()", None, _WEIGHTS),
)


def _shortest(call: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def _row(large: Large, elements: int, rounds: int) -> tuple[float, float, dict[str, float]]:
    """Seconds of one forward evaluation, of the check, and of its parts."""
    check = large.check(elements)
    outcome = run_check(check)
    assert outcome.status == "passed", (large.name, outcome.error, outcome.diagnoses)
    case = prepare(check)
    arrays, forward = case.arrays, Plan([case.output])
    assert math.isclose(float(forward(arrays)[0]), outcome.value["engine"], rel_tol=1e-9)
    drawing = _shortest(lambda: sample(check), rounds)
    single: list[float] = []
    whole: list[float] = []
    parts: dict[str, float] = {}
    for _ in range(rounds):
        single.append(_shortest(lambda: forward(arrays), 3))
        outcome = run_check(check)
        if not whole or outcome.seconds < min(whole):
            parts = {m.method: m.seconds for m in outcome.gradients[0].methods}
        whole.append(outcome.seconds)
    # The first method that runs draws the inputs.
    parts[next(iter(parts))] -= drawing
    return min(single), min(whole) - drawing, parts


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="names or parts of names, with commas")
    given = parser.parse_args()
    load(METHODS)
    wanted = given.only.split(",")
    print(f"{given.elements:,} elements; of one forward evaluation (aim: {AIM:g}):")
    print(f"{'':24}{'forward':>10}{'check':>8}", *(f"{m:>8}" for m in (*METHODS, "verdict")))
    for large in PORTFOLIO:
        if not any(part in large.name for part in wanted):
            continue
        forward, whole, parts = _row(large, given.elements, given.rounds)
        parts["verdict"] = max(0.0, whole - sum(parts.values()))
        shares = [
            f"{parts[m] / forward:8.1f}" if m in parts else f"{'-':>8}"
            for m in (*METHODS, "verdict")
        ]
        print(f"{large.name:24}{forward * 1e3:7.1f} ms{whole / forward:8.1f}", *shares, flush=True)


if __name__ == "__main__":
    main()
