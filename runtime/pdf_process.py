"""A process of its own that draws one PDF: ``runtime/pdf.py`` starts it, feeds it and ends it.

A PDF is a program in all but name. Files of a few kilobytes can keep PDFium busy for days or make it ask for gigabytes,
and PDFium neither stops when asked to nor survives a refused allocation. Here it may: this process has a limit of
memory and of time, and nothing of the server's in it.

Standard input is the PDF. Standard output is a sequence of messages, each a length (4 bytes, little-endian) and as much
JSON, and after a page's JSON its bytes:

    {"pages": 2}
    {"width", "height", "stride", "characters": N or null, "map": [a, b, c, d, e, f]}
        height * stride bytes of pixels (BGR), N * 4 of code points (uint32), N * 20 of boxes and angles (5 float32)
    {"error": "one sentence"}, after which nothing follows

It imports the standard library and pypdfium2 alone, so that it starts in some 40 ms.
"""

from __future__ import annotations

import array
import ctypes
import json
import math
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

DPI = 180
MAX_PAGE_PIXELS = 8_000_000
MAX_CHARACTERS = 100_000  # of a page; what holds more is read from its picture
MEMORY_BYTES = 1 << 30  # a page that is one colour scan at 600 dpi takes half of it
CPU_SECONDS = 300  # the reader's own clock ends a page long before
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POINTS_PER_INCH = 72
_ASTRAY = 1.0  # units of a text's own space: whatever stands further off its line is misplaced


def main() -> None:
    """Draw the PDF on standard input.

    ``sys.argv[1]`` is the directory that holds pypdfium2, ``sys.argv[2]`` the reader's process: when its thread that
    started this one ends, this one is killed.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        return  # it ended before
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold an applicant's paper
    sys.path.append(sys.argv[1])
    import pypdfium2 as pdfium
    from pypdfium2 import raw

    out = sys.stdout.buffer
    try:
        document = pdfium.PdfDocument(sys.stdin.buffer.read())
        forms = document.get_formtype() != raw.FORMTYPE_NONE
        if forms:
            document.init_forms()
        _send(out, {"pages": len(document)})
        for index in range(len(document)):
            _send_page(out, document[index], index, forms)
    except pdfium.PdfiumError as error:
        locked = error.err_code == raw.FPDF_ERR_PASSWORD
        said = "The PDF is encrypted and wants a password." if locked else f"The PDF is truncated or damaged: {error}"
        _send(out, {"error": said})


def _send(out: BinaryIO, message: dict[str, Any], *payload: Any) -> None:
    head = json.dumps(message).encode()
    for part in (struct.pack("<I", len(head)), head, *payload):
        out.write(part)
    out.flush()


def _send_page(out: BinaryIO, page: Any, index: int, forms: bool) -> None:
    width, height = page.get_size()  # points, as the page is shown
    if not (0 < width < math.inf and 0 < height < math.inf):
        _send(out, {"error": f"Page {index + 1} of the PDF is {width:g} x {height:g} points: there is nothing to see."})
        sys.exit()
    scale = min(DPI / _POINTS_PER_INCH, math.sqrt(MAX_PAGE_PIXELS / (width * height)))
    bitmap = page.render(scale=scale)
    # form fields and a scan's hidden text are not what a person sees
    characters = _characters(page) if not forms and _share_of_pictures(page) < 0.5 else None
    codes, boxes = characters or (array.array("I"), array.array("f"))
    message = {
        "width": bitmap.width,
        "height": bitmap.height,
        "stride": bitmap.stride,
        "characters": None if characters is None else len(codes),
        "map": _page_to_pixels(page, bitmap.width, bitmap.height),
    }
    _send(out, message, bitmap.buffer, codes, boxes)
    bitmap.close()
    page.close()


def _share_of_pictures(page: Any) -> float:
    """Part of the page's area that its pictures cover, counted apart: 1 and more for a scan."""
    from pypdfium2 import raw

    left, bottom, right, top = page.get_bbox()
    covered = 0.0
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]):
        x0, y0, x1, y1 = item.get_bounds()
        covered += max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, top) - max(y0, bottom))
    return float(covered / max(1.0, (right - left) * (top - bottom)))


