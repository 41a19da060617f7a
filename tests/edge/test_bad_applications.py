"""What a branch will meet some day, read by real OCR: never a crash, never a guess; a problem, and a person looks."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edge.application import from_parts, read_directory
from edge.documents.extraction import FIELD_NAMES
from edge.pipeline import Identity, Scorer
from edge.policy import load_policy
from edge.receipt import Bundle, Offline, ReadDocument, Receipt
from examples.application import draw
from runtime.artifact import BehaviourSettings, TextSettings
from runtime.behaviour import FEATURES, BehaviourModel
from runtime.ocr.models import read_ocr_models
from runtime.ocr.pipeline import load_ocr
from runtime.predictor import RunOptions
from runtime.text import TextClassifier
from runtime.tokenizer import ErnieTokenizer
from tests.edge.paper_pdf import long_statement, text_pdf
from tests.runtime.small_services import CHARACTERS, LABELS, behaviour_predictor, text_predictor

EXAMPLES = Path(__file__).parents[2] / "examples"
SAMPLE = EXAMPLES / "application"
SPECIMENS = EXAMPLES / "documents" / "specimens"
TRUTH = {each["kind"]: each["fields"] for each in json.loads((SAMPLE / "truth.json").read_text("utf-8"))["documents"]}
NOW = datetime.fromisoformat("2026-11-23T10:00:00+08:00")
FILES = {"id_card": "id.jpg", "income_proof": "income.png", "bank_statement": "statement.pdf"}


@pytest.fixture(scope="module")
def scorer(ppocr_v4: Path) -> Scorer:
    tokenizer = ErnieTokenizer(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *CHARACTERS])
    settings = BehaviourSettings(mean=(0.0,) * FEATURES, std=(1e6,) * FEATURES)
    return Scorer(
        load_ocr(read_ocr_models(ppocr_v4), "openvino", RunOptions(threads=2)),
        TextClassifier(text_predictor(), tokenizer, TextSettings(labels=LABELS, multi_label=True, max_length=64)),
        BehaviourModel(behaviour_predictor(), settings),
        load_policy(EXAMPLES / "policy.toml"),
        Identity(
            "kiosk-1", "test", Bundle(name="b", version="1", sha256="a" * 64), (), Offline(since=None, authority="full")
        ),
        clock=lambda: NOW,
    )


def scored(scorer: Scorer, papers: Mapping[str, bytes] | None = None, **changed: Any) -> Receipt:
    """The receipt of the sample application with other papers in some of its places, and other keys."""
    document = json.loads((SAMPLE / "application.json").read_text(encoding="utf-8")) | changed
    files = {FILES[kind]: (SAMPLE / FILES[kind]).read_bytes() for kind in FILES}
    files |= {FILES[kind]: data for kind, data in (papers or {}).items()}
    named = {each["file"] for each in document["documents"]}
    submission = from_parts(json.dumps(document).encode(), {name: files[name] for name in named})
    receipt = scorer.score(submission).receipt
    assert sum(reason.contribution for reason in receipt.reasons) == receipt.score
    assert Receipt.model_validate_json(receipt.to_json()) == receipt
    return receipt


def paper(receipt: Receipt, kind: str) -> ReadDocument:
    return next(each for each in receipt.documents if each.kind == kind)


def codes(receipt: Receipt, kind: str) -> set[str]:
    return {problem.code for problem in paper(receipt, kind).problems}


def goes_to_a_person(receipt: Receipt) -> bool:
    return receipt.decision == "review" and "document_problems" in {reason.code for reason in receipt.reasons}


def png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def cat() -> Image.Image:
    """A tabby on a sofa, with the grain of a phone's camera."""
    picture = Image.new("RGB", (1200, 900), (148, 104, 82))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 620, 1200, 900), fill=(96, 60, 48))
    fur, dark = (206, 140, 66), (120, 72, 28)
    draw.ellipse((380, 430, 900, 860), fill=fur)
    draw.ellipse((430, 180, 790, 520), fill=fur)
    for x in (470, 690):
        draw.polygon([(x - 30, 250), (x + 20, 90), (x + 90, 240)], fill=dark)
    for x in (530, 690):
        draw.ellipse((x - 34, 300, x + 34, 360), fill=(120, 190, 90))
        draw.ellipse((x - 8, 300, x + 8, 360), fill=(10, 10, 10))
    draw.polygon([(596, 390), (624, 390), (610, 412)], fill=(220, 120, 130))
    for y in (400, 420, 440):
        draw.line((420, y - 30, 560, y), fill=(240, 240, 240), width=3)
        draw.line((660, y, 800, y - 30), fill=(240, 240, 240), width=3)
    for x in range(420, 860, 60):
        draw.arc((x, 440, x + 80, 840), 200, 340, fill=dark, width=14)
    grain = np.random.default_rng(9).normal(0, 9, (900, 1200, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


PRINTED = {
    "id_card": ("姓名", "性别", "民族", "出生", "住址", "公民身份号码", "签发机关", "有效期限"),
    "income_proof": ("收入证明", "姓名", "身份证号", "工作单位", "职务", "月收入", "开具日期"),
    "bank_statement": ("账户交易明细", "银行名称", "户名", "账号", "起止日期", "交易日期", "摘要", "交易金额", "余额"),
}


def labels_only(kind: str) -> bytes:
    """A form that nobody filled in."""
    return text_pdf([[(60, 780 - 34 * row, 12, text) for row, text in enumerate(PRINTED[kind])]])


def test_the_sample_itself_has_no_problem(scorer: Scorer) -> None:
    receipt = scored(scorer)
    assert [each.problems for each in receipt.documents] == [[], [], []]


@pytest.mark.usefixtures("fetched_font")
@pytest.mark.parametrize("day", [date(2025, 3, 1), date(2030, 6, 15)])
def test_the_sample_drawn_for_another_day_has_no_problem_then_and_the_committed_one_does(
    scorer: Scorer, tmp_path: Path, day: date
) -> None:
    moment = datetime.combine(day, NOW.timetz())
    draw.write(tmp_path, draw.weeks_since(day))
    receipt = scorer.score(read_directory(tmp_path), moment=moment).receipt
    assert [each.problems for each in receipt.documents] == [[], [], []]
    assert receipt.behaviour.probability is not None
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))["documents"]
    assert [{name: field.value for name, field in each.fields.items()} for each in receipt.documents] == [
        each["fields"] for each in truth
    ]
    old = scorer.score(read_directory(SAMPLE), moment=moment).receipt
    assert {"out_of_date", "future_date"} & (codes(old, "income_proof") & codes(old, "bank_statement"))


