"""The kiosk, the reviewer's desk and the status page, as a Flask blueprint over files of this package.

The pages hold no data of anybody: they are the same for all, and get what they show from ``/v1`` with the caller's
token. So their files need no token themselves. They work with the cable out: nothing is loaded from elsewhere, and the
Content-Security-Policy forbids it, as it forbids scripts and styles that stand in a page.

Browsers show no PDF and no TIFF as a picture, so ``POST /pages/pictures`` draws their pages just as scoring sees them:
the boxes of a receipt fit.
"""

from __future__ import annotations

import base64
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from flask import Blueprint, Response, abort, g, jsonify, request
from numpy.typing import NDArray

from devices.errors import InputError, RequestError, ServeError
from runtime.admission import Admission
from runtime.budget import Budget
from runtime.images import load_pages

PICTURES_AT_ONCE = 4  # pages of one answer, a few hundred kilobytes each
_PICTURES_S = 30.0
_WAITING = 8
_QUALITY = 85  # of JPEG; small print stays legible
_FILES = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGES = {"/": "kiosk", "/review": "review", "/status": "status"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_blueprint() -> Blueprint:
    """The pages, read into memory: a release that is exchanged on the disk is never shown in parts."""
    blueprint = Blueprint("pages", __name__)
    files = {path.name: path.read_bytes() for path in sorted(_FILES.iterdir()) if path.suffix in _TYPES}
    door = Admission(1, _WAITING)

    for address, name in _PAGES.items():
        blueprint.add_url_rule(address, name, lambda name=name: _answer(f"{name}.html", files))

    @blueprint.get("/pages/<name>")
    def asset(name: str) -> Response:
        if name not in files:
            abort(404)
        return _answer(name, files)

    @blueprint.post("/pages/pictures")
    def pictures() -> Response:
        first = request.args.get("first", "0")
        if not (first.isascii() and first.isdecimal() and len(first) <= 4):
            raise RequestError("'first' must be the number of a page, counted from 0.")
        data = request.get_data(cache=False)
        if not data:
            raise InputError("The request has no body: a picture or a PDF is expected.")
        gone = request.environ.get("waitress.client_disconnected", lambda: False)
        budget = Budget.lasting(_PICTURES_S, gone)
        try:
            with door.place(budget):
                return _pictures(data, int(first), budget)
        except ServeError:
            g.retry_after_s = door.retry_after_s
            raise

    @blueprint.after_request
    def guard(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return blueprint


def _answer(name: str, files: dict[str, bytes]) -> Response:
    return Response(files[name], content_type=_TYPES[Path(name).suffix])


def _pictures(data: bytes, first: int, budget: Budget) -> Response:
    """Pages from ``first`` on as JPEG in base64, and whether more follow."""
    drawn = []
    pages = islice(load_pages(data), first, None)
    for page in islice(pages, PICTURES_AT_ONCE):
        budget.check()
        drawn.append({"width": page.width, "height": page.height, "jpeg": _jpeg(page.image)})
    return jsonify(pages=drawn, more=next(pages, None) is not None)


def _jpeg(image: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) uint8 BGR as JPEG in base64."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return base64.b64encode(data.tobytes()).decode()
