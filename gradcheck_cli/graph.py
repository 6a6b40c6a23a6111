"""The graph: `Op`, the record of an operator, and `Expr`, an immutable interned node.

Every node knows its shape and dtype before anything is computed. Equal nodes are the same object, so
common subexpressions are free and equality is identity. Records live in `ops/`, which fills `TABLE`.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import cached_property, partial
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from gradcheck_cli import dtypes
from gradcheck_cli.schema import Invalid, Schema, bind, parse_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from gradcheck_cli.dtypes import DType

Shape = tuple[int, ...]


class Type(NamedTuple):
    """What is known of a result before it is computed."""

    shape: Shape
    dtype: DType


@dataclass(frozen=True, slots=True)
class In:
    """How a test draws one input: standard normal numbers unless it says otherwise."""

    shape: Shape = ()
    low: float | None = None
    high: float | None = None
    dtype: str = "float64"
    structure: str | None = None
    value: Any = None


@dataclass(frozen=True, init=False)
class Sample:
    """An expression in the language with inputs on which an operator's tests draw.

    `Sample("x.sum(1)", x=(3, 4))`; an input is a shape or an `In`. `grad=False` where the gradient is not
    compared (no derivative), `second=False` where the second derivative is not.
    """

    expression: str
    given: Mapping[str, Shape | In]
    grad: bool
    second: bool

    def __init__(
        self, expression: str, *, grad: bool = True, second: bool = True, **inputs: Shape | In
    ) -> None:
        # There are thousands, made at every start: no more is done than to keep what is given.
        vars(self).update(expression=expression, given=inputs, grad=grad, second=second)

    @cached_property
    def inputs(self) -> Mapping[str, In]:
        """How each input is drawn."""
        return {k: v if isinstance(v, In) else In(tuple(v)) for k, v in self.given.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One operator, whole. Adding an operator is adding one of these.

    schema      PyTorch's signature, see `schema.py`; a name like `max.dim` is an overload of `max`
    doc         one sentence
    infer       (*arguments, **attributes) -> Type, or a tuple of them for several outputs; raises Invalid
    kernel      (*arrays, **attributes) -> array (or tuple of arrays), NumPy or SciPy, dtype-preserving
    vjp         (g, out, *arguments, **attributes) -> one expression, or a tuple with one per argument
                (None: no gradient flows there). Written in the graph's own operators, never branching on
                values. Broadcasting needs no care: a gradient larger than its argument is summed, a smaller
                one is expanded, by `differentiate`. With several outputs it is called once per output that
                has a gradient, with that `output` as a keyword. An Invalid in place of an expression is
                raised where that argument's gradient is asked for. None: no gradient flows through it.
    define      instead of kernel and vjp, a composite: (*arguments, **attributes) -> expression. Beside
                a kernel it is the definition that a generated test holds the kernel to.
    on          where PyTorch has it: of "torch", "Tensor", "F"
    aliases     further names in the same places (`arccos`)
    also        further full spellings (`torch.special.expit`)
    attribute   the name of the property that it is (`T`)
    outputs     the names of the fields where PyTorch returns a named tuple
    analytic    whether kernel accepts complex arrays and continues the function analytically
    complex     whether it takes complex tensors, as PyTorch's does; None: where it is analytic. The rule of
                an analytic one is written as for real numbers: `differentiate` conjugates.
    complex_kernel
                the kernel on complex tensors where `kernel`, made for steps off the real axis, is another
    scalar      the same on Python's numbers, for arithmetic on sizes
    infix       its symbol, for printing: "+", or prefix "-x" as "-"
    method      prints as a method, `x.sum()`; else as a function, `exp(x)`
    kink        (*arguments, **attributes) -> expressions that are zero where it is not differentiable
    convention  what PyTorch, and so this rule, takes there; a clause for people
    samples     what its generated tests evaluate
    cubic       multiplies or factors matrices: n^3 operations where n^2 numbers go in
    orthogonal  works by orthogonal transformations, which round relative to the largest element: small ones
                come out no better than large ones
    elementwise broadcasts its arguments; tests add zero-dimensional, empty and broadcast samples
    broadcasts  the same in blocks, though its tests draw all samples themselves
    ufunc       (node) -> the NumPy ufunc that does the same on real arrays of one dtype, or None; a
                ufunc itself where attributes and shapes make no difference. It writes into a given array.
    into        (node) -> a function like a ufunc, `(*arrays, out)`: it writes the node's value into `out`,
                which may be one of its arrays of the same shape
    prepare     (node) -> the kernel with attributes and shapes settled beforehand, for real arrays of the
                node's own types; None where there is none. Must not depend on the `leading` sizes.
    leading     (node) -> how many leading dims it treats slice by slice, so that its arrays may come in
                blocks along them; elementwise operators need not say it
    reduction   the binary ufunc of which it is the reduction over `dim`, all dims by default
    fused       (*arguments, **attributes) -> the same numbers in smaller operators, which the planner
                can join with those around them; None: as it is
    file        the file of `ops/` that it stands in, by which it is listed
    """

    schema: str
    doc: str = ""
    infer: Callable[..., Type | tuple[Type, ...]] | None = None
    kernel: Callable[..., Any] | None = None
    vjp: Callable[..., Any] | None = None
    define: Callable[..., Any] | None = None
    on: tuple[str, ...] = ("torch", "Tensor")
    aliases: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    attribute: str | None = None
    outputs: tuple[str, ...] = ()
    analytic: bool = False
    complex: bool | None = None
    complex_kernel: Callable[..., Any] | None = None
    scalar: Callable[..., Any] | None = None
    infix: str | None = None
    method: bool = False
    kink: Callable[..., tuple[Expr, ...]] | None = None
    convention: str = ""
    samples: tuple[Sample, ...] = ()
    cubic: bool = False
    orthogonal: bool = False
    elementwise: bool = False
    broadcasts: bool = False
    ufunc: Any = None
    into: Callable[[Expr], Callable[..., Any] | None] | None = None
    prepare: Callable[[Expr], Callable[..., Any] | None] | None = None
    leading: Callable[[Expr], int] | None = None
    reduction: Any = None
    fused: Callable[..., Any] | None = None
    domain: str = ""
    file: str = ""

    @cached_property
    def signature(self) -> Schema:
        """The parsed schema."""
        return parse_schema(self.schema)

    @cached_property
    def name(self) -> str:
        """PyTorch's name with the overload: `max.dim`."""
        return self.schema.partition("(")[0]

    @property
    def python_name(self) -> str:
        """PyTorch's name without the overload: `max`."""
        return self.name.partition(".")[0]

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every way to write it: `torch.max`, `Tensor.max`, `F.relu`."""
        names = () if self.attribute == self.python_name else (self.python_name, *self.aliases)
        places = ("Tensor",) if self.attribute else self.on
        written = [f"{place}.{name}" for place in places for name in names]
        return (*written, *self.also)

    @property
    def is_macro(self) -> bool:
        """Whether calls are replaced by the definition, so that it never stands in a graph."""
        return self.kernel is None and self.define is not None

    @property
    def takes_complex(self) -> bool:
        """Whether complex tensors can be its arguments."""
        return self.analytic if self.complex is None else self.complex

    @cached_property
    def result_tuple(self) -> Callable[..., tuple[Expr, ...]]:
        """The named tuple that PyTorch returns."""
        return namedtuple(self.python_name, self.outputs)  # noqa: PYI024 -- fields from data

    def __repr__(self) -> str:
        return f"<Op {self.name}>"


# Where a name without a module is looked for. Where F and torch both have one, torch's is what that of F
# calls, with other arguments: `batch_norm`, `dropout`, `embedding`.
BARE = ("F", "torch", "torch.linalg", "torch.special")


class Table:
    """The operators by name and by spelling; filled by importing `gradcheck_cli.ops`."""

    def __init__(self) -> None:
        self.by_name: dict[str, Op] = {}
        self.functions: dict[str, list[Op]] = {}
        self.methods: dict[str, list[Op]] = {}
        self.attributes: dict[str, Op] = {}
        self.subscript: Callable[[Expr, Any], Expr] | None = None

    def add(self, op: Op) -> Op:
        """Register a record under all its spellings. Overloads are tried in the order of registration."""
        assert op.name not in self.by_name, f"{op.name} is registered twice"
        self.by_name[op.name] = op
        for spelling in op.spellings:
            place, _, name = spelling.rpartition(".")
            if place == "Tensor":
                self.methods.setdefault(name, []).append(op)
            else:
                self.functions.setdefault(spelling, []).append(op)
        if op.attribute:
            self.attributes[op.attribute] = op
        return op

    def bare(self, name: str) -> list[Op] | None:
        """The overloads that `name(...)` without a module means: of `BARE`, the first that has it."""
        for place in BARE:
            found = self.functions.get(f"{place}.{name}")
            if found:
                return found
        return None


TABLE = Table()


class Expr:
    """A node: `op` applied to `args` with attributes `attrs`, of known `shape` and `dtype`.

    `value` is set where the node is a number known beforehand: a literal, or a size such as
    `x.numel()`; such nodes have a weak dtype, as Python numbers have in PyTorch's promotion.
    `inputs` are the arguments that are there, `args` without None. Operators, methods and attributes are
    PyTorch's, from the table.
    """

    __slots__ = (
        "__weakref__",
        "args",
        "attrs",
        "dtype",
        "inputs",
        "op",
        "output",
        "shape",
        "value",
    )

    op: Op
    args: tuple[Expr | None, ...]
    inputs: tuple[Expr, ...]
    attrs: tuple[tuple[str, Any], ...]
    output: int
    shape: Shape
    dtype: DType
    value: int | float | bool | None

    def __init__(self) -> None:
        msg = "nodes are made by variable(), const() and by applying operators"
        raise TypeError(msg)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def elements(self) -> int:
        """Number of elements, as a plain number; `numel()` is the symbolic one."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes by name, symbolic sizes included."""
        return dict(self.attrs)

    def __getattr__(self, name: str) -> Any:
        if name in TABLE.attributes:
            return make(TABLE.attributes[name], (self,), {})
        overloads = TABLE.methods.get(name)
        if overloads is None:
            raise AttributeError(name)
        return partial(call, overloads, self)

    def __repr__(self) -> str:
        if self.op is CONST:
            return repr(self.value)
        label = self.attributes["name"] if self.op is INPUT else self.op.name
        return f"<{label} {list(self.shape)} {self.dtype.name}>"

    def __bool__(self) -> bool:
        msg = "a node has no truth value: rules use masks and where()"
        raise TypeError(msg)

    def __iter__(self) -> Any:
        msg = "a node can't be iterated over"
        raise TypeError(msg)

    def __getitem__(self, index: Any) -> Expr:
        assert TABLE.subscript is not None
        return TABLE.subscript(self, index)

    def __add__(self, other: Operand) -> Expr:
        return infix("add", self, other)

    def __radd__(self, other: Operand) -> Expr:
        return infix("add", other, self)

    def __sub__(self, other: Operand) -> Expr:
        return infix("sub", self, other)

    def __rsub__(self, other: Operand) -> Expr:
        return infix("sub", other, self)

    def __mul__(self, other: Operand) -> Expr:
        return infix("mul", self, other)

    def __rmul__(self, other: Operand) -> Expr:
        return infix("mul", other, self)

    def __truediv__(self, other: Operand) -> Expr:
        return infix("div", self, other)

    def __rtruediv__(self, other: Operand) -> Expr:
        return infix("div", other, self)

    def __pow__(self, other: Operand) -> Expr:
        return infix("pow", self, other)

    def __rpow__(self, other: Operand) -> Expr:
        return infix("pow", other, self)

    def __matmul__(self, other: Expr) -> Expr:
        return infix("matmul", self, other)

    def __neg__(self) -> Expr:
        return infix("neg", self)

    def __invert__(self) -> Expr:
        return infix("bitwise_not", self)

    def __and__(self, other: Operand) -> Expr:
        return infix("bitwise_and", self, other)

    def __or__(self, other: Operand) -> Expr:
        return infix("bitwise_or", self, other)

    def __lt__(self, other: Operand) -> Expr:
        return infix("lt", self, other)

    def __le__(self, other: Operand) -> Expr:
        return infix("le", self, other)

    def __gt__(self, other: Operand) -> Expr:
        return infix("gt", self, other)

    def __ge__(self, other: Operand) -> Expr:
        return infix("ge", self, other)


