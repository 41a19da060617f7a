"""The kiosk in a real browser: from papers to a result, and what a customer sees when something is wrong."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devices.errors import ImageError
from tests.edge.pages.axe import findings
from tests.edge.pages.stand_in import APPLICATION, Device, receipt

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

INPUTS = {
    "姓名": "示例甲",
    "身份证号": "99999919900307001x",
    "月收入（元）": "12,000",
    "申请金额（元）": "50000",
    "期限（月）": "12",
    "贷款用途": "翻新老家的房子",
}


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def fill(page: Page) -> None:
    for label, text in INPUTS.items():
        page.get_by_label(label, exact=True).fill(text)


def add(page: Page, kind: str, *names: str) -> None:
    page.locator(f"#file-{kind}").set_input_files([APPLICATION / name for name in names])


def to_result(page: Page, device: Device) -> None:
    """With all papers of the example, as a bank's own program hands them over."""
    page.goto(device.url)
    add(page, "id_card", "application.json", "id.jpg", "income.png", "statement.pdf")
    page.get_by_role("button", name="开始核对").click()
    for index in range(3):
        page.locator(".picture img").nth(index).wait_for()


def place(element: Locator) -> tuple[float, float, float, float]:
    box = element.bounding_box()
    assert box
    return box["x"], box["y"], box["width"], box["height"]


def test_a_customer_gets_from_papers_to_a_result_with_boxes_on_them(page: Page, device: Device, shots: Path) -> None:
    page.goto(device.url)
    page.screenshot(path=shots / "kiosk-form.png", full_page=True)
    assert findings(page) == []
    fill(page)
    add(page, "id_card", "id.jpg")
    add(page, "income_proof", "income.png")
    assert page.locator(".thumbs img").count() == 2
    page.get_by_role("button", name="开始核对").click()
    page.get_by_role("heading", name="转人工复核").wait_for()
    page.locator(".picture img").nth(1).wait_for()
    page.screenshot(path=shots / "kiosk-result.png", full_page=True)
    assert findings(page) == []

    application = device.sent[0].application
    assert (application.applicant.name, application.applicant.id_number) == ("示例甲", "99999919900307001X")
    assert (application.applicant.declared_monthly_income, application.loan.amount) == (12000, 50000)
    assert [document.kind for document in application.documents] == ["id_card", "income_proof"]
    assert device.sent[0].files["id_card-1.jpg"] == (APPLICATION / "id.jpg").read_bytes()
    code = device.desk.journal.decision(device.desk.ledger.latest(limit=1)[0].decision_id).code
    assert page.locator(".code").inner_text() == code
    # the box of the name lies where it was read, whatever the picture's size on the screen
    left, top, width, _ = place(page.locator(".picture").first)
    picture_width = int(page.locator(".picture img").first.get_attribute("width") or 0)
    x, y, *_ = place(page.locator(".picture").first.locator("polygon[data-key='field.name']"))
    (box_x, box_y), *_ = receipt()["documents"][0]["fields"]["name"]["box"]
    assert x - left == pytest.approx(box_x * width / picture_width, abs=4)
    assert y - top == pytest.approx(box_y * width / picture_width, abs=4)


def test_a_field_shows_its_box_and_what_is_doubtful_stands_out(page: Page, device: Device) -> None:
    to_result(page, device)
    card = page.get_by_role("article", name="身份证")
    assert card.locator("polygon.wrong").count() == 1
    assert card.locator("polygon.chosen").count() == 0
    card.get_by_role("button", name="住址的识别置信度仅 0.58").click()
    assert card.locator("polygon.chosen").get_attribute("data-key") == "field.address"
    card.get_by_role("button", name="姓名").click()
    assert card.locator("polygon.chosen").get_attribute("data-key") == "field.name"


def test_pages_of_a_pdf_are_turned_with_boxes_on_the_page_where_they_were_read(page: Page, device: Device) -> None:
    to_result(page, device)
    statement = page.get_by_role("article", name="银行流水")
    assert statement.locator("polygon").count() == len(receipt()["documents"][2]["fields"])
    statement.get_by_role("button", name="下一页").click()
    statement.get_by_text("第 2 页").wait_for()
    assert statement.locator("polygon").count() == 0
    assert statement.locator("img").get_attribute("alt") == "银行流水，第 2 页"


