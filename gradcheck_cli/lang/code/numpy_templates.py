"""How NumPy and SciPy spell operators, one line an operator, with what PyTorch means by it.

A spelling is a template over `{0}`, `{1}` (arguments), `{*}` (all of them), `{x}` (the first one, ready for
a method) and the attributes by name. Operators written infix are the same in both languages and stand in no
table; where the text depends on more, `numpy_table` has a function.
"""

from __future__ import annotations


class Unspelled(Exception):  # noqa: N818 -- no error yet: the caller may know the operator's definition
    """An operator, or a use of it, that has no spelling."""


_SAME = (
    *("exp", "log", "log2", "log10", "log1p", "expm1", "exp2", "sqrt", "sin", "cos", "tan", "sinh"),
    *("cosh", "tanh", "abs", "sign", "floor", "ceil", "trunc", "square", "reciprocal", "maximum"),
    *("minimum", "isnan", "isinf", "isfinite", "logical_and", "logical_or", "logical_not", "hypot"),
    *("logical_xor", "logaddexp", "logaddexp2", "fmod", "copysign", "fmax", "fmin", "outer"),
    *("signbit", "heaviside", "matmul", "sinc"),
)
_SPECIAL = {
    **{name: name for name in ("erf", "erfc", "erfinv", "erfcx", "xlogy", "xlog1py", "digamma")},
    **{name: name for name in ("ndtr", "log_ndtr", "entr", "i0", "i1", "zeta", "ndtri")},
    "sigmoid": "expit",
    "logsigmoid": "log_expit",
    "lgamma": "gammaln",
}
_INVERSE = ("sin", "cos", "tan", "sinh", "cosh", "tanh")


TEMPLATES: dict[str, str] = {
    **{name: f"np.{name}({{*}})" for name in _SAME},
    **{name: f"special.{other}({{*}})" for name, other in _SPECIAL.items()},
    **{f"a{name}": f"np.arc{name}({{*}})" for name in _INVERSE},
    "atan2": "np.arctan2({*})",
    "rsqrt": "1 / np.sqrt({0})",
    "sgn": "np.sign({0})",
    "round": "np.round({0}, {decimals})",
    "where": "np.where({*})",
    "clamp": "np.clip({*})",
    "relu": "np.maximum({0}, 0)",
    "leaky_relu": "np.where({0} > 0, {0}, {negative_slope} * {x})",
    "elu": "np.where({0} > 0, {0}, {alpha} * np.expm1(np.minimum({0}, 0)))",
    "silu": "{x} * special.expit({0})",
    "softmax": "special.softmax({0}, axis={dim})",
    "log_softmax": "special.log_softmax({0}, axis={dim})",
    "cumsum": "np.cumsum({0}, {dim})",
    "cumprod": "np.cumprod({0}, {dim})",
    "T": "{x}.T",
    "mT": "{x}.mT",
    "conj.complex": "{x}.conj()",
    "imag": "{x}.imag",
    "detach": "{x}",
    "numel": "{x}.size",
    "permute": "{x}.transpose({dims})",
    "flip": "np.flip({0}, {dims})",
    "tril": "np.tril({0}, {diagonal})",
    "triu": "np.triu({0}, {diagonal})",
    "cross": "np.cross({0}, {1}, axis={dim})",
    "trace": "np.trace({0})",
    "diagonal": "np.diagonal({0}, {offset}, {dim1}, {dim2})",
    "inverse": "np.linalg.inv({0})",
    "det": "np.linalg.det({0})",
    "logdet": "_logdet({0})",
    "matrix_exp": "linalg.expm({0})",
    "one_hot.counted": "np.eye({num_classes}, dtype=int)[{0}]",
    "masked_scatter": "_put_where({*})",
    "masked_fill": "np.where({1}, {value}, {0})",
    "scatter_add": "_scatter_add({0}, {dim}, {1}, {2})",
}

# These are written as products or quotients; all else binds as a call does.
PRODUCTS = frozenset(["rsqrt", "silu", "gelu"])

# What takes more than an expression; each is put beside the function that calls it.
HELPERS = {
    "_put_at": '''
def _put_at(x, key, values):
    """A copy of `x` with `values` at `key`."""
    result = np.array(x)
    result[key] = values
    return result
''',
    "_add_at": '''
def _add_at(x, key, values):
    """A copy of `x` with `values` added at `key`, as often as a place is named."""
    result = np.array(x)
    np.add.at(result, key, values)
    return result
''',
    "_scatter_add": '''
def _scatter_add(x, axis, index, source):
    """A copy of `x` with each number of `source` added where `index` says along `axis`."""
    result = np.array(x)
    places = list(np.indices(index.shape, sparse=True))
    places[axis] = index
    region = tuple(slice(size) for size in index.shape)
    np.add.at(result, tuple(places), source[region])
    return result
''',
    "_put_where": '''
def _put_where(x, mask, source):
    """A copy of `x` with the numbers of `source`, one after another, where `mask` is true."""
    x, mask = np.broadcast_arrays(x, mask)
    result = np.array(x)
    result[mask] = source.reshape(-1)[: np.count_nonzero(mask)]
    return result
''',
    "_put_on_diagonal": '''
def _put_on_diagonal(x, values, offset, axes):
    """A copy of `x` with `values` on a diagonal of `axes`."""
    result = np.array(x)
    diagonal = np.diagonal(result, offset, *axes)
    diagonal.flags.writeable = True
    diagonal[...] = values
    return result
''',
    "_logdet": '''
def _logdet(x):
    """The logarithm of the determinant; NaN where that is negative."""
    sign, logarithm = np.linalg.slogdet(x)
    return np.where(sign < 0, np.nan, logarithm)[()]
''',
}
