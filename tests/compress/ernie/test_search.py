"""Which recipe is tried and which variant wins: tables, no models."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from compress.ernie.checkpoint import ErnieConfig
from compress.ernie.search import (
    RECIPE_NAMES,
    RECIPES,
    Measured,
    best,
    lacks,
    larger_size,
    nearest,
    pointless,
    selected,
)
from compress.gate import judge
from devices.errors import UsageError
from devices.profile import Compress

LIMITS = Compress(max_drop=0.01, text_latency_ms=10.0, text_size_mb=8.0, student="nano")


def variant(name: str, *, drop: float = 0.0, ms: float = 5.0, mb: float = 5.0, plain: float | None = None) -> Measured:
    verdict = judge(0.9, 0.9 - drop, max_drop=LIMITS.max_drop, higher_is_better=True)
    return Measured(name, verdict, ms, round(mb * 1e6), plain)


@dataclass(frozen=True)
class Lacking:
    id: str
    one: Measured
    expected: tuple[str, ...]


@pytest.mark.parametrize(
    "case",
    [
        Lacking("everything is within the limits", variant("a"), ()),
        Lacking("a drop of exactly the limit", variant("a", drop=0.01), ()),
        Lacking("accuracy", variant("a", drop=0.0131), ("it loses 0.0131 where 0.01 may be lost",)),
        Lacking("time", variant("a", ms=10.1), ("it takes 10.1 ms where 10 ms are allowed",)),
        Lacking("size", variant("a", mb=8.1), ("it is 8.1 MB large where 8 MB are allowed",)),
        Lacking("INT8 that is as slow as FP32", variant("a", plain=5.1), ("INT8 is not clearly faster",)),
        Lacking("INT8 that is faster", variant("a", plain=6.0), ()),
        Lacking("two things", variant("a", drop=0.02, ms=11), ("it loses", "it takes")),
    ],
    ids=lambda case: case.id,
)
def test_what_a_variant_lacks(case: Lacking) -> None:
    found = lacks(case.one, LIMITS)
    assert len(found) == len(case.expected)
    assert all(one.startswith(start) for one, start in zip(found, case.expected, strict=True))


def test_without_limits_only_accuracy_counts() -> None:
    assert not lacks(variant("a", ms=1e6, mb=1e6), Compress(max_drop=0.01, student="nano"))


@dataclass(frozen=True)
class Choice:
    id: str
    tried: tuple[Measured, ...]
    expected: str | None


@pytest.mark.parametrize(
    "case",
    [
        Choice("the fastest", (variant("slow", ms=6), variant("fast", ms=4)), "fast"),
        Choice(
            "the smallest of those about as fast", (variant("large", ms=4), variant("small", ms=4.1, mb=2)), "small"
        ),
        Choice("but not a clearly slower one", (variant("large", ms=4), variant("small", ms=4.4, mb=2)), "large"),
        Choice("only what passes", (variant("fast", ms=1, drop=0.02), variant("good", ms=9)), "good"),
        Choice("nothing passes", (variant("fast", ms=1, drop=0.02), variant("slow", ms=11)), None),
        Choice("nothing was tried", (), None),
    ],
    ids=lambda case: case.id,
)
def test_the_winner(case: Choice) -> None:
    found = best(case.tried, LIMITS)
    assert (found and found.variant) == case.expected


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ((variant("loses", drop=0.02), variant("slow", ms=11)), "slow"),
        ((variant("loses", drop=0.012), variant("slow", ms=30)), "loses"),
        ((variant("not a number", drop=float("nan")), variant("slow", ms=100)), "slow"),
    ],
)
def test_the_nearest_exceeds_its_worst_limit_least(tried: tuple[Measured, ...], expected: str) -> None:
    assert nearest(tried, LIMITS).variant == expected


ACCURATE_BUT_SLOW = variant("student int8", ms=20)
FAST_BUT_WRONG = variant("student int8", drop=0.05)


@pytest.mark.parametrize(
    ("recipe", "tried", "skipped"),
    [
        ("quantize", (), False),
        ("distil", (variant("pruned teacher int8", ms=50),), False),
        ("narrow", (variant("pruned teacher int8", ms=50), ACCURATE_BUT_SLOW), False),
        ("narrow", (variant("pruned teacher int8", ms=50), FAST_BUT_WRONG), True),
        ("larger", (variant("pruned teacher int8", ms=50), ACCURATE_BUT_SLOW), True),
        ("larger", (variant("pruned teacher int8", ms=50), FAST_BUT_WRONG), False),
        ("narrow", (), False),  # named by a person who wants to see it
    ],
)
def test_a_recipe_that_cannot_mend_what_is_wrong_is_skipped(
    recipe: str, tried: tuple[Measured, ...], skipped: bool
) -> None:
    (chosen,) = selected([recipe])
    assert (pointless(chosen, tried, LIMITS) is not None) is skipped


def test_recipes_are_named_in_any_order_and_tried_in_theirs() -> None:
    assert [each.name for each in selected(["distil", "quantize"])] == ["quantize", "distil"]
    assert selected([]) == RECIPES
    with pytest.raises(UsageError, match="no recipe 'destil'") as caught:
        selected(["destil"])
    assert all(name in caught.value.remedy for name in RECIPE_NAMES)


BIG = ErnieConfig(hidden_size=768, num_hidden_layers=12)


@pytest.mark.parametrize(
    ("teacher", "size", "expected"),
    [
        (BIG, "nano", "micro"),
        (BIG, "micro", "mini"),
        (BIG, "mini", "6x768x12"),
        (BIG, "6x768x12", None),
        (ErnieConfig(hidden_size=384, num_hidden_layers=6), "nano", "micro"),
        (ErnieConfig(hidden_size=312, num_hidden_layers=4), "nano", None),
    ],
)
def test_the_next_larger_student(teacher: ErnieConfig, size: str, expected: str | None) -> None:
    assert larger_size(teacher, size) == expected
