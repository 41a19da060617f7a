"""A sheet of paper: what is drawn on it is recorded once and comes out as a picture or as a PDF page.

Recording first means that the truth (which text stands where) comes from the same calls that draw, and that the
picture and the PDF of a paper cannot differ. Units are those of the sheet; ``picture(scale)`` turns them into pixels,
a PDF takes them as points. Text is placed by its baseline.

Pictures are drawn with Debian's ``fonts-noto-cjk`` where it is installed, else with the one font that the demonstration
fetches, in which serifs and bold are missing. PDFs always have that one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from examples.models import fetch

Colour = tuple[int, int, int]
Point = tuple[float, float]
Box = tuple[Point, Point, Point, Point]

BLACK: Colour = (28, 28, 30)
GREY: Colour = (120, 122, 128)
RED: Colour = (200, 40, 44)

_FONT_FOLDER = Path("/usr/share/fonts/opentype/noto")
_FONT_FILES = {
    "regular": "NotoSansCJK-Regular.ttc",
    "bold": "NotoSansCJK-Bold.ttc",
    "serif": "NotoSerifCJK-Regular.ttc",
    "serif_bold": "NotoSerifCJK-Bold.ttc",
}
_POINTS = 72  # an inch
_SIMPLIFIED_CHINESE = 2  # index of the SC face in Noto's collections

Font = ImageFont.FreeTypeFont


def font_file(name: str) -> Path:
    """Return the font collection called ``regular``, ``bold``, ``serif`` or ``serif_bold``.

    Raises:
        FileNotFoundError: Debian's fonts-noto-cjk is not installed.
    """
    path = _FONT_FOLDER / _FONT_FILES[name]
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; redrawing needs: apt-get install fonts-noto-cjk")
    return path


@cache
def _font(name: str, size: float) -> Font:
    try:
        return ImageFont.truetype(str(font_file(name)), size, index=_SIMPLIFIED_CHINESE)
    except FileNotFoundError:
        return ImageFont.truetype(str(fetch("font") / "font.otf"), size)


@dataclass(frozen=True)
class Line:
    """One line of text on a picture.

    Attributes:
        text: What stands there.
        box: Four corners in pixels, clockwise from the one nearest the picture's top left.
    """

    text: str
    box: Box


def ordered(points: Iterable[Point]) -> Box:
    """Return four corners clockwise, beginning with the one nearest the top left."""
    corners = list(points)
    cx, cy = (sum(p[i] for p in corners) / 4 for i in (0, 1))
    corners.sort(key=lambda p: math.atan2(p[1] - cy, p[0] - cx))
    first = min(range(4), key=lambda i: corners[i][0] + corners[i][1])
    a, b, c, d = corners[first:] + corners[:first]
    return a, b, c, d


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    text: str
    size: float
    font: str
    colour: Colour
    anchor: str  # l, m or r
    tracking: float  # extra space after each character
    turn: float  # degrees clockwise about (x, y)
    stacked: bool  # one character below the other
    joins: bool  # belongs to the truth line of the text before it


@dataclass(frozen=True)
class _Shape:
    kind: str  # rectangle, ellipse or line
    corners: tuple[float, float, float, float]
    fill: Colour | None
    outline: Colour | None
    width: float


@dataclass
class Sheet:
    """A sheet of ``width`` by ``height`` units; see the module's docstring."""

    width: float
    height: float
    paper: Colour = (255, 255, 255)
    _marks: list[_Text | _Shape] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        font: str = "regular",
        colour: Colour = BLACK,
        anchor: str = "l",
        tracking: float = 0.0,
        turn: float = 0.0,
        stacked: bool = False,
        joins: bool = False,
    ) -> None:
        """Write ``text`` with its baseline at ``y``; ``joins`` makes it one truth line with the text before."""
        self._marks.append(_Text(x, y, text, size, font, colour, anchor, tracking, turn, stacked, joins))

    def rectangle(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        *,
        fill: Colour | None = None,
        outline: Colour | None = None,
        width: float = 1.0,
    ) -> None:
        """Draw a rectangle."""
        self._marks.append(_Shape("rectangle", (x0, y0, x1, y1), fill, outline, width))

    def ellipse(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        *,
        fill: Colour | None = None,
        outline: Colour | None = None,
        width: float = 1.0,
    ) -> None:
        """Draw an ellipse in the given rectangle."""
        self._marks.append(_Shape("ellipse", (x0, y0, x1, y1), fill, outline, width))

    def line(self, x0: float, y0: float, x1: float, y1: float, *, colour: Colour = GREY, width: float = 1.0) -> None:
        """Draw a straight line."""
        self._marks.append(_Shape("line", (x0, y0, x1, y1), colour, None, width))

    def seal(self, x: float, y: float, radius: float) -> None:
        """Put the red circle that says 样章 (specimen seal) around (x, y)."""
        self.ellipse(x - radius, y - radius, x + radius, y + radius, outline=RED, width=max(1.5, radius / 18))
        self.text(x, y + radius * 0.2, "样章", radius * 0.55, font="bold", colour=RED, anchor="m")

    def picture(self, scale: float = 1.0) -> tuple[Image.Image, tuple[Line, ...]]:
        """Draw the sheet with ``scale`` pixels to the unit; return the picture (RGB) and its lines."""
        image = Image.new("RGB", (round(self.width * scale), round(self.height * scale)), self.paper)
        draw = ImageDraw.Draw(image)
        lines: list[Line] = []
        for mark in self._marks:
            if isinstance(mark, _Shape):
                _draw_shape(draw, mark, scale)
                continue
            box = _draw_text(image, mark, scale)
            if mark.joins:
                before = lines.pop()
                lines.append(Line(before.text + mark.text, _around((*before.box, *box))))
            else:
                lines.append(Line(mark.text, box))
        return image, tuple(lines)


