"""PDFs written by hand, byte by byte, so that every oddity is on purpose."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from devices.errors import PdfError
from runtime.images import Page, load_pages

HELLO = "BT /F 20 Tf 100 700 Td (Hello branch) Tj ET"
PICTURE = "q 595 0 0 842 0 0 cm BI /W 1 /H 1 /BPC 8 /CS /G ID \x80 EI Q"


def pdf(*contents: str, box: str = "0 0 595 842", page: str = "", trailer: str = "", catalog: str = "") -> bytes:
    """One page of A4 for each content stream; /F is Helvetica."""
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(len(contents)))
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for index, content in enumerate(contents):
        resources = "/Resources << /Font << /F 3 0 R >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] {page} {resources} /Contents {5 + 2 * index} 0 R >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    body, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\n"
    return body + f"{end}startxref\n{len(body)}\n%%EOF\n".encode()


def only_page(data: bytes) -> Page:
    (page,) = load_pages(data)
    return page


def ink_box(page: Page) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is dark, in pixels."""
    rows, columns = np.nonzero(page.image.min(axis=2) < 128)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def assert_box_holds_ink(page: Page) -> None:
    """The one line's box surrounds the page's ink, with a line's height to spare at most."""
    assert page.lines is not None
    (line,) = page.lines
    corners = np.array(line.box)
    left, top, right, bottom = ink_box(page)
    assert (corners.min(axis=0) <= (left + 2, top + 2)).all()
    assert (corners.max(axis=0) >= (right - 2, bottom - 2)).all()
    assert (corners.max(axis=0) - corners.min(axis=0) <= (right - left + 50, bottom - top + 50)).all()


@pytest.mark.parametrize(
    "lie",
    [
        "1 1 1 rg BT /F 20 Tf 100 600 Td (88,888) Tj ET",
        "0.95 g BT /F 20 Tf 100 600 Td (88,888) Tj ET",
        "BT /F 1.2 Tf 100 600 Td (88,888) Tj ET",
        "BT /F 20 Tf 100 600 Td (88,888) Tj ET 1 g 90 590 100 40 re f",
    ],
    ids=["white", "hardly grey", "tiny", "under a box"],
)
def test_a_text_layer_that_says_what_nobody_sees_is_not_believed(lie: str):
    assert only_page(pdf(f"{HELLO} {lie}")).lines is None
    seen = lie.replace("1 1 1 rg", "0 g").replace("0.95 g", "0.5 g").replace("1.2 Tf", "6 Tf").partition(" 1 g 90")[0]
    lines = only_page(pdf(f"{HELLO} {seen}")).lines
    assert lines is not None
    assert [line.text for line in lines] == ["Hello branch", "88,888"]


def test_white_letters_on_a_dark_bar_are_seen():
    page = only_page(pdf(f"{HELLO} 0.2 g 90 590 200 40 re f 1 g BT /F 20 Tf 100 600 Td (Amount 12) Tj ET"))
    assert page.lines is not None
    assert len(page.lines) == 2


def test_where_hardly_a_letter_can_be_drawn_the_text_layer_is_believed():
    lines = only_page(pdf("1 g BT /F 20 Tf 100 700 Td (drawn with a font that is missing) Tj ET")).lines
    assert lines is not None


def test_a_page_is_rendered_and_its_text_layer_gives_lines():
    page = only_page(pdf(HELLO))
    assert (page.width, page.height) == (1488, 2105)  # A4 at 180 dpi
    assert page.image.shape == (2105, 1488, 3)
    assert page.lines is not None
    assert [(line.text, line.confidence) for line in page.lines] == [("Hello branch", 1.0)]
    assert_box_holds_ink(page)
    assert page.lines[0].box[0] == pytest.approx((250, 315), abs=15)  # 100 and 842 - 700 - 16 points at 2.5 pixels


@pytest.mark.parametrize(("rotation", "first"), [(90, "right"), (180, "below"), (270, "left")])
def test_boxes_follow_a_turned_page(rotation, first):
    page = only_page(pdf(HELLO, page=f"/Rotate {rotation}"))
    assert page.lines is not None
    assert page.lines[0].text == "Hello branch"
    assert_box_holds_ink(page)
    start, end = np.array(page.lines[0].box[0]), np.array(page.lines[0].box[1])
    along = (end - start) / np.linalg.norm(end - start)
    assert along == pytest.approx({"right": (0, 1), "below": (-1, 0), "left": (0, -1)}[first], abs=1e-3)


