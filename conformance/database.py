"""PyTorch's operator database: the entries, what is in scope of them, and their samples.

The database is PyTorch's own list of its operators, with the sample inputs that its developers test on.
"""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 0
# Names with an underscore in front are PyTorch's own business; these have no public spelling either.
NOT_PUBLIC = {
    "max_pool2d_with_indices_backward": "half of a backward pass",
    "native_dropout_backward": "half of a backward pass",
    "slice": "only in torch.ops.aten; x[a:b] is `__getitem__`",
    "torch.ops.aten._safe_softmax.default": "only in torch.ops.aten",
}
PUBLIC = {"_segment_reduce": "torch.segment_reduce"}
_OPERATORS = ("__getitem__", "__radd__", "__rdiv__", "__rmatmul__", "__rmod__", "__rmul__")
DUNDERS = frozenset([*_OPERATORS, "__rpow__", "__rsub__"])
IN_PLACE = frozenset(["zero_"])
# Where PyTorch itself is wrong, so that agreeing with it would be, too.
THEIRS = {
    "as_strided_scatter": "PyTorch gives the input the gradient of the elements that were replaced: "
    "the database marks its gradient check as failing",
    "nn.functional.ctc_loss": "PyTorch gives the gradient of logits behind a log_softmax, and here "
    "log_probs are inputs of their own",
    "masked.logaddexp": "PyTorch's second derivative is NaN where one side is masked out (0 times "
    "infinity)",
}
# Documented as not to be differentiated twice, which the database doesn't say: PyTorch gives zeros.
ONLY_ONCE = frozenset(
    f"nn.functional.linear_cross_entropy.{variant}" for variant in ("chunked", "chunked_none")
)


@dataclass(frozen=True)
class Entry:
    """One row of the database: an operator, or a variant of one."""

    info: Any

    @property
    def name(self) -> str:
        """PyTorch's name, with the variant where there is one: `linalg.norm.subgradients_at_zero`."""
        variant = self.info.variant_test_name
        return f"{self.info.name}.{variant}" if variant else str(self.info.name)

    @property
    def twice(self) -> bool:
        """Whether PyTorch differentiates it twice."""
        return bool(self.info.supports_gradgrad) and self.name not in ONLY_ONCE

    def samples(self) -> Iterator[Any]:
        """The database's sample inputs in float64, the same ones every time."""
        with seeded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield from self.info.sample_inputs("cpu", torch.float64, requires_grad=True)

    def refused(self) -> Iterator[Any]:
        """Calls that PyTorch refuses, with the error that it raises."""
        if self.info.error_inputs_func is None:
            return
        with seeded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield from self.info.error_inputs("cpu")

    def out_of_scope(self) -> str | None:
        """Why no check can hold this operator; None where one can."""
        name = self.info.name
        if name in NOT_PUBLIC:
            return f"not public: {NOT_PUBLIC[name]}"
        if name in IN_PLACE:
            return "in place: an expression has no side effects"
        if name.startswith("_") and name not in PUBLIC and name not in DUNDERS:
            return "not public: its name begins with an underscore"
        return self._sparse() or self._random()

    def _sparse(self) -> str | None:
        for sample in self.samples():
            for value in (*flat(sample.input), *flat(sample.args), *flat(run(self.info, sample))):
                if isinstance(value, torch.Tensor) and value.layout is not torch.strided:
                    return "sparse: gradcheck checks dense tensors"
            return None
        return None

    def _random(self) -> str | None:
        drawn = [self.is_random(sample) for sample in self.samples() if not self._is_empty(sample)]
        return "random: a check must be repeatable" if drawn and all(drawn) else None

    def _is_empty(self, sample: Any) -> bool:
        return all(
            isinstance(v, torch.Tensor) and not v.numel() for v in flat(run(self.info, sample))
        )

    def is_random(self, sample: Any) -> bool:
        """Whether it draws random numbers: found out, so that nobody needs to keep a list."""
        with seeded():
            before = torch.get_rng_state()
            # The database seeds some operators itself, and puts the generator back.
            with mock.patch("torch.manual_seed"), mock.patch("torch.set_rng_state"):
                run(self.info, sample)
            return not torch.equal(before, torch.get_rng_state())


class seeded:  # noqa: N801 -- reads as a statement
    """PyTorch's, NumPy's and Python's generators at `SEED`, and what they were afterwards."""

    def __enter__(self) -> None:
        self.before = torch.get_rng_state(), np.random.get_state(), random.getstate()
        torch.manual_seed(SEED)
        np.random.seed(SEED)
        random.seed(SEED)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.before[0])
        np.random.set_state(self.before[1])
        random.setstate(self.before[2])


def entries() -> list[Entry]:
    """What PyTorch differentiates with real inputs in float64, in the database's order."""
    from torch.testing._internal.common_methods_invocations import op_db

    return [
        Entry(info)
        for info in op_db
        if info.supports_autograd and torch.float64 in info.supported_dtypes("cpu")  # type: ignore[no-untyped-call]
    ]


def run(info: Any, sample: Any) -> Any:
    """The operator as the database itself calls it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return info.op(sample.input, *sample.args, **sample.kwargs)


def flat(value: Any) -> list[Any]:
    """What is in nested lists, tuples and mappings, in order."""
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in flat(item)]
    return [value]
