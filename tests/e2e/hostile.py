"""What the tests of faults share: a server that is watched while things are thrown at it, and things to throw."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests
from PIL import Image, ImageDraw, ImageFont

EDGEKIT = Path(sys.executable).with_name("edgekit")
TEXT = "想用这笔贷款把网贷和信用卡还上"
MEGABYTE = 1 << 20


@dataclass
class Watched:
    """A running ``edgekit serve``, its worker, and what it answers when nothing is wrong."""

    url: str
    state: Path
    worker: psutil.Process
    usual: tuple[Any, ...] = ()

    @classmethod
    def at(cls, url: str, state: Path) -> Watched:
        pid = requests.get(f"{url}/v1/status", timeout=30).json()["worker"]["pid"]
        watched = cls(url, state, psutil.Process(pid))
        watched.usual = watched.ordinary()
        return watched

    def ordinary(self) -> tuple[Any, ...]:
        """The answers to two ordinary requests."""
        labelled = requests.post(f"{self.url}/v1/text-risk", json={"texts": [TEXT]}, timeout=30)
        read = requests.post(f"{self.url}/v1/ocr", data=encoded(drawn("20261123")), timeout=30)
        assert (labelled.status_code, read.status_code) == (200, 200), (labelled.text, read.text)
        labels = {label: round(value, 3) for label, value in labelled.json()["results"][0]["labels"].items()}
        return labels, [line["text"] for line in read.json()["pages"][0]["lines"]]

    def unharmed(self) -> None:
        """The same process answers as before."""
        assert self.worker.is_running()
        assert self.ordinary() == self.usual
        assert self.usual[1] == ["20261123"]

    @contextmanager
    def growing_at_most(self, megabytes: int) -> Iterator[None]:
        """The worker's memory never rises by more than this meanwhile."""
        Path(f"/proc/{self.worker.pid}/clear_refs").write_text("5")  # the peak is what is held now (proc(5))
        before = self.worker.memory_info().rss
        yield
        status = Path(f"/proc/{self.worker.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        assert peak - before < megabytes * MEGABYTE, f"{(peak - before) // MEGABYTE} MB more"

    def dial(self) -> socket.socket:
        """A bare connection."""
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=30)


@contextmanager
def serving(bundle: Path, state: Path, **environment: str) -> Iterator[tuple[Watched, subprocess.Popen[str]]]:
    """``edgekit serve`` with a state directory of its own; it is stopped in the end, however it fares."""
    process = subprocess.Popen(
        [EDGEKIT, "serve", "--bundle", bundle, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "EDGEKIT_STATE_DIR": str(state), **environment},
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Watched.at(json.loads(process.stdout.readline())["url"], state), process
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(timeout=30)


def refused(answer: requests.Response, *statuses: int) -> dict[str, Any]:
    """A problem document with one of ``statuses``; returns it."""
    assert answer.status_code in (statuses or (400,)), f"{answer.status_code} {answer.text[:300]}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert all(document[key] for key in ("code", "problem", "state", "remedy")), document
    assert len(document["problem"]) < 1000
    return document


def said(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of all that comes until the server closes the connection."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, data[:300]
    return int(head.split(b" ", 2)[1]), body


def drawn(text: str, mode: str = "RGB") -> Image.Image:
    """A picture, 320 x 80, of ``text`` in black on white."""
    picture = Image.new("RGB", (320, 80), "white")
    ImageDraw.Draw(picture).text((30, 15), text, "black", ImageFont.load_default(48))
    return picture.convert(mode)


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def png(width: int, height: int, *more: tuple[bytes, bytes], rows: int = 0) -> bytes:
    """A PNG that claims this size in grey, holds ``rows`` white rows of it, and has these chunks as well."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\xff" * width) * rows, 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    middle = b"".join(chunk(*each) for each in more)
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def pdf(*, pages: int = 1, content: bytes = b"", compressed: bool = False, objects: tuple[bytes, ...] = ()) -> bytes:
    """A PDF whose pages all show ``content``; /F is Helvetica, /X the first of ``objects``, which is number 5."""
    body = zlib.compress(content, 9) if compressed else content
    coding = b"/Filter/FlateDecode" if compressed else b""
    resources = b"/Resources<</Font<</F 3 0 R>>/XObject<</X 5 0 R>>>>"
    first = 5 + len(objects)
    kids = b" ".join(b"%d 0 R" % (first + page) for page in range(pages))
    everything = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<<%s/Length %d>>\nstream\n%s\nendstream" % (coding, len(body), body),
        *objects,
        *[b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]%s/Contents 4 0 R>>" % resources] * pages,
    ]
    file, places = b"%PDF-1.5\n", []
    pieces = [file]
    at = len(file)
    for number, each in enumerate(everything, 1):
        piece = b"%d 0 obj\n%s\nendobj\n" % (number, each)
        places.append(at)
        at += len(piece)
        pieces.append(piece)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    pieces.append(b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(places) + 1, table))
    pieces.append(b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(places) + 1, at))
    return b"".join(pieces)


def forms_within_forms(depth: int) -> bytes:
    """A PDF of 2 kB that draws a form ten times, which draws a form ten times, and so on."""
    forms = []
    for level in range(depth):
        inner = level < depth - 1
        content = b"/X Do " * 10 if inner else b"0 0 9 9 re f"
        resources = b"/Resources<</XObject<</X %d 0 R>>>>" % (6 + level) if inner else b""
        head = b"<</Type/XObject/Subtype/Form/BBox[0 0 600 900]%s/Length %d>>" % (resources, len(content))
        forms.append(b"%s\nstream\n%s\nendstream" % (head, content))
    return pdf(content=b"/X Do", objects=tuple(forms))
