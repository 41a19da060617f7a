"""Tensors, pictures, PDFs and texts that are wrong, odd or hostile: 4xx or an answer, and the server goes on."""

from __future__ import annotations

import gzip
import json
import math
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from tests.e2e.hostile import Watched, drawn, encoded, forms_within_forms, pdf, png, refused

APPLICATION = Path(__file__).parents[2] / "examples" / "application"
BOMB_SECONDS = 25  # a page may take 20


@pytest.fixture(autouse=True)
def goes_on(steady: Watched) -> Iterator[None]:
    """After every fault the same worker answers the next ordinary requests as before."""
    yield
    steady.unharmed()


def ids(values: Any = (1, 5, 9, 2), **changes: Any) -> dict[str, Any]:
    return {"name": "input_ids", "datatype": "INT64", "shape": [1, len(values)], "data": list(values)} | changes


def types(count: int = 4, **changes: Any) -> dict[str, Any]:
    return {"name": "token_type_ids", "datatype": "INT64", "shape": [1, count], "data": [0] * count} | changes


def infer(server: Watched, model: str, inputs: Any, **more: Any) -> requests.Response:
    body = json.dumps({"inputs": inputs, **more})
    return requests.post(f"{server.url}/v2/models/{model}/infer", data=body, timeout=60)


def infer_binary(server: Watched, model: str, name: str, tensor: np.ndarray) -> requests.Response:
    described = {"name": name, "datatype": "FP32", "shape": list(tensor.shape)}
    described["parameters"] = {"binary_data_size": tensor.nbytes}
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    url = f"{server.url}/v2/models/{model}/infer"
    return requests.post(url, data=head + tensor.tobytes(), headers=headers, timeout=60)


def test_the_right_tensors_are_answered(steady: Watched) -> None:
    assert infer(steady, "text-risk", [ids(), types()]).json()["outputs"][0]["shape"] == [1, 7]


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        {},
        None,
        "input_ids",
        [None],
        [ids()],
        [types()],
        [ids(), ids(), types()],
        [ids(), types(), ids(name="more")],
        [ids(name="ids"), types()],
        [ids(name=7), types()],
        [ids(name="x" * 100_000), types()],
        [ids(datatype="FP32"), types()],
        [ids(datatype="BYTES", data=["a", "b", "c", "d"]), types()],
        [ids(datatype="INT65"), types()],
        [ids(datatype=None), types()],
        [ids(shape=[4]), types()],
        [ids(shape=[1, 2, 2]), types()],
        [ids(shape=[1, 5]), types()],
        [ids(shape=[-1, 4]), types()],
        [ids(shape=[1, 10**30]), types()],
        [ids(shape=[10**9, 10**9]), types()],
        [ids(shape=[1.0, 4]), types()],
        [ids(shape="1,4"), types()],
        [ids(shape=[1] * 200), types()],
        [ids(shape=[1, 0], data=[]), types()],
        [ids(), types(3)],
        [ids(data=None), types()],
        [ids(data="1234"), types()],
        [ids(data=[1, 2, None, 4]), types()],
        [ids(data=[1, 2, 3.5, 4]), types()],
        [ids(data=[1, 2, 10**40, 4]), types()],
        [ids(data=[1, 2, math.nan, 4]), types()],
        [ids(data=[[1, 2], [3]]), types()],
        [ids(parameters={"binary_data_size": 32}), types()],
        [ids(parameters={"binary_data_size": -1}), types()],
        [ids(parameters={"shared_memory_region": "a"}), types()],
        [ids(parameters=[]), types()],
    ],
)
def test_tensors_of_the_wrong_form_are_refused(steady: Watched, inputs: Any) -> None:
    refused(infer(steady, "text-risk", inputs))


@pytest.mark.parametrize("value", [math.nan, math.inf, -3e38])
def test_numbers_that_are_none_harm_only_their_own_answer(steady: Watched, value: float) -> None:
    tensor = np.full((1, 3, 64, 64), value, np.float32)
    assert infer_binary(steady, "ocr-det", "x", tensor).status_code in (200, 400)
    document = {"name": "x", "datatype": "FP32", "shape": [1, 3, 64, 64], "data": tensor.ravel().tolist()}
    assert infer(steady, "ocr-det", [document]).status_code in (200, 400)
    clean = np.zeros((1, 3, 64, 64), np.float32)
    output = np.frombuffer(infer_binary(steady, "ocr-det", "x", clean).content[-4 * 64 * 64 :], np.float32)
    assert np.isfinite(output).all()


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("text-risk", [ids([1] * 9000), types(9000)]),
        ("text-risk", [ids([1] * 40_000, shape=[10_000, 4]), types(40_000, shape=[10_000, 4])]),
        ("ocr-rec", [{"name": "x", "datatype": "FP32", "shape": [1, 3, 48, 20_000], "data": [0] * 2_880_000}]),
    ],
    ids=["a long text", "many texts", "a long line"],
)
def test_tensors_larger_than_any_page_or_text_are_refused_not_tried(
    steady: Watched, model: str, inputs: list[dict[str, Any]]
) -> None:
    with steady.growing_at_most(300):
        refused(infer(steady, model, inputs), 400, 413)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"inputs":' * 50_000,
        b'{"inputs": [' + b"1" * 5000 + b"]}",
        b'{"inputs": "\xed\xa0\x80"}',
        b"null",
    ],
    ids=["empty", "no utf-8", "deep list", "deep object", "long number", "surrogate", "null"],
)
@pytest.mark.parametrize("path", ["/v2/models/text-risk/infer", "/v1/text-risk"])
def test_what_is_no_json_of_ours_is_refused(steady: Watched, path: str, body: bytes) -> None:
    refused(requests.post(steady.url + path, data=body, timeout=30))


