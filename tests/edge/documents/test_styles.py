"""Papers of the styles that reading is tuned on, read from the lines that were drawn; no OCR, but a Chinese font."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scoring_papers import FORGERIES, GROUPS, Paper, papers
from edge.documents.extract import extract
from edge.documents.layout import ReadPage
from examples.documents.damage import phone
from examples.documents.sheet import font_file, text_pdf
from runtime.images import load_pages
from runtime.ocr.line import Line


@pytest.fixture(autouse=True)
def chinese_font() -> None:
    try:
        font_file("serif_bold")
    except FileNotFoundError:
        pytest.skip("drawing needs a Chinese font: apt-get install fonts-noto-cjk")


def read(paper: Paper, tilt: np.random.Generator | None) -> list[ReadPage]:
    pages = []
    for sheet in paper.sheets:
        picture, lines = sheet.picture(0.6)
        if tilt is not None:
            picture, lines = phone(picture, lines, tilt)
        read_lines = tuple(Line(line.text, 1.0, line.box) for line in lines)
        pages.append(ReadPage(read_lines, *picture.size))
    return pages


@pytest.mark.parametrize("group", ["demo", "tuning"])
@pytest.mark.parametrize("tilted", [False, True])
def test_every_style_is_read_exactly(group: str, tilted: bool) -> None:
    styles = set()
    for paper in papers(group, 9, seed=3):
        styles.add(paper.style)
        extraction = extract(paper.kind, read(paper, np.random.default_rng(1) if tilted else None))
        assert {name: field.value for name, field in extraction.fields.items()} == paper.fields, paper.style
        assert extraction.problems == ()
    assert len(styles) == (6 if group == "demo" else 22)


@pytest.mark.parametrize("group", ["demo", "tuning"])
def test_every_style_is_read_exactly_from_a_text_layer(group: str) -> None:
    for paper in papers(group, 9, seed=3):
        if paper.kind == "id_card":
            continue
        pages = [ReadPage(page.lines or (), page.width, page.height) for page in load_pages(text_pdf(paper.sheets))]
        extraction = extract(paper.kind, pages)
        assert {name: field.value for name, field in extraction.fields.items()} == paper.fields, paper.style
        assert extraction.problems == ()


@pytest.mark.parametrize("group", GROUPS)
def test_a_forger_changes_one_paper_and_one_thing(group: str) -> None:
    forged = list(papers(group, 2 * len(FORGERIES), seed=4, forge=True))
    assert [paper.forgery for paper in forged] == [*FORGERIES, *FORGERIES]
    for paper in forged:
        honest, shown = paper.person, paper.shown
        if paper.forgery == "swapped name":
            assert honest.card.name not in (shown.card.name, shown.proof.name, shown.account.account_name)
            continue
        changed = [honest.card != shown.card, honest.proof != shown.proof, honest.account != shown.account]
        assert changed == [paper.kind == kind for kind in ("id_card", "income_proof", "bank_statement")]


def test_the_same_seed_draws_the_same_papers() -> None:
    first, second = ([paper.fields for paper in papers("held out", 2, seed=5)] for _ in range(2))
    assert first == second
