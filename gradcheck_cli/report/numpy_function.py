"""A derived gradient as a NumPy function that returns the value and the gradients."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradcheck_cli.graph import INPUT
from gradcheck_cli.lang.code.numpy_templates import HELPERS
from gradcheck_cli.lang.code.numpy_text import NumpyPrinter, with_spellings
from gradcheck_cli.report.function import docstring_lines, fresh

if TYPE_CHECKING:
    from gradcheck_cli.report.function import Function


def numpy_function(function: Function) -> str:
    """A Python module with a function of NumPy arrays: `(value, {"x": gradient, ...})`.

    Where the expression isn't scalar, it takes the upstream gradient as its last argument. Raises
    GradcheckError (GC029) where an operator has no spelling in NumPy or SciPy.
    """
    names = function.names
    let = {
        function.scope[name]: names[name]
        for name in reversed([*function.let])
        if function.scope[name].op is not INPUT and function.scope[name].value is None
    }
    gradients = [*function.gradients.values()]
    nodes = with_spellings([function.output, *gradients, *let])
    output, found = nodes[0], nodes[1 : 1 + len(gradients)]
    define = dict(zip(nodes[1 + len(gradients) :], let.values(), strict=True))
    define = {node: name for node, name in define.items() if node.op is not INPUT}
    value = define.setdefault(output, fresh("value", names.values())) if output.args else ""
    inputs = {node: names[name] for name, node in function.inputs.items()}
    printer = NumpyPrinter(inputs, define)
    printer.taken |= {*names.values(), "np", "special", "linalg", "grad"}
    printed = printer.print([output, *found])
    value = value or printed.texts[0]
    lines = [f"{name} = {text}" for name, text in printed.let]
    grad = "grad"
    if function.output.ndim:
        after = next((i for i, (name, _) in enumerate(printed.let) if name == value), -1)
        lines.insert(after + 1, f"{grad} = np.broadcast_to({grad}, {value}.shape)")
    results = [
        f'"{name}": {t},' for name, t in zip(function.gradients, printed.texts[1:], strict=True)
    ]
    parameters = [*inputs.values(), *([f"{grad}=1.0"] if function.output.ndim else [])]
    body = [
        f"def {function.function_name}({', '.join(parameters)}):",
        *[f"    {line}" if line else "" for line in _docstring(function)],
        *[f"    {line}" for line in lines],
        "    gradients = {",
        *[f"        {line}" for line in results],
        "    }",
        f"    return {value}, gradients",
    ]
    text = "\n".join(body)
    helpers = [code for name, code in HELPERS.items() if f"{name}(" in text]
    whole = "\n\n\n".join([*(code.strip("\n") for code in helpers), text])
    imports = ["import numpy as np"]
    modules = [m for m in ("linalg", "special") if re.search(rf"(?<![\w.]){m}\.", whole)]
    if modules:
        imports.append(f"from scipy import {', '.join(modules)}")
    return "\n".join([*imports, "", "", whole, ""])


def _docstring(function: Function) -> list[str]:
    lines = list(docstring_lines(function))
    if function.output.ndim:
        lines.append(
            "`grad` is the gradient of what comes after, of the value's shape or a number."
        )
    lines.append("Returns the value and a dictionary of gradients.")
    return [*lines, '"""']
