"""`compile`: an expression as a callable that gives its value and its gradients."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.program import Program
from gradcheck_cli.errors import GradcheckError, Problem, Source, did_you_mean
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.dtypes import DType

    Array = npt.NDArray[Any]

# The name of the upstream gradient, as in manual formulas.
_UPSTREAM = "grad"
# Plans kept for one expression. Each holds its buffers, so they can't be kept without end.
_MOST_PLANS = 32
# Types that NumPy has no arithmetic for, or a slow one: computed in float32, rounded once at the end.
_UPCAST = {"float16": np.float32, "bfloat16": np.float32}


class Compiled:
    """An expression to be evaluated again and again: `f(**arrays) -> (value, {name: gradient})`.

    `expression` is its text and `wrt` the inputs whose gradients are computed (None: every floating-point
    one). Safe to call from several threads.
    """

    def __init__(self, expression: str, wrt: Sequence[str] | None = None) -> None:
        if not isinstance(expression, str):
            # Callers without a type checker come here.
            msg = (  # type: ignore[unreachable]
                f"an expression is text, such as 'x.pow(2).sum()', not {type(expression).__name__}"
            )
            raise TypeError(msg)
        self.expression = expression
        self.wrt = None if wrt is None else tuple([wrt] if isinstance(wrt, str) else wrt)
        self._formula = parse(Source(expression))
        unknown = [name for name in self.wrt or () if name not in self._formula.names]
        if unknown:
            near = did_you_mean(unknown[0], self._formula.names)
            msg = f"the expression does not use the input `{unknown[0]}`"
            raise GradcheckError(Problem("GC021", msg, hint=near or "name an input of it"))
        self._plans: dict[Any, _Planned] = {}
        self._last: _Planned | None = None

    def __repr__(self) -> str:
        return f"compile({self.expression!r})"

    def __call__(self, /, **arrays: Any) -> tuple[Any, dict[str, Array]]:
        """The value, and a gradient in shape and dtype of each input.

        Arrays are what NumPy makes arrays of: any order, strides, read-only. An expression that isn't a
        scalar needs `grad`, the upstream gradient in its shape. Raises TypeError for arrays that hold no
        numbers, GradcheckError where shapes or dtypes don't fit or memory would not suffice. The results
        are the caller's own.
        """
        planned = self._last
        if planned is None or not planned.fits(arrays):
            arrays = {name: _array(name, value) for name, value in arrays.items()}
            planned = self._last = self._planned(arrays)
        try:
            return planned(arrays.values())
        except Invalid as error:
            raise GradcheckError(Problem(error.code, error.message, hint=error.hint)) from None

    def _planned(self, arrays: dict[str, Array]) -> _Planned:
        key = tuple((name, array.shape, array.dtype) for name, array in arrays.items())
        planned = self._plans.get(key)
        if planned is None:
            planned = _Planned(self, arrays)
            while len(self._plans) >= _MOST_PLANS:
                self._plans.pop(next(iter(self._plans)), None)
            self._plans[key] = planned
        return planned

    def _names(self, arrays: dict[str, Array]) -> tuple[str, ...]:
        """The inputs that gradients are wanted of. Raises TypeError for arrays that are none of them."""
        wanted = self._formula.names
        for name in arrays:
            if name not in wanted and name != _UPSTREAM:
                near = did_you_mean(name, wanted)
                msg = f"the expression has no input `{name}`" + (f"; {near}" if near else "")
                raise TypeError(msg)
        floating = [
            name for name in arrays if name in wanted and arrays[name].dtype.kind not in "biu"
        ]
        if self.wrt is None:
            return tuple(floating)
        for name in self.wrt:
            if name not in arrays:
                msg = f"the expression's input `{name}` is missing: f(..., {name}=array)"
                raise TypeError(msg)
            if name not in floating:
                msg = f"`{name}` is of {arrays[name].dtype}, which has no gradient: use a floating dtype"
                raise TypeError(msg)
        return self.wrt


class _Planned:
    """The program for one set of shapes and dtypes."""

    def __init__(self, compiled: Compiled, arrays: dict[str, Array]) -> None:
        self._names = compiled._names(arrays)  # noqa: SLF001 -- the two are one
        self._inputs = [(name, array.shape, array.dtype) for name, array in arrays.items()]
        self._casts = [_UPCAST.get(array.dtype.name) for array in arrays.values()]
        self._rounded = any(self._casts)
        self._dtypes = [arrays[name].dtype for name in self._names]
        scope = {
            name: variable(name, array.shape, dtypes.BY_NAME[np.dtype(cast or array.dtype).name])
            for (name, array), cast in zip(arrays.items(), self._casts, strict=True)
        }
        floating = [node.dtype for node in scope.values() if node.dtype.is_floating]
        with _default_dtype(max(floating, key=lambda d: d.rank, default=dtypes.float64)):
            formula = compiled._formula  # noqa: SLF001
            output = build(formula, {k: v for k, v in scope.items() if k in formula.names})
            upstream = scope.get(_UPSTREAM)
            self._check(compiled, output, upstream)
            wrt = [scope[name] for name in self._names]
            gradients = differentiate(output, wrt, upstream) if wrt else ()
            self._program = Program([output, *gradients], list(arrays), limit=memory_limit())
        self._value_dtype = max(
            (array.dtype for array, c in zip(arrays.values(), self._casts, strict=True) if c),
            key=lambda d: d.itemsize,
            default=None,
        )
        if output.dtype.name != "float32":
            self._value_dtype = None

    @staticmethod
    def _check(compiled: Compiled, output: Any, upstream: Any) -> None:
        if not output.dtype.is_floating:
            msg = f"the expression is of dtype {output.dtype.name}, which has no gradient"
            raise GradcheckError(Problem("GC016", msg, hint="make it floating-point"))
        if output.ndim and upstream is None and _UPSTREAM not in compiled._formula.names:  # noqa: SLF001
            msg = f"the expression is no scalar: it has the shape {output.shape}"
            hint = f"reduce it, with .sum() for one, or give the upstream gradient: f(..., {_UPSTREAM}=array)"
            raise GradcheckError(Problem("GC015", msg, hint=hint))
        if upstream is not None and upstream.shape != output.shape:
            msg = f"`{_UPSTREAM}` has the shape {upstream.shape}, the expression {output.shape}"
            raise GradcheckError(Problem("GC015", msg, hint="give it the expression's shape"))

    def fits(self, arrays: dict[str, Any]) -> bool:
        """Whether these are arrays for this plan, seen as quickly as can be; False is no certain no."""
        if len(arrays) != len(self._inputs):
            return False
        for (name, shape, dtype), (key, array) in zip(self._inputs, arrays.items(), strict=True):
            if (
                key != name
                or type(array) is not np.ndarray
                or array.shape != shape
                or array.dtype is not dtype
            ):
                return False
        return True

    def __call__(self, arrays: Any) -> tuple[Any, dict[str, Array]]:
        if self._rounded:
            arrays = [
                array if cast is None else array.astype(cast)
                for array, cast in zip(arrays, self._casts, strict=True)
            ]
        value, *gradients = self._program.owned(*arrays)
        if self._rounded:
            with np.errstate(
                over="ignore"
            ):  # what half precision can't hold is infinite, as in PyTorch
                gradients = [
                    g.astype(dtype, copy=False)
                    for g, dtype in zip(gradients, self._dtypes, strict=True)
                ]
                if self._value_dtype is not None:
                    value = value.astype(self._value_dtype)
        return value[()], dict(zip(self._names, gradients, strict=True))


def compile(expression: str, wrt: Sequence[str] | None = None) -> Compiled:  # noqa: A001 -- PyTorch's name
    """An expression in PyTorch's syntax as a fast callable `f(**arrays) -> (value, {name: gradient})`.

    It is planned at the first call for each set of shapes and dtypes: differentiated, joined into blocks
    that stay in the cache, spread over all cores. float64 and float32 are computed as they are, float16
    and bfloat16 in float32. `wrt` names the inputs whose gradients are wanted. Raises GradcheckError where
    the text is no valid expression.

    >>> import numpy as np
    >>> f = compile("(predicted - real).pow(2).sum()", wrt=["predicted"])
    >>> value, gradients = f(predicted=np.array([1.0, 4.0]), real=np.array([0.0, 1.0]))
    >>> float(value), gradients["predicted"]
    (10.0, array([2., 6.]))
    """
    return Compiled(expression, wrt)


def _array(name: str, value: Any) -> Array:
    """What an input is as an array of numbers. Raises TypeError."""
    if isinstance(value, np.ma.MaskedArray):
        msg = f"`{name}` is a masked array: fill it first, or pass the mask and use torch.where()"
        raise TypeError(msg)
    try:
        array = np.asarray(value)
    except ValueError as error:
        msg = f"`{name}` is no array: {error}"
        raise TypeError(msg) from None
    if array.dtype.name not in dtypes.BY_NAME or array.dtype.kind == "c":
        msg = (
            f"`{name}` is an array of dtype {array.dtype}, which is not supported: use float64, float32, "
            "float16, int64 (or smaller) or bool"
        )
        raise TypeError(msg)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


@contextmanager
def _default_dtype(dtype: DType) -> Iterator[None]:
    """`dtype` for what an expression makes itself: torch.eye(4), integers turned real."""
    token = dtypes.default_dtype.set(dtype)
    try:
        yield
    finally:
        dtypes.default_dtype.reset(token)
