"""What the text model understands of a purpose, on statements that somebody wrote by hand and no training saw.

All of it is asked of the demonstration's model, as it ships: how often its labels are right, whether its probabilities
are what they say, whether the phrases that it tells carry their labels, what it finds in long texts, what it cannot
read, and how long a purpose takes.

A phrase is chosen because the label falls when it is cut out. So it is judged by something else: its characters are
masked, which leaves the length and the place of everything around it, and the same is done to a phrase as long that is
drawn anywhere in the text.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT, Figure, Goal, Progress, Report, Row
from benchmarks.runtime_models import demo_bundle
from compress.ernie.export import export_checkpoint
from compress.evaluate import calibration_error, label_tally
from compress.tally import Tally
from edge.policy import TextPolicy, load_policy
from edge.purpose import FALL, Purpose, read_purpose
from runtime.text import TextClassifier, label_probabilities, load_text_classifier
from runtime.tokenizer import MASK

STATEMENTS = ROOT / "examples" / "statements"
TEACHER = ROOT / "examples" / "teacher" / "model"
RESAMPLES = 500
LONG = 500  # characters of a long text
LONG_TEXTS = 150
Truth = NDArray[np.bool_]


@dataclass(frozen=True)
class Statements:
    """Texts with what they should be labelled, (texts, labels)."""

    texts: Sequence[str]
    truth: Truth


def statements(path: Path, labels: Sequence[str]) -> Statements:
    """Read ``label[,label]<TAB>text``."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    truth = [[label in names.split(",") for label in labels] for names, _ in rows]
    return Statements([text for _, text in rows], np.array(truth))


def measure_text(report: Report, scratch: Path, progress: Progress) -> None:
    """Rows on the text model."""
    bundle = demo_bundle()
    policy = load_policy(bundle / "policy.toml").text
    model = load_text_classifier(bundle / "text-risk")
    model.warm_up()
    asked = statements(STATEMENTS / "written_test.tsv", model.settings.labels)
    progress("label statements", 0.0)
    _labels(report, scratch, model, asked)
    purposes, times = [], []
    for number, text in enumerate(asked.texts):
        start = time.perf_counter()
        purposes.append(read_purpose(text, model, policy))
        times.append((time.perf_counter() - start) * 1000)
        progress("find phrases", (number + 1) / len(asked.texts))
    _phrases(report, model, asked.texts, purposes, policy)
    progress("read long texts", 0.0)
    _long(report, model, asked, policy)
    _unreadable(report, model, asked.texts)
    report.add(
        Row(
            "Text: a purpose, labelled and with its phrases",
            Figure.of(times),
            "ms",
            Goal(150, at_least=False),
            f"Median and quartiles of {len(times)} purposes of {_median_length(asked.texts)} characters, one by one; "
            f"the longest took {max(times):.0f} ms.",
        )
    )


def _labels(report: Report, scratch: Path, model: TextClassifier, asked: Statements) -> None:
    logits = _logits(model, asked.texts)
    export_checkpoint(TEACHER, scratch / "teacher", "onnx")
    teacher = _logits(load_text_classifier(scratch / "teacher", "openvino"), asked.texts)
    tallies = {name: label_tally(each > 0, asked.truth) for name, each in (("shipped", logits), ("teacher", teacher))}
    columns = zip(model.settings.labels, tallies["shipped"].columns.tolist(), strict=True)
    shown = ", ".join(f"{label} {value:.3f}" for label, value in columns)
    report.add(
        Row(
            "Text: macro-F1 over the labels on statements written by hand",
            _resampled(tallies["shipped"]),
            "",
            Goal(0.85),
            f"{len(asked.texts)} statements, of an author who saw nothing of the training; 95 % interval by resampling "
            f"in brackets. {shown}. Teacher in FP32: {tallies['teacher'].value:.3f}.",
        )
    )
    plain = model.settings.model_copy(update={"temperature": 1.0})
    before, after = (
        calibration_error(label_probabilities(logits, settings), asked.truth) for settings in (plain, model.settings)
    )
    report.add(
        Row(
            "Text: expected calibration error of the labels' probabilities",
            Figure.exact(after),
            "of 1",
            note=f"{after:.3f} at temperature {model.settings.temperature:.2f}, which was fitted to other statements; "
            f"{before:.3f} without. Every statement with every label, ten bins of equal width.",
        )
    )


def _logits(model: TextClassifier, texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([result.logits for result in model.classify(texts)])


def _resampled(tally: Tally) -> Figure:
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(tally.above), len(tally.above)) for _ in range(RESAMPLES))
    low, high = np.quantile([Tally(tally.above[drawn], tally.below[drawn]).value for drawn in draws], [0.025, 0.975])
    return Figure(tally.value, float(low), float(high))


