from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gradcheck_cli.errors import Problem, Source
from gradcheck_cli.spec import build
from gradcheck_cli.spec.check import Tolerance
from gradcheck_cli.spec.load import load_text

Problems = Callable[..., tuple[Problem, ...]]


def one(body: str) -> Any:
    (check,) = load_text(f"version: 1\n{body}", "a.yaml")
    return check


X = "inputs: {x: {shape: [3]}}\nexpression: x.sum()\n"


def test_defaults() -> None:
    check = one(X)
    assert (check.order, check.seed, check.methods, check.tolerance) == (1, 0, None, None)
    assert (check.cotangent, check.tags, check.expect_fail, check.expect_code) == (
        "random",
        (),
        False,
        None,
    )
    assert (check.id, check.name, check.wrt, check.dims) == ("a.yaml::a", "a", ("x",), {})


def test_everything_can_be_said() -> None:
    check = one(
        X + "name: n\ndescription: d\ntags: [a, b]\nlet: {y: x * 2, z: 3}\ncotangent: ones\n"
        "manual: {x: 0}\norder: 2\ndtype: float32\ndevice: cuda:1\nmethods: [torch, manual]\nseed: 7\n"
        "tolerance: {rtol: 1e-3, float32: {atol: 1}, float64: {rtol: 5}}\nexpect: fail GC102\nx-mine: [1]"
    )
    assert (check.name, check.description, check.tags, check.order) == ("n", "d", ("a", "b"), 2)
    assert [(name, source.text) for name, source in check.let] == [("y", "x * 2"), ("z", "3")]
    assert check.manual["x"].text == "0"
    assert (check.cotangent, check.dtype, check.device, check.seed) == (
        "ones",
        "float32",
        "cuda:1",
        7,
    )
    assert check.methods == ("torch", "manual")
    assert check.tolerance == Tolerance(1e-3, 1.0)
    assert (check.expect_fail, check.expect_code) == (True, "GC102")


def test_an_expression_as_cotangent() -> None:
    cotangent = one(X + "cotangent: 2 * x").cotangent
    assert isinstance(cotangent, Source)
    assert (cotangent.text, cotangent.where().line) == ("2 * x", 4)


@pytest.mark.parametrize(
    ("inputs", "wrt"),
    [
        ("x: {shape: []}, y: {shape: []}", ("x", "y")),
        ("x: {shape: [], requires_grad: true}, y: {shape: []}", ("x",)),
        ("x: {shape: [], requires_grad: false}, y: {shape: []}", ("y",)),
        ("x: {shape: []}, i: {shape: [], sample: integers}", ("x",)),
        ("x: {shape: []}, b: {shape: [], sample: bernoulli, dtype: bool}", ("x",)),
        ("x: {value: [1.0, 2]}, i: {value: [1, 2]}", ("x",)),
        ("x: {shape: [], dtype: float32}, i: {value: [true]}", ("x",)),
    ],
)
def test_which_inputs_are_checked(inputs: str, wrt: tuple[str, ...]) -> None:
    assert one(f"inputs: {{{inputs}}}\nexpression: x.sum()").wrt == wrt


def test_sizes_dtypes_and_devices_expand() -> None:
    checks = load_text(
        "version: 1\nname: n\ndims: {N: [2, 3], M: 4}\ndtype: [float64, float32]\ndevice: [cpu]\n"
        "inputs: {x: {shape: [N, M, 5]}}\nexpression: x.sum()"
    )
    assert [check.id for check in checks] == [
        "n[N=2,float64]",
        "n[N=2,float32]",
        "n[N=3,float64]",
        "n[N=3,float32]",
    ]
    assert [check.inputs[0].shape for check in checks[1:3]] == [(2, 4, 5), (3, 4, 5)]
    assert checks[2].dims == {"N": 3, "M": 4}


def test_defaults_are_merged_by_name() -> None:
    first, second = load_text(
        "version: 1\n"
        "defaults:\n"
        "  dims: {N: 2}\n"
        "  inputs: {x: {shape: [N], sample: uniform}, y: {shape: []}}\n"
        "  let: {a: x + 1}\n"
        "  tolerance: {rtol: 1e-3}\n"
        "  expression: x.sum()\n"
        "checks:\n"
        "  - name: one\n"
        "    inputs: {x: {shape: [7]}}\n"
        "    let: {b: a}\n"
        "    tolerance: {atol: 1}\n"
        "  - {expression: y}\n"
    )
    assert [(spec.name, spec.shape, spec.sampler) for spec in first.inputs] == [
        ("x", (7,), "normal"),
        ("y", (), "normal"),
    ]
    assert [name for name, _ in first.let] == ["a", "b"]
    assert first.tolerance == Tolerance(None, 1.0)
    assert (second.name, second.line, second.inputs[0].shape) == ("check-2", 13, (2,))
    assert (first.expression.where().line, second.expression.text) == (7, "y")


