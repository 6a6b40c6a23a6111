"""gradcheck: is this gradient right?

PYTEST_DONT_REWRITE: without this word pytest would warn where it starts after this has been imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck_cli.api import Report, assert_gradients, check, compare
    from gradcheck_cli.engine.compiled import compile  # noqa: A004 -- PyTorch's name
    from gradcheck_cli.engine.eager_functions import functions
    from gradcheck_cli.engine.eager_grad import grad
    from gradcheck_cli.engine.eager_record import (
        enable_grad,
        get_default_dtype,
        is_grad_enabled,
        no_grad,
        set_default_dtype,
    )
    from gradcheck_cli.engine.functional import hessian, hvp, jacobian, jvp, value_and_grad, vjp
    from gradcheck_cli.engine.tensor import Tensor, tensor
    from gradcheck_cli.errors import GradcheckError

__version__ = "0.1.0"

# Imported at the first use: the command line needs none of it to start.
_HOMES = {
    **dict.fromkeys(("Report", "assert_gradients", "check", "compare"), "gradcheck_cli.api"),
    "GradcheckError": "gradcheck_cli.errors",
    "compile": "gradcheck_cli.engine.compiled",
    "functions": "gradcheck_cli.engine.eager_functions",
    "grad": "gradcheck_cli.engine.eager_grad",
    "Tensor": "gradcheck_cli.engine.tensor",
    "tensor": "gradcheck_cli.engine.tensor",
    **dict.fromkeys(
        ("enable_grad", "get_default_dtype", "is_grad_enabled", "no_grad", "set_default_dtype"),
        "gradcheck_cli.engine.eager_record",
    ),
    **dict.fromkeys(
        ("hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"),
        "gradcheck_cli.engine.functional",
    ),
}

__all__ = [
    "GradcheckError",
    "Report",
    "Tensor",
    "__version__",
    "assert_gradients",
    "check",
    "compare",
    "compile",
    "enable_grad",
    "functions",
    "get_default_dtype",
    "grad",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "no_grad",
    "set_default_dtype",
    "tensor",
    "value_and_grad",
    "vjp",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