def test_boxes_count_from_the_crop_box():
    page = only_page(pdf(HELLO, page="/CropBox [50 400 595 842]"))
    assert (page.width, page.height) == (1363, 1105)
    assert_box_holds_ink(page)


def test_a_character_that_is_told_beside_its_glyph_has_its_place_within_a_form_of_another_scale():
    """As browsers print 工, whose glyph is also that of a radical. PDFium leaves its box in the form's own space."""
    told = " /Span << /ActualText (B) >> BDC BT /F 80 Tf 1 0 0 1 605 2800 Tm (X) Tj ET EMC "
    around = "BT /F 80 Tf 1 0 0 1 400 2800 Tm (Hello ) Tj ET", "BT /F 80 Tf 1 0 0 1 658 2800 Tm (ank) Tj ET"
    written = pdf("q .25 0 0 .25 0 0 cm /X Do Q", told.join(around))  # the second page is a form as well
    written = written.replace(b"/F 3 0 R >> >>", b"/F 3 0 R >> /XObject << /X 7 0 R >> >>")
    form = b"<< /Type /XObject /Subtype /Form /BBox [0 0 4000 4000] /Resources << /Font << /F 3 0 R >> >> /Length"
    page = next(load_pages(written.replace(b"7 0 obj\n<< /Length", b"7 0 obj\n" + form)))
    assert page.lines is not None
    assert [line.text for line in page.lines] == ["Hello Bank"]
    assert_box_holds_ink(page)


