"""What the text of an expression says of its inputs: what each rank and each dtype of them would cost.

Nothing is decided here: a use makes what it speaks against dearer, and the cheapest that can be computed is
taken. These are the conventions.

Products. In a chain `a @ b @ c` what stands inside is a matrix. So is the first, unless it is a lower-case
name that is transposed (`x.T @ y`) or is the last as well (`x @ A @ x`). The last is a matrix where it is
transposed or begins with a capital, else a vector: `X @ w`, `A @ x`. `q`, `k` and `v` together are those of
attention, matrices all. A `b` added to a product is a bias: a vector, or a number beside `X @ w`.

Names. A capital is a matrix. `alpha`, `eps`, `lam`, `n` are numbers, and so is a factor of a whole sum in a
sum with others (`loss + c * w.norm()`). `mask` is a mask. `w1` and `w2` have one rank.

Functions. The samples in an operator's record say which ranks and dtypes its arguments have. A subscript
is a whole number.

Inputs joined elementwise, `predicted - real`, have one shape.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradcheck_cli.dtypes import BY_NAME
from gradcheck_cli.lang.guess.calls import arguments, operands, overloads, patterns
from gradcheck_cli.lang.guess.parts import (
    TRANSPOSES,
    factors,
    is_total,
    is_vector,
    names_in,
    product_in,
    same,
    unshaped,
    untransposed,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gradcheck_cli.dtypes import DType
    from gradcheck_cli.graph import Op

RANKS = range(6)

_NUMBERS = frozenset(
    [
        *("alpha", "lam", "lambda_", "lamda", "eps", "epsilon", "tau", "temperature", "margin"),
        *("n", "N", "lr"),
    ]
)
_DISTRIBUTIONS = frozenset(["p", "q", "probs", "probabilities"])
# What stands for a vector also on the left of a product with one: `b @ v`, `y @ (X @ w)`.
_VECTORS = frozenset("bcuvy")
_MASKS = frozenset(["keep", "valid"])
_ATTENTION = (("q", "k", "v"), ("Q", "K", "V"), ("query", "key", "value"))
# Beside elementwise operators, what gives a result of the shape of its first argument.
_KEEPS_SHAPE = frozenset(
    [
        *("softmax", "log_softmax", "softmin", "normalize", "layer_norm", "rms_norm", "dropout"),
        *("detach", "contiguous", "clone", "masked_fill", "flip", "roll", "to", "double", "float"),
        *("cumsum", "logcumsumexp", "triu", "tril"),
    ]
)
# Losses whose target is as large as their input.
_COMPARES = frozenset(
    [
        *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss"),
        *("binary_cross_entropy", "binary_cross_entropy_with_logits", "gaussian_nll_loss"),
        *("soft_margin_loss", "cosine_similarity", "pairwise_distance"),
    ]
)
# What a rank costs by itself; a name in no product, in an expression with one, is a vector as likely.
_ALONE = (1.5, 0.5, 0.0, 2.0, 3.0, 4.0)
_BESIDE_PRODUCTS = (1.5, 0.0, 0.25, 2.5, 3.5, 4.5)
# A dtype that no use speaks for: to be tried where nothing else can be computed.
_FAR_FETCHED = {"float64": 0.0, "int64": 4.0, "bool": 4.5}


@dataclass
class Use:
    """What the uses of one name say of it."""

    name: str
    against: list[float] = field(default_factory=lambda: [0.0 for _ in RANKS])
    dtypes: dict[str, float] = field(default_factory=dict)
    in_product: bool = False
    is_bias: bool = False
    reason: str = ""
    _strongest: float = 0.0

    def speaks_for(self, ranks: Collection[int], weight: float, reason: str) -> None:
        """Make all other ranks dearer."""
        for rank in RANKS:
            if rank not in ranks:
                self.against[rank] += weight
        if weight >= self._strongest:
            self._strongest, self.reason = weight, reason

    @property
    def is_decided(self) -> bool:
        """Whether any use says something of the rank."""
        return self._strongest > 0

    def cost(self, rank: int, *, products: bool) -> float:
        """What a rank costs; `products` where the expression has matrix products."""
        usual = _BESIDE_PRODUCTS if products and not self.in_product else _ALONE
        # What is known of a name counts more than what is usual.
        return self.against[rank] + usual[rank] * (0.1 if self.is_decided else 1.0)

    def dtype_costs(self) -> list[tuple[float, str]]:
        """The dtypes that it may have, the cheapest first."""
        rest = 4.0 if self.dtypes else 0.0
        costs = {kind: cost + rest for kind, cost in _FAR_FETCHED.items()} | self.dtypes
        return sorted((cost, kind) for kind, cost in costs.items())


class Uses(dict[str, Use]):
    """The uses of inputs in an expression. `own` are all names that hide functions."""

    def __init__(self, tree: ast.expr, names: Sequence[str], own: Collection[str]) -> None:
        super().__init__((name, Use(name)) for name in names)
        self._own = own
        self._ties: list[tuple[str, str]] = []
        nodes = list(ast.walk(tree))
        self.products = any(isinstance(node, ast.MatMult) for node in nodes)
        self._counts: dict[str, int] = defaultdict(int)
        for node in nodes:
            if isinstance(node, ast.Name):
                self._counts[node.id] += 1
        for use in self.values():
            self._by_name(use)
        for node in nodes:
            if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
                self._coefficients(node.left)
                self._coefficients(node.right)
        self._biases: list[tuple[Use, ast.BinOp]] = []
        self._visit(tree, None)
        self._numbered()
        for use, product in self._biases:
            self._bias(use, product)

    def preferred(self, name: str) -> int:
        """The cheapest rank."""
        return min(RANKS, key=lambda rank: self[name].cost(rank, products=self.products))

    def groups(self) -> list[list[str]]:
        """The names, those in one list that share a shape."""
        leader = {name: name for name in self}
        for first, second in self._ties:
            one, other = leader[first], leader[second]
            leader = {name: one if lead == other else lead for name, lead in leader.items()}
        together: dict[str, list[str]] = defaultdict(list)
        for name, lead in leader.items():
            together[lead].append(name)
        groups: list[list[str]] = []
        for members in together.values():
            ranks = {self.preferred(name) for name in members if self[name].is_decided}
            groups += [members] if len(ranks) < 2 else [[name] for name in members]
        return groups

    def _numbered(self) -> None:
        """`w1` is of the rank of `w2`: of the larger of the two."""
        stems: dict[str, list[str]] = defaultdict(list)
        for name in self:
            stems[name.rstrip("0123456789")].append(name)
        for stem, names in stems.items():
            decided = {self.preferred(name) for name in names if self[name].is_decided}
            if len(decided) > 1:
                for name in names:
                    self[name].speaks_for([max(decided)], 1.0, f"as the other {stem}")

    def _use(self, node: ast.AST) -> Use | None:
        return self.get(node.id) if isinstance(node, ast.Name) else None

    def _by_name(self, use: Use) -> None:
        if use.name in _NUMBERS:
            use.speaks_for([0], 1.5, "a number, by its name")
        elif use.name[0].isupper():
            use.speaks_for([2], 1.0, "a matrix, by its name")
        if "mask" in use.name.lower() or use.name in _MASKS:
            use.dtypes["bool"] = 0.0
        if any(use.name in three and self.keys() >= set(three) for three in _ATTENTION):
            use.speaks_for([2], 2.5, "a matrix of attention")

    def _coefficients(self, term: ast.expr) -> None:
        """Names that only multiply a sum over everything are numbers."""
        parts = factors(term)
        others = [part for part in parts if not isinstance(part, (ast.Name, ast.Constant))]
        if len(others) == 1 and is_total(others[0]):
            for part in parts:
                use = self._use(part)
                if use is not None and self._counts[use.name] == 1:
                    use.speaks_for([0], 2.0, "a coefficient")

    def _visit(self, node: ast.AST | None, want: int | None) -> list[str]:
        """Look at a part that should be of rank `want`; the inputs that have its shape."""
        match node:
            case ast.Name(id=name) if name in self:
                if want is not None:
                    self[name].speaks_for([want], 1.0, "its place in a product")
                return [name]
            case ast.BinOp(op=ast.MatMult()):
                self._chain(node, want)
            case ast.BinOp(left=left, right=right):
                return self._joined([left, right], want)
            case ast.Compare(left=left, comparators=[right]):
                return self._joined([left, right], want)
            case ast.UnaryOp(op=op, operand=operand):
                use = self._use(operand)
                if use is not None and isinstance(op, ast.Invert):
                    use.dtypes["bool"] = 0.0
                return self._visit(operand, want)
            case ast.Attribute(value=value, attr=attr):
                self._visit(value, 2 if attr in TRANSPOSES else None)
            case ast.Subscript(value=value, slice=index):
                self._subscript(value, index)
            case ast.Call():
                return self._call(node, want)
            case ast.AST():
                for child in ast.iter_child_nodes(node):
                    self._visit(child, None)
        return []

    def _joined(self, parts: Sequence[ast.expr], want: int | None) -> list[str]:
        """Operands of an elementwise operator: the inputs in them have one shape."""
        shared: list[str] = []
        for part in parts:
            use = self._use(part)
            product = next(
                (p for other in parts if other is not part and (p := product_in(other))), None
            )
            if use is not None and use.name == "bias" and len(parts) > 1:
                use.is_bias = True
                use.speaks_for([1], 1.0, "a bias")
            elif use is not None and product and use.name.rstrip("0123456789") in ("b", "bias"):
                use.is_bias = True
                self._biases.append((use, product))
            else:
                shared += [name for name in self._visit(part, want) if not self[name].is_bias]
        shared = [name for name in shared if self.preferred(name) or not self[name].is_decided]
        self._ties += [(shared[0], name) for name in shared[1:]]
        return shared[:1]

    def _bias(self, use: Use, product: ast.BinOp) -> None:
        weights = self._use(product.right)
        is_vector = weights is not None and self.preferred(weights.name) == 1
        if weights is not None and is_vector and weights.name.startswith("w"):
            use.speaks_for([0], 1.0, "a bias")
        else:
            use.speaks_for([1], 1.0, "a bias")

    def _chain(self, node: ast.BinOp, want: int | None) -> None:
        """The operands of a chain of matrix products."""
        if want != 2 and same(node.left, node.right) and is_vector(node.right):
            self._visit(node.left, 1)  # (A @ x) @ (A @ x)
            return
        parts: list[ast.expr] = []
        below: ast.expr = node
        while isinstance(below, ast.BinOp) and isinstance(below.op, ast.MatMult):
            parts.insert(0, below.right)
            below = below.left
        parts.insert(0, below)
        first, last = untransposed(parts[0]), untransposed(parts[-1])
        last_turned = last is not parts[-1]
        ranks: list[int | None] = [2 for _ in parts]
        if want != 2 and not last_turned:
            ranks[-1] = want
            if is_vector(last):
                ranks[-1] = 1
                turned = first is not parts[0]
                # A multiple of the last, `penalty * w @ w`, is as good as the last itself.
                like = same(first, last) or (
                    isinstance(last, ast.Name)
                    and last.id in [f.id for f in factors(first) if isinstance(f, ast.Name)]
                )
                dual = names_in(first) <= _VECTORS
                if is_vector(first) and (turned or len(parts) > 2 or like or dual):
                    ranks[0] = 1
        for part in parts:
            self._multiples(part)
        for part, bare, rank in zip(parts, map(untransposed, parts), ranks, strict=True):
            use = self._use(bare)
            if use is not None:
                use.in_product = True
                if rank is not None:
                    # That a matrix is wanted weighs more: a vector may be one of several columns.
                    weight = 1.25 if rank == 2 else 0.75
                    use.speaks_for([rank], weight, "its place in a product")
            elif bare is part or rank == 1:
                self._visit(bare, rank)
            else:
                self._visit(part, rank)

    def _multiples(self, part: ast.expr) -> None:
        """In `h * A @ x` the lower-case factor is a number."""
        parts = factors(part)
        for factor in parts[:-1]:
            use = self._use(factor)
            if use is not None and self._counts[use.name] == 1 and not use.name[0].isupper():
                use.speaks_for([0], 1.5, "a coefficient")

    def _subscript(self, value: ast.expr, index: ast.expr) -> None:
        items = index.elts if isinstance(index, ast.Tuple) else [index]
        for item in items:
            use = self._use(item)
            if use is not None:
                use.dtypes.setdefault("int64", 0.5)
                use.speaks_for([1], 1.0, "a subscript")
            else:
                self._visit(item, None)
        fixed = [item.value if isinstance(item, ast.Constant) else 0 for item in items]
        dims = len(items) - fixed.count(None)
        use = self._use(value)
        picks = any(self._use(item) is not None for item in items)
        if use is not None and dims and ... not in fixed and not picks:
            # With a dimension added, further ones are as likely: x[:, None] - y[None].
            use.speaks_for([dims], 0.4 if None in fixed else 0.75, "its subscripts")
        elif use is None:
            self._visit(value, None)

    def _call(self, node: ast.Call, want: int | None) -> list[str]:
        parts = operands(node, self._own)
        found = overloads(node, self._own)
        name = found[0].python_name if found else ""
        if name == "matmul" and len(parts) == 2:
            self._chain(ast.BinOp(parts[0], ast.MatMult(), parts[1]), want)
            return []
        if name == "einsum":
            self._einsum(parts)
            return []
        if found:
            self._samples(node, found)
            if found[0].elementwise or found[0].broadcasts:
                return self._joined(parts, want)
        keeps = name in _KEEPS_SHAPE
        below = 2 if name in TRANSPOSES else want if keeps else None
        shapes = [self._visit(part, below if i == 0 else None) for i, part in enumerate(parts)]
        if name in _COMPARES:
            alike = [shape[0] for shape in shapes if shape]
            self._ties += [(alike[0], other) for other in alike[1:]]
        return shapes[0] if keeps and shapes else []

    def _einsum(self, parts: Sequence[ast.expr]) -> None:
        equation, rest = parts[0] if parts else None, parts[1:]
        if len(rest) == 1 and isinstance(rest[0], (ast.List, ast.Tuple)):
            rest = rest[0].elts
        terms: list[str] = []
        if isinstance(equation, ast.Constant) and isinstance(equation.value, str):
            terms = equation.value.replace(" ", "").partition("->")[0].split(",")
        for part, term in zip(rest, terms, strict=False):
            use = self._use(part)
            if use is not None:
                use.speaks_for([len(term.replace("...", ""))], 3.0, "einsum")
            else:
                self._visit(part, None)

    def _samples(self, node: ast.Call, found: Sequence[Op]) -> None:
        """What the samples of an operator say of arguments that are inputs."""
        for parameter, value in arguments(node, found[0], self._own):
            bare = unshaped(value)
            use = self._use(bare)
            smooth = found[0].vjp is not None or found[0].define is not None
            if use is None or (found[0].elementwise and smooth):
                continue
            seen = [p for op in found for p in patterns(op) if parameter in p.shapes]
            self._kinds(use, [p.dtypes[parameter] for p in seen])
            kind = BY_NAME[use.dtype_costs()[0][1]].is_floating
            ranks = [
                len(p.shapes[parameter]) for p in seen if p.dtypes[parameter].is_floating is kind
            ]
            same_shape = (
                found[0].elementwise or found[0].broadcasts or found[0].python_name in _COMPARES
            )
            if bare is value and ranks and not same_shape:
                reason = f"an argument of {found[0].python_name}()"
                # Where samples have several ranks, one that they lack may do as well.
                use.speaks_for(set(ranks), 2.0 if len(set(ranks)) == 1 else 0.1, reason)
                use.speaks_for([ranks[0]], 0.5, reason)

    def _kinds(self, use: Use, kinds: Sequence[DType]) -> None:
        """What the dtypes that an argument has in samples say of an input."""
        if not kinds or kinds[0].is_floating:
            return
        floating = any(kind.is_floating for kind in kinds)
        if kinds[0].kind == "b":
            if not floating:
                use.dtypes["bool"] = 0.0
        elif floating and use.name in _DISTRIBUTIONS:
            use.dtypes |= {"float64": 0.0, "int64": 1.0}
        else:
            use.dtypes.setdefault("int64", 0.0)
