"""What the purpose of a loan says: the labels of its text, and the words that carry each label that counts.

    text -> unreadable? -> labels -> of each that counts, the shortest run of clauses without which it falls by half

A phrase is found by leaving words out and asking the model again (occlusion: Zeiler and Fergus 2014; Li et al.,
arXiv:1612.08220). It is told only if the model's own answer without it proves it: where no phrase makes the label fall
so far, because the text says the same twice or only as a whole, none is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge.policy import TextPolicy
from edge.scoring import TextPhrase
from runtime.budget import UNLIMITED, Budget
from runtime.readable import Unreadable
from runtime.text import TextResult

FALL = 0.5  # share of its probability that a label loses without the phrase that is told
_LONGEST_RUN = 3  # clauses; more is no phrase
_MOST_CLAUSES = 24  # of a part; of more, neighbours are taken together, so that no text takes for ever
_CLAUSE_END = re.compile(r"(?<=[，。；！？;!?\n…])|(?<=,)(?!\d)|(?<=[^\x21-\x7e]\s)")
_PUNCTUATION = "，。；！？、,;!?… \t\r\n\u3000"
Span = tuple[int, int]  # first character, and the one behind


class ClassifiesText(Protocol):
    """What is needed of ``runtime.text.TextClassifier``."""

    def classify(self, texts: Sequence[str], *, budget: Budget = UNLIMITED) -> list[TextResult]:
        """Label probabilities of each text."""
        ...

    def unreadable(self, text: str) -> Unreadable | None:
        """Why the model cannot judge a text; None if it can."""
        ...


@dataclass(frozen=True)
class Purpose:
    """What was understood of a purpose.

    Attributes:
        labels: Probability of each label; none of an unreadable text.
        phrases: By label, for those of which one can be told.
        unreadable: Why the text cannot be judged; None if it was.
    """

    labels: Mapping[str, float]
    phrases: Mapping[str, TextPhrase] = field(default_factory=dict)
    unreadable: Unreadable | None = None


def read_purpose(text: str, classifier: ClassifiesText, policy: TextPolicy, budget: Budget = UNLIMITED) -> Purpose:
    """Label a purpose and find what carries the labels that give points.

    Raises:
        TextError: The text is empty or too long.
        BackendError: The model failed.
        DeadlineError: The budget's time was up.
        ClientGoneError: The budget's client went away.
    """
    if why := classifier.unreadable(text):
        return Purpose({}, unreadable=why)
    (result,) = classifier.classify([text], budget=budget)
    counted = {
        label: probability
        for label, probability in result.labels.items()
        if label in policy.labels and policy.labels[label].weight and probability > policy.floor
    }
    return Purpose(result.labels, find_phrases(result, counted, classifier, budget))


def find_phrases(
    result: TextResult, labels: Mapping[str, float], classifier: ClassifiesText, budget: Budget = UNLIMITED
) -> dict[str, TextPhrase]:
    """The phrase that carries each label, for those of which one can be told.

    Args:
        result: Of the text.
        labels: Those of interest with their probability.
        classifier: That gave ``result``.
        budget: What may still be spent.
    """
    if not labels:
        return {}
    spans: dict[str, Span] = {}
    for part, wanted in _parts(result, labels, classifier, budget).items():
        spans |= _carriers(result.text, part, wanted, classifier, budget)
    # the proof: of the whole text, without exactly the words that are shown
    without = classifier.classify([_left(result.text, span) for span in spans.values()], budget=budget)
    found = {}
    for (label, span), rest in zip(spans.items(), without, strict=True):
        drop = labels[label] - rest.labels[label]
        if drop >= FALL * labels[label]:
            found[label] = TextPhrase(*span, result.text[slice(*span)], drop)
    return found


def _parts(
    result: TextResult, labels: Mapping[str, float], classifier: ClassifiesText, budget: Budget
) -> dict[Span, dict[str, float]]:
    """Where to look for which labels: in a text of several windows, in the narrow one with most of the label."""
    if len(result.windows) == 1:
        return {(0, len(result.text)): dict(labels)}
    windows = [window for window in result.windows if not _holds_another(window, result.windows)]
    answers = classifier.classify([result.text[slice(*window)] for window in windows], budget=budget)
    parts: dict[Span, dict[str, float]] = {}
    for label in labels:
        seen = [answer.labels[label] for answer in answers]
        parts.setdefault(windows[seen.index(max(seen))], {})[label] = max(seen)
    return parts


def _holds_another(window: Span, windows: Sequence[Span]) -> bool:
    return any(window != other and window[0] <= other[0] and other[1] <= window[1] for other in windows)


def _carriers(
    text: str, part: Span, labels: Mapping[str, float], classifier: ClassifiesText, budget: Budget
) -> dict[str, Span]:
    """Of each label the shortest run of clauses of ``part`` without which the part loses it; of equals the best."""
    clauses = _clauses(text, part)
    inside = text[slice(*part)]
    found: dict[str, Span] = {}
    for length in range(1, min(_LONGEST_RUN, len(clauses) - 1) + 1):
        if len(found) == len(labels):
            break
        runs = [(first[0], last[1]) for first, last in zip(clauses, clauses[length - 1 :], strict=False)]
        rest = [_left(inside, (max(start - part[0], 0), end - part[0])) for start, end in runs]
        runs = [run for run, left in zip(runs, rest, strict=True) if left.strip()]
        if not runs:
            break
        answers = classifier.classify([left for left in rest if left.strip()], budget=budget)
        for label in labels.keys() - found.keys():
            least, run = min((answer.labels[label], run) for answer, run in zip(answers, runs, strict=True))
            if least <= (1 - FALL) * labels[label]:
                found[label] = _trimmed(text, run)
    return {label: found[label] for label in labels if label in found}


def _clauses(text: str, part: Span) -> list[Span]:
    """The clauses of which something stands in a part, each with the punctuation behind it."""
    clauses: list[Span] = []
    start = 0
    for piece in _CLAUSE_END.split(text):
        end = start + len(piece)
        if clauses and not piece.strip(_PUNCTUATION):
            clauses[-1] = clauses[-1][0], end
        elif piece:
            clauses.append((start, end))
        start = end
    there = [clause for clause in clauses if clause[0] < part[1] and part[0] < clause[1]]
    size = max(1, -(-len(there) // _MOST_CLAUSES))
    return [(group[0][0], group[-1][1]) for group in (there[at : at + size] for at in range(0, len(there), size))]


def _trimmed(text: str, span: Span) -> Span:
    shown = text[slice(*span)]
    start = span[0] + len(shown) - len(shown.lstrip(_PUNCTUATION))
    return start, start + len(shown.strip(_PUNCTUATION))


def _left(text: str, span: Span) -> str:
    return text[: span[0]] + text[span[1] :]
