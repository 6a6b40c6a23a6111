"""The derivation of a gradient as a textbook has it: definitions, chain rule, substitution, simplification.

Symbols only. Every line names a quantity and says what it equals, over the names of the lines before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from gradcheck_cli.calculus.derive import derive_nodes, simplify_assuming, with_names
from gradcheck_cli.calculus.differentiate import tracked
from gradcheck_cli.calculus.facts import assuming
from gradcheck_cli.calculus.rewrites import algebra, layout, present, sizes
from gradcheck_cli.calculus.rewrites.tables import joined
from gradcheck_cli.calculus.rule_names import rule_name
from gradcheck_cli.calculus.simplify import sweep
from gradcheck_cli.calculus.stages import Form, forms
from gradcheck_cli.calculus.trace import Forward, summed
from gradcheck_cli.graph import INPUT, Expr, rebuild, symbolic_sizes, t, topological, variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradcheck_cli.calculus.rewrites.tables import Rewrite

# What only moves numbers stands inside the step that uses it.
_QUIET = frozenset(
    "T mT transpose unsqueeze squeeze expand reshape flatten unflatten permute to detach".split()  # noqa: SIM905
)
_AFFINE = frozenset(("add", "sub", "mul", "div"))


@dataclass(frozen=True, slots=True)
class Definition:
    """A line of the forward pass: `name` is `node`."""

    name: str
    node: Expr


@dataclass(frozen=True, slots=True)
class Term:
    """What a step passes on by the named rule; `user` is the name of that step."""

    user: str
    rule: str
    node: Expr


@dataclass(frozen=True, slots=True)
class Adjoint:
    """A line of the sweep back: the derivative `name` of the output by `of`, the sum of its terms."""

    name: str
    of: str
    terms: tuple[Term, ...]

    @property
    def node(self) -> Expr:
        """The sum of the terms."""
        total = self.terms[0].node
        for term in self.terms[1:]:
            total = total + term.node
        return total


@dataclass(frozen=True, slots=True)
class Gradient:
    """An input's gradient by substitution, then ever shorter; the last form is what `derive` prints."""

    name: str
    of: str
    forms: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Derivation:
    """A derivation, ready to be written.

    `inputs` are the expression's, `forward` ends with the `output`; `further` are names of the check that
    only the results use. `upstream` is the line that the sweep begins with. `bars` says of each derivative's
    name whose it is, in the words of `lang.typeset`.
    """

    inputs: tuple[Expr, ...]
    forward: tuple[Definition, ...]
    output: str
    upstream: Definition
    backward: tuple[Adjoint, ...]
    further: tuple[Definition, ...]
    gradients: tuple[Gradient, ...]
    facts: tuple[Expr, ...] = ()
    bars: Mapping[str, str] = field(default_factory=dict)


def steps(
    output: Expr,
    wrt: Sequence[Expr],
    upstream: Expr,
    names: Mapping[Expr, str] | None = None,
    facts: Sequence[Expr] = (),
) -> Derivation:
    """Derive the gradient of `output` with respect to each of `wrt`, step by step.

    `upstream` stands for the gradient of a non-scalar output; for a scalar one it is 1. `names` are nodes
    with a name of their own, the check's `let`; `facts` masks that are True everywhere. The sweep is
    reverse accumulation: Griewank and Walther, Evaluating Derivatives, section 3.2.

    >>> from gradcheck_cli.lang.printer import to_text
    >>> x = variable("x", (3,))
    >>> found = steps((x**2).sum(), [x], variable("grad", ()))
    >>> [(line.name, to_text(line.node)) for line in found.forward]
    [('u1', 'x ** 2'), ('L', 'u1.sum()')]
    >>> [(line.name, to_text(line.node), line.terms[0].rule) for line in found.backward][1]
    ('d_x', '2 * d_u1 * x', 'power rule')
    >>> to_text(found.gradients[0].forms[-1].node)
    '2 * x'
    """
    given = dict(names or {})
    named = _named(output, wrt, given)
    forward = Forward(output, wrt, named)
    prefix = _prefix([*named.values(), *given.values()])
    own = {
        node: variable(f"{prefix}{name}", node.shape, node.dtype) for node, name in named.items()
    }
    first = t.ones((), dtype=output.dtype) if output.ndim == 0 else upstream
    with assuming(facts):
        backward = _backward(forward, own, first)
    defined = tuple(
        Definition(name, forward.alone[node]) for node, name in named.items() if node.args
    )
    start = Definition(f"{prefix}{named[output]}", first)
    final = derive_nodes(output, wrt, upstream, given, facts=facts)
    gradients = _gradients(
        backward,
        defined,
        start,
        {node.attributes["name"]: gradient for node, gradient in zip(wrt, final, strict=True)},
        with_names(facts, given),
        {node: name for node, name in given.items() if node.op is not INPUT},
        named[output],
    )
    return Derivation(
        tuple(node for node in named if node.op is INPUT),
        defined,
        named[output],
        start,
        backward,
        _further(gradients, given, {line.name for line in defined}),
        gradients,
        tuple(facts),
        {f"{prefix}{name}": name for name in named.values()},
    )


def _named(output: Expr, wrt: Sequence[Expr], given: Mapping[Expr, str]) -> dict[Expr, str]:
    """The steps with their names: inputs first, then what a gradient flows through or has a name."""
    order = topological([output])
    moving = tracked(order, wrt)
    inputs = {n: n.attributes["name"] for n in topological([output], sizes=True) if n.op is INPUT}
    taken = {*inputs.values(), *given.values(), "grad"}
    result = "L" if output.ndim == 0 else "y"
    if result in taken:
        result = next(name for name in map("u{}".format, count(0)) if name not in taken)
    taken.add(result)
    fresh = (name for name in map("u{}".format, count(1)) if name not in taken)
    found = dict(inputs)
    users: dict[Expr, list[Expr]] = {}
    for node in order:
        for arg in set(node.inputs):
            users.setdefault(arg, []).append(node)
    for node in order:
        if node.op is INPUT or node.value is not None:
            continue
        if node in given:
            found[node] = given[node]
        elif node is output:
            found[node] = result
        elif node in moving and not _is_inside(node, users[node]):
            found[node] = next(fresh)
    return found


