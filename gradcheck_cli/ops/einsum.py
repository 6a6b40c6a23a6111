"""Products over named dimensions: einsum and tensordot."""

from __future__ import annotations

import re
from functools import lru_cache
from string import ascii_letters
from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Shape, Type, t
from gradcheck_cli.ops._common import as_tensor, dim_of, register
from gradcheck_cli.ops.diagonal import eye
from gradcheck_cli.ops.products import same_dtype
from gradcheck_cli.schema import Invalid

_HINT = 'letters for dimensions, commas between operands: "ij,jk->ik"'


@lru_cache(maxsize=1024)
def subscripts(equation: str, ranks: tuple[int, ...]) -> tuple[tuple[str, ...], str]:
    """The letters of each operand and of the output, every ellipsis spelled out.

    An ellipsis lines up from the right; a missing output is the letters that occur once, sorted,
    after the ellipsis. Raises Invalid (GC014, GC015).

    >>> subscripts("...ij,jk", (3, 2))
    (('aij', 'jk'), 'aik')
    """
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    for term in (*terms, right):
        if not re.fullmatch(r"[a-zA-Z]*(\.\.\.)?[a-zA-Z]*", term):
            msg = f"einsum() can't read {term!r} in the equation {equation!r}"
            raise Invalid("GC014", msg, _HINT, "equation")
    if len(terms) != len(ranks):
        msg = f"the equation {equation!r} names {len(terms)} operands, but {len(ranks)} are given"
        raise Invalid("GC014", msg, _HINT, "equation")
    free = [letter for letter in ascii_letters if letter not in text]
    widths = []
    for term, rank in zip(terms, ranks, strict=True):
        named = len(term.replace("...", ""))
        if named > rank or (named != rank and "..." not in term):
            msg = f"{term!r} names {named} dimensions, but its operand has {rank}"
            raise Invalid("GC015", msg, "`...` stands for any dimensions", "equation")
        widths.append(rank - named)
    dots = max(widths, default=0)
    if dots > len(free):
        raise Invalid("GC015", "einsum() has letters for only 52 dimensions", None, "equation")
    ellipsis = "".join(free[:dots])
    full = tuple(
        term.replace("...", ellipsis[dots - width :])
        for term, width in zip(terms, widths, strict=True)
    )
    if arrow:
        output = right.replace("...", ellipsis)
    else:
        every = left.replace("...", "").replace(",", "")
        output = ellipsis + "".join(sorted(c for c in set(every) if every.count(c) == 1))
    for letter in output:
        if output.count(letter) > 1 or not any(letter in term for term in full):
            what = "twice" if output.count(letter) > 1 else "but no operand has it"
            msg = f"the output of the equation {equation!r} names {letter!r} {what}"
            raise Invalid("GC014", msg, _HINT, "equation")
    return full, output


