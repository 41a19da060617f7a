"""Pages of a PDF as pictures, with the text that the PDF itself carries where it can be trusted.

PDFium works in a process of its own (``runtime/pdf_process.py``), a fresh one for each PDF: a hostile file costs its
sender a refusal and the server nothing, and what one applicant's paper did to PDFium the next one's never meets.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.errors import PdfError
from runtime.ocr.line import Line, box_of, in_reading_order

PAGE_SECONDS = 20.0  # an ordinary page takes 0.1
_PROGRAM = Path(__file__).with_name("pdf_process.py")
_LONGEST_MESSAGE = 1 << 16
_MOST_PIXELS = 16_000_000  # twice what the process draws: rounding, and nothing more
_MOST_CHARACTERS = 1 << 20
_INK = 40  # of 255: fainter is not seen
_SMALLEST = 6  # pixels at 180 dpi, 0.8 mm: smaller is not read
_FEW_HIDDEN = 1
# in heights of the line: a wider gap is a space, a still wider one parts two cells of a table
_SPACE, _CELL = 0.2, 1.0

PdfPage = tuple[NDArray[np.uint8], tuple[Line, ...] | None, int]  # picture, text layer, pages of the whole


def is_pdf(data: bytes) -> bool:
    """Whether ``data`` is a PDF by its header, which may stand anywhere in the first kilobyte (PDF 1.7, H.3)."""
    return b"%PDF-" in data[:1024]


def read_pdf(data: bytes, *, max_pages: int, cut: bool = False) -> Iterator[PdfPage]:
    """Render one page after another, as they are asked for, and read its text layer.

    Of a longer PDF the first ``max_pages`` are read with ``cut``; else it is refused.

    A text layer is taken only where it is what a person sees: not where pictures cover most of the page, as in a scan,
    not beside form fields, not where its characters have no Unicode meaning, and not where some of them leave no ink on
    the page (white on white, under something, or far too small).

    Raises:
        PdfError: The PDF is damaged, wants a password, is empty, has too many pages, or a page takes more than 20 s
            or 1 GB to draw.
    """
    process = _start(data)
    assert process.stdout is not None
    stream = process.stdout.fileno()
    try:
        pages = int(_message(stream, time.monotonic() + PAGE_SECONDS)["pages"])
        if pages == 0:
            raise PdfError("The PDF has no pages.")
        if pages > max_pages and not cut:
            raise PdfError(
                f"The PDF has {pages} pages; at most {max_pages} are read.", remedy="Split it and send the parts."
            )
        for _ in range(min(pages, max_pages)):
            yield *_page(stream, time.monotonic() + PAGE_SECONDS), pages
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _start(data: bytes) -> subprocess.Popen[bytes]:
    found = importlib.util.find_spec("pypdfium2")
    if found is None or found.origin is None:
        raise PdfError("PDFs cannot be read: pypdfium2 is not installed.", remedy="Install the kit again.")
    # isolated and without the site's start-up files, which take longer than the rest of the interpreter
    command = [sys.executable, "-I", "-S", str(_PROGRAM), str(Path(found.origin).parents[1]), str(os.getpid())]
    with os.fdopen(os.memfd_create("pdf"), "w+b") as file:  # in memory: no applicant's paper touches the disk
        file.write(data)
        file.seek(0)
        # a session of its own: Ctrl-C is the server's to deal with
        return subprocess.Popen(
            command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )


def _page(stream: int, deadline: float) -> tuple[NDArray[np.uint8], tuple[Line, ...] | None]:
    message = _message(stream, deadline)
    width, height, stride, count = (message[key] for key in ("width", "height", "stride", "characters"))
    pixels = np.frombuffer(_exactly(stream, height * stride, deadline), np.uint8).reshape(height, stride)
    image = np.ascontiguousarray(pixels[:, : 3 * width]).reshape(height, width, 3)
    if count is None:
        return image, None
    codes = np.frombuffer(_exactly(stream, 4 * count, deadline), np.uint32)
    boxes = np.frombuffer(_exactly(stream, 20 * count, deadline), np.float32).reshape(count, 5)
    corners = _corners(boxes, np.array(message["map"]).reshape(3, 2))
    if _hides_some(image, codes, corners):
        return image, None
    return image, _text_lines(codes, boxes, np.array(message["map"]).reshape(3, 2), width, height)


def _message(stream: int, deadline: float) -> dict[str, Any]:
    """The next message, when it is one that an unharmed process sends.

    Raises:
        PdfError: As the process said; or it said nothing.
    """
    (length,) = struct.unpack("<I", _exactly(stream, 4, deadline))
    message: dict[str, Any] = json.loads(_exactly(stream, min(length, _LONGEST_MESSAGE), deadline))
    if "error" in message:
        raise PdfError(message["error"])
    if "width" in message:
        width, height, stride = message["width"], message["height"], message["stride"]
        if width < 1 or height < 1 or stride < 3 * width or height * stride > 3 * _MOST_PIXELS:
            raise PdfError(f"A page of the PDF came out as {width} x {height} pixels, which is impossible.")
        if not 0 <= (message["characters"] or 0) <= _MOST_CHARACTERS:
            raise PdfError(f"A page of the PDF came out with {message['characters']} characters.")
    return message


def _exactly(stream: int, size: int, deadline: float) -> bytearray:
    """``size`` bytes of what the process sends, by ``deadline`` of the monotonic clock."""
    data = bytearray(size)
    view = memoryview(data)
    waiting = select.poll()  # select() itself fails where a server has a thousand files open
    waiting.register(stream, select.POLLIN)
    while view:
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise PdfError(f"A page of the PDF takes more than {PAGE_SECONDS:g} seconds to draw.")
        got = os.readv(stream, [view])
        if not got:
            raise PdfError("The PDF is damaged, or a page takes more memory to draw than the 1 GB that it may have.")
        view = view[got:]
    return data


def _corners(boxes: NDArray[np.float32], to_pixels: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N, 4, 2) pixels, clockwise from the upper left; arguments as of ``_text_lines``."""
    corners = boxes[:, [0, 3, 2, 3, 2, 1, 0, 1]].reshape(-1, 4, 2).astype(np.float64)
    placed: NDArray[np.float32] = (corners @ to_pixels[1:] + to_pixels[0]).astype(np.float32)
    return placed


