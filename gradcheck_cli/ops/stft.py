"""The short-time Fourier transform and its inverse, as PyTorch defines them, out of frames and transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.dtypes import REAL_OF
from gradcheck_cli.graph import In, Sample, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.fft import fourier
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
    from gradcheck_cli.graph import Expr

# Below this PyTorch refuses to divide by the overlapped windows.
_LEAST_OVERLAP = 1e-11


def _lengths(n_fft: int, hop_length: int | None, win_length: int | None) -> tuple[int, int]:
    """Hop and window length, defaults filled in. Raises Invalid (GC014)."""
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    if hop <= 0:
        msg = f"hop_length must be positive, not {hop}"
        raise Invalid("GC014", msg, "the default is n_fft // 4", "hop_length")
    if not 0 < length <= n_fft:
        msg = f"win_length must be from 1 to n_fft={n_fft}, not {length}"
        raise Invalid("GC014", msg, argument="win_length")
    return hop, length


def _window(x: Expr, window: Expr | None, n_fft: int, length: int) -> Expr | None:
    """The window with zeros on both sides up to n_fft elements; None where it is 1 everywhere."""
    if window is None:
        if length == n_fft:
            return None
        window = t.ones((length,), dtype=_real_type(x))
    elif window.shape != (length,):
        msg = f"the window must have shape ({length},), not {window.shape}"
        raise Invalid("GC015", msg, "it has win_length elements, by default n_fft", "window")
    left = (n_fft - length) // 2
    padded: Expr = t.pad(window, (left, n_fft - length - left)) if length < n_fft else window
    return padded


def _real_type(x: Expr) -> DType:
    return REAL_OF.get(x.dtype, x.dtype)


def _stft(
    input: Expr,
    window: Expr | None,
    n_fft: int,
    hop_length: int | None,
    win_length: int | None,
    center: bool,
    pad_mode: str,
    normalized: bool,
    onesided: bool | None,
    return_complex: bool | None,
    align_to_window: bool | None,
) -> Expr:
    complex_ = input.dtype.kind == "z" or (window is not None and window.dtype.kind == "z")
    if return_complex is None and not complex_:
        msg = "stft() needs to be told return_complex for real inputs"
        raise Invalid("GC014", msg, "write return_complex=True", "return_complex")
    if align_to_window:
        raise Invalid("GC014", "align_to_window=True isn't available", argument="align_to_window")
    if input.ndim not in (1, 2):
        msg = f"stft() needs an input of 1 or 2 dimensions, not of shape {input.shape}"
        raise Invalid("GC015", msg, "the last dimension is time, the first the batch", "input")
    hop, length = _lengths(n_fft, hop_length, win_length)
    signals = input if input.ndim == 2 else input.unsqueeze(0)
    if center:
        signals = t.pad(signals.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    if not 0 < n_fft <= signals.shape[-1]:
        msg = f"n_fft must be from 1 to the signal's length {signals.shape[-1]}, not {n_fft}"
        raise Invalid("GC014", msg, argument="n_fft")
    frames = signals.unfold(-1, n_fft, hop)
    padded = _window(input, window, n_fft, length)
    frames = frames if padded is None else frames * padded
    half = not complex_ if onesided is None else onesided
    norm = "ortho" if normalized else None
    spectra = fourier("rfft", frames, norm=norm) if half else fourier("fft", frames, norm=norm)
    out: Expr = spectra.transpose(1, 2)
    out = out if input.ndim == 2 else out.squeeze(0)
    return t.view_as_real(out) if return_complex is False else out


register(
    "stft(Tensor input, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, "
    "bool center=True, str pad_mode='reflect', bool normalized=False, bool? onesided=None, "
    "bool? return_complex=None, bool? align_to_window=None)",
    doc="Fourier transforms of overlapping frames: (batch, frequencies, frames).",
    define=_stft,
    samples=(
        Sample("torch.stft(x, 4, return_complex=True).abs()", x=(12,)),
        Sample("x.stft(4, 2, window=w, return_complex=True).real", x=(2, 9), w=(4,)),
        Sample(
            "torch.stft(x, 5, 2, 3, w, False, normalized=True, return_complex=False)",
            x=(11,),
            w=(3,),
        ),
        Sample("torch.stft(x, 4, 3, onesided=False, return_complex=True).imag", x=(2, 10)),
    ),
)


def _istft(
    input: Expr,
    window: Expr | None,
    n_fft: int,
    hop_length: int | None,
    win_length: int | None,
    center: bool,
    normalized: bool,
    onesided: bool | None,
    length: int | None,
    return_complex: bool,
) -> Expr:
    if input.dtype.kind != "z":
        msg = f"istft() needs a complex tensor, not {input.dtype.name}"
        raise Invalid("GC016", msg, "it takes what stft(..., return_complex=True) gives", "input")
    if input.ndim not in (2, 3):
        msg = f"istft() needs an input of 2 or 3 dimensions, not of shape {input.shape}"
        raise Invalid("GC015", msg, "it is (batch, frequencies, frames)", "input")
    hop, width = _lengths(n_fft, hop_length, win_length)
    spectra = input if input.ndim == 3 else input.unsqueeze(0)
    half = input.shape[-2] != n_fft if onesided is None else onesided
    wanted = n_fft // 2 + 1 if half else n_fft
    if spectra.shape[1] != wanted:
        msg = (
            f"istft() needs {wanted} frequencies for n_fft={n_fft}, and the shape is {input.shape}"
        )
        raise Invalid("GC015", msg, argument="input")
    norm = "ortho" if normalized else None
    spectra = spectra.transpose(1, 2)
    if return_complex or not half:
        frames = fourier("ifft", spectra, n=n_fft, norm=norm)
        frames = frames if return_complex else t.real(frames)
    else:
        frames = fourier("irfft", spectra, n=n_fft, norm=norm)
    padded = _window(input, window, n_fft, width)
    padded = t.ones((n_fft,), dtype=_real_type(input)) if padded is None else padded
    count = frames.shape[1]
    whole = n_fft + hop * (count - 1)

    def overlapped(frames: Expr) -> Expr:
        """Frames (batch, frames, n_fft) added up where they overlap: (batch, time)."""
        added = t.fold(frames.transpose(1, 2), (1, whole), (1, n_fft), stride=(1, hop))
        return added.squeeze(1).squeeze(1)  # type: ignore[no-any-return]

    signals = overlapped(frames * padded)
    overlap = overlapped((padded * padded).expand((1, count, n_fft)))
    start = n_fft // 2 if center else 0
    end = whole - start if center and length is None else whole
    end = end if length is None else min(whole, start + length)
    signals, overlap = (each.narrow(1, start, end - start) for each in (signals, overlap))
    _require_overlap(overlap)
    out: Expr = signals / overlap
    if length is not None and end - start < length:
        out = t.pad(out, (0, length - (end - start)))
    return out if input.ndim == 3 else out.squeeze(0)


def _require_overlap(overlap: Expr) -> None:
    """Refuse windows that leave a place uncovered, where they are known. Raises Invalid (GC014)."""
    values = known(overlap)
    if values is not None and np.abs(values).min(initial=1.0) < _LEAST_OVERLAP:
        msg = "the windows leave parts of the signal uncovered, which can't be found again"
        raise Invalid("GC014", msg, "use a smaller hop_length, or center=True", "window")


register(
    "istft(Tensor input, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, "
    "bool center=True, bool normalized=False, bool? onesided=None, int? length=None, "
    "bool return_complex=False)",
    doc="The signals of which these are the short-time Fourier transforms.",
    define=_istft,
    samples=(
        Sample("torch.stft(x, 4, 1, return_complex=True).istft(4, 1)", x=(12,)),
        Sample(
            "torch.istft(torch.stft(x, 4, 2, None, w, return_complex=True), 4, 2, window=w, length=9)",
            x=(2, 8),
            w=In((4,), 0.5, 1.0),
        ),
    ),
)
