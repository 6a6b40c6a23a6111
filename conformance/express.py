"""Samples of the database written in gradcheck's language: text, and the arrays of its inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from conformance.database import PUBLIC
from gradcheck_cli import dtypes
from gradcheck_cli.graph import variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.database import Entry
    from gradcheck_cli.graph import Expr

NAMES = ("x", "y", "z")
# The database gives these two their weight as the input.
WEIGHT_FIRST = ("nn.functional.embedding", "nn.functional.embedding_bag")
_INFIX = {
    "__radd__": "{1} + {0}",
    "__rdiv__": "{1} / {0}",
    "__rmul__": "{1} * {0}",
    "__rsub__": "{1} - {0}",
    "__rpow__": "{1} ** {0}",
    "__rmod__": "{1} % {0}",
    "__rmatmul__": "{1} @ {0}",
}
# Signs (of singular vectors, of eigenvectors) are free, and so are singular vectors beyond the values, `k`
# of them: what doesn't depend on them is compared.
_FREE = {
    "svd": {0: "[..., :{k}].abs()", 2: "[..., :{k}].abs()"},
    "linalg.svd": {0: "[..., :{k}].abs()", 2: "[..., :{k}, :].abs()"},
    "linalg.eigh": {1: ".abs()"},
    "linalg.eig": {1: ".abs()"},
}


class Inexpressible(Exception):  # noqa: N818 -- a finding, no error
    """A sample holds something that the language has no words for."""


@dataclass
class Expressed:
    """An expression with its inputs."""

    text: str
    tensors: dict[str, torch.Tensor]

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The inputs' numbers, as gradcheck takes them."""
        return {name: array_of(tensor) for name, tensor in self.tensors.items()}

    @cached_property
    def scope(self) -> dict[str, Expr]:
        """The inputs as nodes."""
        return {
            name: variable(name, tensor.shape, dtypes.BY_NAME[str(tensor.dtype)[len("torch.") :]])
            for name, tensor in self.tensors.items()
        }


def array_of(tensor: torch.Tensor) -> Any:
    """A tensor as NumPy's; bfloat16, which NumPy lacks, is held in float32."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy(force=True)


@dataclass
class _Writer:
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def write(self, value: Any) -> str:
        match value:
            case torch.Tensor():
                count = len(self.tensors)
                name = NAMES[count] if count < len(NAMES) else f"t{count}"
                self.tensors[name] = value
                return name
            case torch.Size():
                return str(tuple(value))
            case list():
                return f"[{', '.join(map(self.write, value))}]"
            case tuple():
                inside = ", ".join(map(self.write, value))
                return f"({inside},)" if len(value) == 1 else f"({inside})"
            case slice():
                parts = ["" if p is None else self.write(p) for p in (value.start, value.stop)]
                step = "" if value.step is None else f":{self.write(value.step)}"
                return ":".join(parts) + step
            case float() if not math.isfinite(value):
                return "math.nan" if value != value else "math.inf" if value > 0 else "-math.inf"
            case bool() | int() | float() | str() | None:
                return repr(value)
            case torch.dtype() | torch.memory_format():
                return str(value)
            case torch.nn.LinearCrossEntropyOptions() | torch.nn.PairwiseDistance():
                return f"torch.nn.{value!r}"
        if value is Ellipsis:
            return "..."
        if isinstance(value, complex):
            raise Inexpressible(f"a complex number ({value}) as an argument")
        raise Inexpressible(f"an argument of type {type(value).__name__}")

    def call(self, entry: Entry, sample: Any) -> Iterator[str]:
        """Ways to write the call, the most usual first."""
        name = entry.info.name
        first = self.write(sample.input)
        if name == "__getitem__":
            index = sample.args[0]
            items = index if isinstance(index, tuple) else (index,)
            yield f"{first}[{', '.join(map(self.write, items)) or '()'}]"
            return
        if name in ("T", "H", "mT", "mH"):
            yield f"{first}.{name}"
            return
        rest = [self.write(arg) for arg in sample.args]
        if name == "einsum":  # the database has the equation behind the operands
            yield f"torch.einsum({rest[0]}, {first[1:-1]})"
            return
        if name in _INFIX:
            yield _INFIX[name].format(first, *rest)
            return
        named = [f"{key}={self.write(value)}" for key, value in sample.kwargs.items()]
        if name in WEIGHT_FIRST:
            first, rest[0] = rest[0], first
        inside = ", ".join([*rest, *named])
        path = PUBLIC.get(name, f"torch.{name}").replace("torch.nn.functional.", "F.")
        both = ", ".join(filter(None, (first, inside)))
        yield f"{path}({both})"
        if isinstance(sample.input, list):
            yield f"{path}({', '.join(filter(None, (first[1:-1], inside)))})"
        if "." not in name and isinstance(sample.input, torch.Tensor):
            yield f"{first}.{name}({inside})"
        if name == "linalg.pinv" and rest:  # of a product, which the database has for its rank
            yield f"{path}({first} @ {rest[0]}.mT)"
        if name == "special.polygamma":
            yield f"{path}({', '.join([*rest, first])})"
        if name == "where":
            condition, *others = rest
            yield f"{path}({', '.join([condition, first, *others])})"


def spellings(entry: Entry, sample: Any) -> list[Expressed]:
    """The sample's call, in every way of writing it. Raises Inexpressible."""
    writer = _Writer()
    return [Expressed(text, writer.tensors) for text in writer.call(entry, sample)]


def parts(entry: Entry, call: str, result: Any) -> list[str]:
    """One expression per tensor of the result, what is free in it left out, real where it is complex."""
    if isinstance(result, torch.Tensor):
        return [_real(call, result)]
    free = _FREE.get(entry.info.name, {})
    found: list[str] = []
    for number, item in enumerate(result):
        if isinstance(item, torch.Tensor):
            text = f"{call}[{number}]"
            if number in free:
                text += free[number].format(k=result[1].shape[-1])
            found.append(_real(text, item) if number not in free else text)
        elif isinstance(item, (list, tuple)):
            found += parts(entry, f"{call}[{number}]", item)
    return found


def _real(text: str, result: torch.Tensor) -> str:
    return f"torch.stack([{text}.real, {text}.imag])" if result.is_complex() else text
