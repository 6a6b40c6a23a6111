from __future__ import annotations

from typing import Any

import pytest

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.selection.overrides import Overrides, plan

SPEC = """\
version: 1
name: sum
inputs: {x: {shape: [3]}}
expression: x.sum()
"""


def planned(text: str, overrides: Overrides, defaults: Overrides, **more: int) -> list[Any]:
    from pathlib import Path

    return plan(load_text(text, "a.yaml", Path()), overrides, defaults, **more)


NOTHING = Overrides()


def test_without_overrides_nothing_changes() -> None:
    (one,) = planned(SPEC, NOTHING, NOTHING)
    assert (one.check.id, one.command) == ("a.yaml::sum", None)


def test_a_default_holds_where_the_spec_says_nothing() -> None:
    defaults = Overrides(("engine",), "cuda", ("float32", "bfloat16"), 7, 1e-3, 1e-4)
    found = planned(SPEC, NOTHING, defaults)
    assert [one.check.id for one in found] == ["a.yaml::sum[float32]", "a.yaml::sum[bfloat16]"]
    for one, dtype in zip(found, ("float32", "bfloat16"), strict=True):
        check = one.check
        assert (check.methods, check.device, check.dtype, check.seed) == (
            ("engine",),
            "cuda",
            dtype,
            7,
        )
        assert (check.tolerance.rtol, check.tolerance.atol) == (1e-3, 1e-4)
        assert one.command == (
            "gradcheck compare a.yaml::sum --methods engine --device cuda "
            f"--dtype {dtype} --seed 7 --rtol 0.001 --atol 0.0001"
        )


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("methods: [torch, engine]", "methods", ("torch", "engine")),
        ("device: cpu", "device", "cpu"),
        ("dtype: float64", "dtype", "float64"),
        ("seed: 0", "seed", 0),
    ],
)
def test_what_the_spec_says_comes_before_a_default(line: str, field: str, value: object) -> None:
    defaults = Overrides(("numeric",), "cuda", ("float32",), 7)
    (one,) = planned(f"{SPEC}{line}\n", NOTHING, defaults)
    assert getattr(one.check, field) == value
    (other,) = planned(f"{SPEC}{line}\n", defaults, NOTHING)
    assert getattr(other.check, field) != value
    # In a file of many checks, its `defaults` say it for each.
    indented = "\n".join(f"  {text}" for text in (*SPEC.splitlines()[2:], line))
    many = f"version: 1\ndefaults:\n{indented}\nchecks:\n  - {{name: a}}\n"
    (merged,) = planned(many, NOTHING, defaults)
    assert getattr(merged.check, field) == value


def test_a_tolerance_is_two_defaults() -> None:
    text = f"{SPEC}tolerance: {{rtol: 1e-6}}\n"
    (one,) = planned(text, NOTHING, Overrides(rtol=1.0, atol=2.0))
    assert (one.check.tolerance.rtol, one.check.tolerance.atol) == (1e-6, 2.0)
    (one,) = planned(text, Overrides(rtol=3.0), Overrides(rtol=1.0, atol=2.0))
    assert (one.check.tolerance.rtol, one.check.tolerance.atol) == (3.0, 2.0)


def test_the_command_line_comes_before_a_default() -> None:
    (one,) = planned(SPEC, Overrides(seed=1), Overrides(device="cuda", seed=2))
    assert (one.check.seed, one.check.device) == (1, "cuda")


def test_repeated_with_seeds() -> None:
    found = planned(f"{SPEC}dtype: [float64, float32]\nseed: 5\n", NOTHING, NOTHING, repeat=2)
    assert [one.check.id for one in found] == [
        "a.yaml::sum[float64,seed=5]",
        "a.yaml::sum[float64,seed=6]",
        "a.yaml::sum[float32,seed=5]",
        "a.yaml::sum[float32,seed=6]",
    ]
    assert found[1].check.seed == 6
    assert found[1].command == "gradcheck compare 'a.yaml::sum[float64]' --seed 6"


def test_repeated_from_a_seed_in_one_of_several_dtypes() -> None:
    overrides = Overrides(dtypes=("float64", "float32"), seed=3)
    found = planned(SPEC, overrides, NOTHING, repeat=2)
    assert [one.check.id for one in found] == [
        f"a.yaml::sum[{dtype},seed={seed}]" for dtype in overrides.dtypes for seed in (3, 4)
    ]
    assert found[3].command == "gradcheck compare a.yaml::sum --dtype float32 --seed 4"


def test_too_many_are_refused_before_they_are_made() -> None:
    with pytest.raises(GradcheckError) as caught:
        planned(SPEC, NOTHING, NOTHING, repeat=10**9)
    assert "200,000" in str(caught.value)
    with pytest.raises(GradcheckError):
        planned(SPEC, Overrides(seed=2**63 - 1), NOTHING, repeat=2)
