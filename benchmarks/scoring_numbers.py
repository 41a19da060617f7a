"""Whether identity numbers are read: so many fronts of cards that 99.5 % can be told from 99 %."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.harness import Goal, Report, Row
from benchmarks.scoring_cards import any_front
from benchmarks.scoring_papers import photographed
from benchmarks.scoring_tally import Tally
from edge.documents.extract import extract
from edge.documents.layout import ReadPage
from examples.documents import invent
from runtime.ocr.pipeline import OcrPipeline

_SEED = 64
_CARDS = {"clean": 800, "damaged": 400}
_GOALS = {"clean": 99.5, "damaged": 97.0}
_SCALE = 1.3  # pixels to the unit: a card 830 pixels wide, as it lies on a page scanned at 250 dpi


def measure_numbers(report: Report, ocr: OcrPipeline, progress: Callable[[str, float], None]) -> None:
    """Fronts alone, each in a hand of its own."""
    for state, number in _CARDS.items():
        right, silent, unread = Tally(), Tally(), 0
        for index in range(number):
            progress(f"ID numbers, {state}", index / number)
            rng = np.random.default_rng([_SEED, index])
            card = invent.card(rng)
            page = photographed(any_front(card, rng), rng, damaged=state == "damaged", scale=_SCALE)
            extraction = extract("id_card", [ReadPage(ocr.read(page), page.shape[1], page.shape[0])])
            seen = extraction.value("id_number")
            right.count(seen == card.id_number, 1, f"{card.id_number} read as {seen}")
            unread += seen is None
            told = any(each.field in ("id_number", None) for each in extraction.problems)
            silent.count(seen not in (None, card.id_number) and not told, 1)
        what = f"Documents, ID numbers of {number} cards, {state}"
        note = f"Fronts alone; {unread} were not read at all."
        report.add(Row(f"{what}: exactly right", right.percent(), "%", Goal(_GOALS[state]), note))
        note = "Before the application is looked at: by the check character alone."
        goal = Goal(0.0, at_least=False)
        report.add(Row(f"{what}: wrong and nothing said", silent.percent(), "%", goal, note))
        report.details[f"ID numbers, {state}"] = right.wrong
