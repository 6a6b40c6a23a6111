"""What a spec file says, resolved: frozen records that the rest of the program reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

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

    `dtype` None is the check's. `source` is its name in the spec file. `array` are numbers that no file
    holds, given from Python: float64, or of a whole `dtype`.
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
    array: NDArray[Any] | None = field(default=None, compare=False, repr=False)

    @property
    def drawn(self) -> bool:
        """Whether its numbers come from a sampler, and others may take their place."""
        return self.value is None and self.file is None and self.array is None

    @property
    def is_floating(self) -> bool:
        """Whether it can have a gradient; a check's own dtype is always floating."""
        return self.dtype is None or self.dtype in FLOATING


@dataclass(frozen=True, slots=True)
class Computed:
    """A gradient that the person's code computed: float64 numbers, and the dtype that it came in."""

    array: NDArray[Any]
    dtype: str


@dataclass(frozen=True, slots=True)
class Implementation:
    """The person's own code: what a spec names, or a Python object that a caller has at hand.

    `target` is `package.module:object`, which is imported when the check runs and not before; with an
    `object` nothing is imported, and `target` is its name. `kwargs` are constants that it is called with (a
    module class: that it is made with), and `source` is where the spec names it.
    """

    target: str
    object: Any = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one gradient, in one dtype on one device, with every size a number.

    `wrt` names the inputs whose gradient is checked. `cotangent` is "random", "ones" or an
    expression; the text of `expression` is empty where only an `implementation` is checked.
    `manual_sources` is where each key of `manual` stands. `id` is unique in its file.
    `computed` are gradients by input that stand in place of a manual formula.
    `given` are the keys that the spec has for it, in `defaults` too: a project's own defaults hold for
    the others.
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
    implementation: Implementation | None = None
    computed: Mapping[str, Computed] = field(default_factory=dict, compare=False, repr=False)
    given: frozenset[str] = frozenset()
