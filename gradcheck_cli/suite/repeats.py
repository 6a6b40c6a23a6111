"""PyTorch's results that differ from run to run: looked for where they are contradicted, and reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Gradients


def second_look(case: Case, results: Sequence[Gradients]) -> Sequence[Gradients] | None:
    """The results with PyTorch's measured by several runs; None where a second run gives the same bits."""
    first = next((result for result in results if result.method == "torch"), None)
    if first is None or first.runs > 1 or first.unavailable is not None:
        return None
    from gradcheck_cli.methods.torch_method import repeated

    again = repeated(case, first)
    return None if again is first else [again if r is first else r for r in results]


def with_spread(notes: Iterable[Diagnosis], results: Sequence[Gradients]) -> list[Diagnosis]:
    """Notes of the verdicts, and by how much PyTorch's gradients differ between runs, of each input."""
    varies = {result.method for result in results if result.runs > 1}
    # That its own error is too large for it to decide is said by the spread.
    found = [note for note in notes if note.code != "GC202" or note.method not in varies]
    for result in results:
        if result.runs == 1:
            continue
        for name, estimate in result.estimates.items():
            error = estimate.error
            if error is None or not error.any():
                continue
            places = int(np.count_nonzero(error))
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape))
            at = f", most at {list(index)}, where the allowance grows by {error[index]:.3g}"
            message = (
                f"the {result.method} gradient of `{name}` differs between {result.runs} runs in "
                f"{places} of {error.size} elements{at if index else ''}"
            )
            found.append(Diagnosis("GC301", message, name, result.method))
    return found
