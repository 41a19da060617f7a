"""What rec and cls are asked, on pipelines that answer as a table says."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from compress.ocr_data import TruePage
from compress.ocr_measure import MAX_LINES, examine, spread

BOX = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], np.float32)


@dataclass
class Scripted:
    """A pipeline that knows a line by its colour."""

    texts: dict[int, str]
    confidence: dict[int, float] = field(default_factory=dict)
    upside_down: set[int] = field(default_factory=set)
    settings: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(drop_confidence=0.5))
    asked: int = 0

    def recognize(self, crops):
        self.asked += len(crops)
        colours = [int(crop[0, 0, 0]) for crop in crops]
        return [(self.texts[colour], self.confidence.get(colour, 0.9)) for colour in colours]

    def orient(self, crops):
        # a line's mark lies in its first pixel, or in its last where it was turned
        return [(180 if (crop[0, 0, 0] == 0) != (int(crop.max()) in self.upside_down) else 0, 0.9) for crop in crops]


def page(lines: dict[int, str]) -> TruePage:
    """A picture of lines, one below the other, each of its own colour."""
    image = np.concatenate([np.full((9, 9, 3), colour, np.uint8) for colour in lines])
    boxes = tuple(BOX + np.array([0, 9 * row], np.float32) for row in range(len(lines)))
    return TruePage(image, boxes, tuple(lines.values()))


TRUTH = {10: "甲乙丙丁", 20: "1,234.50", 30: "样例银行", 40: "2026-11-20"}
SEEN = {50: "示例", 60: "虚构", 70: "模糊"}


def rec(reference: Scripted, candidate: Scripted, *, truth: bool = True):
    examination = examine("rec", reference, [page(TRUTH)] if truth else None, [page(SEEN)])
    before, after = examination.run(reference), examination.run(candidate)
    names = [metric.name for metric in examination.metrics]
    return dict(zip(names, [each.value for each in after], strict=True)), examination.judge(
        before, after, max_drop=0.01
    )


def test_a_line_that_int8_breaks_is_a_loss_however_many_characters_are_right():
    reference = Scripted(TRUTH | SEEN)
    values, verdict = rec(reference, Scripted(TRUTH | SEEN | {20: "1,234.60"}))
    assert values == {"cer": pytest.approx(1 / 26), "line accuracy": 0.75, "agreement (same text)": 1.0}
    assert not verdict.passed
    assert "line accuracy over 4 lines" in verdict.sentence


def test_lines_that_are_wrong_before_and_after_and_lines_that_are_mended_are_no_loss():
    reference = Scripted(TRUTH | SEEN | {10: "田乙丙丁", 30: "样例很行", 40: "2026-11-28"})
    candidate = Scripted(TRUTH | SEEN | {10: "由乙丙丁", 20: "1,234.60", 30: "样例银行", 40: "2026-11-28"})
    values, verdict = rec(reference, candidate)
    assert values["line accuracy"] == 0.25  # as before: one broken, one mended
    assert values["agreement (same text)"] == 1.0
    assert verdict.passed


def test_where_nobody_knows_the_text_a_difference_is_a_loss_if_fp32_was_sure():
    reference = Scripted(TRUTH | SEEN, confidence={70: 0.4})
    values, verdict = rec(reference, Scripted(TRUTH | SEEN | {70: "模湖"}))
    assert verdict.passed
    assert values["agreement (same text)"] == 1.0
    values, verdict = rec(reference, Scripted(TRUTH | SEEN | {60: "虚沟"}))
    assert not verdict.passed
    assert "1 text differences from FP32 on 2 confident lines" in verdict.sentence


def test_without_truth_agreement_is_all_that_is_measured_and_it_is_called_so():
    values, verdict = rec(Scripted(SEEN), Scripted(SEEN | {60: "虚沟"}), truth=False)
    assert values == {"agreement (same text)": pytest.approx(2 / 3)}
    assert not verdict.passed


def test_fp32_reads_its_lines_once():
    reference = Scripted(TRUTH | SEEN)
    rec(reference, Scripted(TRUTH | SEEN))
    assert reference.asked == len(TRUTH) + len(SEEN)


def marked(colours: list[int]) -> TruePage:
    """Lines with a bright first pixel."""
    one = page(dict.fromkeys(colours, "字"))
    image = np.zeros_like(one.image)
    image[::9, 0] = np.array(colours, np.uint8)[:, None]
    return TruePage(image, one.polygons, one.texts)


@pytest.mark.parametrize("truth", [True, False])
def test_cls_is_asked_about_each_line_as_it_is_and_turned(truth: bool):
    reference, candidate = Scripted({}), Scripted({}, upside_down={20})
    pages = [marked([10, 20, 30, 40])]
    examination = examine("cls", reference, pages if truth else None, pages)
    (metric,), (value,) = examination.metrics, examination.run(candidate)
    assert (len(value.above), value.value) == (8, 0.75)
    assert metric.name == ("accuracy" if truth else "agreement (same direction)")
    sentence = examination.judge(examination.run(reference), [value], max_drop=0.01).sentence
    assert ("2 label flips from FP32 on 8 lines" in sentence) != truth


def test_many_lines_are_thinned_evenly():
    assert spread(range(5), 10) == [0, 1, 2, 3, 4]
    assert spread(range(10), 5) == [0, 2, 4, 6, 8]
    reference = Scripted(dict.fromkeys(range(256), "字"))
    lines = page({10: "字"})
    many = TruePage(lines.image, lines.polygons * (MAX_LINES + 50), lines.texts * (MAX_LINES + 50))
    (cer, *_) = examine("rec", reference, [many], [lines]).run(reference)
    assert len(cer.above) == MAX_LINES
