"""Derivatives of functions of tensors: transforms that take a function and where to differentiate it.

Shapes and argument orders are those of `torch.func` and `torch.autograd.functional`. A transform can
stand within another: what an outer one differentiates is recorded through the inner one.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.engine.eager_calls import wrapped
from gradcheck_cli.engine.eager_grad import grad
from gradcheck_cli.engine.eager_record import (
    NUMPY,
    Surroundings,
    another,
    enable_grad,
    is_grad_enabled,
    leaf,
)
from gradcheck_cli.engine.tensor import Tensor, tensor
from gradcheck_cli.graph import INPUT, topological

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Function = Callable[..., Any]


def value_and_grad(f: Function, argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """`f` made to return its value and its gradient with respect to the arguments numbered `argnums`.

    `f` gives a scalar. One number gives one gradient, a tuple of them a tuple. Raises RuntimeError.
    """
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)

    @wraps(f)
    def both(*args: Any, **kwargs: Any) -> Any:
        run = _Run(f, args, kwargs, numbers)
        output = _scalar(run.output, "value_and_grad")
        gradients = run.gradients((output,), [None], retain=False)
        value = run.released(output)
        return value, gradients if isinstance(argnums, tuple) else gradients[0]

    return both


def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `f` at `primals`, and a function from a cotangent to the gradient it gives there.

    That function takes as many cotangents as `f` has outputs, and gives a gradient for each primal (the
    tensor itself where there is one). It can be called any number of times.
    """
    run = _Run(f, primals, {}, range(len(primals)))
    outputs = run.outputs

    def pull_back(*cotangents: Any) -> Any:
        if len(cotangents) != len(outputs):
            msg = (
                f"{len(outputs)} cotangents are wanted, one for each output, not {len(cotangents)}"
            )
            raise RuntimeError(msg)
        given = [_like(c, output) for c, output in zip(cotangents, outputs, strict=True)]
        gradients = run.gradients(outputs, given)
        return gradients[0] if len(primals) == 1 else gradients

    return run.as_returned(), pull_back


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of `f` at `primals`, and its derivative along `tangents`.

    The product with the Jacobian is the derivative, with respect to the cotangent, of the product
    with its transpose, which is linear in it.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError("jvp() wants tuples of primals and of tangents")
    if len(primals) != len(tangents):
        msg = f"there are {len(primals)} primals and {len(tangents)} tangents"
        raise RuntimeError(msg)
    run = _Run(f, tuple(primals), {}, range(len(primals)))
    along = [_like(v, x) for v, x in zip(tangents, run.inputs, strict=True)]
    pushed = tuple(_pushed(run, output, along) for output in run.outputs)
    return run.as_returned(), pushed if isinstance(run.output, (tuple, list)) else pushed[0]


def _pushed(run: _Run, output: Tensor, tangents: Sequence[Tensor]) -> Tensor:
    """The derivative of one output along the tangents."""
    if not output.requires_grad:
        return _zeros(output)
    cotangent = _zeros(output).requires_grad_()
    with enable_grad():
        pulled = grad(output, run.inputs, cotangent, create_graph=True, allow_unused=True)
    parts = [(g, v) for g, v in zip(pulled, tangents, strict=True) if g is not None]
    parts = [(g, v) for g, v in parts if g.requires_grad]
    if not parts:
        return _zeros(output)
    (found,) = grad(
        [g for g, _ in parts],
        cotangent,
        [v for _, v in parts],
        retain_graph=True,
        create_graph=run.nested,
        allow_unused=True,
    )
    return _zeros(output) if found is None else found