AnyExpr = TypeVar("AnyExpr", bound=Expr)
Operand = Expr | int | float | bool

_interned: WeakValueDictionary[Any, Expr] = WeakValueDictionary()
_interning = RLock()


def told_apart(value: Any) -> Any:
    """`value` told apart from its equals of other types: 1, 1.0 and True, 0.0 and -0.0."""
    kind = type(value)
    if kind is tuple:
        return tuple([told_apart(item) for item in value])
    if kind is str or value is None:
        return value
    return (float, value.hex()) if kind is float else (kind, value)


def _node(
    op: Op,
    args: tuple[Expr | None, ...],
    attrs: tuple[tuple[str, Any], ...],
    type_: Type,
    output: int = 0,
    value: float | bool | None = None,
) -> Expr:
    key = (op, args, told_apart(attrs) if attrs else (), output, *type_)
    found = _interned.get(key)
    return _new(key, op, args, attrs, type_, output, value) if found is None else found


def _new(
    key: Any,
    op: Op,
    args: tuple[Expr | None, ...],
    attrs: tuple[tuple[str, Any], ...],
    type_: Type,
    output: int = 0,
    value: float | bool | None = None,
) -> Expr:
    node = _filled(object.__new__(Expr), op, args, attrs, type_, output, value)
    with _interning:  # of two threads that make the same node, both get that of the first
        found = _interned.get(key)
        if found is None:
            _interned[key] = found = node
    return found