@pytest.mark.parametrize("path", ["/v2/models/text-risk/infer", "/v1/text-risk", "/v1/ocr"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_a_compressed_bomb_is_refused_before_it_is_large(steady: Watched, path: str, coding: str) -> None:
    packer = gzip.compress if "gzip" in coding else zlib.compress
    body = packer(bytes(1 << 28))
    with steady.growing_at_most(150):
        refused(
            requests.post(steady.url + path, data=body, headers={"Content-Encoding": coding}, timeout=30), 400, 413, 415
        )


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["字" * 1_000_000], "TEXT-001"),
        (["a" * 1_000_000], "TEXT-001"),
        (["好"] * 255 + ["\u0301" * 1_000_000], "TEXT-001"),
        (["好"] * 10_000, "REQ-001"),
        ([" " * 1_000_000], "REQ-001"),
        (["好", {"text": "好"}], "REQ-001"),
    ],
    ids=[
        "a million characters",
        "a million letters",
        "the last of many",
        "ten thousand",
        "a million spaces",
        "no text",
    ],
)
def test_texts_that_are_too_many_or_too_long_are_refused(steady: Watched, texts: list[Any], code: str) -> None:
    with steady.growing_at_most(100):
        assert refused(requests.post(f"{steady.url}/v1/text-risk", json={"texts": texts}, timeout=30))["code"] == code


def ocr(server: Watched, data: bytes) -> requests.Response:
    return requests.post(f"{server.url}/v1/ocr", data=data, timeout=60)


def tiff_of(count: int, side: int) -> bytes:
    page = Image.new("1", (side, side), 1)
    return encoded(page, "TIFF", compression="group4", save_all=True, append_images=[page] * (count - 1))


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


HUGE_TEXT = zlib.compress(b"a" * (1 << 28))


@pytest.mark.parametrize(
    "data",
    [
        png(40_000, 40_000),
        png(2**31 - 1, 2**31 - 1),
        png(70_000, 9, rows=9),
        png(0, 0),
        png(8_000, 8_001, rows=8_001),
        png(100, 100, (b"zTXt", b"a\0\0" + HUGE_TEXT), rows=100),
        png(100, 100, (b"iCCP", b"a\0\0" + HUGE_TEXT), rows=100)[:-200],
        png(100, 100, rows=100)[:-30],
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00;",
        bmp(30_000, 30_000),
        bmp(100, -(2**31)),
        tiff_of(50, 6_000),
        tiff_of(51, 16),
        encoded(drawn("1"), "TIFF")[:200],
        gzip.compress(encoded(drawn("1"))),
        encoded(drawn("1"), "JPEG")[:900],
        b"\xff\xd8" + b"\xff\xe1\xff\xff" * 1000,
        b"P6 99999 99999 255\n",
        b"%!PS-Adobe-3.0\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        bytes(1_000_000),
    ],
    ids=[
        "claims 1,600 megapixels", "claims 2**62 pixels", "70,000 wide", "no pixels", "one row too many", "text bomb",
        "profile bomb", "cut", "large gif", "large bmp", "negative bmp", "large stack", "51 pages", "cut tiff", "gzip",
        "cut jpeg", "markers", "ppm", "postscript", "svg", "zeros",
    ],
)  # fmt: skip
def test_pictures_that_cannot_be_read_are_refused(steady: Watched, data: bytes) -> None:
    with steady.growing_at_most(100):
        assert refused(ocr(steady, data))["code"] == "IMAGE-001"


@pytest.mark.parametrize("data", [png(8_000, 8_000, rows=8_000), tiff_of(2, 5_000)], ids=["64 megapixels", "a stack"])
def test_the_largest_pictures_are_read_in_bounded_memory(steady: Watched, data: bytes) -> None:
    with steady.growing_at_most(650):
        assert ocr(steady, data).status_code == 200


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1), (2, 2), (60_000, 3)])
def test_pictures_with_hardly_anything_on_them_are_empty_pages(steady: Watched, size: tuple[int, int]) -> None:
    answer = ocr(steady, encoded(Image.new("RGB", size, "white")))
    assert answer.json() == {"pages": [{"width": size[0], "height": size[1], "lines": []}]}


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.asarray(drawn("4711", "L")).astype(np.uint16) * 257)