@pytest.mark.parametrize("matrix", ["0 1 -1 0 300 200", "0 -1 1 0 300 600", "-1 0 0 -1 300 400"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_text_that_is_turned_within_the_page_is_one_line(matrix, rotation):
    page = only_page(pdf(f"BT /F 20 Tf {matrix} Tm (Sideways) Tj ET", page=f"/Rotate {rotation}"))
    assert page.lines is not None
    assert [line.text for line in page.lines] == ["Sideways"]
    assert_box_holds_ink(page)


def test_table_cells_are_separate_lines_in_reading_order():
    rows = [("2026-01-03", "Wages", "1,200.00"), ("2026-01-04", "Rent", "-800.50")]
    cells = [
        f"BT /F 12 Tf {x} {700 - 20 * row} Td ({text}) Tj ET"
        for row, texts in enumerate(rows)
        for x, text in zip((400, 60, 200), (texts[2], texts[0], texts[1]), strict=True)
    ]
    page = only_page(pdf("\n".join(reversed(cells))))
    assert page.lines is not None
    assert [line.text for line in page.lines] == [text for texts in rows for text in texts]


def test_one_line_written_in_pieces_is_joined():
    page = only_page(pdf("BT /F 20 Tf 100 700 Td (Hel) Tj (lo) Tj ET BT /F 20 Tf 152 700 Td (branch) Tj ET"))
    assert page.lines is not None
    assert [line.text for line in page.lines] == ["Hello branch"]


def test_bold_by_printing_twice_is_read_once():
    twice = HELLO + " " + HELLO.replace("100 700", "101 700.5")
    page = only_page(pdf(twice))
    assert page.lines is not None
    assert [line.text for line in page.lines] == ["Hello branch"]


def test_doubled_letters_stay_doubled():
    page = only_page(pdf("BT /F 20 Tf 100 700 Td (11,100.00 ill) Tj ET"))
    assert page.lines is not None
    assert [line.text for line in page.lines] == ["11,100.00 ill"]


def test_text_outside_the_page_is_not_read():
    page = only_page(pdf(HELLO + " BT /F 20 Tf 900 700 Td (Hidden) Tj ET"))
    assert page.lines is not None
    assert [line.text for line in page.lines] == ["Hello branch"]


def test_a_page_without_text_is_left_to_ocr():
    assert only_page(pdf("0 0 100 100 re f")).lines is None


def test_a_scan_with_a_text_layer_is_read_from_the_picture():
    assert only_page(pdf(PICTURE + " " + HELLO)).lines is None
    small = PICTURE.replace("595 0 0 842", "100 0 0 100")
    assert only_page(pdf(small + " " + HELLO)).lines is not None


def test_form_fields_are_left_to_ocr():
    assert only_page(pdf(HELLO, catalog="/AcroForm << /Fields [] >>")).lines is None


def test_an_encrypted_pdf_wants_a_password():
    text = "<" + "ab" * 32 + ">"
    encrypt = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O {text} /U {text} /P -4 >> /ID [<00> <00>]"
    with pytest.raises(PdfError, match="encrypted and wants a password"):
        next(load_pages(pdf(HELLO, trailer=encrypt)))


def test_too_many_pages_are_refused_with_both_numbers():
    with pytest.raises(PdfError, match="4 pages; at most 3"):
        next(load_pages(pdf(*[HELLO] * 4), max_pages=3))
    assert len(list(load_pages(pdf(*[HELLO] * 3), max_pages=3))) == 3


@pytest.mark.parametrize("data", [b"%PDF-1.4\n", pdf(HELLO)[:60], pdf()])
def test_a_damaged_or_empty_pdf_is_refused(data):
    with pytest.raises(PdfError):
        list(load_pages(data))


def test_a_pdf_cut_anywhere_gives_pages_or_a_pdf_error():
    data = pdf(HELLO, HELLO)
    for end in range(9, len(data), 37):
        try:
            list(load_pages(data[:end]))
        except PdfError:
            continue


def test_a_giant_page_is_rendered_within_bounds():
    page = only_page(pdf(HELLO, box="0 0 14400 14400"))
    assert page.width * page.height <= 8_010_000
    page = only_page(pdf("", box="0 0 14400 1"))
    assert page.height >= 1


def test_several_threads_read_pdfs_at_once():
    data, found = pdf(HELLO, HELLO), []
    workers = [
        threading.Thread(target=lambda: found.extend(len(page.lines or ()) for page in load_pages(data)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [1] * 8


def forms_within_forms(depth: int) -> bytes:
    """A page that draws a form ten times, which draws a form ten times, and so on: 2 kB, 10 ** depth drawings."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /XObject << /F 5 0 R >> >> "
        "/Contents 4 0 R >>",
        "<< /Length 5 >>\nstream\n/F Do\nendstream",
    ]
    for level in range(depth):
        resources = f"/Resources << /XObject << /F {6 + level} 0 R >> >>" if level < depth - 1 else ""
        content = "/F Do " * 10 if resources else "0 0 9 9 re f"
        head = f"<< /Type /XObject /Subtype /Form /BBox [0 0 600 900] {resources} /Length {len(content)} >>"
        objects.append(f"{head}\nstream\n{content}\nendstream")
    body = "%PDF-1.4\n" + "".join(f"{number} 0 obj\n{text}\nendobj\n" for number, text in enumerate(objects, 1))
    return f"{body}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n%%EOF\n".encode()


def inflating(size: int) -> bytes:
    """A page whose content is ``size`` spaces, deflated."""
    deflated = zlib.compress(b" " * size, 9).decode("latin-1")
    whole = pdf(deflated).decode("latin-1").replace("<< /Length", "<< /Filter /FlateDecode /Length")
    return whole.encode("latin-1")


def processes() -> Iterator[psutil.Process]:
    return (each for each in psutil.Process().children() if any("pdf_process" in part for part in each.cmdline()))


@pytest.mark.parametrize("data", [forms_within_forms(9), inflating(1_200_000_000)], ids=["forms", "deflated"])
def test_a_bomb_is_refused_and_takes_no_memory_of_this_process(data):
    before = psutil.Process().memory_info().rss
    with pytest.raises(PdfError, match="1 GB|seconds"):
        next(load_pages(data))
    assert psutil.Process().memory_info().rss - before < 64 << 20
    assert not list(processes())
    assert only_page(pdf(HELLO)).lines


def test_a_page_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr("runtime.pdf.PAGE_SECONDS", 0.001)
    with pytest.raises(PdfError, match="more than 0.001 seconds"):
        next(load_pages(pdf(HELLO)))
    assert not list(processes())


def test_pages_are_drawn_as_they_are_asked_for_and_nothing_is_left_of_a_document_given_up():
    pages = load_pages(pdf(*[HELLO] * 50))
    assert not list(processes())
    assert next(pages).lines
    assert len(list(processes())) == 1
    del pages
    assert not list(processes())


def test_nothing_goes_on_drawing_when_the_reader_is_killed(tmp_path):
    bomb = tmp_path / "bomb.pdf"
    bomb.write_bytes(forms_within_forms(9))  # takes two seconds to meet its limit of memory
    program = (
        "import pathlib, sys\n"
        "from runtime.images import load_pages\n"
        "next(load_pages(pathlib.Path(sys.argv[1]).read_bytes()))\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", program, str(bomb)], cwd=Path(__file__).parents[2])
    while not (drawing := psutil.Process(reader.pid).children()):
        assert reader.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    reader.kill()
    reader.wait()
    time.sleep(0.2)
    # one that nobody has taken note of yet is dead all the same
    assert not [each for each in drawing if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
