"""Memory formats and devices: known, because PyTorch takes them, and without effect on values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = np.arange(24.0).reshape(1, 2, 3, 4)


@pytest.mark.parametrize(
    "text",
    [
        "x.clone(memory_format=torch.channels_last)",
        "x.contiguous(memory_format=torch.channels_last)",
        "x.double(memory_format=torch.preserve_format)",
        "x.to('cpu', torch.float64, True, memory_format=torch.channels_last)",
    ],
)
def test_a_memory_format_changes_no_value(text: str, value_of: Callable[..., Any]) -> None:
    assert (value_of(text, x=IMAGES) == IMAGES).all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x.clone(memory_format=torch.channels_last_3d)", "is for tensors of 5 dimensions"),
        ("x.clone(memory_format='channels_last')", "not 'channels_last'"),
        ("x.to('cuda')", "wants a dtype, a tensor or 'cpu', not 'cuda'"),
        ("x.to('float32')", "not 'float32'"),
    ],
)
def test_what_is_refused(text: str, says: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError) as caught:
        value_of(text, x=IMAGES)
    assert says in caught.value.problems[0].message