@pytest.mark.parametrize("kind", FILES)
def test_a_paper_with_every_field_missing_says_each(scorer: Scorer, kind: str) -> None:
    receipt = scored(scorer, {kind: labels_only(kind)})
    assert paper(receipt, kind).fields == {}
    missing = {each.field for each in paper(receipt, kind).problems if each.code == "missing_field"}
    assert missing == set(FIELD_NAMES[kind]) or codes(receipt, kind) & {"wrong_kind", "unreadable"}
    assert goes_to_a_person(receipt)


@pytest.mark.parametrize("data", [png(Image.new("RGB", (900, 600), "white")), png(cat())], ids=["blank", "cat"])
@pytest.mark.parametrize("kind", FILES)
def test_a_picture_of_no_paper_is_no_paper(scorer: Scorer, kind: str, data: bytes) -> None:
    receipt = scored(scorer, {kind: data})
    assert codes(receipt, kind) & {"unreadable", "wrong_kind"}
    assert paper(receipt, kind).fields == {}
    assert goes_to_a_person(receipt)


@pytest.mark.parametrize("kind", FILES)
def test_a_paper_in_another_one_s_place_is_said_and_gives_no_fields(scorer: Scorer, kind: str) -> None:
    other = {"id_card": "income_proof", "income_proof": "bank_statement", "bank_statement": "id_card"}[kind]
    receipt = scored(scorer, {kind: (SAMPLE / FILES[other]).read_bytes()})
    assert "wrong_kind" in codes(receipt, kind)
    assert paper(receipt, kind).fields == {}
    assert goes_to_a_person(receipt)


def test_a_card_on_its_head_is_read_or_doubted(scorer: Scorer) -> None:
    with Image.open(SAMPLE / "id.jpg") as card:
        receipt = scored(scorer, {"id_card": png(card.rotate(180))})
    read = {name: field.value for name, field in paper(receipt, "id_card").fields.items()}
    doubted = {problem.field for problem in paper(receipt, "id_card").problems}
    wrong = {name for name, value in TRUTH["id_card"].items() if read.get(name) != value}
    assert wrong <= doubted
    assert "id_number" not in wrong


