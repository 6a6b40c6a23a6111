"""What a spec file says, resolved: frozen records that the rest of the program reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gradcheck_cli.errors import Source

Value: TypeAlias = float | int | bool | list["Value"]

FLOATING = ("float64", "float32", "float16", "bfloat16")
WHOLE = ("int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a check allows; None where the measured default holds."""

    rtol: float | None = None
    atol: float | None = None


@dataclass(frozen=True, slots=True)
class Avoid:
    """Samples stay at least `margin` away from each point in `near`."""

    near: tuple[float, ...]
    margin: float


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: where its numbers come from, and its shape, which is known before they are drawn.

    `dtype` None is the check's. `source` is its name in the spec file.
    """

    name: str
    shape: tuple[int, ...]
    source: Source
    dtype: str | None = None
    requires_grad: bool | None = None
    sampler: str = "normal"
    parameters: Mapping[str, float] = field(default_factory=dict)
    value: Value | None = None
    file: Path | None = None
    key: str | None = None
    structure: str | None = None
    avoid: Avoid | None = None

    @property
    def is_floating(self) -> bool:
        """Whether it can have a gradient; a check's own dtype is always floating."""
        return self.dtype is None or self.dtype in FLOATING


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one gradient, in one dtype on one device, with every size a number.

    `wrt` names the inputs whose gradient is checked. `cotangent` is "random", "ones" or an
    expression. `manual_sources` is where each key of `manual` stands. `id` is unique in its file.
    """

    id: str
    name: str
    file: str | None
    line: int
    inputs: tuple[InputSpec, ...]
    expression: Source
    wrt: tuple[str, ...]
    description: str = ""
    tags: tuple[str, ...] = ()
    let: tuple[tuple[str, Source], ...] = ()
    cotangent: Source | str = "random"
    manual: Mapping[str, Source] = field(default_factory=dict)
    manual_sources: Mapping[str, Source] = field(default_factory=dict)
    order: int = 1
    dtype: str = "float64"
    device: str = "cpu"
    methods: tuple[str, ...] | None = None
    tolerance: Tolerance | None = None
    seed: int = 0
    expect_fail: bool = False
    expect_code: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
