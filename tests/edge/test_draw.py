"""Drawings: boxes on the page, text beside it, and nothing that a strange line could break."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge.draw import draw_lines
from runtime.ocr.line import Box, Line

# any font will do for what is tested here; matplotlib brings one along
matplotlib = pytest.importorskip("matplotlib")
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
PAGE = np.full((200, 300, 3), 255, np.uint8)
BOX: Box = ((50.0, 60.0), (250.0, 60.0), (250.0, 90.0), (50.0, 90.0))


def drawn(*lines: Line, page: NDArray[np.uint8] = PAGE, fields: dict[str, Box] | None = None) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(draw_lines(page, lines, FONT, fields))).convert("RGB"))


def marked(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (picture != 255).any(axis=2)


def test_boxes_are_drawn_left_and_text_right_at_the_same_place() -> None:
    picture = drawn(Line("HHHHHHHH", 0.95, BOX))
    assert picture.shape == (200, 600, 3)
    left, right = marked(picture[:, :300]), marked(picture[:, 300:])
    assert left[60, 51:249].all()
    assert not left[62:88, 54:246].any()
    inside = right[63:87, 53:247]
    assert inside[:, :30].any()
    assert inside[:, -30:].any()  # the text is spread over the whole box
    right[58:93, 48:253] = False
    assert not right.any()


@pytest.mark.parametrize(("confidence", "strongest"), [(0.95, 1), (0.3, 0)])
def test_a_sure_line_is_green_and_a_poor_one_red(confidence: float, strongest: int) -> None:
    colour = drawn(Line("H", confidence, BOX))[60, 150].astype(int)
    assert colour.argmax() == strongest


def test_the_place_of_a_field_is_tinted_on_both_sides() -> None:
    picture = drawn(fields={"name": BOX}).astype(int)
    for x in (150, 450):
        assert picture[75, x, 2] > picture[75, x, 0] + 40
        assert (picture[120, x] == 255).all()


def test_the_picture_keeps_its_colours() -> None:
    page = np.zeros((20, 30, 3), np.uint8)
    page[:, :, 0] = 200  # BGR: blue
    assert drawn(page=page)[5, 5].tolist() == [0, 0, 200]


def test_a_line_upside_down_is_written_upside_down() -> None:
    page = drawn(Line("LLLL", 0.95, BOX))[:, 300:]
    turned = drawn(Line("LLLL", 0.95, (BOX[2], BOX[3], BOX[0], BOX[1])))[:, 300:]
    ink, turned_ink = (marked(each)[63:88, 53:248] for each in (page, turned))
    # the foot of an L is its heaviest row: at the bottom, or at the top when it stands on its head
    assert ink.sum(axis=1).argmax() > 12 > turned_ink.sum(axis=1).argmax()


def test_a_large_page_is_drawn_smaller() -> None:
    assert drawn(page=np.zeros((4400, 1000, 3), np.uint8)).shape == (2200, 1000, 3)


@pytest.mark.parametrize(
    "line",
    [
        Line("", 0.9, BOX),
        Line("x" * 500, 0.9, BOX),
        Line("x", 0.9, ((10, 10), (10, 10), (10, 10), (10, 10))),
        Line("x", 0.9, ((-50, -50), (900, -50), (900, -20), (-50, -20))),
        Line("xy", 0.9, ((10, 10), (200, 10), (200, 10), (10, 10))),
        Line("\u0301\n", 0.9, BOX),
    ],
    ids=["empty", "too long", "a point", "outside", "without height", "marks only"],
)
def test_no_line_breaks_a_drawing(line: Line) -> None:
    assert drawn(line).shape == (200, 600, 3)


def test_the_font_may_be_bytes_and_must_be_one() -> None:
    assert draw_lines(PAGE, [Line("x", 0.9, BOX)], FONT.read_bytes()) == draw_lines(PAGE, [Line("x", 0.9, BOX)], FONT)
    with pytest.raises(OSError, match="invalid stream|file format"):
        draw_lines(PAGE, [], b"no font")