def _filled(
    node: AnyExpr,
    op: Op,
    args: tuple[Expr | None, ...],
    attrs: tuple[tuple[str, Any], ...],
    type_: Type,
    output: int,
    value: float | bool | None,
) -> AnyExpr:
    node.op, node.args, node.attrs, node.output = op, args, attrs, output
    node.inputs = tuple([arg for arg in args if arg is not None]) if None in args else args  # type: ignore[assignment]
    (node.shape, node.dtype), node.value = type_, value
    return node


def unshared(
    kind: type[AnyExpr],
    op: Op,
    args: tuple[Expr | None, ...],
    attrs: tuple[tuple[str, Any], ...],
    type_: Type,
    output: int = 0,
) -> AnyExpr:
    """A node that is not interned, of `kind`: a tensor's own, told apart from another's equal one."""
    return _filled(object.__new__(kind), op, args, attrs, type_, output, None)


INPUT = Op(schema="input()", doc="An input of the expression.", on=())
CONST = Op(schema="const()", doc="A number.", on=())


def variable(name: str, shape: Sequence[int], dtype: DType = dtypes.float64) -> Expr:
    """An input of the expression."""
    return _node(INPUT, (), (("name", name),), Type(tuple(shape), dtype))


def const(value: float) -> Expr:
    """A Python number."""
    dtype = {bool: dtypes.pybool, int: dtypes.pyint, float: dtypes.pyfloat}[type(value)]
    return _node(CONST, (), (("value", value),), Type((), dtype), value=value)


