"""What is tried of one network, and in which order: INT8, layers back to FP32, training with the rounding in place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compress.ernie.recipe import _try
from compress.ernie.search import selected


@dataclass(frozen=True)
class Case:
    id: str
    passing: frozenset[str]
    tried: tuple[str, ...]
    recipe: str = "distil"
    int8: bool = True


@pytest.mark.parametrize(
    "case",
    [
        Case("INT8 passes", frozenset({"fp32", "int8"}), ("fp32", "int8")),
        Case("no INT8 for this profile", frozenset({"fp32"}), ("fp32",), int8=False),
        Case("FP32 loses as well: rounding is not to blame", frozenset(), ("fp32", "int8")),
        Case("some layers stay FP32", frozenset({"fp32", "mixed"}), ("fp32", "int8", "mixed")),
        Case("layers do not help, training does", frozenset({"fp32", "qat"}), ("fp32", "int8", "mixed", "qat")),
        Case("nothing helps", frozenset({"fp32"}), ("fp32", "int8", "mixed", "qat")),
        Case("a teacher is not trained", frozenset({"fp32"}), ("fp32", "int8", "mixed"), recipe="quantize"),
    ],
    ids=lambda case: case.id,
)
def test_the_next_remedy_is_tried_only_where_the_one_before_fails(case: Case) -> None:
    tried: list[str] = []

    class Bench:
        def plain(self, *_: Any) -> str:
            return "fp32"

        def int8(self, *_: Any) -> str:
            return "int8"

        def mixed(self, *_: Any) -> str:
            return "mixed"

        def trained(self, _network: str, checkpoint: Path, _origin: str) -> str:
            assert checkpoint == Path("qat")
            return "qat"

    class Results:
        def add(self, candidate: str, _bench: Any) -> Any:
            tried.append(candidate)
            return SimpleNamespace(verdict=SimpleNamespace(passed=candidate in case.passing))

    class Steps:
        def network(self, _recipe: Any) -> tuple[Path, str]:
            return Path("student"), "student-1"

        def quantized(self, _recipe: Any) -> tuple[Path, str]:
            return Path("qat"), "qat-1"

    (recipe,) = selected([case.recipe])
    parts: tuple[Any, ...] = (Steps(), Bench(), Results())
    _try(recipe, *parts, lambda stage, share: None, int8=case.int8)
    assert tuple(tried) == case.tried


def test_where_half_of_the_layers_are_not_enough_no_mixed_row_is_added() -> None:
    tried: list[Any] = []
    bench = SimpleNamespace(
        plain=lambda *_: "fp32", int8=lambda *_: "int8", mixed=lambda *_: None, trained=lambda *_: "qat"
    )

    def add(candidate: Any, _bench: Any) -> Any:
        tried.append(candidate)
        return SimpleNamespace(verdict=SimpleNamespace(passed=candidate == "fp32"))

    steps = SimpleNamespace(network=lambda _: (Path("a"), "a"), quantized=lambda _: (Path("b"), "b"))
    results: Any = SimpleNamespace(add=add)
    (recipe,) = selected(["distil"])
    parts: tuple[Any, ...] = (steps, bench, results)
    _try(recipe, *parts, lambda stage, share: None, int8=True)
    assert tried == ["fp32", "int8", "qat"]