def _phrases(
    report: Report, model: TextClassifier, texts: Sequence[str], purposes: Sequence[Purpose], policy: TextPolicy
) -> None:
    flagged = [
        (text, purpose, label)
        for text, purpose in zip(texts, purposes, strict=True)
        for label, probability in purpose.labels.items()
        if policy.labels[label].weight and probability > policy.floor
    ]
    told = [each for each in flagged if each[2] in each[1].phrases]
    rng = np.random.default_rng(0)
    masked: dict[str, list[float]] = {"told": [], "random": []}
    cut: dict[str, list[float]] = {"told": [], "random": []}
    for text, purpose, label in told:
        phrase = purpose.phrases[label]
        length = phrase.end - phrase.start
        at = int(rng.integers(0, len(text) - length + 1))
        for name, start in (("told", phrase.start), ("random", at)):
            behind = text[start + length :]
            hidden, left = text[:start] + MASK * length + behind, text[:start] + behind
            answers = model.classify([hidden, left])
            was = purpose.labels[label]
            masked[name].append(1 - answers[0].labels[label] / was)
            cut[name].append(1 - answers[1].labels[label] / was)
    report.add(
        Row(
            "Text: labels that count for which a phrase can be told",
            Figure.exact(100 * len(told) / len(flagged)),
            "%",
            note=f"{len(told)} of {len(flagged)}, on {len(texts)} statements; a phrase is told only if the label falls "
            f"by {FALL:.0%} or more without it. The others say it twice, or only as a whole.",
        )
    )
    shares = {name: 100 * float(np.mean(np.array(values) >= FALL)) for name, values in masked.items()}
    means = {name: float(np.mean(values)) for name, values in cut.items()}
    report.add(
        Row(
            f"Text: told phrases whose label falls by {FALL:.0%} or more when they are masked",
            Figure.exact(shares["told"]),
            "%",
            note=f"Phrases as long, drawn at random: {shares['random']:.0f} %. Cut out instead of masked, labels fall "
            f"by {means['told']:.0%} of their probability on average, for random phrases by {means['random']:.0%}.",
        )
    )


def _long(report: Report, model: TextClassifier, asked: Statements, policy: TextPolicy) -> None:
    """A risky statement somewhere among normal ones."""
    labels = model.settings.labels
    risky = [(text, set(np.flatnonzero(row))) for text, row in zip(asked.texts, asked.truth, strict=True)]
    column = labels.index("normal")
    normal = [text for text, wanted in risky if column in wanted]
    single = [(text, wanted) for text, wanted in risky if column not in wanted and len(wanted) == 1]
    rng = np.random.default_rng(0)
    found, cut, flagged = [], [], []
    for _ in range(LONG_TEXTS):
        parts: list[str] = []
        while sum(map(len, parts)) < LONG:
            parts.append(normal[int(rng.integers(len(normal)))])
        text, (wanted,) = single[int(rng.integers(len(single)))]
        at = int(rng.integers(len(parts) + 1))
        hidden, plain = model.classify(["".join([*parts[:at], text, *parts[at:]]), "".join(parts)])
        found.append(hidden.labels[labels[wanted]] >= policy.review_from)
        cut.append(label_probabilities(np.array(hidden.logits), model.settings)[wanted] >= policy.review_from)
        flagged.append(
            any(plain.labels[label] >= policy.review_from for label in labels if policy.labels[label].weight)
        )
    window = model.settings.window or model.settings.max_length
    report.add(
        Row(
            f"Text: risky statements found among {LONG} characters of normal ones",
            Figure.exact(100 * float(np.mean(found))),
            "%",
            note=f"{LONG_TEXTS} texts, read in windows of {window} tokens; in its first {model.settings.max_length} "
            f"tokens at once the model finds {np.mean(cut):.0%}. The price: {np.mean(flagged):.0%} of such texts "
            "without a risky statement go to a person, since one of their dozen normal ones is enough for that.",
        )
    )


def _unreadable(report: Report, model: TextClassifier, written: Sequence[str]) -> None:
    names = ("unreadable.txt", "ordinary_short.txt")
    nonsense, short = ((STATEMENTS / name).read_text(encoding="utf-8").splitlines() for name in names)
    told = [text for text in nonsense if model.unreadable(text)]
    wrong = [sum(model.unreadable(text) is not None for text in texts) for texts in (written, short)]
    report.add(
        Row(
            "Text: texts that are no Chinese prose and are said to be unreadable",
            Figure.exact(100 * len(told) / len(nonsense)),
            "%",
            note=f"{len(told)} of {len(nonsense)}: other languages, repetition, keyboards, garbled characters; what is "
            "missed is mostly typed at random by an input method, which makes words of it. Ordinary ones taken for "
            f"unreadable: {wrong[0]} of {len(written)} statements, {wrong[1]} of {len(short)} short purposes full "
            "of rare words.",
        )
    )


def _median_length(texts: Sequence[str]) -> int:
    return int(np.median([len(text) for text in texts]))