def _hides_some(image: NDArray[np.uint8], codes: NDArray[np.uint32], corners: NDArray[np.float32]) -> bool:
    """Whether some letters or digits of the text layer cannot be seen on the page, where others can.

    Where hardly any can, a font is missing here, and the text layer is what a person would see elsewhere.
    """
    seen = hidden = 0
    low = np.floor(corners.min(axis=1)).astype(np.intp).clip(0)
    high = np.ceil(corners.max(axis=1)).astype(np.intp)
    for code, (left, top), (right, bottom) in zip(codes.tolist(), low.tolist(), high.tolist(), strict=True):
        part = image[top:bottom, left:right]
        if not part.size or not chr(code).isalnum():
            continue  # off the page, or nothing that says anything
        inked = bool((part.max(axis=(0, 1)).astype(np.intp) - part.min(axis=(0, 1)) >= _INK).any())
        if inked and max(right - left, bottom - top) >= _SMALLEST:
            seen += 1
        else:
            hidden += 1
    return _FEW_HIDDEN < hidden < seen


def _text_lines(
    codes: NDArray[np.uint32], boxes: NDArray[np.float32], to_pixels: NDArray[np.float64], width: int, height: int
) -> tuple[Line, ...]:
    """Group the characters of the text layer into lines.

    Args:
        codes: (N,) code points.
        boxes: (N, 5) left, bottom, right and top in points, y upwards, and the angle in radians with the clock.
        to_pixels: (3, 2) where the origin of points lies in pixels, and a point along x and along y.
        width: Of the page, in pixels.
        height: Of the page, in pixels.
    """
    corners = _corners(boxes, to_pixels)
    centres = corners.mean(axis=1)
    shown = np.all((centres >= 0) & (centres <= (width, height)), axis=1)
    corners = corners.clip(0, np.array([width, height], np.float32))
    # the page itself may be turned: its x axis tells. Both angles count with the clock
    turned = math.atan2(to_pixels[1, 1], to_pixels[1, 0]) + boxes[:, 4]
    quarters = np.round(turned / (math.pi / 2)).astype(np.intp) % 4
    lines: list[Line] = []
    for quarter in range(4):
        members = np.flatnonzero(shown & (quarters == quarter))
        if members.size:
            lines += _lines_of_quarter([chr(codes[member]) for member in members], corners[members], quarter)
    return in_reading_order(lines)


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
