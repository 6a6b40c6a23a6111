"""Validated nodes -> checks: defaults are merged, lists expanded, and keys judged together."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import Source, did_you_mean
from gradcheck_cli.spec.check import Check, Implementation, InputSpec, Tolerance
from gradcheck_cli.spec.inputs import check_name, read_input
from gradcheck_cli.spec.nodes import Document, Entries, Node, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_CHECKS = 20_000
# Of `defaults`, these are merged name by name; another key of a check replaces the default's.
_MERGED = ("dims", "inputs", "let", "manual", "kwargs")
_BESIDE_CHECKS = frozenset({"version", "checks", "defaults", "name", "description"})


@dataclass
class Builder:
    """Collects the checks of one file; problems go into `made`."""

    made: Document
    base: Path | None
    checks: list[Check] = field(default_factory=list)
    _position: int = 0
    _full: bool = False
    _seen: dict[str, int] = field(default_factory=dict)

    def add_document(
        self, root: Entries, wrong: Iterable[tuple[int | str, ...]], *, alone: bool
    ) -> None:
        """Add the checks of one document, but for those in which something `wrong` was found."""
        listed = root.entries.get("checks")
        if listed is None:
            if "defaults" in root.entries:
                hint = "put its keys into the spec itself"
                self.made.add("GC003", "`defaults` without `checks`", root.keys["defaults"], hint)
            self._position += 1
            if not any(wrong):
                self._add(root, root, alone=alone)
            return
        bad = {
            location[1] if location[0] == "checks" else None for location in wrong if location[1:]
        }
        for name, key in root.keys.items():
            if name not in _BESIDE_CHECKS and not name.startswith("x-"):
                hint = "put it under `defaults`, or into a check"
                self.made.add("GC003", f"`{name[:60]}` stands beside `checks`", key, hint)
        defaults = root.entries.get("defaults")
        items = [] if isinstance(listed, Scalar | Entries) else listed.items
        for index, item in enumerate(items):
            self._position += 1
            if isinstance(item, Entries) and index not in bad and None not in bad:
                merged = _merge(defaults, item) if isinstance(defaults, Entries) else item
                self._add(merged, item, alone=False)

    def _add(self, entries: Entries, place: Entries, *, alone: bool) -> None:
        missing = [name for name in ("inputs", "expression") if name not in entries.entries]
        if "implementation" in entries.entries and "expression" in missing:
            missing.remove("expression")  # the code alone is checked
        for name in missing:
            self.made.add("GC004", f"`{name}` is missing from this check", place)
        title: str | None = entries.value.get("name")
        if title is None and alone and self.made.file is not None:
            title = PurePath(self.made.file).stem
        title = title or f"check-{self._position}"
        if missing or self._full:
            return
        if len(self.checks) + _count(entries.value) > MAX_CHECKS:
            self._full = True
            message = f"this expands the file to more than {MAX_CHECKS} checks"
            self.made.add("GC008", message, place)
            return
        # Checks after a wrong one are judged too, so that all problems are told at once.
        for check, suffix in _expand(self.made, self.base, entries, title, place):
            self.checks.append(self._identified(check, suffix))

    def _identified(self, check: dict[str, Any], suffix: str) -> Check:
        file = self.made.file
        base = f"{file}::{check['name']}" if file is not None else str(check["name"])
        chosen = base + suffix
        while chosen in self._seen:
            self._seen[base + suffix] += 1
            chosen = f"{base}#{self._seen[base + suffix]}{suffix}"
        self._seen[chosen] = 1
        return Check(id=chosen, file=file, **check)


def _merge(defaults: Entries, item: Entries) -> Entries:
    """`item` over `defaults`; the mappings in `_MERGED` name by name."""
    merged = _over(defaults, item)
    for name in _MERGED:
        below, above = defaults.entries.get(name), item.entries.get(name)
        if isinstance(below, Entries) and isinstance(above, Entries):
            both = _over(below, above)
            merged.entries[name] = both
            merged.value[name] = both.value
    return merged


def _over(below: Entries, above: Entries) -> Entries:
    return Entries(
        {**below.value, **above.value},
        {**below.entries, **above.entries},
        {**below.keys, **above.keys},
        above.start,
        above.end,
    )


def _expand(
    made: Document, base: Path | None, entries: Entries, name: str, place: Entries
) -> Iterator[tuple[dict[str, Any], str]]:
    """The keywords of every `Check` that an entry stands for, each with what its id says of it."""
    given: Mapping[str, Any] = entries.value
    dims: dict[str, list[int]] = {
        symbol: size if isinstance(size, list) else [size]
        for symbol, size in given.get("dims", {}).items()
    }
    for key in _keys(entries, "dims"):
        check_name(made, key, "a size")
    dtypes = _several(given.get("dtype", "float64"))
    devices = _several(given.get("device", "cpu"))
    let = _named_sources(made, entries, "let")
    for key in _keys(entries, "let"):
        if check_name(made, key, "a `let` expression") and key.text in given["inputs"]:
            made.add("GC002", f"`{key.text}` is an input and a `let` name at once", key)
    implementation = _implementation(made, entries)
    common = {
        "name": name,
        "line": made.line(place),
        "expression": _expression(made, entries),
        "implementation": implementation,
        "description": given.get("description", ""),
        "tags": tuple(given.get("tags", ())),
        "let": tuple(let.items()),
        "cotangent": _cotangent(made, entries),
        "manual": _named_sources(made, entries, "manual"),
        "manual_sources": {key.text: made.source(key) for key in _keys(entries, "manual")},
        "order": given.get("order", 1),
        "methods": tuple(given["methods"]) if "methods" in given else None,
        "seed": given.get("seed", 0),
        "expect_fail": "expect" in given,
        "expect_code": given.get("expect", "").partition(" ")[2] or None,
        "given": frozenset(given),
    }
    for chosen in itertools.product(*dims.values()):
        bound = dict(zip(dims, chosen, strict=True))
        inputs = _inputs(made, base, entries, bound)
        if inputs is None:
            continue
        wrt = _checked_inputs(inputs)
        _judge(made, entries, inputs, wrt, place)
        common |= {"inputs": inputs, "wrt": wrt, "dims": bound}
        labels = [f"{symbol}={bound[symbol]}" for symbol, sizes in dims.items() if len(sizes) > 1]
        for dtype, device in itertools.product(dtypes, devices):
            parts = [*labels, *[dtype] * (len(dtypes) > 1), *[device] * (len(devices) > 1)]
            tolerance = _tolerance(given.get("tolerance"), dtype)
            suffix = f"[{','.join(parts)}]" if parts else ""
            yield {**common, "dtype": dtype, "device": device, "tolerance": tolerance}, suffix


def _count(given: Mapping[str, Any]) -> int:
    """How many checks an entry stands for."""
    listed = [given.get("dtype"), given.get("device"), *given.get("dims", {}).values()]
    return math.prod(len(value) for value in listed if isinstance(value, list))


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _keys(entries: Entries, name: str) -> Iterable[Scalar]:
    node = entries.entries.get(name)
    return node.keys.values() if isinstance(node, Entries) else ()


def _source(made: Document, node: Node) -> Source:
    assert isinstance(node, Scalar)
    return made.source(node)


def _expression(made: Document, entries: Entries) -> Source:
    """What is differentiated: an empty text, at the place of `implementation`, where that stands alone."""
    if "expression" in entries.entries:
        return _source(made, entries.entries["expression"])
    return replace(_source(made, entries.entries["implementation"]), text="")


def _implementation(made: Document, entries: Entries) -> Implementation | None:
    node = entries.entries.get("implementation")
    if node is None:
        if "kwargs" in entries.entries:
            hint = "they are what an `implementation` is called with"
            made.add("GC003", "`kwargs` without `implementation`", entries.keys["kwargs"], hint)
        return None
    source = _source(made, node)
    return Implementation(source.text, None, dict(entries.value.get("kwargs", {})), source)


def _named_sources(made: Document, entries: Entries, name: str) -> dict[str, Source]:
    node = entries.entries.get(name)
    if not isinstance(node, Entries):
        return {}
    return {key: _source(made, value) for key, value in node.entries.items()}


def _cotangent(made: Document, entries: Entries) -> Source | str:
    node = entries.entries.get("cotangent")
    if node is None:
        return "random"
    source = _source(made, node)
    word = source.text.strip()
    return word if word in {"random", "ones"} else source


def _inputs(
    made: Document, base: Path | None, entries: Entries, dims: Mapping[str, int]
) -> tuple[InputSpec, ...] | None:
    """All inputs, or None where one is wrong."""
    node = entries.entries["inputs"]
    assert isinstance(node, Entries)
    read = []
    for name, item in node.entries.items():
        assert isinstance(item, Entries)
        key = node.keys[name]
        valid = check_name(made, key, "an input")
        spec = read_input(made, base, key, item, dims)
        read.append(spec if valid else None)
    return None if None in read else tuple(spec for spec in read if spec is not None)


def _checked_inputs(inputs: tuple[InputSpec, ...]) -> tuple[str, ...]:
    """Those that say `requires_grad: true`; else each floating-point one not saying false."""
    chosen = tuple(spec.name for spec in inputs if spec.requires_grad)
    if chosen:
        return chosen
    return tuple(spec.name for spec in inputs if spec.is_floating and spec.requires_grad is None)


def _judge(
    made: Document,
    entries: Entries,
    inputs: tuple[InputSpec, ...],
    wrt: tuple[str, ...],
    place: Entries,
) -> None:
    if not wrt:
        hint = "an input of whole numbers has no gradient; write 1.0, not 1, or give a `dtype`"
        message = "nothing to check: no input is floating-point and requires a gradient"
        made.add("GC024", message, place, hint)
        return
    names = [spec.name for spec in inputs]
    for key in _keys(entries, "manual"):
        if key.text not in names:
            message = f"a manual formula for `{key.text[:60]}`, which is no input"
            made.add("GC023", message, key, did_you_mean(key.text, names))
        elif key.text not in wrt:
            message = f"a manual formula for `{key.text}`, whose gradient isn't checked"
            hint = "give the input `requires_grad: true`, or leave the formula out"
            made.add("GC023", message, key, hint)


def _tolerance(given: Mapping[str, Any] | None, dtype: str) -> Tolerance | None:
    """That of the dtype, over the one for all."""
    if given is None:
        return None
    both = {**given, **given.get(dtype, {})}
    rtol, atol = both.get("rtol"), both.get("atol")
    return None if rtol is None and atol is None else Tolerance(rtol, atol)
