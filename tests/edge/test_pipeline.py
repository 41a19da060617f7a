"""The whole chain from a submission to its receipt, with invented readers in place of the models."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from devices.errors import ClientGoneError, ImageError, InputError, PdfError
from edge.application import Submission, from_parts, read_directory
from edge.pipeline import Identity, Scorer
from edge.policy import load_policy
from edge.receipt import Bundle, Model, Offline
from runtime.behaviour import BehaviourResult
from runtime.budget import UNLIMITED, Budget
from runtime.ocr.line import Line
from runtime.readable import Unreadable
from runtime.text import TextResult

EXAMPLES = Path(__file__).parents[2] / "examples"
NUMBER = "999999199003070012"
CARD = (
    "姓名示例甲", "性别男 民族汉", "出生1990年3月7日", "住址样例省示例市", f"公民身份号码{NUMBER}",
    "签发机关示例市公安局", "有效期限2021.03.15-2041.03.15",
)  # fmt: skip
LETTER = (
    f"兹证明示例甲（身份证号：{NUMBER}）", "现任会计一职，月收入为人民币12,000.00元，", "大写：壹万贰仟元整。",
    "单位名称：样例公司", "日期：2026年11月16日", "收入证明",
)  # fmt: skip
IDENTITY = Identity(
    device_id="kiosk-1",
    profile="test",
    bundle=Bundle(name="demo", version="1", sha256="a" * 64),
    models=(Model(name="ocr-det", sha256="b" * 64, backend="openvino", precision="int8"),),
    offline=Offline(since=None, authority="full"),
)
MOMENT = datetime.fromisoformat("2026-11-21T10:00:00+08:00")


class Reader:
    """Reads the texts that belong to a picture's colour: its first pixel's blue channel."""

    def __init__(self, **texts: Sequence[str]) -> None:
        self.texts, self.calls = texts, 0

    def read(self, image: NDArray[np.uint8], budget: Budget = UNLIMITED) -> tuple[Line, ...]:
        self.calls += 1
        texts = self.texts[f"blue_{image[0, 0, 0]}"]
        return tuple(
            Line(text, 0.95, ((5.0, 5.0 + 30 * row), (5.0 + 10 * len(text), 5.0 + 30 * row),
                              (5.0 + 10 * len(text), 25.0 + 30 * row), (5.0, 25.0 + 30 * row)))
            for row, text in enumerate(texts)
        )  # fmt: skip


class Labels:
    """Gives every text the same labels."""

    def __init__(self, **labels: float) -> None:
        self.labels = labels

    def classify(self, texts: Sequence[str], *, budget: Budget = UNLIMITED) -> list[TextResult]:
        return [TextResult(text, [], [], [], dict(self.labels), [(0, len(text))]) for text in texts]

    def unreadable(self, text: str) -> Unreadable | None:
        return "repeated" if text.startswith("啊啊") else None


class History:
    """Answers with a given result and keeps what it was asked."""

    def __init__(self, result: BehaviourResult) -> None:
        self.result, self.asked = result, [{}]

    def assess(self, transactions: Sequence[Mapping[str, object]], now: datetime | None = None) -> BehaviourResult:
        self.asked, self.now = [dict(transaction) for transaction in transactions], now
        return self.result


def picture(blue: int, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (400, 300), (9, 9, blue)).save(out, form)
    return out.getvalue()


def submission(**changed: Any) -> Submission:
    """An application with a card, a letter and the sample's statement; ``changed`` replaces keys or files."""
    files = {
        "id.png": picture(1),
        "income.png": picture(2),
        "statement.pdf": (EXAMPLES / "application" / "statement.pdf").read_bytes(),
    } | changed.pop("files", {})
    document = {
        "application_id": "T-1",
        "applicant": {"name": "示例甲", "id_number": NUMBER, "declared_monthly_income": 12000},
        "loan": {"amount": 12000, "term_months": 12, "purpose": "装修"},
        "documents": [
            {"kind": "id_card", "file": "id.png"},
            {"kind": "income_proof", "file": "income.png"},
            {"kind": "bank_statement", "file": "statement.pdf"},
        ],
        "transactions": [
            {"time": "2026-01-03T09:12:00+08:00", "amount": -1, "balance": 2, "channel": "pos", "counterparty": "店"}
        ],
    } | changed
    named = {each["file"] for each in document["documents"]}
    return from_parts(json.dumps(document).encode(), {name: data for name, data in files.items() if name in named})


