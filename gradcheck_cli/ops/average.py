"""Average pooling in one to three dimensions: the mean of each sliding window, or of equal parts."""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Shape, Type, infix, make, t
from gradcheck_cli.ops import convolution, pool
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.windows import out_sizes, product, require_input, window_of
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

Numbers = tuple[int, ...]


def _mean_type(
    name: str,
    ndim: int,
    x: Expr,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Type:
    require_input(name, x, ndim)
    if x.dtype.kind == "b" or x.dtype.name == "uint8":
        raise Invalid(
            "GC016", f"{name}() isn't defined for {x.dtype.name}", "convert it: x.double()"
        )
    if divisor_override == 0:
        raise Invalid("GC014", "the divisor must not be zero", argument="divisor_override")
    window = window_of(ndim, kernel_size, stride, padding)
    out = out_sizes(name, x.shape[-ndim:], window, ceil_mode=ceil_mode)
    return Type((*x.shape[:-ndim], *out), x.dtype)


def _counts(size: Shape, out: Shape, window: tuple[Shape, ...], *, margins: bool) -> list[Any]:
    """How many elements the windows have in each dim, with or without those in the margins."""
    counts = []
    for n, o, k, s, p, _ in zip(size, out, *window, strict=True):
        first = np.arange(o) * s - p
        last = np.minimum(first + k, n + p)
        if not margins:
            first, last = np.maximum(first, 0), np.minimum(last, n)
        counts.append(last - first)
    return counts


def _mean_kernel(
    ndim: int,
    x: Any,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Any:
    window = window_of(ndim, kernel_size, stride, padding)
    size = x.shape[-ndim:]
    out = out_sizes("", size, window, ceil_mode=ceil_mode)
    total = pool.sums(x, out, window)
    divisor: Any = divisor_override
    if divisor is None:
        plain = not ceil_mode and (count_include_pad or not any(window[2]))
        divisor = product(window[0])
        if not plain:
            counts = _counts(size, out, window, margins=count_include_pad)
            divisor = reduce(np.multiply.outer, counts)
    if x.dtype.kind in "iu":
        return np.trunc(total / divisor).astype(x.dtype)
    if isinstance(divisor, int):
        total /= divisor
        return total
    return total / divisor.astype(x.real.dtype)


def _mean_vjp(
    ndim: int,
    g: Expr,
    out: Expr,
    x: Expr,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Any:
    """Every mean spreads over its window: the gradient of a convolution with equal weights."""
    window = window_of(ndim, kernel_size, stride, padding)
    kernel, step, margins, _ = window
    batch, share = (x, g) if x.ndim == ndim + 2 else (x.unsqueeze(0), g.unsqueeze(0))
    geometry: dict[str, Any] = {"stride": step, "padding": margins, "dilation": (1,)}
    conv, by_input, _ = convolution.RECORDS[ndim]
    size = [batch.size(d) for d in range(ndim + 2)]
    cut = []
    for d, (n, o, k, s, p) in enumerate(
        zip(x.shape[-ndim:], out.shape[-ndim:], kernel, step, margins, strict=True), 2
    ):
        beyond = (o - 1) * s + k - 2 * p - n
        if beyond > 0:  # with ceil_mode the last window reaches over the margin
            size[d] = infix("add", size[d], beyond)
            cut.append(d)
    divisor: Any = divisor_override or product(kernel)
    if divisor_override is None and cut:
        divisor = 1
        counts = _counts(x.shape[-ndim:], out.shape[-ndim:], window, margins=count_include_pad)
        for d, count in enumerate(counts):
            divisor = divisor * t.tensor(count.tolist(), dtype=x.dtype).reshape(
                (count.size, *[1] * (ndim - 1 - d))
            )
    elif divisor_override is None and not count_include_pad and any(margins):
        ones = t.ones((1, 1, *kernel), dtype=x.dtype)
        inside = t.ones((1, 1, *size[2:]), dtype=x.dtype)
        divisor = make(conv, (inside, ones, None), {**geometry, "groups": 1})
    weight = t.ones((size[1], 1, *kernel), dtype=x.dtype)
    geometry["groups"] = x.shape[-ndim - 1]
    shared = make(by_input, (weight, share / divisor), {"input_size": tuple(size), **geometry})
    for d in cut:
        shared = shared.narrow(d, 0, batch.size(d))
    return shared if x.ndim == ndim + 2 else shared.squeeze(0)


_WINDOW = (
    "Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, bool ceil_mode=False, "
    "bool count_include_pad=True"
)


def _register(ndim: int, places: tuple[str, ...], extra: str, samples: tuple[Sample, ...]) -> None:
    name = f"avg_pool{ndim}d"
    register(
        f"{name}({_WINDOW}{extra})",
        doc="The mean of each sliding window.",
        infer=partial(_mean_type, name, ndim),
        kernel=partial(_mean_kernel, ndim),
        leading=lambda node: node.ndim - ndim,
        vjp=partial(_mean_vjp, ndim),
        on=places,
        analytic=True,
        samples=samples,
    )


_register(
    1,
    ("torch", "F"),
    "",
    (
        Sample("F.avg_pool1d(x, 2)", x=(2, 3, 5)),
        Sample("torch.avg_pool1d(x, 3, 1, 1)", x=(2, 6)),
        Sample("F.avg_pool1d(x, 3, 2, 1, count_include_pad=False)", x=(1, 2, 5)),
        Sample("F.avg_pool1d(x, (3,), stride=2, padding=1, ceil_mode=True)", x=(1, 2, 6)),
        Sample("F.avg_pool1d(x, 2)", x=(0, 2, 4)),
    ),
)
_register(
    2,
    ("F",),
    ", int? divisor_override=None",
    (
        Sample("F.avg_pool2d(x, 2)", x=(2, 3, 4, 6)),
        Sample("F.avg_pool2d(x, (2, 3), (1, 2), (1, 0))", x=(2, 5, 6)),
        Sample("F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)", x=(2, 5, 4)),
        Sample("F.avg_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)", x=(1, 2, 6, 4)),
        Sample("F.avg_pool2d(x, 2, 3, ceil_mode=True, count_include_pad=False)", x=(1, 2, 5, 4)),
        Sample("F.avg_pool2d(x, 2, divisor_override=-3)", x=(1, 1, 4, 5)),
        Sample("F.avg_pool2d(x, 2)", x=(0, 2, 4, 4)),
    ),
)
_register(
    3,
    ("F",),
    ", int? divisor_override=None",
    (
        Sample("F.avg_pool3d(x, 2)", x=(2, 1, 2, 4, 3)),
        Sample("F.avg_pool3d(x, (2, 3, 1), (1, 2, 2), (1, 0, 0))", x=(2, 2, 5, 3)),
        Sample("F.avg_pool3d(x, 3, 2, 1, True, False)", x=(1, 1, 4, 3, 5)),
        Sample("F.avg_pool3d(x, 2, padding=1, ceil_mode=True)", x=(1, 3, 2, 4)),
        Sample("F.avg_pool3d(x, 2, divisor_override=3)", x=(1, 1, 3, 2, 2)),
    ),
)


def part_sizes(name: str, x: Expr, ndim: int, output_size: Sequence[int | None]) -> Shape:
    """How many parts each dim is cut into; None leaves it as it is. Raises Invalid (GC014, GC016)."""
    if x.dtype.kind != "f":
        msg = f"{name}() needs a floating-point tensor, not {x.dtype.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype")
    given = tuple(output_size)
    if len(given) not in (1, ndim):
        wanted = "one whole number" if ndim == 1 else f"one whole number or {ndim} of them"
        raise Invalid("GC014", f"output_size is {wanted}, not {given}", argument="output_size")
    given = given * ndim if len(given) == 1 else given
    if any(size is not None and size < 0 for size in given):
        msg = f"output_size must be at least 0, not {given}"
        raise Invalid("GC014", msg, argument="output_size")
    return tuple(
        n if size is None else size for n, size in zip(x.shape[-ndim:], given, strict=True)
    )


def _adaptive(ndim: int, x: Expr, output_size: Sequence[int | None]) -> Any:
    """Means of parts that are as equal as can be: windows where they are equal."""
    name = f"adaptive_avg_pool{ndim}d"
    require_input(name, x, ndim, channels=False, batch=ndim == 3)
    wanted = part_sizes(name, x, ndim, output_size)
    size = x.shape[-ndim:]
    if (
        0 not in wanted
        and x.elements
        and all(n % o == 0 for n, o in zip(size, wanted, strict=True))
    ):
        kernel = tuple(n // o for n, o in zip(size, wanted, strict=True))
        return getattr(t, f"avg_pool{ndim}d")(x, kernel)
    for d, (n, o) in enumerate(zip(size, wanted, strict=True), -ndim):
        if n != o:
            x = _means(x, d, o)
    return x


def parts(x: Expr, dim: int, count: int, empty: float) -> Any:
    """A dim cut into parts, which may overlap: from floor(i n / count) to ceil((i + 1) n / count).

    The parts are a new dimension before `dim`; where one is shorter than the longest, `empty` follows.
    """
    n, size = x.size(dim), x.shape[dim]
    longest = max(-(-(i + 1) * size // count) - i * size // count for i in range(count))
    first = (t.arange(count) * n).floor_divide(count)
    stop = (t.arange(1, count + 1) * n + (count - 1)).floor_divide(count)
    places = first.unsqueeze(1) + t.arange(longest)
    cut = x.index_select(dim, places.flatten().clamp(max=n - 1)).unflatten(dim, (count, longest))
    inside = places < stop.unsqueeze(1)
    return t.where(inside.reshape((count, longest, *(1,) * (-1 - dim))), cut, empty)


def _means(x: Expr, dim: int, count: int) -> Any:
    if not count:
        return x.narrow(dim, 0, 0)
    n = x.size(dim)
    first = (t.arange(count) * n).floor_divide(count)
    stop = (t.arange(1, count + 1) * n + (count - 1)).floor_divide(count)
    return parts(x, dim, count, 0.0).sum(dim) / (stop - first).reshape((count, *(1,) * (-1 - dim)))


for _ndim, _places in ((1, ("torch", "F")), (2, ("F",)), (3, ("F",))):
    _rest = (4, 5, 6)[-_ndim:]
    register(
        f"adaptive_avg_pool{_ndim}d(Tensor input, int?[] output_size)",
        doc="The means of a given number of parts.",
        define=partial(_adaptive, _ndim),
        on=_places,
        samples=(
            Sample(f"F.adaptive_avg_pool{_ndim}d(x, 1)", x=(2, 3, *_rest)),
            Sample(f"F.adaptive_avg_pool{_ndim}d(x, 3)", x=(2, *_rest)),
            Sample(f"F.adaptive_avg_pool{_ndim}d(x, {(2, 4, 3)[-_ndim:]})", x=(1, 2, *_rest)),
            Sample(f"F.adaptive_avg_pool{_ndim}d(x, 4)", x=(0, 2, *_rest)),
        ),
    )