def hvp(f: Function, inputs: Any, v: Any) -> tuple[Tensor, Any]:
    """The value of `f`, which gives a scalar, and the product of its Hessian with `v`.

    `inputs` and `v` are a tensor each, or a tuple each.
    """
    several = isinstance(inputs, (tuple, list))
    run = _Run(f, tuple(inputs) if several else (inputs,), {}, None)
    output = _scalar(run.output, "hvp")
    along = [_like(part, x) for part, x in zip(v if several else (v,), run.inputs, strict=True)]
    products: list[Tensor] = [_zeros(x) for x in run.inputs]
    if output.requires_grad:
        with enable_grad():
            slopes = grad(output, run.inputs, create_graph=True, allow_unused=True)
        pairs = [
            (slope, part)
            for slope, part in zip(slopes, along, strict=True)
            if slope is not None and slope.requires_grad
        ]
        if pairs:
            ends, weights = zip(*pairs, strict=True)
            found = grad(
                ends,
                run.inputs,
                weights,
                retain_graph=True,
                create_graph=run.nested,
                allow_unused=True,
            )
            products = [zeros if g is None else g for g, zeros in zip(found, products, strict=True)]
    return run.released(output), tuple(products) if several else products[0]


def jacobian(f: Function, inputs: Any) -> Any:
    """The derivatives of all elements of the output with respect to all elements of the inputs.

    Of shape `output.shape + input.shape`; a tuple of them where `inputs` is a tuple, and a tuple of
    those where `f` gives a tuple. Swept row by row, or column by column where those are fewer.
    """
    several = isinstance(inputs, (tuple, list))
    run = _Run(f, tuple(inputs) if several else (inputs,), {}, None)
    found = []
    for output in run.outputs:
        parts = _rows(run, output)
        found.append(parts if several else parts[0])
    return tuple(found) if isinstance(run.output, (tuple, list)) else found[0]


def _rows(run: _Run, output: Tensor) -> tuple[Tensor, ...]:
    size = output.numel()
    if not output.requires_grad or size == 0:
        return tuple(_filled_like((*output.shape, *x.shape), x) for x in run.inputs)
    columns = sum(x.numel() for x in run.inputs)
    if not run.nested and 0 < 2 * columns < size:  # a push costs about two sweeps
        return _columns(run, output)
    rows = [run.gradients((output,), [unit]) for unit in _units(output)]
    return tuple(
        _stacked([row[number] for row in rows], (*output.shape, *x.shape))
        for number, x in enumerate(run.inputs)
    )


def _columns(run: _Run, output: Tensor) -> tuple[Tensor, ...]:
    found = []
    for number, x in enumerate(run.inputs):
        pushed = []
        for unit in _units(x):
            along = [unit if n == number else _zeros(y) for n, y in enumerate(run.inputs)]
            pushed.append(_pushed(run, output, along).held)
        shape = (*output.shape, *x.shape)
        stacked = np.stack(pushed, axis=-1).reshape(shape) if pushed else np.zeros(shape)
        found.append(tensor(stacked, dtype=output.dtype))
    return tuple(found)


def hessian(f: Function, inputs: Any) -> Any:
    """The second derivatives of `f`, which gives a scalar.

    Of shape `input.shape + input.shape`; where `inputs` is a tuple, a tuple of tuples of the blocks.
    """
    several = isinstance(inputs, (tuple, list))
    count = len(inputs) if several else 1

    def slopes(*xs: Any) -> Any:
        _, gradients = value_and_grad(_scalar_of(f), tuple(range(count)))(*xs)
        return gradients if several else gradients[0]

    return jacobian(slopes, inputs)


def _scalar_of(f: Function) -> Function:
    return lambda *xs: _scalar(f(*xs), "hessian")