def size_of(op: Op, args: tuple[Expr, ...], attrs: Mapping[str, Any], value: int) -> Expr:
    """A whole number that follows from a shape, kept symbolic: `x.numel()`."""
    return _node(op, args, tuple(attrs.items()), Type((), dtypes.pyint), value=value)


def make(op: Op, args: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    """Apply `op`: a node, a named tuple of nodes, or what a composite's definition makes of them.

    Raises Invalid where PyTorch would refuse the arguments' shapes or dtypes.
    """
    nodes = tuple([arg if arg is None or isinstance(arg, Expr) else const(arg) for arg in args])
    if op.kernel is None and op.define is not None:
        if op.complex is False:
            refuse_complex(op, nodes)
        return op.define(*nodes, **attrs)
    if op.scalar is not None:
        for node in nodes:
            if node is None or node.value is None:
                break
        else:
            return _static(op, nodes, attrs)
    items = tuple(attrs.items())
    key = _made_key(op, nodes, items)
    found = _interned.get(key)
    if found is not None:
        return found
    if not op.takes_complex:
        refuse_complex(op, nodes)
    assert op.infer is not None, f"{op} has no infer"
    types = op.infer(*nodes, **attrs)
    if isinstance(types, Type):
        return _new(key, op, nodes, items, types)
    return op.result_tuple(
        *(_node(op, nodes, items, type_, output) for output, type_ in enumerate(types))
    )


def refuse_complex(op: Op, nodes: Iterable[Expr | None]) -> None:
    """Raise Invalid (GC016) where a complex tensor is among the arguments of what takes none."""
    for node in nodes:
        if node is not None and node.dtype.kind == "z":
            msg = f"{op.python_name}() isn't available for complex tensors ({node.dtype.name})"
            hint = "make it real first: x.abs(), x.real, x.imag or torch.view_as_real(x)"
            raise Invalid("GC016", msg, hint)


def _made_key(
    op: Op, args: tuple[Expr | None, ...], attrs: tuple[tuple[str, Any], ...]
) -> tuple[Any, ...]:
    """What is known already needn't be inferred again; a type follows from these four."""
    return (op, args, told_apart(attrs) if attrs else (), dtypes.default_dtype.get())


MAX_BITS = 63


def _static(op: Op, nodes: tuple[Any, ...], attrs: Mapping[str, Any]) -> Expr:
    """Arithmetic on Python numbers, at once and bounded: `9**9**9` must not hang."""
    assert op.scalar is not None
    values = [node.value for node in nodes]
    if op.python_name == "pow" and all(isinstance(v, int) for v in values):
        base, exponent = values
        if exponent > 0 and abs(base) > 1 and exponent * (abs(base).bit_length() - 1) > MAX_BITS:
            raise Invalid("GC019", "this number is too large", "write it as a float: 1e30")
    try:
        value = op.scalar(*values, **attrs)
    except ZeroDivisionError:
        raise Invalid("GC014", "this number can't be computed: division by zero") from None
    except OverflowError:
        raise Invalid("GC019", "this number is too large for a float") from None
    except (ArithmeticError, ValueError, TypeError) as error:
        raise Invalid("GC014", f"this number can't be computed: {error}") from None
    if isinstance(value, complex):
        raise Invalid("GC014", "this number is complex; only real ones can be used here")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise Invalid("GC019", "this number is too large", "write it as a float: 1e30")
    if all(node.op is CONST for node in nodes):
        return const(value)
    dtype = {bool: dtypes.pybool, int: dtypes.pyint, float: dtypes.pyfloat}[type(value)]
    return _node(op, nodes, tuple(attrs.items()), Type((), dtype), value=value)


def call(overloads: Sequence[Op], *args: Any, strict: bool = False, **kwargs: Any) -> Any:
    """Call an operator by PyTorch's argument names; the first overload that fits is taken.

    Raises Invalid with what is wrong with the best of them.
    """
    first: Invalid | None = None
    for op in overloads:
        try:
            nodes, attrs = bind(op.signature, args, kwargs, Expr, strict=strict)
        except Invalid as error:
            first = first or error
            continue
        return make(op, nodes, attrs)
    assert first is not None
    raise first


_infix_cache: dict[str, tuple[Op, dict[str, Any]]] = {}


def infix(name: str, *operands: Any) -> Expr:
    """Apply a binary or unary operator of Python's syntax, the defaults of its record filled in."""
    found = _infix_cache.get(name)
    if found is None:
        op = TABLE.by_name[name]
        defaults = {p.name: p.default for p in op.signature.parameters if not p.is_tensor}
        found = _infix_cache[name] = (op, defaults)
    result: Expr = make(found[0], operands, found[1])
    return result


def kernel_of(op: Op, args: Iterable[Expr | None]) -> Callable[..., Any]:
    """What computes `op` from the arrays of these arguments."""
    if op.complex_kernel is not None:
        for arg in args:
            if arg is not None and arg.dtype.kind == "z":
                return op.complex_kernel
    assert op.kernel is not None, f"{op} has no kernel"
    return op.kernel


class Functions:
    """PyTorch's functions for use in rules: `t.where(mask, a, b)`."""

    def __getattr__(self, name: str) -> Any:
        overloads = TABLE.bare(name)
        if overloads is None:
            raise AttributeError(name)
        bound = partial(call, overloads)
        setattr(self, name, bound)
        return bound


t = Functions()


def concrete(attrs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Attributes as a kernel wants them: symbolic sizes replaced by their numbers."""
    return {name: _concrete(value) for name, value in attrs}


def _concrete(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_concrete, value))
    return value.value if isinstance(value, Expr) else value


def rebuild(node: Expr, replace: Callable[[Expr], Expr]) -> Expr:
    """The same operator on replaced arguments (also those in symbolic sizes), shapes inferred anew."""
    args = tuple([None if arg is None else replace(arg) for arg in node.args])
    attrs = node.attrs
    if attrs and symbolic_sizes(node):
        attrs = tuple([(name, _replaced(value, replace)) for name, value in attrs])
    if attrs == node.attrs:
        if args == node.args:
            return node
        # Arguments of the same types give the same type, where the default dtype has no part in it.
        plain = node.value is None and not node.op.outputs and node.op.kernel is not None
        if (
            plain
            and any(arg.dtype is node.dtype for arg in node.inputs)
            and all(map(_of_one_type, args, node.args))
        ):
            key = _made_key(node.op, args, attrs)
            found = _interned.get(key)
            type_ = Type(node.shape, node.dtype)
            return _new(key, node.op, args, attrs, type_) if found is None else found
    made = make(node.op, args, dict(attrs))
    return made[node.output] if node.op.outputs else made  # type: ignore[no-any-return]


def _of_one_type(a: Expr | None, b: Expr | None) -> bool:
    """Whether nothing can be inferred from one that couldn't be from the other."""
    if a is None or b is None or a is b:
        return a is b
    return a.shape == b.shape and a.dtype is b.dtype and a.value is None and b.value is None


def _replaced(value: Any, replace: Callable[[Expr], Expr]) -> Any:
    if isinstance(value, tuple):
        return tuple(_replaced(item, replace) for item in value)
    if not isinstance(value, Expr):
        return value
    new = replace(value)
    # A size that turns out to be a number is written as one.
    return new.value if new.op is CONST else new


def topological(
    roots: Iterable[Expr], *, sizes: bool = False, given: Container[Expr] = ()
) -> list[Expr]:
    """All nodes below `roots`, arguments before users; iterative, so that deep graphs are no problem.

    With `sizes`, nodes that stand only in symbolic sizes are included (for printing and rewriting; to
    compute, they are not needed). What is below nodes that are `given` is left out.
    """
    order: list[Expr] = []
    seen: set[Expr] = set()
    # A node is on the stack twice: None after it marks that all below it is done.
    stack: list[Expr | None] = list(roots)
    stack.reverse()
    while stack:
        node = stack.pop()
        if node is None:
            finished = stack.pop()
            assert finished is not None
            order.append(finished)
            continue
        if node in seen:
            continue
        seen.add(node)
        below: Sequence[Expr] = () if node in given else node.inputs
        if sizes and node.attrs:
            below = (*below, *symbolic_sizes(node))
        if not below:
            order.append(node)
            continue
        stack += (node, None)
        stack += [child for child in reversed(below) if child not in seen]
    return order


def symbolic_sizes(node: Expr) -> list[Expr]:
    """The nodes in `node`'s attributes."""
    found: list[Expr] = []
    for _, value in node.attrs:
        if isinstance(value, Expr):
            found.append(value)
        elif type(value) is tuple:
            found += [item for item in value if isinstance(item, Expr)]
    return found
