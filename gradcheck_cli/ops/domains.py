"""The domains of operators, the files of each, and the operators as people look them up.

The order here is the order of `gradcheck ops`. A file of records stands in exactly one domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gradcheck_cli.graph import TABLE

if TYPE_CHECKING:
    from gradcheck_cli.graph import Op


@dataclass(frozen=True)
class Domain:
    """A field of operators: its short name, a title for people, and its files."""

    name: str
    title: str
    files: tuple[str, ...]


def _domain(name: str, title: str, files: str) -> Domain:
    return Domain(name, title, tuple(files.split()))


DOMAINS = (
    _domain(
        "elementwise",
        "functions of every element",
        "elementwise arithmetic functions choice parts integers compare",
    ),
    _domain("special", "special functions", "special gamma bessel normal polynomials"),
    _domain("activation", "activations of neural networks", "activation piecewise"),
    _domain(
        "reduction",
        "sums, means, extremes, and what runs along a dimension",
        "reduce statistics norm distance extrema rank quantile cumulative running differences segment "
        "masked",
    ),
    _domain("sorting", "sorting and searching", "sort search"),
    _domain(
        "shape",
        "shapes, and elements moved, repeated, joined and split",
        "shape axes expand repeat join split narrow strided shuffle grid",
    ),
    _domain(
        "indexing",
        "elements picked, replaced, gathered and scattered",
        "index subscript index_put take gather scatter_reduce slices masks masked_select",
    ),
    _domain("creation", "new tensors, and other dtypes", "create ranges cast"),
    _domain("products", "products of vectors and matrices", "products vectors einsum"),
    _domain(
        "linalg",
        "linear algebra",
        "diagonal linalg matrix_functions matrix_norm solve systems lstsq cholesky lu qr eigen svd pinv",
    ),
    _domain("complex", "complex numbers", "complex"),
    _domain("fft", "Fourier transforms", "fft stft"),
    _domain(
        "nn",
        "layers: linear, embedding, attention, recurrent, normalisation, dropout",
        "nn embedding embedding_bag attention multi_head recurrent normalization channel_norm "
        "group_norm dropout",
    ),
    _domain(
        "convolution",
        "convolutions, pooling and images",
        "convolution conv_transpose fold pooling average adaptive_max fractional_max norm_pool unpooling pad "
        "interpolate grid_sample",
    ),
    _domain("loss", "losses", "loss margin binary_entropy cross_entropy linear_entropy ctc"),
)


@dataclass(frozen=True)
class Entry:
    """An operator as people know it: the records of a domain that share a name."""

    domain: Domain
    records: tuple[Op, ...]

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every way to write it; properties as `Tensor.T`."""
        names = [spelling for op in self.records for spelling in op.spellings]
        names += [f"Tensor.{op.attribute}" for op in self.records if op.attribute]
        return tuple(dict.fromkeys(names))

    @cached_property
    def name(self) -> str:
        """The shortest way to write it: `sum`, `torch.linalg.qr`, `x.view`; a subscript is `x[...]`."""
        own = {op.attribute or op.python_name for op in self.records}
        for spelling in sorted(self.spellings, key=lambda s: s.rpartition(".")[2] not in own):
            place, _, last = spelling.rpartition(".")
            if set(self.records) & set(TABLE.bare(last) or ()):
                return last
            return f"x.{last}" if place == "Tensor" else spelling
        return "x[...]"

    @property
    def doc(self) -> str:
        """The sentence of its first record."""
        return self.records[0].doc

    def answers_to(self, name: str) -> bool:
        """Whether `name` is a way to ask for it: a full spelling or the last part of one, or its symbol."""
        last = {spelling.rpartition(".")[2] for spelling in self.spellings}
        nn = {
            s.replace("F.", "torch.nn.functional.", 1) for s in self.spellings if s.startswith("F.")
        }
        own = {known for op in self.records for known in (op.name, op.python_name, op.infix)}
        methods = {f"Tensor.{op.name}" for op in self.records}
        return name in own | methods | last | nn | {*self.spellings, self.name}

    def mentions(self, text: str) -> bool:
        """Whether each word of `text` stands in a name, a signature or a sentence of it."""
        parts = [*self.spellings]
        for op in self.records:
            parts += [op.name, str(op.signature), op.doc, op.convention]
        everything = " ".join(parts).casefold()
        return all(word in everything for word in text.casefold().split())


def entries() -> tuple[Entry, ...]:
    """All operators, by domain, file and record."""
    places = {file: (d, f) for d, one in enumerate(DOMAINS) for f, file in enumerate(one.files)}
    ordered = sorted(TABLE.by_name.values(), key=lambda op: places[op.file])
    groups: dict[tuple[int, str], list[Op]] = {}
    for op in ordered:
        groups.setdefault((places[op.file][0], op.python_name), []).append(op)
    return tuple(Entry(DOMAINS[domain], tuple(ops)) for (domain, _), ops in groups.items())
