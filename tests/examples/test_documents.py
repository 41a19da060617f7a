"""The committed papers and their truth: whole, consistent, recognisably invented. Only what draws text needs a font."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pypdfium2
import pytest
from PIL import Image

from examples.application import draw as application_draw
from examples.documents import damage, render
from examples.documents.idcard import id_number
from examples.documents.income import in_capitals
from examples.documents.sheet import Line, Sheet, font_file, ordered

EXAMPLES = Path(__file__).parents[2] / "examples"
APPLICATION = EXAMPLES / "application"
TRUTHS = (APPLICATION, EXAMPLES / "documents" / "specimens")
OCR = EXAMPLES / "ocr"
FIELDS = {
    "id_card": [
        "name",
        "sex",
        "ethnicity",
        "birth_date",
        "address",
        "id_number",
        "issuing_authority",
        "valid_from",
        "valid_until",
    ],
    "income_proof": ["name", "id_number", "employer", "position", "monthly_income", "issue_date"],
    "bank_statement": ["bank", "account_name", "account_number", "period_from", "period_to", "rows"],
}


@pytest.fixture(scope="module")
def application() -> dict[str, Any]:
    return json.loads((APPLICATION / "application.json").read_text(encoding="utf-8"))


def truth_of(folder: Path) -> dict[str, dict[str, Any]]:
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return {document["kind"]: document for document in truth["documents"]}


def labels(folder: Path) -> dict[str, list[dict[str, Any]]]:
    lines = (folder / "Label.txt").read_text(encoding="utf-8").splitlines()
    return {name: json.loads(truth) for name, truth in (line.split("\t") for line in lines)}


def is_valid_id_number(number: str) -> bool:
    """ISO 7064 MOD 11-2 as a congruence, not by the table of weights that the drawing uses."""
    digits = [10 if c == "X" else int(c) for c in number]
    return len(digits) == 18 and sum(d * 2 ** (17 - i) for i, d in enumerate(digits)) % 11 == 1


@pytest.fixture
def chinese_font() -> None:
    try:
        font_file("regular")
    except FileNotFoundError:
        pytest.skip("drawing needs a Chinese font: apt-get install fonts-noto-cjk")


# The sample application and the specimens


@pytest.mark.parametrize("folder", TRUTHS, ids=lambda folder: folder.name)
def test_every_paper_exists_opens_and_has_the_contract_s_fields(folder: Path) -> None:
    truth = truth_of(folder)
    assert set(truth) == set(FIELDS)
    for kind, document in truth.items():
        path = folder / document["file"]
        if path.suffix == ".pdf":
            assert len(pypdfium2.PdfDocument(path)) == 2
        else:
            with Image.open(path) as picture:
                picture.load()
                assert min(picture.size) > 400
        assert list(document["fields"]) == FIELDS[kind]


@pytest.mark.parametrize("folder", TRUTHS, ids=lambda folder: folder.name)
def test_one_person_stands_on_all_three_papers_and_has_a_number_nobody_can_have(folder: Path) -> None:
    truth = {kind: document["fields"] for kind, document in truth_of(folder).items()}
    card = truth["id_card"]
    assert card["name"] == truth["income_proof"]["name"] == truth["bank_statement"]["account_name"]
    assert card["id_number"] == truth["income_proof"]["id_number"]
    assert card["id_number"].startswith("999999")
    assert is_valid_id_number(card["id_number"])
    assert card["id_number"][6:14] == card["birth_date"].replace("-", "")
    assert card["sex"] == ("男" if int(card["id_number"][16]) % 2 else "女")
    assert date.fromisoformat(card["valid_from"]) < date.fromisoformat(card["valid_until"])


@pytest.mark.parametrize("folder", TRUTHS, ids=lambda folder: folder.name)
def test_a_statement_s_balances_add_up_and_its_days_lie_in_its_period(folder: Path) -> None:
    fields = truth_of(folder)["bank_statement"]["fields"]
    rows = fields["rows"]
    assert len(rows) > 30
    for before, row in zip(rows, rows[1:], strict=False):
        assert round(before["balance"] + row["amount"], 2) == row["balance"]
        assert before["date"] <= row["date"]
    assert fields["period_from"] <= rows[0]["date"]
    assert rows[-1]["date"] <= fields["period_to"]
    assert {row["amount"] < 0 for row in rows} == {True, False}


@pytest.mark.parametrize("folder", TRUTHS, ids=lambda folder: folder.name)
def test_a_statement_s_text_layer_carries_every_row_in_order(folder: Path) -> None:
    document = truth_of(folder)["bank_statement"]
    pages = pypdfium2.PdfDocument(folder / document["file"])
    text = "\n".join(page.get_textpage().get_text_range() for page in pages).replace("\r", "")
    signed = "交易金额" in text
    begin = 0
    for row in document["fields"]["rows"]:
        day = row["date"] if signed else row["date"].replace("-", "/")
        amount = row["amount"] if signed else abs(row["amount"])
        printed = f"{day} {row['summary']} {row['counterparty']} {amount:,.2f} {row['balance']:,.2f}"
        found = text.find(printed, begin)
        assert found >= 0, printed
        begin = found + len(printed)
    assert document["fields"]["account_number"] in text


def test_the_application_names_the_person_of_its_papers(application: dict[str, Any]) -> None:
    truth = truth_of(APPLICATION)
    assert application["application_id"] == "A-001"
    assert application["applicant"]["name"] == truth["id_card"]["fields"]["name"]
    assert application["applicant"]["id_number"] == truth["id_card"]["fields"]["id_number"]
    assert application["applicant"]["declared_monthly_income"] == truth["income_proof"]["fields"]["monthly_income"]
    assert application["documents"] == [{"kind": d["kind"], "file": d["file"]} for d in truth.values()]


def test_the_application_s_transactions_are_ninety_days_of_one_account(application: dict[str, Any]) -> None:
    history = application["transactions"]
    times = [datetime.fromisoformat(moved["time"]) for moved in history]
    assert times == sorted(times)
    assert 85 <= (times[-1] - times[0]).days <= 90
    assert times[-1].date() == date(2026, 11, 20)
    assert 130 <= len(history) <= 170
    for before, moved in zip(history, history[1:], strict=False):
        assert round(before["balance"] + moved["amount"], 2) == moved["balance"]


def test_salary_on_the_statement_is_the_account_s_and_matches_the_income_proof(application: dict[str, Any]) -> None:
    truth = truth_of(APPLICATION)
    proof, rows = truth["income_proof"]["fields"], truth["bank_statement"]["fields"]["rows"]
    paid = [(row["date"], row["amount"]) for row in rows if row["summary"] == "工资"]
    history = [moved for moved in application["transactions"] if moved["channel"] == "payroll"]
    assert paid == [(moved["time"][:10], moved["amount"]) for moved in history]
    assert len(paid) == 3
    assert {moved["counterparty"] for moved in history} == {proof["employer"]}
    assert all(abs(amount - proof["monthly_income"]) < 0.1 * proof["monthly_income"] for _, amount in paid)


def test_every_balance_on_the_statement_is_a_balance_of_the_account(application: dict[str, Any]) -> None:
    rows = truth_of(APPLICATION)["bank_statement"]["fields"]["rows"]
    balances = iter([moved["balance"] for moved in application["transactions"]])
    assert all(row["balance"] in balances for row in rows)  # in this order
    total = sum(moved["amount"] for moved in application["transactions"])
    assert round(sum(row["amount"] for row in rows), 2) == round(total, 2)


def test_the_committed_application_is_what_its_script_writes(application: dict[str, Any]) -> None:
    history = application_draw.transactions()
    assert application["transactions"] == history
    truth = truth_of(APPLICATION)
    assert truth["id_card"]["fields"] == application_draw.card().fields()
    assert truth["income_proof"]["fields"] == application_draw.proof().fields()
    assert truth["bank_statement"]["fields"] == application_draw.account(history).fields()


# The pictures with known text


@pytest.mark.parametrize(("folder", "count"), [("calibration", 24), ("evaluation", 24)])
def test_every_labelled_picture_opens_and_its_boxes_lie_inside(folder: str, count: int) -> None:
    truth = labels(OCR / folder)
    assert set(truth) == {path.name for path in (OCR / folder).glob("*.jpg")}
    assert len(truth) == count
    for name, lines in truth.items():
        with Image.open(OCR / folder / name) as picture:
            picture.load()
            width, height = picture.size
        assert 480 <= max(width, height) <= 1100
        assert lines
        for line in lines:
            points = [tuple(point) for point in line["points"]]
            assert line["transcription"].strip() == line["transcription"] != ""
            assert points == list(ordered(points))
            assert all(0 <= x <= width and 0 <= y <= height for x, y in points), (name, line)
            assert cv2.contourArea(np.array(points, np.float32)) > 50


def test_evaluation_and_calibration_share_no_number() -> None:
    def numbers(folder: str) -> set[str]:
        texts = " ".join(line["transcription"] for lines in labels(OCR / folder).values() for line in lines)
        return set(re.findall(r"[0-9]{14,}[0-9X]+", texts))

    assert len(numbers("calibration")) > 10
    assert len(numbers("evaluation")) > 5
    assert not numbers("calibration") & numbers("evaluation")


def test_every_identity_number_on_the_pictures_is_valid_and_nobody_s() -> None:
    truth = {**labels(OCR / "calibration"), **{f"e_{k}": v for k, v in labels(OCR / "evaluation").items()}}
    texts = [line["transcription"] for lines in truth.values() for line in lines]
    found = [n for text in texts for n in re.findall(r"(?<![0-9])[0-9]{17}[0-9X](?![0-9])", text)]
    assert len(found) >= 14
    assert all(number.startswith("999999") and is_valid_id_number(number) for number in found)


def test_sixty_lines_open_and_have_their_text() -> None:
    rows = [row.split("\t") for row in (OCR / "rec" / "rec_gt.txt").read_text(encoding="utf-8").splitlines()]
    assert {name for name, _ in rows} == {path.name for path in (OCR / "rec").glob("*.jpg")}
    assert len(rows) == 60
    for name, text in rows:
        with Image.open(OCR / "rec" / name) as picture:
            picture.load()
            assert picture.width > picture.height > 10
        assert text.strip() == text != ""


def test_all_committed_pictures_together_stay_small() -> None:
    kinds = {".jpg", ".png", ".pdf"}
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.suffix in kinds) < 4 * 2**20


# The drawing


@pytest.mark.parametrize(
    ("cents", "written"),
    [
        (0, "零元整"),
        (1_200_000, "壹万贰仟元整"),
        (1_050_000, "壹万零伍佰元整"),
        (1_000_005, "壹万元零伍分"),
        (720_095, "柒仟贰佰元玖角伍分"),
        (719_395, "柒仟壹佰玖拾叁元玖角伍分"),
        (20_000_850, "贰拾万零捌元伍角整"),
        (10_000_000_000, "壹亿元整"),
    ],
)
def test_amounts_are_written_in_capitals_as_banks_write_them(cents: int, written: str) -> None:
    assert in_capitals(cents) == written


def test_a_number_s_check_character_catches_a_changed_digit() -> None:
    number = id_number(date(1990, 3, 7), 1)
    assert is_valid_id_number(number)
    assert not is_valid_id_number(number[:12] + str((int(number[12]) + 1) % 10) + number[13:])


@pytest.mark.parametrize("seed", range(4))
def test_a_phone_picture_moves_the_box_with_the_paper(seed: int) -> None:
    paper = np.full((300, 500, 3), 255, np.uint8)
    paper[100:160, 120:400] = (220, 0, 0)
    box = ((120.0, 100.0), (400.0, 100.0), (400.0, 160.0), (120.0, 160.0))
    picture, (line,) = damage.phone(Image.fromarray(paper), [Line("x", box)], np.random.default_rng(seed), strength=1.5)
    seen = np.asarray(picture).astype(int)
    red = (seen[..., 0] - seen[..., 2] > 80).astype(np.uint8)
    expected = np.zeros_like(red)
    cv2.fillPoly(expected, [np.array(line.box).round().astype(np.int32)], 1)
    assert (red & expected).sum() / (red | expected).sum() > 0.95


@pytest.mark.parametrize("turn", [0.0, 90.0, -8.0])
def test_a_truth_box_holds_the_ink_and_little_else(turn: float, chinese_font: None) -> None:
    sheet = Sheet(300, 300)
    sheet.text(120, 80, "示例银行", 24, turn=turn)
    drawn = render.render_sheet(sheet, scale=1.5)
    ink = np.asarray(drawn.picture.convert("L")) < 160
    inside = np.zeros(ink.shape, np.uint8)
    corners = np.array(drawn.lines[0].box, np.float32)
    cv2.fillPoly(inside, [corners.round().astype(np.int32)], 1)
    assert ink.sum() > 500
    assert not (ink & (inside == 0)).any()
    tight = cv2.minAreaRect(np.argwhere(ink)[:, ::-1].astype(np.float32))[1]
    assert cv2.contourArea(corners) < 1.5 * tight[0] * tight[1]


def test_a_joined_label_and_value_are_one_line_of_truth(chinese_font: None) -> None:
    drawn = render.render_id_card(application_draw.card(), layout="mirrored", sides="front")
    texts = [line.text for line in drawn.lines]
    assert "姓名示例甲" in texts
    assert "出生1990年3月7日" in texts
    assert "valid_from" not in drawn.fields


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="no layout"):
        render.render_income_proof(application_draw.proof(), layout="poem")
