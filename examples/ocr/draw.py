"""Redraw the pictures with known text: ``calibration/``, ``evaluation/`` and ``rec/``.

    python -m examples.ocr.draw [--seed 2026]

Each folder is drawn from its own stream of chance, so the evaluation pictures share no person, account or number with
the calibration pictures. Half of the evaluation pictures are hard to read (``hard.py``). ``Label.txt`` and
``rec_gt.txt`` are written as PaddleOCR writes them. Needs Debian's fonts-noto-cjk; nothing that reads the pictures
does.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from examples.documents import invent, notice
from examples.documents.render import (
    Rendering,
    render_id_card,
    render_income_proof,
    render_sheet,
    render_statement,
)
from examples.documents.sheet import BLACK, RED, Colour, Sheet
from examples.ocr import hard

HERE = Path(__file__).parent
QUALITY = 72  # JPEG
REC_LINES = 60
_COLOURED: tuple[tuple[Colour, Colour], ...] = (
    ((30, 62, 108), notice.WHITE),
    ((172, 32, 38), (255, 236, 180)),
    ((250, 214, 96), (60, 40, 20)),
    ((196, 226, 200), (18, 66, 40)),
    ((24, 26, 30), (230, 230, 226)),
)


def _statement_page(rng: np.random.Generator, layout: str, rows: int, page: int, scale: float) -> Rendering:
    """One page, cut below its last row: the first, or the one after it."""
    pages = render_statement(
        invent.statement(rng, rows=2 * rows), layout=layout, rows_per_page=rows, cut=True, scale=scale
    )
    return pages[page]


def calibration(rng: np.random.Generator) -> Iterator[tuple[str, Rendering]]:
    """Yield 24 pictures with their names."""
    for number, (layout, sides, scale) in enumerate(
        (("standard", "front", 1.0), ("mirrored", "back", 0.8), ("mirrored", "front", 0.9), ("standard", "both", 0.9))
    ):
        clear = render_id_card(invent.card(rng), layout=layout, sides=sides, scale=scale)
        yield f"id_{number}", clear.photographed(rng, strength=0.7 + 0.2 * number)
    for number, (layout, scale, strength) in enumerate(
        (("letter", 1.3, 0.8), ("form", 1.5, 1.2), ("letter", 1.45, 0.0), ("form", 1.25, 0.6))
    ):
        clear = render_income_proof(invent.proof(rng), layout=layout, scale=scale)
        yield f"income_{number}", clear.photographed(rng, strength=strength) if strength else clear
    yield "statement_0", _statement_page(rng, "signed", 12, 0, 1.6)
    yield "statement_1", _statement_page(rng, "two_columns", 10, 0, 1.65).photographed(rng, strength=0.6)
    yield "statement_2", _statement_page(rng, "two_columns", 18, 1, 1.55).photographed(rng, strength=0.9)
    yield "statement_3", _statement_page(rng, "signed", 8, 1, 1.7).photographed(rng, strength=1.2)
    for number, scale in enumerate((1.5, 1.15)):
        sheet = notice.application_form(rng)
        yield f"form_{number}", render_sheet(sheet, scale=scale).photographed(rng, strength=0.6 + 0.6 * number)
    for number, (paper, ink) in enumerate(_COLOURED[:4]):
        sheet = notice.notice(rng, paper=paper, ink=ink, lines=3 + number % 3)
        yield f"notice_{number}", render_sheet(sheet, scale=(1.0, 1.3, 0.9, 1.6)[number]).photographed(rng)
    yield "slip_0", render_sheet(notice.slip(rng), scale=1.5).photographed(rng, strength=1.3)
    yield "sign_0", render_sheet(notice.signboard(rng, paper=RED, ink=(255, 240, 200)), scale=1.2).photographed(rng)
    yield "prose_0", render_sheet(notice.prose(rng, clauses=7), scale=1.9).photographed(rng, strength=0.7)
    yield "ticket_0", render_sheet(notice.ticket(rng), scale=1.4).photographed(rng)
    yield "turned_0", render_sheet(notice.turned(rng, degrees=-8), scale=1.3).photographed(rng)
    yield "badge_0", render_sheet(notice.badge(rng), scale=1.1).photographed(rng)


def evaluation(rng: np.random.Generator) -> Iterator[tuple[str, Rendering]]:
    """Yield 12 other pictures with their names, all of them easy to read."""
    clear = render_id_card(invent.card(rng), layout="mirrored", sides="both", scale=0.95)
    yield "id_0", clear.photographed(rng)
    clear = render_id_card(invent.card(rng), layout="standard", sides="front", scale=1.1)
    yield "id_1", clear.photographed(rng, strength=1.3)
    yield "income_0", render_income_proof(invent.proof(rng), layout="form", scale=1.4).photographed(rng)
    yield "income_1", render_income_proof(invent.proof(rng), layout="letter", scale=1.4).photographed(rng)
    yield "statement_0", _statement_page(rng, "two_columns", 12, 0, 1.6).photographed(rng, strength=0.7)
    yield "statement_1", _statement_page(rng, "signed", 14, 1, 1.6).photographed(rng)
    yield "form_0", render_sheet(notice.application_form(rng), scale=1.3).photographed(rng)
    paper, ink = _COLOURED[4]
    yield "notice_0", render_sheet(notice.notice(rng, paper=paper, ink=ink, lines=4), scale=1.2).photographed(rng)
    yield "slip_0", render_sheet(notice.slip(rng), scale=1.6).photographed(rng)
    sheet = notice.signboard(rng, paper=(28, 84, 70), ink=notice.WHITE)
    yield "sign_0", render_sheet(sheet, scale=1.3).photographed(rng, strength=0.7)
    yield "prose_0", render_sheet(notice.prose(rng, clauses=6), scale=1.8).photographed(rng)
    yield "turned_0", render_sheet(notice.turned(rng, degrees=7), scale=1.2).photographed(rng)


def _text(kind: int, rng: np.random.Generator) -> str:
    """Return one line of the kinds that branch papers carry."""
    row = invent.statement(rng, rows=1).rows[0]
    return (
        invent.name(rng),
        invent.card(rng).id_number,
        invent.address(rng),
        f"{int(rng.integers(10_000, 90_000_000)) / 100:,.2f}",
        row.day.isoformat(),
        f"{row.day.year}年{row.day.month}月{row.day.day}日",
        invent.pick(invent.EMPLOYERS, rng),
        invent.account_number(rng),
        invent.pick(notice.SENTENCES, rng),
        f"{invent.pick(invent.BANKS, rng)}账户交易明细",
        f"-{int(rng.integers(100, 900_000)) / 100:,.2f}",
        invent.pick(notice.CLAUSES, rng).split(" ")[1],
    )[kind % 12]


def crops(rng: np.random.Generator) -> Iterator[tuple[str, Rendering]]:
    """Yield 60 pictures of one line each, cropped as a detector would."""
    for number in range(REC_LINES):
        text, size = _text(number, rng), float(rng.uniform(13, 32))
        paper, ink = ((253, 253, 250), BLACK) if number % 4 else _COLOURED[int(rng.integers(len(_COLOURED)))]
        sheet = Sheet(size * (len(text) + 3), size * 3, paper=paper)
        font = invent.pick(("regular", "bold", "serif"), rng)
        sheet.text(size * 1.5, size * 1.9, text, size, font=font, colour=ink)
        shot = render_sheet(sheet).photographed(rng, strength=float(rng.uniform(0.2, 1.6)))
        xs, ys = zip(*shot.lines[0].box, strict=True)
        edges = (round(min(xs)) - 2, round(min(ys)) - 2, round(max(xs)) + 2, round(max(ys)) + 2)
        yield f"{number:03d}", Rendering(shot.picture.crop(edges), shot.lines, {})


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def write_pages(folder: Path, pages: Iterable[tuple[str, Rendering, int]]) -> None:
    """Write pictures of a name and a JPEG quality, and ``Label.txt``, into an emptied ``folder``."""
    _fresh(folder)
    labels = []
    for name, page, quality in pages:
        page.picture.save(folder / f"{name}.jpg", quality=quality)
        truth = [
            {"transcription": line.text, "points": [[round(x, 1), round(y, 1)] for x, y in line.box]}
            for line in page.lines
        ]
        labels.append(f"{name}.jpg\t{json.dumps(truth, ensure_ascii=False)}\n")
    (folder / "Label.txt").write_text("".join(labels), encoding="utf-8")


def write_crops(folder: Path, lines: Iterator[tuple[str, Rendering]]) -> None:
    """Write the lines and ``rec_gt.txt`` into an emptied ``folder``."""
    _fresh(folder)
    truth = []
    for name, line in lines:
        line.picture.save(folder / f"{name}.jpg", quality=QUALITY)
        truth.append(f"{name}.jpg\t{line.lines[0].text}\n")
    (folder / "rec_gt.txt").write_text("".join(truth), encoding="utf-8")


def main() -> None:
    """Read the command line and write the three folders."""
    parser = argparse.ArgumentParser(description="Redraw the OCR pictures.")
    parser.add_argument("--seed", type=int, default=2026)
    seed = parser.parse_args().seed
    seen = calibration(np.random.default_rng([seed, 1]))
    write_pages(HERE / "calibration", ((name, page, QUALITY) for name, page in seen))
    tidy, worn = evaluation(np.random.default_rng([seed, 2])), hard.pages(np.random.default_rng([seed, 4]))
    pages = [(name, page, QUALITY) for name, page in tidy]
    write_pages(HERE / "evaluation", pages + [(f"hard_{name}", page, hard.QUALITY) for name, page in worn])
    write_crops(HERE / "rec", crops(np.random.default_rng([seed, 3])))


if __name__ == "__main__":
    main()
