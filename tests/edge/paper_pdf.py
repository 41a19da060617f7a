"""PDFs with a text layer and nothing else: no font is embedded, so they can be read and hardly looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

Placed = tuple[float, float, float, str]  # x, y of the baseline from below, size, text; points

_COLUMNS = (40, 130, 220, 370, 470)
_FONT = (  # one that every reader knows by name; UniGB-UCS2-H: characters are UTF-16 (Adobe Technical Note 5079)
    b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [4 0 R] >>",
    b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 /W [1 95 500] /FontDescriptor 5 0 R"
    b" /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> >>",
    b"<< /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [-25 -254 1000 880] /ItalicAngle 0"
    b" /Ascent 880 /Descent -120 /CapHeight 880 /StemV 93 >>",
)


def text_pdf(pages: Sequence[Sequence[Placed]]) -> bytes:
    """A PDF of A4 pages with these texts."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", *_FONT]
    kids = []
    for page in pages:
        shown = b"".join(
            b"/F %g Tf 1 0 0 1 %g %g Tm <%s> Tj\n" % (size, x, y, text.encode("utf-16-be").hex().encode())
            for x, y, size, text in page
        )
        objects.append(b"<< /Length %d >>\nstream\nBT\n%sET\nendstream" % (len(shown) + 6, shown))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F 3 0 R >> >>"
            b" /Contents %d 0 R >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(kids))
    out, offsets = bytearray(b"%PDF-1.7\n"), b""
    for number, entry in enumerate(objects, start=1):
        offsets += b"%010d 00000 n \n" % len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, entry)
    trailer = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return bytes(out) + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (len(objects) + 1, offsets, trailer)


def long_statement(rows: int, rows_per_page: int, *, name: str, first: date, days: int) -> bytes:
    """A statement whose balances add up, as a PDF."""
    return text_pdf(list(_pages(rows, rows_per_page, name, first, days)))


def _pages(rows: int, rows_per_page: int, name: str, first: date, days: int) -> Iterator[list[Placed]]:
    cents = 1_000_000
    step = 660 / rows_per_page
    size = min(9.0, 0.8 * step)
    for start in range(0, rows, rows_per_page):
        page: list[Placed] = []
        if start == 0:
            period = f"起止日期：{first} 至 {first + timedelta(days=days)}"
            page = [(220, 800, 16, "样例银行账户交易明细"), (40, 770, 10, f"户名：{name}")]
            page += [(300, 770, 10, "账号：9999990000123456789"), (40, 752, 10, period)]
        heads = ("交易日期", "摘要", "对方户名", "交易金额", "账户余额")
        page += [(x, 720, 10, text) for x, text in zip(_COLUMNS, heads, strict=True)]
        for row in range(start, min(rows, start + rows_per_page)):
            salary = row % 10 == 0
            moved = 1_200_000 if salary else -(100 + row * 37 % 5000)
            cents += moved
            day = first + timedelta(days=row * days // rows)
            what = ("代发工资", "样例公司") if salary else ("消费", f"示例商户{row % 97}")
            texts = (str(day), *what, f"{moved / 100:,.2f}", f"{cents / 100:,.2f}")
            y = 720 - step * (row - start + 1)
            page += [(x, y, size, text) for x, text in zip(_COLUMNS, texts, strict=True)]
        yield page
