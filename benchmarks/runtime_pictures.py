"""The pictures that OCR is measured on, and what is known to stand on them.

They are public, not ours, and lie beside the checkout (``../shared/data``): eight of RapidOCR's and PaddleOCR's own,
and 51 Chinese web pictures whose lines are labelled. About 15 % of those labels are wrong; the texts that a person
checked are listed apart, and a label that is in that list counts as checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.runtime_matching import PlacedText
from benchmarks.textsplit import SHARED

_EIGHT = (
    *(f"ocr_rapidocr_tests/{name}" for name in ("ch_en_num.jpg", "ch_doc_server.png", "return_word_debug.jpg")),
    *(f"ocr_paddleocr_docs/doc/imgs/{name}.jpg" for name in ("00018069", "00111002", "11", "12", "1")),
)
_WEB = "ocr_mtwi_chineseocr"
_UNREADABLE = "text"  # what the labels say where the person who wrote them could not read it


@dataclass(frozen=True)
class Picture:
    """A file and its labelled lines."""

    file: Path
    lines: Sequence[PlacedText] = ()


def pictures(shared: Path = SHARED) -> list[Picture]:
    """All 59, or none where the public data is not there."""
    if not (shared / _WEB).is_dir() or not all((shared / name).is_file() for name in _EIGHT):
        return []
    found = [Picture(shared / name) for name in _EIGHT]
    for row in (shared / _WEB / "gt_lines.jsonl").read_text(encoding="utf-8").splitlines():
        page = json.loads(row)
        lines = [
            PlacedText(np.array(line["points"], np.float32), line["transcription"])
            for line in page["lines"]
            if np.isfinite(line["points"]).all() and line["transcription"] not in ("", _UNREADABLE)
        ]
        found.append(Picture(shared / _WEB / page["image"], lines))
    return found


def checked_texts(shared: Path = SHARED) -> frozenset[str]:
    """What stands on lines that a person compared with the picture."""
    rows = (shared / _WEB / "rec_gt.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(row.partition("\t")[2] for row in rows)


def upstream_lines(shared: Path = SHARED) -> dict[str, str]:
    """The text that RapidOCR's own tests expect to be read on a picture, by the picture's name."""
    file = shared / "ocr_rapidocr_tests" / "gt_from_upstream_tests.tsv"
    rows = [row.split("\t") for row in file.read_text(encoding="utf-8").splitlines()[1:]]
    return {name: text for name, mode, text, _ in rows if mode == "first_line"}
