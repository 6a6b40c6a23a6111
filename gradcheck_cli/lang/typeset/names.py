"""Names as they are written on paper: Greek letters, and subscripts for what follows an underscore."""

from __future__ import annotations

import re

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eps": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "lamda": "λ", "mu": "μ",
    "nu": "ν", "xi": "ξ", "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ",
    "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ",
    "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Upsilon": "Υ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_NUMBERED = re.compile(r"([^\W\d_]+)([0-9]+)")
# Longer names are no symbols, and are written as they are.
_MOST_CHARACTERS = 40


def split(name: str) -> tuple[str, tuple[str, ...]]:
    """A name as a base and its subscripts.

    >>> split("W1"), split("x_mean"), split("sigma_0"), split("__x__")
    (('W', ('1',)), ('x', ('mean',)), ('σ', ('0',)), ('__x__', ()))
    """
    base, *rest = name.split("_")
    if not base or not all(rest) or len(name) > _MOST_CHARACTERS:
        return name, ()
    numbered = _NUMBERED.fullmatch(base)
    if numbered:
        base, number = numbered.groups()
        rest = [number, *rest]
    return GREEK.get(base, base), tuple(GREEK.get(one, one) for one in rest)
