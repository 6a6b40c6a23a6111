"""Discrete Fourier transforms: all of torch.fft, and the short-time transform.

One operator does the work: the transform of a tensor, whole, over some dimensions. It is linear, and the
conjugate transpose of its matrix is that of the inverse transform, normalized the other way. The others are
made of it: a real input's transform is half of the whole one, a real output's spectrum is completed by
symmetry first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.dtypes import COMPLEX_OF, to_default_floating
from gradcheck_cli.graph import TABLE, In, Sample, Type, call, infix, make, t
from gradcheck_cli.ops._common import as_tensor, dim_of, distinct, register
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck_cli.graph import Expr

_NORMS = ("backward", "ortho", "forward")
_SWAPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
_BACK = {"fftn": "ifftn", "ifftn": "fftn"}
# A size as a person gave it: a number, a symbolic size, or -1 and None for the input's own.
Size = Any


def _norm(norm: str | None) -> str:
    """Which direction is divided by the number of elements. Raises Invalid (GC014)."""
    if norm not in (None, *_NORMS):
        msg = f"`{norm}` is not a normalization of the Fourier transform"
        raise Invalid("GC014", msg, f"use one of {', '.join(_NORMS)}", "norm")
    return norm or "backward"


def _transformed(name: str) -> Callable[..., Type]:
    def infer(x: Expr, dim: Sequence[int], norm: str | None) -> Type:
        dtype = x.dtype if x.dtype.kind == "z" else COMPLEX_OF.get(to_default_floating(x.dtype))
        if dtype is None:
            msg = f"{name}() has no {x.dtype.name} version"
            raise Invalid("GC016", msg, "use float32 or float64")
        for d in dim:
            _require_elements(name, x.shape[d], d)
        return Type(x.shape, dtype)

    return infer


def _require_elements(name: str, size: int, dim: int) -> None:
    if size < 1:
        msg = f"{name}() can't transform {size} elements (dimension {dim})"
        raise Invalid("GC014", msg, "the transform of no elements isn't defined")


def _kernel(transform: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(x: Any, dim: Sequence[int], norm: str) -> Any:
        x = np.asarray(x)
        x = x.astype(np.float64) if x.dtype.kind in "biu" else x
        return transform(x, axes=dim, norm=norm) if dim else x.astype(_complex(x))

    return kernel


def _complex(x: Any) -> Any:
    return np.result_type(x.dtype, np.complex64)


_PARTS = "torch.complex(x, y)"


def _whole(name: str, transform: Callable[..., Any], doc: str) -> None:
    """The transform of all elements over the given dims, in one direction."""
    register(
        f"{name}.whole(Tensor input, *, int[] dim, str norm='backward')",
        doc=f"{doc} Of all elements of these dimensions.",
        infer=_transformed(name),
        kernel=_kernel(transform),
        vjp=lambda g, out, x, dim, norm: _over(_BACK[name], as_tensor(g, out), dim, _SWAPPED[norm]),
        on=(),
        also=(f"torch.fft.{name}",),
        complex=True,
        orthogonal=True,
        samples=(
            Sample(f"torch.view_as_real(torch.fft.{name}(x, dim=(0, 1)))", x=(3, 4)),
            Sample(f"torch.fft.{name}(x, dim=(1,), norm='ortho').abs()", x=(3, 4)),
            Sample(f"torch.fft.{name}({_PARTS}).real", x=(5,), y=(5,)),
        ),
    )


def _over(name: str, x: Expr, dim: Sequence[int], norm: str) -> Expr:
    whole = TABLE.by_name[f"{name}.whole"]
    made: Expr = make(whole, (x,), {"dim": tuple(dim), "norm": norm})
    return made


def fourier(name: str, x: Expr, **given: Any) -> Expr:
    """`torch.fft.<name>(x, ...)`."""
    made: Expr = call(TABLE.functions[f"torch.fft.{name}"], x, **given)
    return made


def _number(size: Size) -> int:
    return int(size if isinstance(size, int) else size.value)


def _fitted(x: Expr, dim: Sequence[int], sizes: Sequence[Size]) -> Expr:
    """`x` cut or padded with zeros at the end of each dim, to the sizes that aren't -1 or None."""
    for d, size in zip(dim, sizes, strict=True):
        if size is None or _number(size) == -1:
            continue
        wanted = _number(size)
        _require_elements("fft", wanted, d)
        if wanted < x.shape[d]:
            x = x.narrow(d, 0, wanted)
        elif wanted > x.shape[d]:
            shape = tuple(wanted - x.shape[d] if e == d else x.size(e) for e in range(x.ndim))
            x = t.cat([x, t.zeros(shape, dtype=x.dtype)], d)
    return x


