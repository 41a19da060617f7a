"""Recognition measured on public pictures that lie beside a checkout, where there are any."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from runtime.images import load_image
from runtime.ocr.models import read_ocr_models
from runtime.ocr.pipeline import OcrPipeline, load_ocr

# rows in scripts, or of models for languages, that a Chinese and English dictionary does not hold
OTHER_LANGUAGES = {"latin.jpg", "cyrillic.png", "el_rec.jpg", "eslav.jpg", "devanagari_rec.png"}


@pytest.fixture(scope="module")
def v6(shared: Path, ppocr_v6: Path) -> OcrPipeline:
    return load_ocr(read_ocr_models(ppocr_v6), "openvino")


def edits(left: str, right: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


@pytest.mark.parametrize("backend", ["openvino", "paddle"])
def test_pp_ocrv4_errs_in_at_most_one_character_of_two_hundred(shared, ppocr_v4, backend):
    folder = shared / "data" / "ocr_mtwi_chineseocr"
    rows = [row.split("\t") for row in (folder / "rec_gt.txt").read_text(encoding="utf-8").splitlines()]
    crops = [load_image((folder / name).read_bytes()) for name, _ in rows]
    found = load_ocr(read_ocr_models(ppocr_v4), backend).recognize(crops)
    wrong = sum(edits(text, expected) for (text, _), (_, expected) in zip(found, rows, strict=True))
    assert len(rows) == 92
    assert wrong / sum(len(expected) for _, expected in rows) <= 0.005


def test_pp_ocrv6_gives_what_rapidocr_s_tests_expect(shared, v6):
    folder = shared / "data" / "ocr_rapidocr_tests"
    with (folder / "gt_from_upstream_tests.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    rows = [row for row in rows if row["image"] not in OTHER_LANGUAGES]
    assert len(rows) == 14
    for row in rows:
        image = load_image((folder / row["image"]).read_bytes())
        mode, expected = row["mode"], row["expected"]
        if mode == "det_count":
            assert abs(len(v6.read(image)) - int(expected)) <= 1, row
        elif mode == "first_line":
            assert v6.read(image)[0].text == expected, row
        elif mode == "cls":
            assert v6.orient([image])[0][0] == int(expected), row
        else:
            turned = mode == "cls+rec" and v6.orient([image])[0][0] == 180
            ((text, _),) = v6.recognize([image[::-1, ::-1] if turned else image])
            assert text == expected, row
