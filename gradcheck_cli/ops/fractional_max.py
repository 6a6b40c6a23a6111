"""Fractional max pooling: the largest elements of windows at irregular distances.

The distances follow from numbers between 0 and 1 that PyTorch draws unless they are given. Graham, Fractional
Max-Pooling, 2014; the sequences are PyTorch's.
"""

from __future__ import annotations

from typing import Any

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Shape, t
from gradcheck_cli.ops._common import random_use, register
from gradcheck_cli.ops.pooling import Pooled
from gradcheck_cli.ops.windows import per_dim, product, require_input
from gradcheck_cli.schema import Invalid


def _out_size(
    name: str,
    ndim: int,
    x: Expr,
    kernel: Shape,
    output_size: tuple[int, ...] | None,
    output_ratio: tuple[float, ...] | None,
) -> Shape:
    size = x.shape[-ndim:]
    if output_size is not None:
        out = per_dim(output_size, ndim, "output_size", 0)
    elif output_ratio is None:
        msg = f"{name}() needs an output_size or an output_ratio"
        raise Invalid("GC014", msg, "output_ratio=(0.5, 0.5) halves each size", "output_size")
    else:
        ratio = output_ratio * ndim if len(output_ratio) == 1 else output_ratio
        if len(ratio) != ndim or not all(0 < r < 1 for r in ratio):
            msg = f"output_ratio is {ndim} numbers between 0 and 1, not {output_ratio}"
            raise Invalid("GC014", msg, argument="output_ratio")
        out = tuple(int(n * r) for n, r in zip(size, ratio, strict=True))
    spare = ndim - 2  # PyTorch's volumes keep one element to spare
    if any(o + k - 1 + spare > n for n, k, o in zip(size, kernel, out, strict=True)):
        msg = f"{name}() finds no {out} windows of size {kernel} in an input of size {size}"
        raise Invalid("GC015", msg, "use a smaller kernel, or fewer windows", "kernel_size")
    return out


def _check_samples(name: str, ndim: int, x: Expr, samples: Expr) -> None:
    batch = x.shape[0] if x.ndim == ndim + 2 else 1
    wanted = (batch, x.shape[-ndim - 1], ndim)
    if samples.dtype is not x.dtype:
        msg = (
            f"_random_samples must have the input's dtype {x.dtype.name}, not {samples.dtype.name}"
        )
        raise Invalid("GC016", msg, argument="_random_samples")
    if samples.ndim != 3 or samples.shape[1:] != wanted[1:] or samples.shape[0] < batch:
        msg = f"{name}() needs _random_samples of shape {wanted}, not {samples.shape}"
        raise Invalid("GC015", msg, "numbers for each image, channel and dim", "_random_samples")


def _starts(sample: Any, x: Expr, d: int, kernel: int, count: int) -> Any:
    """Where the windows of a dim begin, for each plane; the last one ends where the dim does."""
    n = x.size(d)
    if count < 2:
        return t.full((1, 1, count), n - kernel, dtype=dtypes.int64)
    step = (x.shape[d] - kernel) / (count - 1)
    sample = sample.unsqueeze(-1)
    number = t.arange(count - 1)
    starts = ((sample + number) * step).trunc() - (sample * step).trunc()
    last = t.full((1, 1, 1), n - kernel, dtype=x.dtype).expand((*sample.shape[:2], 1))
    return t.cat((starts, last), -1).long()


def _pool(
    ndim: int,
    x: Expr,
    samples: Expr | None,
    kernel_size: tuple[int, ...],
    output_size: tuple[int, ...] | None,
    output_ratio: tuple[float, ...] | None,
    return_indices: bool,
) -> Any:
    name = f"fractional_max_pool{ndim}d"
    if samples is None:
        raise random_use(f"F.{name}", "give its numbers as an input: _random_samples=...")
    require_input(name, x, ndim)
    if x.dtype.kind != "f":
        msg = f"{name}() needs a floating-point tensor, not {x.dtype.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype")
    kernel = per_dim(kernel_size, ndim, "kernel_size", 1)
    out = _out_size(name, ndim, x, kernel, output_size, output_ratio)
    _check_samples(name, ndim, x, samples)
    batch: Any = x if x.ndim == ndim + 2 else x.unsqueeze(0)
    samples = samples[: batch.shape[0]].detach()
    places: Any = 0
    for d, (k, o) in enumerate(zip(kernel, out, strict=True)):
        # In two dimensions, the first number is that of the width.
        sample = samples[:, :, d if ndim == 3 else ndim - 1 - d]
        dim = [1] * (2 * ndim)
        dim[d], dim[ndim + d] = o, k
        here = _starts(sample, batch, d - ndim, k, o).unsqueeze(-1) + t.arange(k)
        here = here.reshape((*here.shape[:2], *dim))
        places = here if d == 0 else places * batch.size(d - ndim) + here
    planes = (batch.size(0), batch.size(1))
    shape = (*planes, *out) if x.ndim == ndim + 2 else (batch.size(1), *out)
    if 0 in out:
        empty = t.zeros(shape, dtype=x.dtype)
        return Pooled(empty, empty.long()) if return_indices else empty
    places = places.expand((*planes, *out, *kernel)).flatten(2)
    windows = batch.flatten(2).gather(2, places).reshape((-1, product(out), product(kernel)))
    # This, not the maximum of a dim, so that of several NaN the last gets the gradient.
    found = t.max_pool1d_with_indices(windows, product(kernel))
    values = found[0].reshape(shape)
    if not return_indices:
        return values
    return Pooled(values, places.reshape(windows.shape).gather(-1, found[1]).reshape(shape))


def _register(ndim: int, size: Shape, uneven: Shape) -> None:
    name = f"fractional_max_pool{ndim}d"
    numbers = In((2, 2, ndim), 0.0, 1.0)
    register(
        f"{name}(Tensor input, int[] kernel_size, int[]? output_size=None, float[]? output_ratio=None, "
        "bool return_indices=False, Tensor? _random_samples=None)",
        doc="The largest elements of windows at irregular distances, which follow from given numbers.",
        define=lambda x, samples, **window: _pool(ndim, x, samples, **window),
        on=("F",),
        convention="of equal elements in a window, the first gets the gradient",
        samples=(
            Sample(
                f"F.{name}(x, 2, {uneven}, _random_samples=u.detach())", x=(2, 2, *size), u=numbers
            ),
            Sample(
                f"F.{name}(x, 2, output_ratio=0.5, _random_samples=u.detach())",
                x=(2, *size),
                u=numbers,
            )
            if ndim == 3
            else Sample(
                f"F.{name}(x, 2, output_ratio=(0.5, 0.6), _random_samples=u.detach())",
                x=(2, *size),
                u=numbers,
            ),
            Sample(
                f"F.{name}(x, {(3, 2, 1)[:ndim]}, 2, None, True, u.detach())[1]",
                x=(2, 2, *size),
                u=numbers,
            ),
            Sample(f"F.{name}(x, 2, 1, _random_samples=u.detach())", x=(1, 2, *size), u=numbers),
        ),
    )


_register(2, (7, 6), (3, 4))
_register(3, (5, 6, 4), (2, 4, 2))
