"""The ways from a big ERNIE to a small one, from cheap to dear, and what the profile allows: pure decisions.

    quantize   the teacher without the words that never occur, in INT8                              minutes
    distil     a student of the profile's size learns from the teacher, then INT8                   an hour or more
    narrow     the same student with a quarter of its heads and inner neurons left out, INT8        half as long again
    larger     the next larger student, INT8                                                        longer than distil

INT8 is PaddleSlim's post-training quantization. Where its accuracy fails and the FP32 network's does not, the layers
that cost most stay FP32 ("mixed"); where that fails too, the network learns with its quantization in place ("qat").

Left to itself (``auto``), the search takes the first recipe that meets the profile's limits and skips those that
could not mend what is wrong: a narrower network is no remedy for lost accuracy, a larger one none for lost time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compress.ernie.checkpoint import ErnieConfig
from compress.ernie.distill import SIZES, student_config
from compress.gate import FASTER, Verdict
from devices.errors import UsageError
from devices.profile import Compress

Step = Literal["vocabulary", "distil", "distil larger", "narrow"]
NARROW_SHARE = 0.75  # of heads and of inner neurons; DynaBERT's mildest width (arXiv:2004.04037)


@dataclass(frozen=True)
class Recipe:
    """A list of steps; each takes the checkpoint that the one before left, and INT8 comes at the end.

    Attributes:
        name: On the command line.
        network: What the report calls the network that comes out.
        steps: In order.
        mends: What it can do better than the recipes before it.
    """

    name: str
    network: str
    steps: tuple[Step, ...]
    mends: Literal["anything", "time", "accuracy"] = "anything"

    @property
    def learns(self) -> bool:
        """Whether its network is a student, which can be trained further."""
        return len(self.steps) > 1


RECIPES = (
    Recipe("quantize", "pruned teacher", ("vocabulary",)),
    Recipe("distil", "student", ("vocabulary", "distil")),
    Recipe("narrow", "narrow student", ("vocabulary", "distil", "narrow"), mends="time"),
    Recipe("larger", "larger student", ("vocabulary", "distil larger"), mends="accuracy"),
)
RECIPE_NAMES = tuple(recipe.name for recipe in RECIPES)


@dataclass(frozen=True)
class Measured:
    """What the limits are about, of one variant on the backend that will serve.

    Attributes:
        variant: As in the report: ``student int8``.
        verdict: The gate's, on accuracy.
        latency_ms: Of one text of 128 tokens.
        size_bytes: Of the model's files.
        plain_ms: The same network's time in FP32, where this is INT8.
    """

    variant: str
    verdict: Verdict
    latency_ms: float
    size_bytes: int
    plain_ms: float | None = None


def selected(names: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes called ``names``, in their own order; all of them if none is named.

    Raises:
        UsageError: There is no recipe of that name.
    """
    if unknown := [name for name in names if name not in RECIPE_NAMES]:
        raise UsageError(f"There is no recipe {unknown[0]!r}.", remedy=f"The recipes are {', '.join(RECIPE_NAMES)}.")
    return tuple(recipe for recipe in RECIPES if not names or recipe.name in names)


def larger_size(teacher: ErnieConfig, size: str) -> str | None:
    """The next published size above ``size`` that is smaller than the teacher; None if there is none."""
    now = student_config(teacher, size)
    for name in SIZES:
        wider = student_config(teacher, name)
        # student_config answers half the teacher where a size would not be smaller than the teacher itself
        if _weights(now) < _weights(wider) < _weights(teacher) and wider.num_hidden_layers == SIZES[name][0]:
            return name
    half = student_config(teacher, f"{teacher.num_hidden_layers}x{teacher.hidden_size}x{teacher.num_attention_heads}")
    if not _weights(now) < _weights(half) < _weights(teacher):
        return None
    return f"{half.num_hidden_layers}x{half.hidden_size}x{half.num_attention_heads}"


def lacks(one: Measured, limits: Compress) -> tuple[str, ...]:
    """What keeps a variant from being used, a sentence each; nothing if nothing does."""
    found = []
    if not one.verdict.passed:
        found.append(f"it loses {one.verdict.drop:.4f} where {limits.max_drop:g} may be lost")
    if limits.text_latency_ms is not None and one.latency_ms > limits.text_latency_ms:
        found.append(f"it takes {one.latency_ms:.1f} ms where {limits.text_latency_ms:g} ms are allowed")
    if limits.text_size_mb is not None and one.size_bytes > limits.text_size_mb * 1e6:
        found.append(f"it is {one.size_bytes / 1e6:.1f} MB large where {limits.text_size_mb:g} MB are allowed")
    if one.plain_ms is not None and one.latency_ms > FASTER * one.plain_ms:
        found.append(f"INT8 is not clearly faster than FP32 ({one.latency_ms:.1f} ms after {one.plain_ms:.1f} ms)")
    return tuple(found)


def best(tried: Sequence[Measured], limits: Compress) -> Measured | None:
    """The fastest variant that lacks nothing; of those that are about as fast, the smallest."""
    good = [each for each in tried if not lacks(each, limits)]
    if not good:
        return None
    fastest = min(each.latency_ms for each in good)
    return min((each for each in good if each.latency_ms * FASTER <= fastest), key=lambda each: each.size_bytes)


def nearest(tried: Sequence[Measured], limits: Compress) -> Measured:
    """Of variants that all lack something, the one whose worst excess over a limit is smallest."""

    def excess(one: Measured) -> float:
        drop = one.verdict.drop if math.isfinite(one.verdict.drop) else 1.0
        over = [drop / max(limits.max_drop, 1e-3)]
        over += [one.latency_ms / limits.text_latency_ms] if limits.text_latency_ms else []
        over += [one.size_bytes / 1e6 / limits.text_size_mb] if limits.text_size_mb else []
        return max(over)

    return min(tried, key=excess)


def pointless(recipe: Recipe, tried: Sequence[Measured], limits: Compress) -> str | None:
    """Why ``recipe`` need not be tried after ``tried``, none of which met the limits; None if it may help."""
    students = [each for each in tried if not each.variant.startswith(RECIPES[0].network)]
    if recipe.mends == "anything" or not students:
        return None
    accurate = any(each.verdict.passed for each in students)
    if recipe.mends == "time" and not accurate:
        return "the student before it loses too much already"
    if recipe.mends == "accuracy" and accurate:
        return "the student before it is accurate enough, but too slow or too large"
    return None


def _weights(config: ErnieConfig) -> int:
    return config.num_hidden_layers * config.hidden_size**2