def test_a_bank_s_own_file_fills_the_form_and_brings_what_the_form_has_no_field_for(
    page: Page, device: Device, tmp_path: Path
) -> None:
    document = json.loads((APPLICATION / "application.json").read_text(encoding="utf-8"))
    whole, broken = tmp_path / "application.json", tmp_path / "list.json"
    whole.write_text(json.dumps(document | {"score_inputs": {"bureau": {"x": [1]}}}), encoding="utf-8")
    broken.write_text("[]", encoding="utf-8")
    page.goto(device.url)
    page.locator("#file-id_card").set_input_files(broken)
    page.get_by_text("“list.json”不是可用的 application.json").wait_for()
    papers = [APPLICATION / each["file"] for each in document["documents"]]
    page.locator("#file-id_card").set_input_files([whole, *papers])
    page.get_by_text("已导入").wait_for()
    assert page.locator("#form-problem").inner_text() == ""
    page.get_by_role("button", name="开始核对").click()
    page.get_by_role("heading", name="转人工复核").wait_for()
    application = device.sent[0].application
    assert application.application_id == "A-001"
    assert len(application.transactions) == len(document["transactions"])
    assert application.score_inputs == {"bureau": {"x": [1]}}
    assert [paper.kind for paper in application.documents] == ["id_card", "income_proof", "bank_statement"]


def test_both_languages_and_the_choice_stays(page: Page, device: Device, shots: Path) -> None:
    to_result(page, device)
    page.get_by_role("button", name="Switch to English").click()
    page.get_by_role("heading", name="A person will look at this").wait_for()
    page.get_by_role("article", name="Identity card").locator("img").wait_for()
    page.screenshot(path=shots / "kiosk-result-en.png", full_page=True)
    page.reload()
    page.get_by_role("heading", name="Add your papers and fill in the application").wait_for()
    assert page.locator("html").get_attribute("lang") == "en"


def test_a_picture_is_taken_with_the_camera(page: Page, device: Device, shots: Path) -> None:
    page.goto(device.url)
    fill(page)
    page.get_by_role("button", name="拍照: 身份证").click()
    page.get_by_role("button", name="拍照", exact=True).click()
    page.get_by_role("button", name="重拍").click()
    page.get_by_role("button", name="拍照", exact=True).click()
    page.screenshot(path=shots / "kiosk-camera.png")
    page.get_by_role("button", name="用这张").click()
    page.locator(".thumbs img").wait_for()
    page.get_by_role("button", name="开始核对").click()
    page.get_by_role("heading", name="转人工复核").wait_for()
    assert device.sent[0].files["id_card-1.jpg"].startswith(b"\xff\xd8\xff")