def scorer(
    *, reader: Reader | None = None, behaviour: BehaviourResult | None = None, labels: Labels | None = None
) -> Scorer:
    return Scorer(
        reader or Reader(blue_1=CARD, blue_2=LETTER),
        labels or Labels(normal=0.97, debt_rollover=0.01),
        History(behaviour or BehaviourResult(0.1, ((0, 0.7),))),
        load_policy(EXAMPLES / "policy.toml"),
        IDENTITY,
        clock=lambda: MOMENT,
    )


def test_a_clean_application_passes_with_every_field_read() -> None:
    receipt = scorer().score(submission()).receipt
    assert [each.problems for each in receipt.documents] == [[], [], []]
    assert (receipt.decision, receipt.score, receipt.risk_level, receipt.reasons) == ("pass", 0, "low", [])
    card, letter, statement = receipt.documents
    assert (card.kind, card.file, card.fields["id_number"].value) == ("id_card", "id.png", NUMBER)
    assert letter.fields["monthly_income"].value == 12000.0
    assert len(statement.fields["rows"].value) > 30
    assert receipt.text_risk.labels == {"normal": 0.97, "debt_rollover": 0.01}
    assert receipt.behaviour.model_dump() == {"probability": 0.1, "top_transactions": [{"index": 0, "weight": 0.7}]}


def test_of_several_proven_incomes_the_lowest_counts() -> None:
    less = [line.replace("12,000.00", "8,000.00").replace("壹万贰仟", "捌仟") for line in LETTER]
    sent = submission(
        files={"second.png": picture(3)},
        documents=[{"kind": "income_proof", "file": file} for file in ("income.png", "second.png")],
        loan={"amount": 60000, "term_months": 12, "purpose": "装修"},
    )
    receipt = scorer(reader=Reader(blue_2=LETTER, blue_3=less)).score(sent).receipt
    (capacity,) = (reason for reason in receipt.reasons if reason.code == "repayment_capacity")
    assert [each.file for each in capacity.evidence] == ["second.png"]
    assert "62%" in capacity.text


class StampedReader(Reader):
    """Sees of the letter the date only where nothing is red."""

    def read(self, image: NDArray[np.uint8], budget: Budget = UNLIMITED) -> tuple[Line, ...]:
        grey = image[0, 0, 0] == image[0, 0, 2]
        return tuple(line for line in super().read(image, budget) if grey or not line.text.startswith("日期"))


def test_what_a_stamp_covers_is_read_without_it_and_nothing_else_is_read_twice() -> None:
    reader = StampedReader(blue_1=CARD, blue_2=LETTER, blue_9=LETTER)
    receipt = scorer(reader=reader).score(submission()).receipt
    assert receipt.documents[1].fields["issue_date"].value == "2026-11-16"
    assert receipt.documents[1].problems == []
    assert reader.calls == 3  # the card, the letter, and the letter in red light
    whole = Reader(blue_1=CARD, blue_2=LETTER)
    scorer(reader=whole).score(submission())
    assert whole.calls == 2


def test_the_receipt_says_who_scored_and_how_long_each_stage_took() -> None:
    receipt = scorer().score(submission()).receipt
    assert (receipt.device_id, receipt.profile, receipt.bundle, receipt.time) == (
        "kiosk-1",
        "test",
        IDENTITY.bundle,
        MOMENT,
    )
    assert receipt.models == list(IDENTITY.models)
    assert list(receipt.timings_ms) == ["load", "ocr", "fields", "text", "behaviour", "score", "total"]
    assert receipt.timings_ms["total"] >= max(receipt.timings_ms["load"], receipt.timings_ms["fields"])


def test_pages_come_with_their_fields_and_text_layers_are_not_read_again() -> None:
    reader = Reader(blue_1=CARD, blue_2=LETTER)
    scored = scorer(reader=reader).score(submission())
    assert [(page.file, page.index) for page in scored.pages] == [
        ("id.png", 0), ("income.png", 0), ("statement.pdf", 0), ("statement.pdf", 1)
    ]  # fmt: skip
    assert reader.calls == 2
    assert scored.pages[0].lines[0].text == "姓名示例甲"
    assert set(scored.pages[0].fields) == set(scored.receipt.documents[0].fields)
    assert "rows" in scored.pages[2].fields
    assert scored.pages[3].fields == {}


