"""A served bundle: it answers, it refuses what is wrong in clear words, and it goes on answering."""

from __future__ import annotations

import io
import json
import math
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
import requests
from PIL import Image

APPLICATION = Path(__file__).parents[2] / "examples" / "application"


def parts(change: Any = None, **files: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    application = json.loads((APPLICATION / "application.json").read_text(encoding="utf-8"))
    named = {each["file"]: (APPLICATION / each["file"]).read_bytes() for each in application["documents"]} | files
    if change:
        change(application)
    body = json.dumps(application).encode()
    return [("application", ("application.json", body)), *[("file", each) for each in named.items()]]


def bomb() -> bytes:
    """A PNG whose header says 40,000 x 40,000 pixels; a few dozen bytes long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def refused(answer: requests.Response, code: str, *said: str) -> None:
    assert answer.status_code in (400, 413), answer.text
    document = answer.json()
    assert document["code"] == code, document
    for each in said:
        assert each in document["problem"], document["problem"]
    assert document["state"]
    assert document["remedy"]


def test_a_whole_application_twice_gives_the_same_score(url: str) -> None:
    first, second = (requests.post(f"{url}/v1/score", files=parts(), timeout=60).json() for _ in range(2))
    assert first["offline"].pop("journal") != second["offline"].pop("journal")  # each has an entry of its own
    volatile = {"decision_id", "time", "timings_ms"}
    assert {key: first[key] for key in first.keys() - volatile} == {
        key: second[key] for key in second.keys() - volatile
    }
    assert first["decision_id"] != second["decision_id"]


def test_bad_documents_are_refused_by_name_and_the_next_application_is_scored(url: str) -> None:
    def send(**files: bytes) -> requests.Response:
        return requests.post(
            f"{url}/v1/score", files=parts(**{name.replace("_", "."): data for name, data in files.items()}), timeout=60
        )  # noqa: E501

    whole = (APPLICATION / "id.jpg").read_bytes()
    refused(send(id_jpg=b"not an image at all"), "IMAGE-001", "id_card", "id.jpg")
    refused(send(id_jpg=whole[: len(whole) // 2]), "IMAGE-001", "id_card", "id.jpg")
    refused(send(id_jpg=bomb()), "IMAGE-001", "id_card", "40,000")
    refused(send(statement_pdf=encrypted_pdf()), "PDF-001", "bank_statement", "password")
    assert requests.post(f"{url}/v1/score", files=parts(), timeout=60).status_code == 200


def encrypted_pdf() -> bytes:
    """A PDF that wants a password: the standard security handler with keys that no empty password opens."""
    body = b"%PDF-1.4\n"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>",
        b"<</Filter/Standard/V 1/R 2/O<" + b"11" * 32 + b">/U<" + b"22" * 32 + b">/P -4>>",
    ]
    offsets = []
    for number, each in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<</Size 5/Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]>>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + table + trailer


def test_bad_applications_are_refused_with_the_place(url: str) -> None:
    def send(change: Any) -> requests.Response:
        return requests.post(f"{url}/v1/score", files=parts(change), timeout=60)

    refused(send(lambda a: a["loan"].update(purpose="")), "TEXT-001", "purpose")
    refused(send(lambda a: a["loan"].update(purpose="借" * 100_000)), "TEXT-001", "purpose", "100,000")
    refused(send(lambda a: a["transactions"][3].update(amount=math.nan)), "APP-001", "transactions")
    refused(send(lambda a: a.pop("loan")), "APP-001", "loan")
    refused(send(lambda a: a["documents"][0].update(file="../../etc/passwd")), "APP-001", "documents")
    refused(send(lambda a: a["documents"][0].update(file="missing.jpg")), "APP-001", "missing.jpg")
    assert requests.get(f"{url}/v2/health/ready", timeout=10).status_code == 200


def test_ocr_reads_pictures_and_pdfs_by_their_bytes(url: str) -> None:
    for name, pages in (("id.jpg", 1), ("income.png", 1), ("statement.pdf", 2)):
        answer = requests.post(f"{url}/v1/ocr", data=(APPLICATION / name).read_bytes(), timeout=60).json()
        assert len(answer["pages"]) == pages
        assert all(page["lines"] for page in answer["pages"])


def test_an_empty_page_is_a_result_not_an_error(url: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (300, 200), "white").save(data, "PNG")
    answer = requests.post(f"{url}/v1/ocr", data=data.getvalue(), timeout=60)
    assert answer.json() == {"pages": [{"width": 300, "height": 200, "lines": []}]}


def test_every_model_of_the_status_answers_protocol_v2(url: str) -> None:
    for model in requests.get(f"{url}/v1/status", timeout=10).json()["models"]:
        described = requests.get(f"{url}/v2/models/{model['name']}", timeout=10).json()
        assert described["inputs"]
        assert requests.get(f"{url}/v2/models/{model['name']}/ready", timeout=10).json()["ready"]


def test_the_pages_are_served_and_show_a_paper_as_it_was_scored(url: str) -> None:
    for path in ("/", "/review", "/status"):
        answer = requests.get(url + path, timeout=30)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    statement = (APPLICATION / "statement.pdf").read_bytes()
    shown, read = (
        requests.post(url + path, data=statement, timeout=60).json()["pages"] for path in ("/pages/pictures", "/v1/ocr")
    )
    sizes = [[(page["width"], page["height"]) for page in pages] for pages in (shown, read)]
    assert sizes[0] == sizes[1]


def test_texts_over_http_are_labelled(url: str) -> None:
    body = {"texts": ["想用这笔贷款把网贷和信用卡还上", "买一台收割机，秋收用"]}
    first, second = requests.post(f"{url}/v1/text-risk", json=body, timeout=10).json()["results"]
    assert first["labels"]["debt_rollover"] > 0.5 > second["labels"]["debt_rollover"]
    refused(requests.post(f"{url}/v1/text-risk", json={"texts": ["字" * 100_000]}, timeout=10), "TEXT-001", "100,000")


@pytest.mark.parametrize("path", ["ocr/artifact.json", "text-risk/vocab.txt", "policy.toml"])
def test_a_changed_bundle_is_not_served(edgekit: Path, bundle: Path, tmp_path: Path, path: str) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    data = bytearray((copy / path).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / path).write_bytes(data)
    command = [edgekit, "serve", "--bundle", copy, "--port", "0", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 4
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "BUNDLE-003"
    assert path in error["problem"]


def test_the_sample_statement_is_a_pdf_with_a_text_layer() -> None:
    document = pypdfium2.PdfDocument(APPLICATION / "statement.pdf")
    assert document[0].get_textpage().count_chars() > 500
    document.close()
