"""Pages of a PDF as pictures, with the text that the PDF itself carries where it can be trusted.

PDFium is not thread safe: one lock stands around every call.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Iterator

import numpy as np
import pypdfium2 as pdfium
from numpy.typing import NDArray
from pypdfium2 import raw

from devices.errors import PdfError
from runtime.ocr.line import Line, box_of, in_reading_order

DPI = 180
MAX_PAGE_PIXELS = 8_000_000
# of a whole document: 50 pages of A4 keep 165 dpi and 384 MB
MAX_PIXELS = 128_000_000
_POINTS_PER_INCH = 72
# in heights of the line: a wider gap is a space, a still wider one parts two cells of a table
_SPACE, _CELL = 0.2, 1.0
_LOCK = threading.Lock()

PdfPage = tuple[NDArray[np.uint8], tuple[Line, ...] | None]


def is_pdf(data: bytes) -> bool:
    """Whether ``data`` is a PDF by its header, which may stand anywhere in the first kilobyte (PDF 1.7, H.3)."""
    return b"%PDF-" in data[:1024]


def read_pdf(data: bytes, *, max_pages: int) -> list[PdfPage]:
    """Render every page and read its text layer.

    A text layer is taken only where it is what a person sees: not where pictures cover most of the page, as in a scan,
    not beside form fields, and not where its characters have no Unicode meaning.

    Raises:
        PdfError: The PDF is damaged, wants a password, is empty, or has more than ``max_pages`` pages.
    """
    with _LOCK:
        try:
            document = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as error:
            if error.err_code == raw.FPDF_ERR_PASSWORD:
                raise PdfError("The PDF is encrypted and wants a password.") from error
            raise PdfError(f"The PDF is truncated or damaged: {error}") from error
        try:
            pages = len(document)
            if pages == 0:
                raise PdfError("The PDF has no pages.")
            if pages > max_pages:
                raise PdfError(
                    f"The PDF has {pages} pages; at most {max_pages} are read.", remedy="Split it and send the parts."
                )
            forms = document.get_formtype() != raw.FORMTYPE_NONE
            if forms:
                document.init_forms()
            limit = min(MAX_PAGE_PIXELS, MAX_PIXELS // pages)
            return [_read_page(document, index, limit, forms) for index in range(pages)]
        except pdfium.PdfiumError as error:
            raise PdfError(f"The PDF is truncated or damaged: {error}") from error
        finally:
            document.close()


def _read_page(document: pdfium.PdfDocument, index: int, limit: int, forms: bool) -> PdfPage:
    page = document[index]
    try:
        width, height = page.get_size()  # points, as the page is shown
        if width <= 0 or height <= 0:
            raise PdfError(f"Page {index + 1} of the PDF is {width:g} x {height:g} points: there is nothing to see.")
        scale = min(DPI / _POINTS_PER_INCH, math.sqrt(limit / (width * height)))
        bitmap = page.render(scale=scale)
        image = np.array(bitmap.to_numpy()[:, :, :3], np.uint8)
        bitmap.close()
        trusted = not forms and _share_of_pictures(page) < 0.5
        return image, _text_lines(page, image.shape[1], image.shape[0]) if trusted else None
    finally:
        page.close()


def _share_of_pictures(page: pdfium.PdfPage) -> float:
    """Part of the page's area that its pictures cover, counted apart: 1 and more for a scan."""
    left, bottom, right, top = page.get_bbox()
    covered = 0.0
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]):
        x0, y0, x1, y1 = item.get_bounds()
        covered += max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, top) - max(y0, bottom))
    return float(covered / max(1.0, (right - left) * (top - bottom)))


def _text_lines(page: pdfium.PdfPage, width: int, height: int) -> tuple[Line, ...] | None:
    """Group the characters of the text layer into lines; None where there is no usable layer."""
    text_page = page.get_textpage()
    try:
        characters = list(_characters(text_page))
    finally:
        text_page.close()
    if not characters or sum(text == "\ufffd" for text, _, _ in characters) > 0.1 * len(characters):
        return None
    corners = np.array([box for _, box, _ in characters])  # (N, 4, 2) in points, y upwards
    to_pixels, offset = _page_to_pixels(page, width, height)
    corners = (corners @ to_pixels.T + offset).astype(np.float32)
    centres = corners.mean(axis=1)
    shown = np.all((centres >= 0) & (centres <= (width, height)), axis=1)
    corners = corners.clip(0, np.array([width, height], np.float32))
    # the page itself may be turned: its x axis tells. Both angles count with the clock
    page_angle = math.atan2(to_pixels[1, 0], to_pixels[0, 0])
    turned = np.array([page_angle + angle for _, _, angle in characters])
    quarters = np.round(turned / (math.pi / 2)).astype(np.intp) % 4
    lines: list[Line] = []
    for quarter in range(4):
        members = np.flatnonzero(shown & (quarters == quarter))
        if members.size:
            texts = [characters[member][0] for member in members]
            lines += _lines_of_quarter(texts, corners[members], quarter)
    return in_reading_order(lines)