def _around(points: Sequence[Point]) -> Box:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _draw_shape(draw: ImageDraw.ImageDraw, shape: _Shape, scale: float) -> None:
    corners = [c * scale for c in shape.corners]
    width = max(1, round(shape.width * scale))
    if shape.kind == "line":
        draw.line(corners, fill=shape.fill, width=width)
    elif shape.kind == "ellipse":
        draw.ellipse(corners, fill=shape.fill, outline=shape.outline, width=width)
    else:
        draw.rectangle(corners, fill=shape.fill, outline=shape.outline, width=width)


def _glyphs(mark: _Text, scale: float) -> list[tuple[float, float, str]]:
    """Return (x, baseline, text) of the pieces that are drawn one by one, in pixels."""
    font = _font(mark.font, mark.size * scale)
    x, y = mark.x * scale, mark.y * scale
    if mark.stacked:
        step = (mark.size + mark.tracking) * scale
        return [(x - font.getlength(c) / 2, y + i * step, c) for i, c in enumerate(mark.text)]
    pieces = list(mark.text) if mark.tracking else [mark.text]
    advances = [font.getlength(piece) + mark.tracking * scale for piece in pieces]
    total = sum(advances) - mark.tracking * scale
    x -= {"l": 0.0, "m": total / 2, "r": total}[mark.anchor]
    placed = []
    for piece, advance in zip(pieces, advances, strict=True):
        placed.append((x, y, piece))
        x += advance
    return placed


def _draw_text(image: Image.Image, mark: _Text, scale: float) -> Box:
    """Draw one text and return the box around its ink, as much wider as people label it."""
    font = _font(mark.font, mark.size * scale)
    glyphs = _glyphs(mark, scale)
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    corners: list[Point] = []
    for x, y, piece in glyphs:
        left, top, right, bottom = measure.textbbox((x, y), piece, font=font, anchor="ls")
        corners += [(left, top), (right, bottom)]
    margin = max(1.0, 0.11 * mark.size * scale)
    (left, top), _, (right, bottom), _ = _around(corners)
    box = _around([(left - margin, top - margin), (right + margin, bottom + margin)])
    # Text that will be turned may begin outside the sheet, so its mask has room on every side; other text needs a mask
    # of its own size only, at whole pixels so that its glyphs fall where they would on the sheet.
    room = max(image.size) if mark.turn else 0
    if mark.turn:
        corner, size = (0, 0), (image.width + 2 * room, image.height + 2 * room)
    else:
        corner = (math.floor(box[0][0]) - 2, math.floor(box[0][1]) - 2)
        size = (math.ceil(box[2][0]) + 2 - corner[0], math.ceil(box[2][1]) + 2 - corner[1])
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    for x, y, piece in glyphs:
        draw.text((x + room - corner[0], y + room - corner[1]), piece, font=font, fill=255, anchor="ls")
    if mark.turn:
        centre = (mark.x * scale, mark.y * scale)
        about = (centre[0] + room, centre[1] + room)
        mask = mask.rotate(-mark.turn, resample=Image.Resampling.BICUBIC, center=about)
        mask = mask.crop((room, room, room + image.width, room + image.height))
        box = ordered(_turned(p, centre, mark.turn) for p in box)
    image.paste(mark.colour, corner, mask)
    return box