def see_through() -> Image.Image:
    alpha = Image.eval(drawn("4711", "L"), lambda value: 255 - value)
    black = Image.new("RGBA", alpha.size, "black")
    black.putalpha(alpha)
    return black


def frames() -> dict[str, Any]:
    return {"save_all": True, "append_images": [drawn("9999"), drawn("8888")]}


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter with the clock
    return encoded(drawn("4711").transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


@pytest.mark.parametrize(
    "data",
    [
        encoded(drawn("4711", "CMYK"), "JPEG", quality=95),
        encoded(drawn("4711", "CMYK"), "TIFF"),
        encoded(sixteen_bits()),
        encoded(sixteen_bits(), "TIFF"),
        encoded(drawn("4711"), "GIF", **frames()),
        encoded(drawn("4711"), "WEBP", **frames()),
        encoded(drawn("4711"), "PNG", **frames()),
        encoded(drawn("4711", "P")),
        encoded(drawn("4711", "1"), "TIFF", compression="group4"),
        encoded(drawn("4711", "F"), "TIFF"),
        encoded(drawn("4711", "L"), "JPEG", progressive=True),
        encoded(see_through()),
        encoded(see_through().convert("LA")),
        encoded(see_through().quantize(), transparency=see_through().quantize().getpixel((0, 0))),
        turned(),
    ],
    ids=[
        "cmyk jpeg", "cmyk tiff", "16 bits", "16 bits tiff", "animated gif", "animated webp", "animated png", "palette",
        "fax", "floats", "progressive", "transparent", "transparent grey", "transparent palette", "turned",
    ],
)  # fmt: skip
def test_odd_pictures_are_read(steady: Watched, data: bytes) -> None:
    (page,) = ocr(steady, data).json()["pages"]
    assert (page["width"], page["height"]) == (320, 80)
    assert [line["text"] for line in page["lines"]] == ["4711"]


HELLO = b"BT /F 20 Tf 100 700 Td (Hello branch) Tj ET"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (pdf(pages=10_000, content=HELLO), "10000 pages; at most 50"),
        (pdf(content=HELLO)[:300], "damaged"),
        (pdf(pages=0), "damaged"),
        (forms_within_forms(9), "1 GB"),
        (pdf(content=b" " * (1 << 30), compressed=True), "1 GB"),
        (b"%PDF-1.7\n" + bytes(1_000_000), "damaged"),
    ],
    ids=["10,000 pages", "cut", "no pages", "forms within forms", "a gigabyte of spaces", "zeros"],
)
def test_pdfs_that_cannot_be_read_are_refused(steady: Watched, data: bytes, wanted: str) -> None:
    began = time.monotonic()
    with steady.growing_at_most(100):
        document = refused(ocr(steady, data))
    assert document["code"] == "PDF-001"
    assert wanted in document["problem"]
    assert time.monotonic() - began < BOMB_SECONDS
    assert steady.worker.children() == []


def test_fifty_pages_need_no_more_memory_than_a_few(steady: Watched) -> None:
    with steady.growing_at_most(120):
        pages = ocr(steady, pdf(pages=50, content=HELLO)).json()["pages"]
    assert [[line["text"] for line in page["lines"]] for page in pages] == [["Hello branch"]] * 50


def test_three_documents_of_64_megapixels_need_no_more_memory_than_one(steady: Watched) -> None:
    application = json.loads((APPLICATION / "application.json").read_text(encoding="utf-8"))
    application["documents"] = [{"kind": "income_proof", "file": f"{number}.png"} for number in range(3)]
    parts: list[Any] = [("application", ("application.json", json.dumps(application)))]
    white = png(8_000, 8_000, rows=8_000)
    parts += [("file", (f"{number}.png", white)) for number in range(2)] + [("file", ("2.png", white[:-100]))]
    with steady.growing_at_most(650):
        document = refused(requests.post(f"{steady.url}/v1/score", files=parts, timeout=60), 400, 503)
    assert "2.png" in document["problem"] or document["code"].startswith("SERVE")


FIELD = b"--a\r\nContent-Disposition: form-data; name=application\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (b"", ""),
        (b"--a\r\n", "a"),
        (b"--a\r\n" + b"X: y\r\n" * 10_000, "a"),
        ((FIELD + b"{}\r\n") * 1000 + b"--a--", "a"),
        (FIELD + b" " * 20_000_000 + b"\r\n--a--", "a"),
        (b"x", "b" * 5000),
    ],
    ids=["empty", "not ended", "headers", "a thousand parts", "20 MB of application", "long boundary"],
)
@pytest.mark.parametrize("path", ["/v1/score", "/v1/ocr"])
def test_multipart_bodies_that_are_wrong_are_refused(steady: Watched, path: str, body: bytes, boundary: str) -> None:
    with steady.growing_at_most(150):
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        refused(requests.post(steady.url + path, data=body, headers=headers, timeout=30), 400, 413)
