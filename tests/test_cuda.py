"""What needs a CUDA device: all of specs/ there. Skipped, with the reason told, where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gradcheck_cli.spec.load import load_file
from gradcheck_cli.suite.run import run_check

SPECS = Path(__file__).parent.parent / "specs"
RIGHT = [path for path in sorted(SPECS.rglob("*.yaml")) if path.parent.name != "mistakes"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA NOT TESTED: no device here")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_specs_pass_on_cuda(dtype: str) -> None:
    failed = []
    for path in RIGHT:
        for check in load_file(path):
            outcome = run_check(replace(check, device="cuda", dtype=dtype))
            if outcome.status != "passed":
                failed.append((outcome.id, outcome.error, outcome.diagnoses))
    assert not failed