def _characters(text_page: pdfium.PdfTextPage) -> Iterator[tuple[str, list[tuple[float, float]], float]]:
    """Every visible character with its corners in points and its angle in radians with the clock."""
    left, bottom, right, top = (ctypes.c_double() for _ in range(4))
    rect = raw.FS_RECTF()
    high = 0  # first half of a surrogate pair
    for index in range(text_page.count_chars()):
        code = raw.FPDFText_GetUnicode(text_page, index)
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000 and high:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)
        high = 0
        text = chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
        if text.isspace():
            continue
        if raw.FPDFText_HasUnicodeMapError(text_page, index) or not text.isprintable():
            text = "\ufffd"
        if not raw.FPDFText_GetLooseCharBox(text_page, index, rect):
            continue
        x0, y0, x1, y1 = rect.left, rect.bottom, rect.right, rect.top
        if x1 <= x0 or y1 <= y0:
            # fonts without metrics have no loose box; the ink's own will do
            if not raw.FPDFText_GetCharBox(text_page, index, left, right, bottom, top):
                continue
            x0, y0, x1, y1 = left.value, bottom.value, right.value, top.value
        if x1 > x0 and y1 > y0:
            yield text, [(x0, y1), (x1, y1), (x1, y0), (x0, y0)], raw.FPDFText_GetCharAngle(text_page, index)


def _page_to_pixels(page: pdfium.PdfPage, width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The affine map from points to pixels, crop box and rotation of the page included: ``p @ m.T + offset``."""
    fine = 1 << 20  # PDFium answers in whole pixels: ask for a far larger picture than ours
    x, y = ctypes.c_int(), ctypes.c_int()
    span = max(page.get_size())
    answers = []
    for point in ((0.0, 0.0), (span, 0.0), (0.0, span)):
        raw.FPDF_PageToDevice(page, 0, 0, fine, fine, 0, *point, x, y)
        answers.append((x.value * width / fine, y.value * height / fine))
    origin, along, up = np.array(answers)
    return np.stack([(along - origin) / span, (up - origin) / span], axis=1), origin


def _lines_of_quarter(texts: list[str], corners: NDArray[np.float32], quarter: int) -> list[Line]:
    """Join characters that stand in one row; a gap wider than the line is high begins another line.

    Args:
        texts: One character each.
        corners: (N, 4, 2) pixels, of rectangles along the axes.
        quarter: Quarter turns with the clock from upright, in pixels.
    """
    along = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)][quarter], np.float32)
    down = np.array([-along[1], along[0]], np.float32)
    u, v = corners @ along, corners @ down  # (N, 4)
    starts, ends, tops, bottoms = u.min(axis=1), u.max(axis=1), v.min(axis=1), v.max(axis=1)
    middles, heights = (tops + bottoms) / 2, bottoms - tops
    rows: list[list[int]] = []
    for index in map(int, np.argsort(middles, kind="stable")):
        if rows:
            first = rows[-1][0]
            if middles[index] - middles[first] < 0.5 * min(heights[index], heights[first]):
                rows[-1].append(index)
                continue
        rows.append([index])
    lines = []
    for row in rows:
        row.sort(key=lambda each: float(starts[each]))
        cells: list[list[int]] = [[row[0]]]
        text = [texts[row[0]]]
        for before, index in zip(row, row[1:], strict=False):
            gap = (starts[index] - ends[before]) / max(heights[index], heights[before])
            if gap > _CELL:
                cells.append([index])
                text.append(texts[index])
            else:
                cells[-1].append(index)
                text[-1] += (" " if gap > _SPACE else "") + texts[index]
        for cell, content in zip(cells, text, strict=True):
            a, b, c, d = starts[cell].min(), ends[cell].max(), tops[cell].min(), bottoms[cell].max()
            box = np.array([(a, c), (b, c), (b, d), (a, d)]) @ np.stack([along, down])
            lines.append(Line(content, 1.0, box_of(box)))
    return lines
