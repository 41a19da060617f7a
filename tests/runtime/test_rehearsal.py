"""What a worker asks itself before it is ready: the real app and small models, with notes of what they were asked."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.app import SentApplication, Services
from runtime.budget import Budget
from runtime.rehearsal import rehearse
from tests.runtime.small_services import small_services

APPLICATION = Path(__file__).parents[2] / "examples" / "application"


@pytest.fixture(scope="module")
def small(ppocr_v4: Path) -> Services:
    return small_services(ppocr_v4)


class Noted:
    """Services that note the shapes of the pages that they read and the applications that they score."""

    def __init__(self, small: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages: list[tuple[int, ...]] = []
        self.texts: list[str] = []
        self.receipts: list[dict[str, Any]] = []
        read, classify = type(small.ocr).read, type(small.text).classify

        def note_page(ocr: Any, image: Any, *rest: Any) -> Any:
            self.pages.append(image.shape)
            return read(ocr, image, *rest)

        def note_texts(text: Any, texts: Any, **rest: Any) -> Any:
            self.texts += texts
            return classify(text, texts, **rest)

        def score(sent: SentApplication, budget: Budget) -> dict[str, Any]:
            self.receipts.append(small.score(sent, budget))
            return self.receipts[-1]

        monkeypatch.setattr(type(small.ocr), "read", note_page)
        monkeypatch.setattr(type(small.text), "classify", note_texts)
        self.services = replace(small, score=score)


def test_a_text_a_page_and_an_application_are_sent_and_neither_counted_nor_logged(
    small: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    noted = Noted(small, monkeypatch)
    before = noted.services.metrics.exposition()
    with caplog.at_level(logging.INFO):
        rehearse(noted.services)
    assert noted.texts[:2] == ["装修自住房屋"] * 2  # the rest looks for phrases
    assert noted.pages == [(480, 640, 3)]
    assert [each["application_id"] for each in noted.receipts] == ["rehearsal"]
    counted = [line for line in noted.services.metrics.exposition().splitlines() if b"requests_total{" in line]
    assert counted == [line for line in before.splitlines() if b"requests_total{" in line]
    assert not caplog.records


def test_the_sample_of_a_bundle_is_what_is_sent(small: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Noted(small, monkeypatch)
    application = (APPLICATION / "application.json").read_bytes()
    names = [each["file"] for each in json.loads(application)["documents"]]
    rehearse(noted.services, application, {name: (APPLICATION / name).read_bytes() for name in names})
    assert [each["application_id"] for each in noted.receipts] == [json.loads(application)["application_id"]]
    assert noted.pages[0] == noted.pages[1]  # the card, by itself and in the application
    assert len(noted.pages) == 3
