"""Differences of neighbours along a dimension, slopes made of them, and integrals by trapezoids."""

from __future__ import annotations

from typing import Any

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, infix, t
from gradcheck_cli.ops._common import dim_of, distinct, register
from gradcheck_cli.schema import Invalid


def _part(x: Expr, dim: int, start: int | None, end: int | None) -> Expr:
    return x[(*(slice(None),) * dim, slice(start, end))]


def _steps(x: Expr, dim: int) -> Expr:
    return _part(x, dim, 1, None) - _part(x, dim, None, -1)


# Differences.


def _check_ends(x: Expr, dim: int, end: Expr | None, name: str) -> None:
    """Refuse what can't be put before or after `x`. Raises Invalid (GC015)."""
    if end is None:
        return
    same = end.ndim == x.ndim and all(
        a == b or d == dim for d, (a, b) in enumerate(zip(end.shape, x.shape, strict=True))
    )
    if not same:
        msg = f"`{name}` of shape {end.shape} doesn't fit the input of shape {x.shape}"
        raise Invalid("GC015", msg, f"only dimension {dim} may differ in size", name)


def _diff(x: Expr, prepend: Expr | None, append: Expr | None, n: int, dim: int) -> Expr:
    if x.ndim == 0:
        msg = "diff() needs at least one dimension, and the input has none"
        raise Invalid("GC015", msg, "give it a dimension: x.reshape(1)", "input")
    d = dim_of(dim, x.ndim)
    if n < 0:
        msg = f"diff() can't take {n} differences"
        raise Invalid("GC014", msg, "use 0 or more", "n")
    _check_ends(x, d, prepend, "prepend")
    _check_ends(x, d, append, "append")
    if n == 0:
        return x
    parts = [part for part in (prepend, x, append) if part is not None]
    joined: Expr = t.cat(parts, d) if len(parts) > 1 else x
    for _ in range(min(n, joined.shape[d])):
        if joined.dtype.kind == "b":
            joined = t.logical_xor(_part(joined, d, 1, None), _part(joined, d, None, -1))
        else:
            joined = _steps(joined, d)
    return joined


register(
    "diff(Tensor input, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None)",
    doc="The n-th differences of neighbours along a dimension.",
    define=_diff,
    samples=(
        Sample("x.diff()", x=(5,)),
        Sample("torch.diff(x, 2, 0)", x=(4, 3)),
        Sample("x.diff(dim=-1, prepend=y)", x=(2, 3), y=(2, 1)),
        Sample("x.diff(1, 1, y, z)", x=(2, 3), y=(2, 2), z=(2, 1)),
        Sample("x.diff(n=0)", x=(3,)),
        Sample("x.diff(5)", x=(2, 3)),
        Sample("i.diff()", i=In((4,), dtype="int64", low=0, high=9)),
        Sample("m.diff()", m=In((5,), dtype="bool")),
    ),
)

# Slopes.


def _edges(x: Expr, d: int, edge_order: int, first: Any, last: Any) -> tuple[Expr, Expr]:
    """The slopes at both ends; `first` and `last` are the two distances next to them, outermost first."""

    def at(start: int) -> Expr:
        return _part(x, d, start, start + 1 or None)

    if edge_order == 1:
        return (at(1) - at(0)) / first[0], (at(-1) - at(-2)) / last[0]
    (a, b), (c, e) = first, last
    head = at(1) * ((a + b) / (a * b)) - at(0) * ((2 * a + b) / (a * (a + b)))
    tail = at(-1) * ((2 * c + e) / (c * (c + e))) - at(-2) * ((c + e) / (c * e))
    return head - at(2) * (a / (b * (a + b))), tail + at(-3) * (c / (e * (c + e)))


def _slope(x: Expr, d: int, spacing: Any, edge_order: int) -> Expr:
    """Central differences inside, one-sided ones at the edges; second-order in uneven steps too."""
    before, here, after = _part(x, d, None, -2), _part(x, d, 1, -1), _part(x, d, 2, None)
    if not isinstance(spacing, Expr):
        inside = (after - before) / (2 * spacing)
        steps = ((spacing, spacing),) * 2
    else:
        if spacing.shape != x.shape[d : d + 1]:
            msg = f"the coordinates have shape {spacing.shape}, and dimension {d} has {x.shape[d]}"
            raise Invalid("GC015", msg, "give a coordinate for each element", "spacing")
        step = _steps(spacing, 0)
        gaps = step.reshape((-1, *[1] * (x.ndim - 1 - d)))
        left, right = _part(gaps, 0, None, -1), _part(gaps, 0, 1, None)
        slopes = (after - here) * (left / right) + (here - before) * (right / left)
        inside = slopes / (left + right)
        inner = (1, -2) if edge_order == 2 else (0, -1)
        steps = (step[0], step[inner[0]]), (step[-1], step[inner[1]])
    head, tail = _edges(x, d, edge_order, *steps)
    result: Expr = t.cat([head, inside, tail], d)
    return result