def test_the_behaviour_model_sees_the_transactions_as_they_were_sent() -> None:
    history = History(BehaviourResult(0.1))
    Scorer(
        Reader(), Labels(normal=1.0), history, load_policy(EXAMPLES / "policy.toml"), IDENTITY
    ).score(submission(documents=[]))  # fmt: skip
    assert history.asked == [
        {"time": "2026-01-03T09:12:00+08:00", "amount": -1.0, "balance": 2.0, "channel": "pos", "counterparty": "店"}
    ]
    assert history.now is not None


def test_an_application_without_papers_or_history_is_reviewed_and_says_what_is_missing() -> None:
    unassessed = BehaviourResult(None, problems=("There are 0 transactions and 5 are needed.",))
    receipt = scorer(behaviour=unassessed).score(submission(documents=[], transactions=[])).receipt
    assert receipt.decision == "review"
    (reason,) = receipt.reasons
    assert [(each.code, each.text) for each in reason.evidence] == [
        ("id_card", "身份证"),
        ("income_proof", "收入证明"),
        ("bank_statement", "银行流水"),
        ("behaviour", "There are 0 transactions and 5 are needed."),
    ]
    assert receipt.documents == []
    assert receipt.behaviour.probability is None


class Rollover(Labels):
    """Sees the label in whatever names the loan apps."""

    def classify(self, texts: Sequence[str], *, budget: Budget = UNLIMITED) -> list[TextResult]:
        return [
            replace(each, labels={"debt_rollover": 0.9 if "网贷" in each.text else 0.02})
            for each in super().classify(texts)
        ]


def test_the_words_of_the_purpose_that_carry_a_label_are_evidence() -> None:
    loan = {"amount": 12000, "term_months": 12, "purpose": "装修房子，再还网贷。"}
    (reason,) = scorer(labels=Rollover()).score(submission(loan=loan)).receipt.reasons
    (evidence,) = reason.evidence
    assert (reason.code, evidence.code, evidence.text) == ("text_risk", "debt_rollover", "借新还旧 0.90：“再还网贷”")
    assert evidence.phrase is not None
    assert loan["purpose"][evidence.phrase.start : evidence.phrase.end] == "再还网贷"


def test_a_purpose_that_cannot_be_read_has_no_labels_and_goes_to_a_person() -> None:
    receipt = scorer().score(submission(loan={"amount": 12000, "term_months": 12, "purpose": "啊啊啊啊啊啊"})).receipt
    assert receipt.text_risk.labels == {}
    assert receipt.decision == "review"
    (reason,) = receipt.reasons
    assert (reason.code, reason.text) == ("missing_parts", "缺少：可读的贷款用途说明")
    assert [(each.code, each.text) for each in reason.evidence] == [("purpose", "用途说明只是重复的字词")]
    assert sum(each.contribution for each in receipt.reasons) == receipt.score


def test_a_paper_that_cannot_be_read_or_contradicts_goes_to_a_person() -> None:
    blank = scorer(reader=Reader(blue_1=(), blue_2=LETTER)).score(submission()).receipt
    assert [each.code for each in blank.documents[0].problems] == ["unreadable"]
    assert blank.decision == "review"
    stranger = tuple(text.replace("示例甲", "样例乙") for text in CARD)
    receipt = scorer(reader=Reader(blue_1=stranger, blue_2=LETTER)).score(submission()).receipt
    assert [(each.code, each.field) for each in receipt.documents[0].problems] == [("name_mismatch", "name")]
    assert receipt.reasons[0].code == "document_problems"
    (problem,), (evidence,) = receipt.documents[0].problems, receipt.reasons[0].evidence
    assert (evidence.file, evidence.page, evidence.field) == ("id.png", 0, "name")
    assert evidence.box == problem.box == receipt.documents[0].fields["name"].box
    assert sum(reason.contribution for reason in receipt.reasons) == receipt.score


def test_a_card_that_expired_yesterday_is_seen_by_the_receipts_own_clock() -> None:
    card = tuple(text.replace("2021.03.15-2041.03.15", "2016.11.20-2026.11.20") for text in CARD)
    receipt = scorer(reader=Reader(blue_1=card, blue_2=LETTER)).score(submission()).receipt
    assert [each.code for each in receipt.documents[0].problems] == ["expired"]


