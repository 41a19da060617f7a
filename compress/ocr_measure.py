"""How well a PP-OCR model reads: against what is written on the pictures, and against its own FP32 form.

det   H-mean at IoU 0.5, by page
rec   character error rate, by line; the share of lines that are right as a whole; and, of lines whose text nobody
      wrote down, the share that reads as FP32 reads it (docs/adr/0011)
cls   share of lines, as they are and turned by 180 degrees, whose direction is told rightly

Without truth each is measured by its agreement with FP32 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compress.evaluate import DetectionPage, accuracy_tally, character_tally, detection_tally
from compress.gate import Verdict, judge_tallies
from compress.ocr_data import Image, TruePage, cut_lines, without_spaces
from compress.tally import Tally
from runtime.ocr.pipeline import OcrPipeline

Stage = Literal["det", "rec", "cls"]
MAX_LINES = 250  # of the truth, and as many of the calibration pictures


@dataclass(frozen=True)
class Metric:
    """What a number of this module means; the first of a stage goes into the report's table.

    Attributes:
        name: As in the report.
        higher_is_better: Its direction.
        unit: Of what there is one item in the tally, plural.
        differences: What an item is called that FP32 answers otherwise, plural; "" where the truth is known.
    """

    name: str
    higher_is_better: bool
    unit: str
    differences: str = ""


@dataclass(frozen=True)
class Examination:
    """One stage's questions with their right answers.

    Attributes:
        metrics: What is measured.
        run: Puts the questions to a pipeline; one tally for each metric.
    """

    metrics: tuple[Metric, ...]
    run: Callable[[OcrPipeline], tuple[Tally, ...]]

    def judge(self, before: Sequence[Tally], after: Sequence[Tally], *, max_drop: float) -> Verdict:
        """The gate's verdict: each metric may drop by ``max_drop``, and one that drops more is enough to refuse.

        Returns:
            Drop and interval of the first metric, a sentence on all.
        """
        verdicts = []
        for metric, reference, candidate in zip(self.metrics, before, after, strict=True):
            verdict = judge_tallies(reference, candidate, max_drop=max_drop, higher_is_better=metric.higher_is_better)
            verdicts.append((verdict, _sentence(metric, candidate, verdict)))
        return Verdict(
            all(verdict.passed for verdict, _ in verdicts),
            verdicts[0][0].drop,
            " ".join(sentence for _, sentence in verdicts),
            verdicts[0][0].interval,
        )


def examine(
    stage: Stage, reference: OcrPipeline, truth: Sequence[TruePage] | None, readings: Sequence[TruePage]
) -> Examination:
    """Prepare what ``stage`` is measured on.

    Args:
        stage: Which model.
        reference: The uncompressed pipeline.
        truth: Pictures with their text; None where there is none.
        readings: Pictures like those met in service with what ``reference`` reads on them, one line at least.
    """
    if stage == "det":
        return _detection(truth or readings, agrees=truth is None)
    marked, seen = _lines(truth or ()), [crop for crop, _ in _lines(readings)]
    crops = [crop for crop, _ in marked]
    if stage == "rec":
        return _recognition(reference, crops, [text for _, text in marked], seen)
    return _direction(reference, crops or seen, agrees=truth is None)


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most ``count`` items, evenly spread, always the same ones."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def _detection(pages: Sequence[TruePage], *, agrees: bool) -> Examination:
    def run(pipeline: OcrPipeline) -> tuple[Tally, ...]:
        found = [list(pipeline.detect(page.image)) for page in pages]
        return (
            detection_tally(
                [DetectionPage(boxes, page.polygons, page.ignored) for boxes, page in zip(found, pages, strict=True)]
            ),
        )

    return Examination((Metric("agreement (hmean)" if agrees else "hmean", True, "pages"),), run)


def _recognition(
    reference: OcrPipeline, crops: Sequence[Image], texts: Sequence[str], seen: Sequence[Image]
) -> Examination:
    """Lines with a true text count by that; of the others, those that FP32 would not drop count for agreement."""
    before = _read(reference, [*crops, *seen])
    least, unknown = reference.settings.drop_confidence, range(len(crops), len(before))
    asked = [index for index in unknown if before[index][1] >= least] or list(unknown)
    true = _array(texts)
    metrics = [Metric("cer", False, "lines"), Metric("line accuracy", True, "lines")] if crops else []
    if asked:
        metrics.append(Metric("agreement (same text)", True, "confident lines", "text differences"))

    def run(pipeline: OcrPipeline) -> tuple[Tally, ...]:
        read = [text for text, _ in (before if pipeline is reference else _read(pipeline, [*crops, *seen]))]
        found = []
        if crops:
            found += [character_tally(read[: len(crops)], texts), accuracy_tally(_array(read[: len(crops)]), true)]
        if asked:
            found.append(accuracy_tally(_array([read[i] for i in asked]), _array([before[i][0] for i in asked])))
        return tuple(found)

    return Examination(tuple(metrics), run)


def _direction(reference: OcrPipeline, crops: Sequence[Image], *, agrees: bool) -> Examination:
    asked = [*crops, *(np.ascontiguousarray(crop[::-1, ::-1]) for crop in crops)]
    right = _turns(reference, asked) if agrees else np.repeat([0, 180], len(crops))
    same = Metric("agreement (same direction)", True, "lines", "label flips")
    metric = same if agrees else Metric("accuracy", True, "lines")
    return Examination((metric,), lambda pipeline: (accuracy_tally(_turns(pipeline, asked), right),))


def _turns(pipeline: OcrPipeline, crops: Sequence[Image]) -> NDArray[np.int64]:
    return np.array([degrees for degrees, _ in pipeline.orient(crops)], np.int64)


def _array(texts: Sequence[str]) -> NDArray[np.object_]:
    return np.array(texts, object)


def _read(pipeline: OcrPipeline, crops: Sequence[Image]) -> list[tuple[str, float]]:
    return [(without_spaces(text), confidence) for text, confidence in pipeline.recognize(crops)]


def _lines(pages: Sequence[TruePage]) -> list[tuple[Image, str]]:
    lines = [
        (crop, text)
        for page in pages
        for crop, text in zip(cut_lines(page.image, page.polygons), page.texts, strict=True)
        if text
    ]
    return spread(lines, MAX_LINES)


def _sentence(metric: Metric, candidate: Tally, verdict: Verdict) -> str:
    over = f"{len(candidate.above)} {metric.unit}"
    if not metric.differences:
        return f"{metric.name} over {over}: {verdict.sentence}"
    different = round(float((candidate.below - candidate.above).sum()))
    return f"{different} {metric.differences} from FP32 on {over}: {verdict.sentence}"