def _gradient(x: Expr, spacing: Any, dim: Any, edge_order: int) -> tuple[Expr, ...]:
    dims = tuple(range(x.ndim)) if dim is None else distinct(dim, x.ndim)
    if edge_order not in (1, 2):
        raise Invalid("GC014", "edge_order is 1 or 2", argument="edge_order")
    if x.dtype.kind == "b":
        msg = "gradient() isn't defined for masks (dtype bool)"
        raise Invalid("GC016", msg, "make numbers of it first: torch.where(mask, 1.0, 0.0)")
    if not isinstance(spacing, tuple):
        spacing = (1.0 if spacing is None else spacing,) * len(dims)
    if len(spacing) != len(dims):
        msg = f"{len(spacing)} spacings are given for {len(dims)} dimensions"
        raise Invalid("GC014", msg, "give one for each, or a single number", "spacing")
    for d in dims:
        if x.ndim and x.shape[d] <= edge_order:
            msg = f"dimension {d} of size {x.shape[d]} is too small for edge_order={edge_order}"
            raise Invalid("GC015", msg, f"it must have {edge_order + 1} elements or more", "input")
    if x.ndim == 0:
        return ()
    return tuple(_slope(x, d, s, edge_order) for d, s in zip(dims, spacing, strict=True))


_REST = "int[]? dim=None, int edge_order=1)"
for _kind, _samples in (
    (
        "Scalar? spacing=None",
        (
            Sample("torch.gradient(x)[0]", x=(5,)),
            Sample("torch.gradient(x, spacing=2.0, edge_order=2)[1]", x=(3, 4)),
            Sample("torch.gradient(x, dim=-1)[0]", x=(3, 4)),
            Sample("torch.gradient(i, spacing=2)[0]", i=In((4,), dtype="int64", low=0, high=9)),
        ),
    ),
    (
        "data spacing",
        (
            Sample("torch.gradient(x, spacing=[2.0, 0.5])[1]", x=(3, 4)),
            Sample("torch.gradient(x, spacing=(2.0, 1), dim=(1, 0), edge_order=2)[0]", x=(3, 4)),
        ),
    ),
    (
        "Tensor[] spacing",
        (
            Sample(
                "torch.gradient(x, spacing=[y])[0]", x=(5,), y=In(value=[0.0, 1.0, 3.0, 4.0, 6.5])
            ),
            Sample(
                "torch.gradient(x, spacing=(y,), dim=0, edge_order=2)[0]",
                x=(4, 2),
                y=In(value=[0.0, 1.0, 3.0, 3.5]),
            ),
            Sample(
                "torch.gradient(x, spacing=(y, z))[1]",
                x=(3, 2),
                y=In(value=[0.0, 1.0, 3.0]),
                z=In(value=[1.0, -0.5]),
            ),
        ),
    ),
):
    _overload = {"S": "", "d": ".scalararray", "T": ".tensorarray"}[_kind[0]]
    _define: Any = _gradient
    if _overload == ".tensorarray":

        def _define(x: Expr, *spacing: Expr, dim: Any, edge_order: int) -> tuple[Expr, ...]:
            return _gradient(x, spacing, dim, edge_order)

    register(
        f"gradient{_overload}(Tensor input, *, {_kind}, {_REST}",
        doc="The slope along each dimension by second-order differences; a tuple of tensors.",
        define=_define,
        on=("torch",),
        samples=_samples,
    )

# Integrals.


def _whole_of(y: Expr, dim: int) -> int:
    if y.ndim == 0:
        msg = "there is no dimension to integrate over in a tensor without dimensions"
        raise Invalid("GC015", msg, "give it a dimension: y.reshape(1)", "y")
    if y.dtype.kind == "b":
        msg = "the trapezoidal rule isn't defined for masks (dtype bool)"
        raise Invalid("GC016", msg, "make numbers of it first: torch.where(mask, 1.0, 0.0)", "y")
    return dim_of(dim, y.ndim)