def test_a_file_dropped_on_a_slot_is_taken_and_one_beside_it_does_no_harm(page: Page, device: Device) -> None:
    page.goto(device.url)
    drop = """(node) => {
      const data = new DataTransfer();
      data.items.add(new File(["%PDF-1.7"], "account.pdf", { type: "application/pdf" }));
      return node.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    assert page.locator("body").evaluate(drop) is False  # the browser does not open it in place of the page
    assert page.locator(".thumbs").count() == 0
    page.get_by_role("group", name="银行流水").evaluate(drop)
    assert page.locator(".thumbs").inner_text().startswith("PDF")
    page.get_by_role("button", name="移除：银行流水 1").click()
    assert page.locator(".thumbs").count() == 0


def test_what_is_missing_is_named_and_nothing_is_sent(page: Page, device: Device) -> None:
    page.goto(device.url)
    fill(page)
    page.get_by_label("申请金额（元）", exact=True).fill("五万")
    page.get_by_label("贷款用途", exact=True).fill(" ")
    page.get_by_role("button", name="开始核对").click()
    assert page.locator("#amount").evaluate("(node) => node === document.activeElement")
    assert page.locator("#amount").get_attribute("aria-invalid") == "true"
    assert page.locator("#amount-error").inner_text() == "请用数字填写申请金额，例如 50000"
    assert page.locator("#purpose-error").inner_text() == "请写明贷款用途"
    assert page.locator("#name-error").inner_text() == ""
    assert findings(page) == []
    assert device.sent == []


def test_an_error_is_told_in_sentences_with_its_code_and_nothing_typed_is_lost(
    page: Page, device: Device, shots: Path
) -> None:
    device.error = ImageError("The id_card 'id_card-1.jpg' cannot be used: <img src=x onerror=alert(1)>")
    page.goto(device.url)
    fill(page)
    page.get_by_role("button", name="开始核对").click()
    problem = page.get_by_role("alert")
    problem.wait_for()
    page.screenshot(path=shots / "kiosk-problem.png", full_page=True)
    assert findings(page) == []
    told = problem.inner_text()
    assert "IMAGE-001" in told
    assert "请重新拍一张" in told
    assert device.error.problem in told  # as text: markup in it is none
    assert all(sentence in told for sentence in (device.error.state, device.error.remedy))
    page.get_by_role("button", name="返回修改").click()
    assert page.get_by_label("姓名", exact=True).input_value() == "示例甲"
    device.error = None
    page.get_by_role("button", name="开始核对").click()
    page.get_by_role("heading", name="转人工复核").wait_for()


def test_a_device_that_does_not_answer_is_said_and_asked_again(page: Page, device: Device) -> None:
    page.goto(device.url)
    fill(page)
    page.route("**/v1/score", lambda route: route.abort("connectionrefused"), times=1)
    page.get_by_role("button", name="开始核对").click()
    page.get_by_role("heading", name="设备没有回应").wait_for()
    page.get_by_role("button", name="再试一次").click()
    page.get_by_role("heading", name="转人工复核").wait_for()


def test_an_answer_that_was_lost_is_asked_for_again_and_the_decision_is_one(page: Page, device: Device) -> None:
    def lost(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")

    before = device.desk.ledger.count()
    page.goto(device.url)
    fill(page)
    page.route("**/v1/score", lost, times=1)
    page.get_by_role("button", name="开始核对").click()
    page.get_by_role("button", name="再试一次").click()
    page.get_by_role("heading", name="转人工复核").wait_for()
    assert device.desk.ledger.count() == before + 1


def test_progress_is_shown_and_a_customer_who_gives_up_frees_the_device(
    page: Page, device: Device, shots: Path
) -> None:
    device.wait_s = 30
    page.goto(device.url)
    fill(page)
    page.get_by_role("button", name="开始核对").click()
    page.get_by_role("progressbar").wait_for()
    page.get_by_text(re.compile("已用 [1-9]")).wait_for()
    page.screenshot(path=shots / "kiosk-progress.png")
    page.get_by_role("button", name="取消").click()
    page.get_by_role("heading", name="请放入材料，填写申请").wait_for()
    assert page.get_by_label("姓名", exact=True).input_value() == "示例甲"
    until(lambda: device.gone == 1)


def test_a_low_risk_passes_in_plain_words(page: Page, device: Device, shots: Path) -> None:
    device.changes = {"score": 0, "risk_level": "low", "decision": "pass", "reasons": []}
    to_result(page, device)
    assert page.locator(".verdict").inner_text().split("\n")[0] == "通过"
    page.screenshot(path=shots / "kiosk-pass.png")
    page.get_by_role("button", name="完成，下一位").click()
    assert page.locator("#result-view").inner_html() == ""
    assert page.get_by_label("姓名", exact=True).input_value() == ""
    assert page.locator(".thumbs").count() == 0


def test_the_form_is_filled_and_sent_by_keyboard_alone(page: Page, device: Device) -> None:
    page.goto(device.url)
    page.locator("#name").focus()
    for text in INPUTS.values():
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    assert page.locator("#send").evaluate("(node) => node === document.activeElement")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="转人工复核").wait_for()
    assert page.locator("h1", has_text="转人工复核").evaluate("(node) => node === document.activeElement")
    assert device.sent[0].application.loan.purpose == INPUTS["贷款用途"]


def test_whoever_walks_away_is_asked_and_then_forgotten(page: Page, device: Device) -> None:
    page.clock.install()
    page.goto(device.url)
    fill(page)
    page.clock.run_for(181_000)
    assert page.get_by_role("dialog").inner_text().startswith("您还在吗？")
    page.get_by_role("button", name="我还在").click()
    page.clock.run_for(100_000)
    assert page.get_by_label("姓名", exact=True).input_value() == "示例甲"
    page.clock.run_for(120_000)
    assert page.get_by_label("姓名", exact=True).input_value() == ""
    fill(page)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert page.get_by_label("姓名", exact=True).input_value() == ""


def test_targets_are_large_enough_to_touch_and_nothing_is_cut_off_on_a_small_screen(page: Page, device: Device) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    to_result(page, device)
    for width in (360, 1024):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        heights = page.locator("button:visible").evaluate_all("(all) => all.map((node) => node.offsetHeight)")
        assert min(heights) >= 40
    assert "示例甲" in page.locator("main").inner_text()