def test_three_cards_on_one_picture_are_said(scorer: Scorer) -> None:
    with Image.open(SAMPLE / "id.jpg") as one, Image.open(SPECIMENS / "id_card_mirrored.jpg") as other:
        cards = [one.convert("RGB"), other.convert("RGB"), one.convert("RGB")]
    sheet = Image.new("RGB", (max(card.width for card in cards), sum(card.height for card in cards)), "white")
    top = 0
    for card in cards:
        sheet.paste(card, (0, top))
        top += card.height
    receipt = scored(scorer, {"id_card": png(sheet)})
    assert "several_papers" in codes(receipt, "id_card")
    assert goes_to_a_person(receipt)


def test_a_statement_of_five_thousand_rows_is_read_whole(scorer: Scorer) -> None:
    data = long_statement(5000, 100, name="示例甲", first=date(2026, 8, 20), days=90)
    began = time.process_time()
    receipt = scored(scorer, {"bank_statement": data})
    assert time.process_time() - began < 20  # two; another three seconds draw the fifty pages in a process of their own
    rows = paper(receipt, "bank_statement").fields["rows"].value
    assert len(rows) == 5000
    assert rows[4999]["date"] == "2026-11-17"
    assert codes(receipt, "bank_statement") == set()


def test_pages_beyond_the_fiftieth_are_not_read_and_that_is_said(scorer: Scorer) -> None:
    data = long_statement(5000, 28, name="示例甲", first=date(2026, 8, 20), days=90)
    receipt = scored(scorer, {"bank_statement": data})
    (problem,) = (each for each in paper(receipt, "bank_statement").problems if each.code == "pages_unread")
    assert problem.text == "该文件共 179 页，只读了前 50 页"
    assert len(paper(receipt, "bank_statement").fields["rows"].value) == 50 * 28
    assert goes_to_a_person(receipt)


def test_papers_that_contradict_the_application_and_each_other_say_so_with_their_places(scorer: Scorer) -> None:
    applicant = {"name": "示例乙", "id_number": "999999199003070039", "declared_monthly_income": 30000}
    receipt = scored(scorer, applicant=applicant)
    assert codes(receipt, "id_card") == {"name_mismatch", "id_number_mismatch"}
    assert codes(receipt, "income_proof") == {"name_mismatch", "id_number_mismatch", "income_mismatch"}
    assert codes(receipt, "bank_statement") == {"name_mismatch"}
    assert all(each.box and each.page == 0 for document in receipt.documents for each in document.problems)
    assert receipt.risk_level == "high"
    assert goes_to_a_person(receipt)
    reason = next(each for each in receipt.reasons if each.code == "document_problems")
    assert Counter(each.file for each in reason.evidence) == {"id.jpg": 2, "income.png": 3, "statement.pdf": 1}


def test_the_same_person_s_papers_of_two_people_say_so(scorer: Scorer) -> None:
    receipt = scored(scorer, {"id_card": (SPECIMENS / "id_card_mirrored.jpg").read_bytes()})
    assert {"name_mismatch", "id_number_mismatch"} <= codes(receipt, "id_card")
    assert goes_to_a_person(receipt)


def moved(days: float, **changed: Any) -> dict[str, Any]:
    time = (NOW + timedelta(days=days)).isoformat()
    return {
        "time": time,
        "amount": -20.0,
        "balance": 500.0 + days,
        "channel": "pos",
        "counterparty": "示例店",
    } | changed


USUAL = [moved(-40 + number) for number in range(30)]


@pytest.mark.parametrize(
    ("history", "code"),
    [
        ([*USUAL[5:], *USUAL[:5]], "out_of_order"),
        ([*USUAL, USUAL[-1]], "duplicate"),
        ([*USUAL, moved(3)], "in_future"),
        ([*USUAL, moved(-1, currency="USD", amount=-9e5)], "other_currency"),
        (USUAL[:8], "short_history"),
        (USUAL[:2], "too_few_transactions"),
        ([], "too_few_transactions"),
        ([moved(1 + number) for number in range(30)], "too_few_transactions"),
        ([moved(-2)] * 40, "too_few_transactions"),
    ],
)
def test_a_history_with_something_wrong_says_it_and_goes_to_a_person(
    scorer: Scorer, history: list[dict[str, Any]], code: str
) -> None:
    receipt = scored(scorer, transactions=history, documents=[])
    said = [evidence.text for reason in receipt.reasons for evidence in reason.evidence]
    assert any(text.endswith(f"({code})") for text in said)
    assert receipt.decision == "review"
    assert (receipt.behaviour.probability is None) == (code == "too_few_transactions")
