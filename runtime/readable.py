"""Can a Chinese text model judge this text at all? Other languages, repetition and nonsense are told from prose.

    not_chinese   few Chinese characters among words of other scripts, or none
    repeated      the same pairs of characters over and over
    unlike        characters follow each other as in none of the texts that the model learned from

The last needs a table of those texts' pairs, which compression writes beside the model. An ordinary text must not be
taken for nonsense, so all three err towards reading: what is short, or new in a few words only, is read.
"""

from __future__ import annotations

import heapq
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devices.errors import ModelError
from devices.malformed import place_and_reason

PAIRS_NAME = "pairs.json"
Unreadable = Literal["not_chinese", "repeated", "unlike"]
_HAN = "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002ebef"
_SYLLABLES = "\u3040-\u30ff\u31f0-\u31ff\uac00-\ud7af"  # kana, hangul
_ONE_HAN, _ONE_SYLLABLE = re.compile(f"[{_HAN}]"), re.compile(f"[{_SYLLABLES}]")
_WORD = re.compile(rf"[^\W\d_{_HAN}{_SYLLABLES}]+")
_RUN = re.compile(f"[{_HAN}]+")
_LEAST_CHINESE = 0.25  # of characters and words: one may buy an iPhone Pro Max
_MOST_SYLLABLES = 0.2  # of characters; Japanese has a third and more
_FEWEST_PAIRS = 6  # fewer do not repeat themselves by mistake
_ASSUMED = 4  # ordinary pairs that every text is credited with, so that one rare word decides about no short text
_LOOKED_AT = 200  # pairs; in a long text the same ones come again
_LEAST_DIFFERENT = 0.5  # of pairs; a text that was pasted twice has a little more
_MOST_PAIRS = 100_000  # that are kept, the most frequent: 10 MB while serving
_CHARACTERS = 8105  # that a text may hold (Table of General Standard Chinese Characters, 2013)
_SPREADS, _LEAST_SPREAD = 4.0, 1.0  # standard deviations of dev's texts below their mean; a few texts show too little
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Pairs(BaseModel):
    """How often characters follow each other in the texts that a model learned from.

    Attributes:
        typical: Mean ``likeness`` of texts that the model was chosen by.
        least: Texts of a lower ``likeness`` are like none of those.
        following: Of each character those behind it, with their counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    typical: _Finite
    least: _Finite
    following: Mapping[str, Mapping[str, Annotated[int, Field(gt=0)]]]

    @classmethod
    def counted(cls, texts: Iterable[str], dev: Sequence[str]) -> Self:
        """The table of ``texts``, with ``least`` so low that hardly a text of ``dev``'s kind comes to lie below it."""
        counts = Counter(pair for text in texts for pair in _pairs(text))
        following: dict[str, dict[str, int]] = {}
        for first, second in sorted(heapq.nsmallest(_MOST_PAIRS, counts, key=lambda pair: (-counts[pair], pair))):
            following.setdefault(first, {})[second] = counts[first, second]
        table = cls(typical=0, least=0, following=following)
        typical = _mean([each for text in dev for each in table._each(text)])
        table = table.model_copy(update={"typical": round(typical, 3)})
        known = [table.likeness(text) for text in dev]
        spread = max(_LEAST_SPREAD, math.sqrt(_mean([(each - _mean(known)) ** 2 for each in known])))
        return table.model_copy(update={"least": round(_mean(known) - _SPREADS * spread, 3)})

    @classmethod
    def parsed(cls, data: bytes, origin: str) -> Self:
        """From the bytes of a ``pairs.json``; ``origin`` names them in messages.

        Raises:
            ModelError: They are malformed; the message names the field.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ModelError(f"{origin} is malformed at {place_and_reason(error)}.") from error

    def to_json(self) -> str:
        """As ``parsed`` reads it; the same texts give the same."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")) + "\n"

    def likeness(self, text: str) -> float:
        """How much a text's characters follow each other as in the table's texts: 0 is high, -10 is low.

        The mean over adjacent characters of log p(b|a) + log p(b|a)/p(b): rare characters lower the first, a wrong
        order the second. p(b|a) is interpolated with p(b) by Witten and Bell (1991).
        """
        each = self._each(text)
        return (sum(each) + _ASSUMED * self.typical) / (len(each) + _ASSUMED)

    def _each(self, text: str) -> list[float]:
        values = []
        for first, second in _pairs(text):
            alone = (self._behind[second] + 0.5) / (self._all + 0.5 * _CHARACTERS)
            found = self.following.get(first, {})
            kinds, count = len(found), self._counts.get(first, 0)
            after = (found.get(second, 0) + kinds * alone) / (count + kinds) if count else alone
            values.append(2 * math.log(after) - math.log(alone))
        return values

    @cached_property
    def _behind(self) -> Counter[str]:
        """How often each character stands behind another one."""
        counts: Counter[str] = Counter()
        for found in self.following.values():
            counts.update(found)
        return counts

    @cached_property
    def _all(self) -> int:
        return self._behind.total()

    @cached_property
    def _counts(self) -> dict[str, int]:
        """How often each character stands before another one."""
        return {first: sum(found.values()) for first, found in self.following.items()}


def why_unreadable(text: str, pairs: Pairs | None = None) -> Unreadable | None:
    """Why a Chinese text model cannot judge ``text``; None if it can.

    Args:
        text: Not empty.
        pairs: Of the texts that the model learned from; without them nonsense in Chinese characters is read.
    """
    chinese = _ONE_HAN.findall(text)
    syllables, words = len(_ONE_SYLLABLE.findall(text)), len(_WORD.findall(text))
    if len(chinese) < max(1.0, _LEAST_CHINESE * (len(chinese) + syllables + words)):
        return "not_chinese"
    if syllables > _MOST_SYLLABLES * (len(chinese) + syllables):
        return "not_chinese"
    in_a_row = list(pairwise(chinese))[:_LOOKED_AT]
    if len(in_a_row) >= _FEWEST_PAIRS and len(set(in_a_row)) < _LEAST_DIFFERENT * len(in_a_row):
        return "repeated"
    return "unlike" if pairs and pairs.likeness(text) < pairs.least else None


def _pairs(text: str) -> list[tuple[str, str]]:
    """Chinese characters that stand side by side."""
    return [pair for run in _RUN.findall(text) for pair in pairwise(run)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