def _areas(y: Expr, x: Expr, d: int) -> Expr:
    """Twice the area of each trapezoid."""
    if x.dtype.kind == "b":
        msg = "coordinates can't be a mask (dtype bool)"
        raise Invalid("GC016", msg, "make numbers of it first: x.double()", "x")
    if x.ndim == 1 and x.shape != y.shape[d : d + 1]:
        msg = f"{x.shape[0]} coordinates are given for dimension {d} of size {y.shape[d]}"
        raise Invalid("GC015", msg, "give one coordinate for each element", "x")
    if x.ndim == 0:
        msg = "coordinates need a dimension; a distance is given as dx="
        raise Invalid("GC015", msg, "write dx=2.0", "x")
    if x.ndim == 1:
        widths = _steps(x, 0).reshape((-1, *[1] * (y.ndim - 1 - d)))
    else:
        own = d - max(0, y.ndim - x.ndim)
        if own < 0:
            msg = f"coordinates of shape {x.shape} have no dimension {d} of y's shape {y.shape}"
            raise Invalid("GC015", msg, "give one coordinate for each element", "x")
        widths = _steps(x, own)
    areas: Expr = (_part(y, d, None, -1) + _part(y, d, 1, None)) * widths
    return areas


def _trapezoid(y: Expr, x: Expr, dim: int) -> Expr:
    d = _whole_of(y, dim)
    if not y.shape[d]:
        return y.sum(d).to(dtypes.to_default_floating(y.dtype))  # type: ignore[no-any-return]
    return _areas(y, x, d).sum(d) / 2  # type: ignore[no-any-return]


def _trapezoid_dx(y: Expr, dx: float, dim: int) -> Expr:
    d = _whole_of(y, dim)
    if not y.shape[d]:
        return y.sum(d).to(dtypes.to_default_floating(y.dtype))  # type: ignore[no-any-return]
    ends = y.select(d, 0) + y.select(d, -1)
    return (y.sum(d) - ends / 2) * dx  # type: ignore[no-any-return]


def _cumulative(y: Expr, x: Expr, dim: int) -> Expr:
    d = _whole_of(y, dim)
    return _areas(y, x, d).cumsum(d) / 2  # type: ignore[no-any-return]


def _cumulative_dx(y: Expr, dx: float, dim: int) -> Expr:
    d = _whole_of(y, dim)
    sums = (_part(y, d, None, -1) + _part(y, d, 1, None)).cumsum(d)
    return sums * infix("div", dx, 2)  # type: ignore[no-any-return]


for _name, _by_x, _by_dx, _what in (
    ("trapezoid", _trapezoid, _trapezoid_dx, "Integral"),
    ("trapz", _trapezoid, _trapezoid_dx, "Integral"),
    ("cumulative_trapezoid", _cumulative, _cumulative_dx, "Running integral"),
):
    _number = "float dx=1.0" if _name == "trapz" else "Scalar dx=1"
    register(
        f"{_name}.x(Tensor y, Tensor x, *, int dim=-1)",
        doc=f"{_what} along a dimension by the trapezoidal rule, at given coordinates.",
        define=_by_x,
        on=("torch",),
        samples=(
            Sample(f"torch.{_name}(y, x)", y=(2, 4), x=(4,)),
            Sample(f"torch.{_name}(y, x, dim=0)", y=(3, 2), x=(3,)),
            Sample(f"torch.{_name}(y, x, dim=-2)", y=(2, 3, 2), x=(3, 1)),
            Sample(f"torch.{_name}(y, x)", y=(2, 3), x=(2, 3)),
        ),
    )
    register(
        f"{_name}.dx(Tensor y, *, {_number}, int dim=-1)",
        doc=f"{_what} along a dimension by the trapezoidal rule, at equal distances.",
        define=_by_dx,
        on=("torch",),
        samples=(
            Sample(f"torch.{_name}(y)", y=(5,)),
            Sample(f"torch.{_name}(y, dx=0.5, dim=0)", y=(3, 2)),
            Sample(f"torch.{_name}(y, dx=2)", y=(2, 1)),
            Sample(f"torch.{_name}(y)", y=In((4,), dtype="int64", low=0, high=9)),
        ),
    )