def _characters(page: Any) -> tuple[array.array[int], array.array[float]] | None:
    """Code point of every visible character, and for each its box in points and its angle in radians with the clock.

    None where there is no text layer, or one whose characters have no Unicode meaning.
    """
    text_page = page.get_textpage()
    codes, boxes = array.array("I"), array.array("f")
    try:
        if text_page.count_chars() > MAX_CHARACTERS:
            return None
        for code, box in _each_character(text_page):
            codes.append(code)
            boxes.extend(box)
    finally:
        text_page.close()
    return (codes, boxes) if codes and codes.count(0xFFFD) <= 0.1 * len(codes) else None


def _each_character(text_page: Any) -> Iterator[tuple[int, tuple[float, float, float, float, float]]]:
    from pypdfium2 import raw

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
        if code >= 0x110000 or 0xD800 <= code < 0xE000:
            code = 0xFFFD
        if chr(code).isspace():
            continue
        if raw.FPDFText_HasUnicodeMapError(text_page, index) or not chr(code).isprintable():
            code = 0xFFFD
        if not raw.FPDFText_GetLooseCharBox(text_page, index, rect):
            continue
        x0, y0, x1, y1 = rect.left, rect.bottom, rect.right, rect.top
        if x1 <= x0 or y1 <= y0:
            # fonts without metrics have no loose box; the ink's own will do
            if not raw.FPDFText_GetCharBox(text_page, index, left, right, bottom, top):
                continue
            x0, y0, x1, y1 = left.value, bottom.value, right.value, top.value
        if x1 > x0 and y1 > y0:
            yield code, (*_placed(text_page, index, (x0, y0, x1, y1)), raw.FPDFText_GetCharAngle(text_page, index))


def _placed(text_page: Any, index: int, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The box where the character stands.

    Of text that a PDF tells beside its glyphs (/ActualText: browsers print 工 so, whose glyph is a radical's too)
    PDFium leaves the box in the space of the form that holds it. Such a character is known by the line that its text
    runs along: it lies on that of its object there, and not on that of the page.
    """
    from pypdfium2 import raw

    x, y, on_page, in_object = ctypes.c_double(), ctypes.c_double(), raw.FS_MATRIX(), raw.FS_MATRIX()
    item = raw.FPDFText_GetTextObject(text_page, index)
    known = item and raw.FPDFPageObj_GetMatrix(item, in_object) and raw.FPDFText_GetMatrix(text_page, index, on_page)
    if not known or not raw.FPDFText_GetCharOrigin(text_page, index, x, y):
        return box
    begin = x.value, y.value
    right, wrong = _undone(on_page, begin), _undone(in_object, begin)
    if right is None or wrong is None or abs(right[1]) < abs(wrong[1]) + _ASTRAY:
        return box
    corners = []
    for corner in (box[:2], box[2:]):
        s, t = _undone(in_object, corner) or corner
        corners.append((on_page.a * s + on_page.c * t + on_page.e, on_page.b * s + on_page.d * t + on_page.f))
    (x0, y0), (x1, y1) = corners
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _undone(matrix: Any, point: tuple[float, float]) -> tuple[float, float] | None:
    """Where ``matrix`` brings ``point`` from; None if it makes everything flat."""
    u, v, size = point[0] - matrix.e, point[1] - matrix.f, matrix.a * matrix.d - matrix.b * matrix.c
    return ((matrix.d * u - matrix.c * v) / size, (matrix.a * v - matrix.b * u) / size) if size else None


def _page_to_pixels(page: Any, width: int, height: int) -> list[float]:
    """The affine map from points to pixels, crop box and rotation of the page included.

    Returns:
        x and y of the origin, of the way along the page's x axis, and of that along its y axis; pixels a point.
    """
    from pypdfium2 import raw

    fine = 1 << 20  # PDFium answers in whole pixels: ask for a far larger picture than ours
    x, y = ctypes.c_int(), ctypes.c_int()
    span = max(page.get_size())
    places = []
    for point in ((0.0, 0.0), (span, 0.0), (0.0, span)):
        raw.FPDF_PageToDevice(page, 0, 0, fine, fine, 0, *point, x, y)
        places.append((x.value * width / fine, y.value * height / fine))
    (x0, y0), (x1, y1), (x2, y2) = places
    return [x0, y0, (x1 - x0) / span, (y1 - y0) / span, (x2 - x0) / span, (y2 - y0) / span]


if __name__ == "__main__":
    main()
