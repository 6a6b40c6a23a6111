"""Timing calls against each other: interleaved rounds, on a machine that others may use too."""

from __future__ import annotations

import gc
import math
import os
import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHORTEST = 1e-3  # seconds that a timing takes at least, by repeating the call
BUSY = 0.05  # the share of the machine that others may use in a round that counts
_WARM = 0.02  # a call that takes no longer is made once before each timing
_BATCH = 0.25  # seconds for which the use by others is told at least: the kernel counts in ticks


@dataclass
class Rounds:
    """What was measured: by round, each call's seconds, and the share of the machine others used."""

    seconds: list[dict[str, float]] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    @property
    def quiet(self) -> int:
        """The number of rounds that others left alone."""
        return sum(busy <= BUSY for busy in self.others)

    def counted(self) -> list[dict[str, float]]:
        """The quiet rounds where there are at least three of them, else all."""
        if self.quiet < 3:
            return self.seconds
        return [r for r, busy in zip(self.seconds, self.others, strict=True) if busy <= BUSY]

    @property
    def noisy(self) -> bool:
        """Whether others used the machine while this was measured."""
        return self.quiet < 3

    def median(self, name: str) -> float:
        """The call's median over the rounds that it took part in."""
        return statistics.median(r[name] for r in self._with(name))

    def best(self, name: str) -> float:
        """The call's shortest time."""
        return min(r[name] for r in self._with(name))

    def ratio(self, name: str, other: str) -> float:
        """The median of the ratios within a round."""
        return statistics.median(r[name] / r[other] for r in self._with(name, other))

    def _with(self, *names: str) -> list[dict[str, float]]:
        # A slow call may have no quiet round at all.
        counted = [r for r in self.counted() if all(name in r for name in names)]
        return counted or [r for r in self.seconds if all(name in r for name in names)]


def measure(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    budget: float,
    seed: int = 0,
) -> Rounds:
    """Time every call once a round, in an order drawn anew for each round.

    A call is repeated until it has taken `SHORTEST`. Rounds in which other processes used the machine are
    measured again. The whole takes about `budget` seconds: a call much slower than the rest takes part in
    fewer rounds, but in three at least (in one, if it takes longer than that alone).
    """
    order = list(calls)
    repeats, single = {}, {}
    for name, call in calls.items():
        repeats[name], single[name] = _calibrate(call)
    share = budget / len(order)
    wanted = {
        name: max(3 if once < budget else 1, min(rounds, int(share / (once * repeats[name]))))
        for name, once in single.items()
    }
    warm = [name for name, once in single.items() if once <= _WARM]
    had = dict.fromkeys(order, 0)  # the quiet rounds that each has had
    measured = Rounds()
    draw = random.Random(seed)  # noqa: S311 -- no secret
    end = time.perf_counter() + budget
    while any(had[name] < wanted[name] for name in order) and len(measured.seconds) < 4 * rounds:
        used, batch = Usage(), 0
        taking = [name for name in order if had[name] < wanted[name]]
        while batch == 0 or (used.seconds < _BATCH and batch < rounds):
            draw.shuffle(taking)
            turn: dict[str, float] = {}
            for name in taking:
                if name in warm:  # brings its data and code back into the caches
                    calls[name]()
                turn[name] = _timed(calls[name], repeats[name])
            measured.seconds.append(turn)
            batch += 1
        busy = used.by_others()
        measured.others += [busy] * batch
        if busy <= BUSY:
            had.update({name: had[name] + batch for name in taking})
        if len(measured.seconds) >= 3 and time.perf_counter() > end:
            break
    return measured


def wait_until_quiet(limit: float) -> None:
    """Wait until others leave the machine alone, for `limit` seconds at most."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        used = Usage()
        time.sleep(2 * _BATCH)
        if used.by_others() <= BUSY:
            return


def _calibrate(call: Callable[[], object]) -> tuple[int, float]:
    """How often the (warm) call has to be made for a timing of `SHORTEST`, and its seconds."""
    count = 1
    while (once := _timed(call, count)) * count < SHORTEST:
        count = max(count + 1, math.ceil(1.2 * SHORTEST / max(once, SHORTEST / 50 / count)))
    return count, once


def _timed(call: Callable[[], object], count: int) -> float:
    """Seconds a call, garbage collection off."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count
    finally:
        if collecting:
            gc.enable()


class Usage:
    """The processor time that others use, from its creation on (Linux; elsewhere it is unknown, 0)."""

    def __init__(self) -> None:
        self._busy, self._mine = _busy_seconds(), time.process_time()
        self._wall = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The time since then."""
        return time.perf_counter() - self._wall

    def by_others(self) -> float:
        """Their share of all processors."""
        others = _busy_seconds() - self._busy - (time.process_time() - self._mine)
        # Two ticks of 10 ms say nothing.
        return max(0.0, others - 0.02) / (self.seconds * (os.cpu_count() or 1))


def _busy_seconds() -> float:
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, soft, steal = map(
        int, stat.read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
