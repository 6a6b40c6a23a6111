"""Wrong formulas made mechanically from right ones: what a check ought to see, and the diagnosis to name.

A file for each family of mistakes. Nothing here knows how mistakes are diagnosed: what is generated here
measures that.
"""

from gradcheck_cli.verdict.mutants.generate import KINDS, Candidate, candidates, mutants
from gradcheck_cli.verdict.mutants.record import Kind, Mutant

__all__ = ["KINDS", "Candidate", "Kind", "Mutant", "candidates", "mutants"]