class _Run:
    """One call of a function with the chosen arguments made inputs of their own.

    `argnums` None: all arguments. `nested` says that something else than those inputs requires a
    gradient of the result, an enclosing transform, for one.
    """

    def __init__(
        self, f: Function, args: Sequence[Any], kwargs: dict[str, Any], argnums: Any
    ) -> None:
        numbers = range(len(args)) if argnums is None else argnums
        given = list(args)
        for number in numbers:
            given[number] = _input(given[number])
        self.inputs: list[Tensor] = [given[number] for number in numbers]
        for x in self.inputs:
            if not x.requires_grad:
                raise RuntimeError("only Tensors of floating point dtype have derivatives")
        outer = is_grad_enabled()
        with enable_grad():
            self.output = f(*given, **kwargs)
        parts = self.output if isinstance(self.output, (tuple, list)) else (self.output,)
        for part in parts:
            if not isinstance(part, Tensor):
                msg = f"the function must give Tensors, not {type(part).__name__}"
                raise TypeError(msg)
        self.outputs: tuple[Tensor, ...] = tuple(parts)
        own = {x.node for x in self.inputs}
        ends = [part.node for part in self.outputs]
        self.nested = outer and any(
            node.op is INPUT and node not in own and getattr(node, "tracked", False)
            for node in topological(ends)
        )

    def gradients(
        self, outputs: Sequence[Tensor], given: Sequence[Tensor | None], *, retain: bool = True
    ) -> tuple[Tensor, ...]:
        """The gradient for every input, zeros where it isn't used."""
        pairs = [(o, g) for o, g in zip(outputs, given, strict=True) if o.requires_grad]
        if not pairs:
            return tuple(_zeros(x) for x in self.inputs)
        create = is_grad_enabled() and (
            self.nested or any(g is not None and g.requires_grad for _, g in pairs)
        )
        found = grad(
            [o for o, _ in pairs],
            self.inputs,
            [g for _, g in pairs],
            retain_graph=retain or create,
            create_graph=create,
            allow_unused=True,
        )
        return tuple(_zeros(x) if g is None else g for g, x in zip(found, self.inputs, strict=True))

    def released(self, output: Tensor) -> Tensor:
        """An output as the caller gets it: without the graph, unless that is differentiated further."""
        return output if self.nested else output.detach()

    def as_returned(self) -> Any:
        parts = tuple(map(self.released, self.outputs))
        return parts if isinstance(self.output, (tuple, list)) else parts[0]


def _input(x: Any) -> Tensor:
    """The argument as a node of its own, so that only what passes through it is differentiated."""
    given = x if isinstance(x, Tensor) else tensor(x)
    if given.requires_grad and is_grad_enabled():
        with Surroundings():
            made: Tensor = wrapped(another(given.as_node()))
        return made
    detached: Tensor = given.detach()
    return detached.requires_grad_(detached.dtype.is_floating)


def _scalar(output: Any, name: str) -> Tensor:
    if not isinstance(output, Tensor) or output.numel() != 1:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        msg = f"{name}() needs a function that gives a scalar Tensor, not {shape}"
        raise RuntimeError(msg)
    return output


def _like(value: Any, x: Tensor) -> Tensor:
    """A cotangent or tangent in the shape and dtype of what it belongs to. Raises RuntimeError."""
    given = value if isinstance(value, Tensor) else tensor(value, dtype=x.dtype)
    if given.shape != x.shape:
        msg = f"a tangent or cotangent of shape {tuple(given.shape)} doesn't fit {tuple(x.shape)}"
        raise RuntimeError(msg)
    fitting: Tensor = given.to(x.dtype)
    return fitting


def _zeros(x: Tensor) -> Tensor:
    return _filled_like(x.shape, x)


def _filled_like(shape: tuple[int, ...], x: Tensor) -> Tensor:
    made: Tensor = wrapped(leaf(np.zeros(shape, NUMPY[x.dtype]), x.dtype))
    return made


def _units(x: Tensor) -> list[Tensor]:
    """The unit vectors of x's space."""
    size = x.numel()
    rows = np.eye(size, dtype=NUMPY[x.dtype]).reshape(size, *x.shape)
    return [wrapped(leaf(row, x.dtype)) for row in rows]


def _stacked(rows: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    from gradcheck_cli.engine.eager_functions import functions

    stacked: Tensor = functions.stack(list(rows)).reshape(shape)
    return stacked
