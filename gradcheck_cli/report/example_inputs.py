"""Example inputs as PyTorch code: drawn as a spec file says, in float64, with PyTorch's own generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.spec.check import InputSpec

# Longer literals of a spec file are not copied: numbers are drawn in their place.
_MOST_NUMBERS = 512


@dataclass(frozen=True, slots=True)
class Draw:
    """Lines that make an input, and an expression that keeps its structure where an element is moved."""

    lines: tuple[str, ...]
    structured: str = ""


def seeded(seed: int) -> str:
    """The line that makes draws repeatable."""
    return f"torch.manual_seed({seed})"


def example_inputs(
    inputs: Mapping[str, Expr], specs: Sequence[InputSpec], names: Mapping[str, str]
) -> dict[str, Draw]:
    """A draw for every input; `names` are the variables they are given to.

    Without a spec, real numbers are normal, and whole ones 0 or 1.
    """
    by_name = {spec.name: spec for spec in specs}
    return {name: _draw(node, by_name.get(name), names[name]) for name, node in inputs.items()}


def _draw(node: Expr, spec: InputSpec | None, name: str) -> Draw:
    floating = node.dtype.kind in "fz"
    dtype = f"torch.{node.dtype.name}"
    if spec is None:
        text = _normal(node.shape, {}) if floating else f"torch.randint(0, 2, {_size(node.shape)})"
        return Draw((f"{name} = {_cast(text, dtype, floating=floating)}",))
    lines = []
    if spec.value is not None and node.elements <= _MOST_NUMBERS:
        lines.append(f"{name} = torch.tensor({spec.value!r}, dtype={dtype})")
        if node.ndim == 0 or 0 in node.shape:
            lines[-1] += f".reshape({_size(node.shape)})"
    elif spec.value is not None or spec.file is not None:
        text = _normal(node.shape, {}) if floating else f"torch.randint(0, 2, {_size(node.shape)})"
        lines.append("# The spec gives these numbers; others of their kind are drawn here.")
        lines.append(f"{name} = {_cast(text, dtype, floating=floating)}")
    else:
        text = _SAMPLERS[spec.sampler](node.shape, spec.parameters)
        drawn = spec.sampler in _FLOATING
        lines.append(f"{name} = {_cast(text, dtype, floating=floating and drawn)}")
    if spec.avoid is not None:
        points = ", ".join(f"{point:g}" for point in spec.avoid.near)
        lines.append(f"for point in ({points},):  # not differentiable there")
        step = f"{2 * spec.avoid.margin:g}"
        lines.append(
            f"    beside = torch.where({name} < point, point - {step}, point + {step}).to({dtype})"
        )
        near = f"({name} - point).abs() < {spec.avoid.margin:g}"
        lines.append(f"    {name} = torch.where({near}, beside, {name})")
    if spec.structure is not None and spec.value is None:
        lines.append(f"{name} = {_STRUCTURES[spec.structure].format(name)}")
    symmetric = spec.sampler == "spd" or spec.structure == "symmetric"
    return Draw(tuple(lines), f"({name} + {name}.mT) / 2" if symmetric and floating else "")


def _size(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _cast(text: str, dtype: str, *, floating: bool) -> str:
    """Draws of real numbers are of float64 already."""
    whole = text.startswith("torch.randint") and dtype == "torch.int64" and text.endswith(")")
    return text if floating or whole else f"({text}).to({dtype})"


_DOUBLE = "dtype=torch.float64"


def _normal(shape: Sequence[int], p: Mapping[str, float]) -> str:
    text = f"torch.randn({_size(shape)}, {_DOUBLE})"
    if p.get("std", 1.0) != 1.0:
        text = f"{p['std']:g} * {text}"
    return text if p.get("mean", 0.0) == 0.0 else f"{p['mean']:g} + {text}"


def _uniform(shape: Sequence[int], p: Mapping[str, float]) -> str:
    text = f"torch.rand({_size(shape)}, {_DOUBLE})"
    low, high = p["low"], p["high"]
    return text if (low, high) == (0.0, 1.0) else f"torch.lerp({_ends(low, high)}, {text})"


def _ends(low: float, high: float) -> str:
    return ", ".join(f"torch.tensor({end!r}, {_DOUBLE})" for end in (float(low), float(high)))


def _one_hot(shape: Sequence[int], _: Mapping[str, float]) -> str:
    return f"F.one_hot(torch.randint(0, {shape[-1]}, {_size(shape[:-1])}), {shape[-1]})"


def _spd(shape: Sequence[int], _: Mapping[str, float]) -> str:
    # The Gram matrix of normal columns, and the identity that bounds its eigenvalues from below.
    size = shape[-1]
    gram = f"torch.cov(torch.randn(({size}, {2 * size + 1}), {_DOUBLE}))"
    if len(shape) > 2:
        count = _count(shape[:-2])
        gram = f"torch.stack([{gram} for _ in range({count})]).reshape({_size(shape)})"
    elif size == 1:
        gram += ".reshape((1, 1))"
    return f"{gram} + torch.eye({size}, {_DOUBLE})"


def _count(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _lower(shape: Sequence[int], p: Mapping[str, float]) -> str:
    below = f"{_normal(shape, p)}.tril(-1) / {max(1, shape[-1])} ** 0.5"
    return f"{below} + torch.diag_embed(1 + torch.rand({_size(shape[:-1])}, {_DOUBLE}))"


_SAMPLERS: Mapping[str, Callable[[Sequence[int], Mapping[str, float]], str]] = {
    "normal": _normal,
    "uniform": _uniform,
    "positive": lambda shape, _: f"torch.exp(0.5 * {_normal(shape, {})})",
    "integers": lambda shape, p: (
        f"torch.randint({int(p['low'])}, {int(p['high'])}, {_size(shape)})"
    ),
    "bernoulli": lambda shape, p: f"torch.rand({_size(shape)}) < {p['p']:g}",
    "one_hot": _one_hot,
    "simplex": lambda shape, _: f"torch.softmax({_normal(shape, {})}, -1)",
    "spd": _spd,
    "orthogonal": lambda shape, _: f"torch.linalg.qr({_normal(shape, {})}).Q",
    "lower_triangular": _lower,
    "permutation": lambda shape, _: f"torch.rand({_size(shape)}).argsort(-1)",
    "arange": lambda shape, _: f"torch.arange({_count(shape)}).reshape({_size(shape)})",
    "linspace": lambda shape, p: (
        f"torch.linspace({float(p['low'])!r}, {float(p['high'])!r}, {_count(shape)}, {_DOUBLE})"
        f".reshape({_size(shape)})"
    ),
    "zeros": lambda shape, _: f"torch.zeros({_size(shape)})",
    "ones": lambda shape, _: f"torch.ones({_size(shape)})",
}
_FLOATING = frozenset(
    [
        *("normal", "uniform", "positive", "simplex", "spd", "orthogonal", "lower_triangular"),
        "linspace",
    ]
)
_STRUCTURES = {
    "symmetric": "{0}.tril() + {0}.tril(-1).mT",
    "lower_triangular": "{0}.tril()",
    "upper_triangular": "{0}.triu()",
    "diagonal": "torch.diag_embed({0}.diagonal(dim1=-2, dim2=-1))",
}