def _turned(point: Point, centre: Point, degrees: float) -> Point:
    angle = math.radians(degrees)
    dx, dy = point[0] - centre[0], point[1] - centre[1]
    return (
        centre[0] + dx * math.cos(angle) - dy * math.sin(angle),
        centre[1] + dx * math.sin(angle) + dy * math.cos(angle),
    )


def text_pdf(sheets: Sequence[Sheet]) -> bytes:
    """The texts of the sheets as a PDF with a text layer and no font in it, as many banks' systems write them.

    The reader's own font stands in (PDF 1.7, 9.7.5.2: UniGB-UCS2-H, Adobe-GB1). Lines, fills and turns are left out,
    and so is what is red: seals are pictures.
    """
    font = (
        "<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts[<</Type/Font"
        "/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>"
        "/FontDescriptor<</Type/FontDescriptor/FontName/STSong-Light/Flags 6/FontBBox[0 -200 1000 900]/ItalicAngle 0"
        "/Ascent 880/Descent -120/CapHeight 880/StemV 93>>/DW 1000/W[1 95 500]>>]>>"
    )
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "", font]
    for sheet in sheets:
        content = "".join(
            _pdf_text(sheet, mark) for mark in sheet._marks if isinstance(mark, _Text) and mark.colour != RED
        )
        objects += [
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {sheet.width:g} {sheet.height:g}]"
            f"/Resources<</Font<</F 3 0 R>>>>/Contents {len(objects) + 2} 0 R>>",
            f"<</Length {len(content)}>>stream\n{content}\nendstream",
        ]
    pages = " ".join(f"{number} 0 R" for number in range(4, len(objects) + 1, 2))
    objects[1] = f"<</Type/Pages/Count {len(sheets)}/Kids[{pages}]>>"
    written, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(written))
        written += f"{number} 0 obj{body}endobj\n".encode("ascii")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(written)}\n%%EOF\n"
    return written + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode("ascii")


def _pdf_text(sheet: Sheet, mark: _Text) -> str:
    widths = [mark.size * (0.5 if character.isascii() else 1.0) + mark.tracking for character in mark.text]
    x = mark.x - {"l": 0.0, "m": sum(widths) / 2, "r": sum(widths)}[mark.anchor]
    text = mark.text.encode("utf-16-be").hex()
    return f"BT/F {mark.size:g} Tf {mark.tracking:g} Tc {x:.2f} {sheet.height - mark.y:.2f} Td<{text}>Tj ET\n"


def write_pdf(sheets: Sequence[Sheet], path: Path, *, title: str) -> None:
    """Write the sheets as a PDF with a text layer and the used glyphs of the font embedded.

    Raises:
        ValueError: A sheet carries turned or stacked text, which no PDF here needs.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    face = FontProperties(fname=fetch("font") / "font.otf")
    # 42: as TrueType, with the characters' meaning; a date of creation would make every file another one
    with rc_context({"pdf.fonttype": 42}), PdfPages(path, metadata={"Title": title, "CreationDate": None}) as pdf:
        for sheet in sheets:
            page = Figure(figsize=(sheet.width / _POINTS, sheet.height / _POINTS), dpi=_POINTS)
            for mark in sheet._marks:
                if isinstance(mark, _Shape):
                    _pdf_shape(page, mark, sheet.height)
                    continue
                if mark.turn or mark.stacked or mark.tracking:
                    raise ValueError(f"no turned, stacked or spaced text in a PDF: {mark.text}")
                page.text(
                    mark.x / sheet.width,
                    1 - mark.y / sheet.height,
                    mark.text,
                    fontproperties=face,
                    fontsize=mark.size,
                    color=_share(mark.colour),
                    ha={"l": "left", "m": "center", "r": "right"}[mark.anchor],
                    va="baseline",
                    parse_math=False,
                )
            pdf.savefig(page)


def _pdf_shape(page: Any, shape: _Shape, height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Ellipse, Rectangle

    x0, y0, x1, y1 = shape.corners
    y0, y1 = height - y0, height - y1
    given = {"linewidth": shape.width, "transform": None}  # in points of the page
    if shape.kind == "line":
        page.add_artist(Line2D([x0, x1], [y0, y1], color=_share(shape.fill or GREY), **given))
        return
    given |= {
        "facecolor": _share(shape.fill) if shape.fill else "none",
        "edgecolor": _share(shape.outline) if shape.outline else "none",
    }
    if shape.kind == "ellipse":
        page.add_artist(Ellipse(((x0 + x1) / 2, (y0 + y1) / 2), x1 - x0, y0 - y1, **given))
    else:
        page.add_artist(Rectangle((x0, y1), x1 - x0, y0 - y1, **given))


def _share(colour: Colour) -> tuple[float, ...]:
    return tuple(channel / 255 for channel in colour)