def test_names_and_ids() -> None:
    item = "inputs: {x: {shape: []}}, expression: x"
    text = f"version: 1\nchecks:\n- {{{item}}}\n- {{name: n, {item}}}\n- {{name: n, {item}}}\n"
    text += f"- {{name: n, dtype: [float64, float32], {item}}}\n---\nversion: 1\nname: n#2\n{X}"
    assert [check.id for check in load_text(text, "a.yaml")] == [
        "a.yaml::check-1",
        "a.yaml::n",
        "a.yaml::n#2",
        "a.yaml::n[float64]",
        "a.yaml::n[float32]",
        "a.yaml::n#2#2",
    ]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("expression: x", "GC004", "`inputs` is missing"),
        ("inputs: {x: {shape: []}}", "GC004", "`expression` is missing"),
        ("inputs: {}\nexpression: 1", "GC024", "nothing to check"),
        ("inputs: {i: {value: 1}}\nexpression: i", "GC024", "nothing to check"),
        ("inputs: {x: {shape: [], requires_grad: false}}\nexpression: x", "GC024", "nothing"),
        (X + "manual: {y: 1}", "GC023", "`y`, which is no input"),
        ("inputs: {x: {shape: []}, i: {value: 1}}\nexpression: x\nmanual: {i: 1}", "GC023", "`i`"),
        (X + "let: {x: 1}", "GC002", "an input and a `let` name"),
        (X + "let: {grad: 1}", "GC002", "`grad` can't name"),
        (X + "dims: {lambda: 1}", "GC002", "`lambda` can't name"),
        (X + "defaults: {seed: 1}", "GC003", "`defaults` without `checks`"),
        (
            "checks: [{expression: x, inputs: {x: {shape: []}}}]\nseed: 1",
            "GC003",
            "beside `checks`",
        ),
        ("checks: []", "GC002", "`checks` must not be empty"),
        (
            X + "dims: {N: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}\ndevice: [cpu, mps]",
            "GC008",
            "20 checks",
        ),
    ],
)
def test_what_is_refused(
    body: str, code: str, words: str, problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "MAX_CHECKS", 20)
    (problem,) = problems(f"version: 1\n{body}", "a.yaml")
    assert problem.code == code
    assert words in problem.message
    assert problem.where is not None
    assert problem.where.line is not None


@pytest.mark.parametrize(
    ("version", "code", "hint"),
    [
        ("2", "GC005", "upgrade gradcheck"),
        ("0", "GC005", "write `version: 1`"),
        ("1.0", "GC002", None),
    ],
)
def test_versions(version: str, code: str, hint: str | None, problems: Problems) -> None:
    (problem,) = problems(
        f"version: {version}\nfuture: key\n{X}" if version == "2" else f"version: {version}\n{X}"
    )
    assert (problem.code, problem.hint) == (code, hint)


def test_every_document_needs_a_version(problems: Problems) -> None:
    (problem,) = problems(f"version: 1\n{X}---\n{X}")
    assert problem.code == "GC005"
    assert problem.where is not None
    assert problem.where.line == 5


def test_a_problem_of_the_defaults_is_told_once(problems: Problems) -> None:
    items = "- {name: a}\n- {name: b}\n- {name: c}\n"
    found = problems(
        "version: 1\n"
        "defaults: {expression: y, manual: {z: 1}, inputs: {y: {shape: [N]}}, dims: {N: [1, 2]}}\n"
        "checks:\n" + items
    )
    assert [problem.code for problem in found] == ["GC023"]


def test_wrong_checks_do_not_hide_each_other(problems: Problems) -> None:
    found = problems(
        "version: 1\nchecks:\n"
        "- {inputs: {x: {shape: [3]}}, expression: x, seed: -1}\n"
        "- {inputs: {x: {shape: [3]}}, expression: x, manual: {y: 1}}\n"
        "- {inputs: {x: {shape: [Q]}}, expression: x}\n"
    )
    assert [(p.code, p.where and p.where.line) for p in found] == [
        ("GC002", 3),
        ("GC023", 4),
        ("GC002", 5),
    ]