def _dims(x: Expr, s: Sequence[Size] | None, dim: Sequence[int] | None) -> tuple[int, ...]:
    """The dims that a transform of several goes over. Raises Invalid (GC014)."""
    if dim is not None:
        dims = distinct(dim, x.ndim)
        if dims and not x.ndim:
            msg = "a Fourier transform over dimensions needs a tensor that has some"
            raise Invalid("GC015", msg, "a single number has no spectrum", "dim")
    else:
        dims = tuple(range(0 if s is None else x.ndim - len(s), x.ndim))
    if s is not None and (len(s) != len(dims) or min(dims, default=0) < 0):
        msg = f"the transform got {len(s)} sizes for {len(dims) if dim is not None else x.ndim} dimensions"
        raise Invalid("GC014", msg, "give as many sizes as dimensions", "s")
    return dims


def _sizes(s: Sequence[Size] | None, dims: Sequence[int]) -> Sequence[Size]:
    return [None] * len(dims) if s is None else list(s)


def _complete(x: Expr, d: int, n: Size | None, norm: str, direction: str) -> Expr:
    """The real numbers whose spectrum `x` is one half of: the other half is its mirror image."""
    size = 2 * (x.shape[d] - 1) if n is None else _number(n)
    _require_elements(direction, size, d)
    x = x if x.dtype.kind == "z" else x.to(COMPLEX_OF[to_default_floating(x.dtype)])
    half = _fitted(x, (d,), (size // 2 + 1,))
    rest = half.narrow(d, 1, (size + 1) // 2 - 1).flip(d).conj()
    return t.real(_over("ifftn", t.cat([half, rest], d), (d,), norm))  # type: ignore[no-any-return]


def _first_half(whole: Expr, x: Expr, d: int) -> Expr:
    """What a real tensor's transform says; the other half is its mirror image."""
    half = infix("add", infix("floor_divide", x.size(d), 2), 1)
    return whole[(*(slice(None) for _ in range(d)), slice(None, half))]


def _require_real(x: Expr, name: str) -> None:
    if x.dtype.kind == "z":
        msg = f"{name}() is for real tensors, and this one is {x.dtype.name}"
        raise Invalid("GC016", msg, "use torch.fft.fft for complex ones")


def _fftn(x: Expr, s: Any, dim: Any, norm: str | None, *, name: str) -> Expr:
    dims = _dims(x, s, dim)
    return _over(name, _fitted(x, dims, _sizes(s, dims)), dims, _norm(norm))


def _rfftn(x: Expr, s: Any, dim: Any, norm: str | None, *, name: str) -> Expr:
    _require_real(x, name)
    dims = _last_of(x, s, dim, name)
    fitted = _fitted(x, dims, _sizes(s, dims))
    return _first_half(_over("fftn", fitted, dims, _norm(norm)), fitted, dims[-1])


def _irfftn(x: Expr, s: Any, dim: Any, norm: str | None, *, name: str) -> Expr:
    dims = _last_of(x, s, dim, name)
    sizes = _sizes(s, dims)
    kept = _fitted(x, dims[:-1], sizes[:-1])
    kept = _over("ifftn", kept, dims[:-1], _norm(norm)) if dims[:-1] else kept
    return _complete(kept, dims[-1], _given(sizes[-1]), _norm(norm), name)


def _hfftn(x: Expr, s: Any, dim: Any, norm: str | None, *, name: str) -> Expr:
    dims = _last_of(x, s, dim, name)
    sizes = _sizes(s, dims)
    kept = _fitted(x, dims[:-1], sizes[:-1])
    kept = _over("fftn", kept, dims[:-1], _norm(norm)) if dims[:-1] else kept
    return _complete(kept.conj(), dims[-1], _given(sizes[-1]), _SWAPPED[_norm(norm)], name)


def _ihfftn(x: Expr, s: Any, dim: Any, norm: str | None, *, name: str) -> Expr:
    _require_real(x, name)
    dims = _last_of(x, s, dim, name)
    fitted = _fitted(x, dims, _sizes(s, dims))
    return _first_half(_over("ifftn", fitted, dims, _norm(norm)), fitted, dims[-1])


def _given(size: Size) -> Size | None:
    return None if size is None or _number(size) == -1 else size


def _last_of(x: Expr, s: Any, dim: Any, name: str) -> tuple[int, ...]:
    dims = _dims(x, s, dim)
    if not dims:
        raise Invalid("GC014", f"{name}() needs a dimension to transform", argument="dim")
    return dims


_WHOLE = {
    "fft": (_fftn, "fftn", "Discrete Fourier transform"),
    "ifft": (_fftn, "ifftn", "Inverse discrete Fourier transform"),
    "rfft": (_rfftn, "", "First half of the Fourier transform of real numbers"),
    "irfft": (
        _irfftn,
        "",
        "The real numbers of which this is the first half of the Fourier transform",
    ),
    "hfft": (_hfftn, "", "The real Fourier transform of numbers symmetric up to conjugation"),
    "ihfft": (_ihfftn, "", "First half of the inverse Fourier transform of real numbers"),
}
_REAL_RESULT = ("irfft", "hfft")


def _family(name: str) -> None:
    """A transform over one dimension, the last two, and any."""
    of_several, core, doc = _WHOLE[name]
    real = name in _REAL_RESULT

    def several(name: str) -> Callable[..., Expr]:
        return lambda x, s, dim, norm: of_several(x, s, dim, norm, name=core or name)

    def one(x: Expr, n: Size, dim: int, norm: str | None) -> Expr:
        if not x.ndim:
            msg = f"{name}() needs a tensor with dimensions"
            raise Invalid("GC015", msg, "a single number has no spectrum")
        sizes = None if n is None else (n,)
        return several(name)(x, sizes, (dim_of(dim, x.ndim),), norm)

    def shown(text: str) -> str:
        # PyTorch's own result may be a conjugate not yet computed, which view_as_real() refuses.
        return text if real else f"torch.view_as_real({text}.resolve_conj())"

    where = f"torch.fft.{name}"
    register(
        f"{name}(Tensor input, int? n=None, int dim=-1, str? norm=None)",
        doc=f"{doc}, over one dimension.",
        define=one,
        on=(),
        also=(where,),
        samples=(
            Sample(shown(f"{where}(x)"), x=(2, 5)),
            Sample(shown(f"{where}(x, 4, 0, 'ortho')"), x=(3, 2)),
            Sample(shown(f"{where}(x, n=7, dim=-1, norm='forward')"), x=(2, 4)),
        ),
    )
    for suffix, dims in (("2", "int[] dim=[-2,-1]"), ("n", "int[]? dim=None")):
        register(
            f"{name}{suffix}(Tensor input, int[]? s=None, {dims}, str? norm=None)",
            doc=f"{doc}, over {'two' if suffix == '2' else 'several'} dimensions.",
            define=several(f"{name}{suffix}"),
            on=(),
            also=(f"{where}{suffix}",),
            samples=(
                Sample(shown(f"{where}{suffix}(x)"), x=(3, 4)),
                Sample(shown(f"{where}{suffix}(x, (2, 5), norm='ortho')"), x=(3, 4)),
                Sample(shown(f"{where}{suffix}(x, dim=(0, 1))"), x=(3, 4)),
            ),
        )


for _name in _WHOLE:
    _family(_name)
_whole("fftn", np.fft.fftn, "Discrete Fourier transform.")
_whole("ifftn", np.fft.ifftn, "Inverse discrete Fourier transform.")


def _shifted(x: Expr, dim: Sequence[int] | None, *, back: bool) -> Expr:
    dims = tuple(range(x.ndim)) if dim is None else distinct(dim, x.ndim)
    if not dims:
        return x
    steps = tuple((x.shape[d] + 1) // 2 if back else x.shape[d] // 2 for d in dims)
    return x.roll(steps, dims)  # type: ignore[no-any-return]


for _name, _back, _doc in (
    ("fftshift", False, "A spectrum rolled so that the frequency 0 stands in the middle."),
    ("ifftshift", True, "A spectrum rolled back, so that the frequency 0 stands first."),
):
    register(
        f"{_name}(Tensor input, int[]? dim=None)",
        doc=_doc,
        define=lambda x, dim, back=_back: _shifted(x, dim, back=back),
        on=(),
        also=(f"torch.fft.{_name}",),
        samples=(
            Sample(f"torch.fft.{_name}(x)", x=(3, 4)),
            Sample(f"torch.fft.{_name}(x, dim=-1) * x", x=(2, 5)),
            Sample(f"torch.fft.{_name}(i, (0,))", i=In((5,), dtype="int64", low=0, high=9)),
        ),
    )