def _is_inside(node: Expr, users: Sequence[Expr]) -> bool:
    """Whether a person writes it as a part of what uses it: `A.T`, or `x @ W` in `x @ W + b`."""
    if node.op.name in _QUIET:
        return True
    affine = len(users) == 1 and users[0].op.name in _AFFINE
    return node.op.name == "matmul" and affine


def _prefix(names: Iterable[str]) -> str:
    """What stands before a name to make its derivative's: `d_`, unless that is a name already."""
    taken = set(names)
    prefix = "d_"
    while any(f"{prefix}{name}" in taken for name in taken):
        prefix = f"d{prefix}"
    return prefix


def _backward(forward: Forward, own: Mapping[Expr, Expr], first: Expr) -> tuple[Adjoint, ...]:
    output = forward.output
    # A loss's gradient is 1, and needs no name in what follows.
    products = forward.products({**own, output: first} if output.ndim == 0 else own)
    terms: dict[Expr, list[Term]] = {}
    for product in reversed(products):
        node = product.node
        path = _path(node, product.to, forward)
        rule = rule_name(path, forward.tracked, summed(product.whole))
        terms.setdefault(product.to, []).append(Term(forward.names[node], rule, product.short))
    return tuple(
        Adjoint(own[node].attributes["name"], forward.names[node], tuple(terms[node]))
        for node in forward.senders()
        if node in terms
    )


def _path(node: Expr, arg: Expr, forward: Forward) -> list[Expr]:
    """The operators by which a gradient goes from a step to one of its arguments, the outermost first."""
    leading = {arg: None}
    for one in topological([node], given=forward.names.keys() - {node}):
        moves = one in forward.tracked and (one is node or one not in forward.names)
        if moves and not leading.keys().isdisjoint(one.inputs):
            leading[one] = None
    return [one for one in reversed(leading) if one is not arg]


def _gradients(
    backward: Sequence[Adjoint],
    defined: Sequence[Definition],
    upstream: Definition,
    final: Mapping[str, Expr],
    facts: Sequence[Expr],
    let: Mapping[Expr, str],
    output: str,
) -> tuple[Gradient, ...]:
    """The lines put into each other, but for what has a name in the check; and what becomes of that."""
    own = set(let.values())
    known = {line.name: line.node for line in (*defined, upstream) if line.name not in own}
    known.update((line.name, line.node) for line in backward)
    wanted = {line.of: line for line in backward if line.of in final}
    raw = _substituted([line.node for line in wanted.values()], known)
    # What a let name stands for is written by that name here too.
    raw = with_names(raw, {_over_others(node, let): name for node, name in let.items()})
    raw = _tidied(raw)
    history: list[tuple[Rewrite, Expr, Expr]] = []
    simplify_assuming(raw, facts, lambda *rewriting: history.append(rewriting))
    sequences = forms(raw, history, [final[name] for name in wanted])
    found = dict(zip(wanted, sequences, strict=True))
    # Without a line of its own, an input is the output or gets no gradient.
    prefix = upstream.name.removesuffix(output)
    return tuple(
        Gradient(f"{prefix}{name}", name, found.get(name, (Form(node),)))
        for name, node in final.items()
    )


def _tidied(nodes: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Sizes told by inputs, and no tensors filled with one number where the number does: bookkeeping.

    On paper nobody writes it down.
    """
    kept = sweep(nodes, joined(sizes.REWRITES, layout.REWRITES))
    return sweep(kept, {"full": present.REWRITES["full"], "mul": (algebra.numbers_first,)})


def _substituted(nodes: Sequence[Expr], known: Mapping[str, Expr]) -> tuple[Expr, ...]:
    """The nodes with the names in `known` replaced by what they stand for, and so on."""
    done: dict[Expr, Expr] = {}
    stack = list(nodes)
    while stack:
        node = stack[-1]
        meant = known.get(node.attributes["name"]) if node.op is INPUT else None
        below = [meant] if meant is not None else [*node.inputs, *symbolic_sizes(node)]
        open_ = [child for child in below if child not in done]
        stack += open_
        if not open_:
            stack.pop()
            done[node] = rebuild(node, done.__getitem__) if meant is None else done[meant]
    return tuple(done[node] for node in nodes)


def _further(
    gradients: Sequence[Gradient], given: Mapping[Expr, str], known: set[str]
) -> tuple[Definition, ...]:
    """Names of the check that stand in the results alone."""
    owners = {
        name: node for node, name in given.items() if node.op is not INPUT and name not in known
    }
    wanted = [form.node for gradient in gradients for form in gradient.forms]
    found: dict[str, Expr] = {}
    while wanted:
        inputs = (n for n in topological(wanted, sizes=True) if n.op is INPUT)
        used = {n.attributes["name"] for n in inputs} & owners.keys() - found.keys()
        for name in used:
            found[name] = _over_others(owners[name], given)
        wanted = [found[name] for name in used]
    return tuple(Definition(name, found[name]) for name in given.values() if name in found)


def _over_others(node: Expr, let: Mapping[Expr, str]) -> Expr:
    """What a name stands for, over the other names."""
    others = {other: name for other, name in let.items() if other is not node}
    return with_names([node], others)[0]