def _sizes(terms: tuple[str, ...], shapes: tuple[Shape, ...]) -> dict[str, int]:
    """The size of each letter; size 1 broadcasts between operands, not within one."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        own: dict[str, int] = {}
        for letter, size in zip(term, shape, strict=True):
            if own.setdefault(letter, size) != size:
                msg = f"{letter!r} is repeated in {term!r}, but its sizes differ: shape {shape}"
                raise Invalid("GC015", msg, "a diagonal needs equal sizes", "equation")
            known = sizes.get(letter, 1)
            if 1 not in (known, size) and known != size:
                listed = " and ".join(str(s) for s in shapes)
                msg = f"{letter!r} has the sizes {known} and {size} in operands of shapes {listed}"
                raise Invalid("GC015", msg, "sizes must be equal, or one of them 1", "equation")
            sizes[letter] = size if known == 1 else known
    return sizes


def _einsum(*operands: Expr, equation: str) -> Type:
    if not operands:
        raise Invalid("GC014", "einsum() needs at least one operand", _HINT, "operands")
    same_dtype("einsum", *operands)
    terms, output = subscripts(equation, tuple(x.ndim for x in operands))
    sizes = _sizes(terms, tuple(x.shape for x in operands))
    return Type(tuple(sizes[letter] for letter in output), operands[0].dtype)


def _einsum_kernel(*operands: Any, equation: str) -> Any:
    terms, output = subscripts(equation, tuple(np.ndim(x) for x in operands))
    # NumPy's own optimizer knows no broadcasting of size 1 between operands of one letter
    shapes = [np.shape(x) for x in operands]
    sizes = _sizes(terms, tuple(shapes))
    plain = all(
        sizes[letter] == size
        for term, shape in zip(terms, shapes, strict=True)
        for letter, size in zip(term, shape, strict=True)
    )
    explicit = f"{','.join(terms)}->{output}"
    return np.einsum(explicit, *operands, optimize=plain and len(operands) > 1)


def _einsum_vjp(g: Expr, out: Expr, *operands: Expr, equation: str) -> tuple[Any, ...]:
    terms, output = subscripts(equation, tuple(x.ndim for x in operands))
    g = as_tensor(g, out)
    return tuple(
        _one_gradient(
            x,
            term,
            [g, *operands[:place], *operands[place + 1 :]],
            [output, *terms[:place], *terms[place + 1 :]],
        )
        for place, (x, term) in enumerate(zip(operands, terms, strict=True))
    )


def _one_gradient(x: Expr, term: str, others: list[Expr], names: list[str]) -> Any:
    """The product of everything else, in the operand's own letters.

    A letter repeated in the operand (a diagonal) becomes a unit matrix between two letters; one that
    only the operand has was summed over, so the gradient is the same all along it.
    """
    free = [c for c in ascii_letters if c not in "".join((term, *names))]
    letters = list(term)
    for d, letter in enumerate(term):
        if letter in term[:d]:
            letters[d] = free.pop(0)
            others.append(eye(x, d))
            names.append(letter + letters[d])
    known = "".join(names)
    kept = "".join(c for c in letters if c in known)
    result = t.einsum(f"{','.join(names)}->{kept}", *others)
    missing = [d for d, c in enumerate(letters) if c not in known]
    for d in missing:
        result = result.unsqueeze(d)
    if missing:
        result = result.expand(tuple(x.size(d) if d in missing else -1 for d in range(x.ndim)))
    return result


register(
    "einsum(str equation, Tensor[]... operands)",
    doc="Sums of products over the dimensions that letters name.",
    infer=_einsum,
    cubic=True,
    kernel=_einsum_kernel,
    vjp=_einsum_vjp,
    on=("torch",),
    analytic=True,
    samples=(
        Sample('torch.einsum("ij,jk->ik", x, y)', x=(2, 3), y=(3, 4)),
        Sample('torch.einsum("ij,jk", [x, y])', x=(2, 3), y=(3, 4)),
        Sample('torch.einsum("bA", x)', x=(2, 3)),
        Sample('torch.einsum("...ij,...jk", x, y)', x=(2, 2, 3), y=(3, 2)),
        Sample('torch.einsum("...ij->ij", x)', x=(2, 2, 3)),
        Sample('torch.einsum("i...,i...->...", x, y)', x=(3, 2, 2), y=(3, 2)),
        Sample('torch.einsum("ii", x)', x=(3, 3)),
        Sample('torch.einsum("ii->i", x)', x=(3, 3)),
        Sample('torch.einsum("iji,j->i", x, y)', x=(2, 3, 2), y=(3,)),
        Sample('torch.einsum("ij->", x)', x=(2, 3)),
        Sample('torch.einsum("ij,k->k", x, y)', x=(2, 3), y=(2,)),
        Sample('torch.einsum("bhqd,bhkd->bhqk", x, y)', x=(2, 2, 3, 2), y=(2, 2, 4, 2)),
        Sample('torch.einsum("bn,anm,bm->ba", x, y, z)', x=(2, 3), y=(4, 3, 2), z=(2, 2)),
        Sample('torch.einsum("ij,kj->ik", x, y)', x=(2, 3), y=(2, 1)),
        Sample('torch.einsum(" i , i -> ", x, y)', x=(3,), y=(3,)),
        Sample('torch.einsum("ij,jk->ik", x, y)', x=(2, 0), y=(0, 3)),
        Sample('torch.einsum("iij->j", x)', x=(2, 2, 3)),
    ),
)


def _tensordot(x: Expr, y: Expr, *, dims: Any) -> Any:
    left, right = _contracted(x, y, dims)
    for a, b in zip(left, right, strict=True):
        if x.shape[a] != y.shape[b] and 1 not in (x.shape[a], y.shape[b]):
            msg = (
                f"tensordot() can't contract dimension {a} of shape {x.shape} with dimension {b} of "
                f"shape {y.shape}: sizes {x.shape[a]} and {y.shape[b]}"
            )
            raise Invalid("GC015", msg, "contracted sizes must be equal", "dims")
    names = iter(ascii_letters)
    first = [next(names) for _ in range(x.ndim)]
    second = [first[left[right.index(d)]] if d in right else next(names) for d in range(y.ndim)]
    rest = [c for d, c in enumerate(first) if d not in left]
    rest += [c for d, c in enumerate(second) if d not in right]
    return t.einsum(f"{''.join(first)},{''.join(second)}->{''.join(rest)}", x, y)


def _contracted(x: Expr, y: Expr, dims: Any) -> tuple[list[int], list[int]]:
    """The dimensions of both operands that are summed over, in pairs. Raises Invalid (GC014)."""
    if isinstance(dims, int) and not isinstance(dims, bool):
        if not 0 <= dims <= min(x.ndim, y.ndim):
            msg = f"tensordot() can't contract {dims} dimensions of shapes {x.shape} and {y.shape}"
            raise Invalid("GC014", msg, None, "dims")
        return list(range(x.ndim - dims, x.ndim)), list(range(dims))
    if not isinstance(dims, tuple) or len(dims) != 2:
        msg = "the dims of tensordot() are a whole number or two lists"
        raise Invalid("GC014", msg, "dims=([1], [0])", "dims")
    pair = tuple((d,) if isinstance(d, int) else d for d in dims)
    if not all(isinstance(d, int) and not isinstance(d, bool) for d in pair[0] + pair[1]):
        msg = "the two lists in the dims of tensordot() hold whole numbers"
        raise Invalid("GC014", msg, "dims=([1], [0])", "dims")
    if len(pair[0]) != len(pair[1]):
        msg = f"tensordot() needs as many dims on both sides, not {len(pair[0])} and {len(pair[1])}"
        raise Invalid("GC014", msg, None, "dims")
    left, right = [dim_of(d, x.ndim) for d in pair[0]], [dim_of(d, y.ndim) for d in pair[1]]
    if len(set(left)) != len(left) or len(set(right)) != len(right):
        raise Invalid("GC014", "tensordot() has a dimension twice in dims", None, "dims")
    return left, right


register(
    "tensordot(Tensor a, Tensor b, data dims=2)",
    doc="The sum of products over dimensions of two tensors.",
    define=_tensordot,
    on=("torch",),
    samples=(
        Sample("torch.tensordot(x, y, dims=1)", x=(2, 3), y=(3, 4)),
        Sample("torch.tensordot(x, y)", x=(2, 3), y=(2, 3)),
        Sample("torch.tensordot(x, y, dims=0)", x=(2,), y=(3,)),
        Sample("torch.tensordot(x, y, dims=([0, -1], [1, 0]))", x=(2, 3, 4), y=(4, 2)),
    ),
)