@pytest.mark.parametrize(
    ("name", "data", "error", "said"),
    [
        ("id.png", picture(1, "JPEG")[:-400], ImageError, "truncated"),
        ("income.png", b"not a picture", ImageError, "not a picture"),
        ("statement.pdf", b"%PDF-1.7 cut", PdfError, "damaged"),
    ],
)
def test_a_document_that_cannot_be_decoded_refuses_the_application_by_name(
    name: str, data: bytes, error: type[InputError], said: str
) -> None:
    reader = Reader(blue_1=CARD, blue_2=LETTER)
    with pytest.raises(error) as caught:
        scorer(reader=reader).score(submission(files={name: data}))
    assert repr(name) in caught.value.problem
    assert said in caught.value.problem
    assert caught.value.problem.startswith(("The id_card", "The income_proof", "The bank_statement"))
    assert "again" in caught.value.remedy
    if "not a picture" in said:  # what the header tells is known before the first page is read
        assert reader.calls == 0


def test_the_sample_application_is_a_valid_submission() -> None:
    sample = read_directory(EXAMPLES / "application")
    assert {each.kind for each in sample.application.documents} == {"id_card", "income_proof", "bank_statement"}
    assert len(sample.application.transactions) > 50


def test_a_client_that_leaves_stops_the_work_before_the_next_page() -> None:
    reader = Reader(blue_1=CARD, blue_2=LETTER)
    with pytest.raises(ClientGoneError):
        scorer(reader=reader).score(submission(), Budget(client_gone=lambda: reader.calls == 1))
    assert reader.calls == 1


def test_a_scan_that_takes_too_long_is_read_as_far_as_time_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("runtime.budget.time", SimpleNamespace(monotonic=lambda: clock[0], perf_counter=perf_counter))

    class Slow(Reader):
        def read(self, image: NDArray[np.uint8], budget: Budget = UNLIMITED) -> tuple[Line, ...]:
            clock[0] += 4
            return super().read(image, budget)

    scan = io.BytesIO()
    page = Image.new("RGB", (400, 300), (9, 9, 1))
    page.save(scan, "TIFF", save_all=True, append_images=[page] * 19)
    reader = Slow(blue_1=CARD, blue_2=LETTER)
    scored = scorer(reader=reader).score(submission(files={"id.png": scan.getvalue()}), Budget(deadline=30.0))
    (problem,) = scored.receipt.documents[0].problems
    assert problem.text == "该文件共 20 页，只读了前 6 页"
    assert scored.receipt.documents[1].problems == []
    assert scored.receipt.decision == "review"


def test_every_stage_is_measured() -> None:
    seen: list[str] = []
    scorer().score(submission(), Budget(observe=lambda stage, _seconds: seen.append(stage)))
    assert set(seen) == {"load", "ocr", "fields", "text", "behaviour", "score"}


class Network:
    """A further model that answers 0.9 and keeps what it was fed."""

    fed: Any = None

    def of(self, inputs: Mapping[str, Any]) -> float:
        self.fed = inputs
        return 0.9


def test_a_further_score_is_asked_with_what_the_application_brings_and_told() -> None:
    text = (EXAMPLES / "policy.toml").read_text(encoding="utf-8")
    text = text.replace("points = 35", "points = 25").replace("points = 30", "points = 20")
    policy = load_policy((text + (EXAMPLES / "scores.toml").read_text(encoding="utf-8")).encode())
    gang, offers = Network(), Network()
    further = Scorer(
        Reader(blue_1=CARD, blue_2=LETTER),
        Labels(normal=0.97),
        History(BehaviourResult(0.1)),
        policy,
        IDENTITY,
        scores={"gang": gang, "offers": offers},
        clock=lambda: MOMENT,
    )
    given = {"gang": {"nodes": [[1.5]]}, "of another policy": {"x": 1}}
    receipt = further.score(submission(score_inputs=given)).receipt
    assert (gang.fed, offers.fed) == ({"nodes": [[1.5]]}, None)
    assert receipt.scores == {"gang": 0.9}
    assert [reason.code for reason in receipt.reasons] == ["score_gang", "missing_parts"]
    assert sum(reason.contribution for reason in receipt.reasons) == receipt.score
    assert list(receipt.timings_ms) == ["load", "ocr", "fields", "text", "behaviour", "scores", "score", "total"]
