"""The reviewer's desk in a real browser, over the real queue and journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.tokens import TokenFile
from tests.edge.pages.axe import findings
from tests.edge.pages.stand_in import APPLICATION, Device, receipt

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def token() -> str:
    """Of a reviewer."""
    return TokenFile().add("reviewer-1", "reviewer")


def log_in(page: Page, device: Device, token: str) -> None:
    page.goto(f"{device.url}/review")
    page.get_by_label("口令").fill(token)
    page.get_by_role("button", name="登录").click()
    page.get_by_role("heading", name="待复核的申请").wait_for()


def open_case(page: Page, device: Device, token: str) -> None:
    log_in(page, device, token)
    page.locator("#cases button").first.click()
    page.get_by_role("heading", name="申请 A-001").wait_for()


def approve(page: Page, reason: str) -> None:
    page.get_by_label("同意", exact=True).check()
    page.get_by_label("理由").fill(reason)
    page.get_by_role("button", name="提交结论").click()


def test_the_desk_opens_to_a_reviewer_s_token_alone(page: Page, device: Device, token: str, shots: Path) -> None:
    device.decide_example()
    asked: list[str] = []
    page.on("response", lambda response: asked.append(f"{response.status} {response.url}"))
    page.goto(f"{device.url}/review")
    page.get_by_label("口令").wait_for()
    page.screenshot(path=shots / "review-login.png")
    assert findings(page) == []
    assert not any("/v1/" in each for each in asked)
    for wrong, said in (("0" * 64, "设备不认识这个口令"), (TokenFile().add("kiosk-2"), "这个口令没有复核权限")):
        page.get_by_label("口令").fill(wrong)
        page.get_by_role("button", name="登录").click()
        page.get_by_text(said).wait_for()
        assert page.locator("#cases button").count() == 0
    page.get_by_label("口令").fill(token)
    page.get_by_role("button", name="登录").click()
    page.locator("#cases button").first.wait_for()
    page.get_by_role("button", name="退出").click()
    page.get_by_label("口令").wait_for()
    assert page.locator("#cases button:visible").count() == 0
    assert page.evaluate("sessionStorage.length") == 0


def test_whoever_comes_to_the_desk_after_a_reviewer_left_it_logs_in(page: Page, device: Device, token: str) -> None:
    device.decide_example()
    open_case(page, device, token)
    page.get_by_role("link", name="贷款申请").click()
    page.get_by_role("heading", name="请放入材料，填写申请").wait_for()
    page.go_back()
    page.get_by_label("口令").wait_for()
    assert "示例甲" not in page.content()
    # a browser may keep the page as it was left, and show it again
    log_in(page, device, token)
    page.locator("#cases button").first.click()
    page.get_by_role("heading", name="申请 A-001").wait_for()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    page.get_by_label("口令").wait_for()
    assert page.locator("#case").is_hidden()
    assert "示例甲" not in page.content()


def test_the_riskiest_comes_first_and_the_filters_filter(page: Page, device: Device, token: str) -> None:
    device.decide_example(score=30, reasons=[{**receipt()["reasons"][0], "contribution": 30}])
    device.decide_example(score=90, risk_level="high", reasons=[{**receipt()["reasons"][0], "contribution": 90}])
    device.decide_example(score=0, risk_level="low", decision="pass", reasons=[])
    log_in(page, device, token)
    scores = page.locator(".case-score")
    scores.nth(1).wait_for()
    assert scores.all_inner_texts() == ["90", "30"]
    page.get_by_label("风险").select_option("medium")
    page.get_by_text("共 1 件").wait_for()
    assert scores.all_inner_texts() == ["30"]
    page.get_by_label("风险").select_option("")
    page.get_by_label("状态").select_option("closed")
    page.get_by_text("已自动通过").wait_for()
    assert scores.all_inner_texts() == ["0"]


def test_a_case_shows_its_evidence_and_takes_a_verdict(page: Page, device: Device, token: str, shots: Path) -> None:
    decision_id = device.decide_example()
    open_case(page, device, token)
    for index in range(3):
        page.locator(".picture img").nth(index).wait_for()
    page.screenshot(path=shots / "review-case.png", full_page=True)
    assert findings(page) == []

    purpose = json.loads((APPLICATION / "application.json").read_text(encoding="utf-8"))["loan"]["purpose"]
    phrase = receipt()["reasons"][0]["evidence"][0]["phrase"]
    assert page.locator("mark").inner_text() == purpose[phrase["start"] : phrase["end"]]
    assert page.locator("blockquote").inner_text() == purpose
    assert page.locator(".points").all_inner_texts() == ["+44 分", "+3 分", "+1 分"]
    assert page.locator("#account circle").count() == len(receipt()["behaviour"]["top_transactions"])
    assert page.locator("#account tbody tr").count() == len(receipt()["behaviour"]["top_transactions"])
    assert page.locator("polygon.wrong").count() == 2  # the address, and the income that the repayment rests on

    page.get_by_role("button", name="提交结论").click()
    page.get_by_text("请选择结论，并填写理由").wait_for()
    approve(page, "收入已电话核实 <b>&")
    page.get_by_text("收入已电话核实 <b>&").wait_for()
    page.get_by_text("这件申请已经有结论").wait_for()
    assert device.reviews.show(decision_id)["verdict"] == "approve"
    assert device.reviews.show(decision_id)["reviews"][0]["login"] == "reviewer-1"
    page.get_by_text("没有符合条件的申请").wait_for()


def test_a_refused_verdict_is_told_and_what_was_written_stays(page: Page, device: Device, token: str) -> None:
    decision_id = device.decide_example()
    open_case(page, device, token)
    device.reviews.review(decision_id, {"verdict": "decline", "reason": "已由他人处理"}, "reviewer-2")
    approve(page, "收入已核实")
    problem = page.locator("#verdict-error [role=alert]")
    problem.wait_for()
    assert "is closed" in problem.inner_text()
    assert page.get_by_label("理由").input_value() == "收入已核实"


def test_a_large_amount_takes_two_persons(page: Page, device: Device, token: str) -> None:
    decision_id = device.decide_example(amount=500_000)
    open_case(page, device, token)
    page.get_by_text("需要两人分别复核").wait_for()
    page.locator("#reviewer").fill("reviewer-2")
    approve(page, "第一人同意")
    page.get_by_text("reviewer-2 (reviewer-1)").wait_for()  # whatever one calls oneself, the token's name stands there
    page.get_by_text("已有一人复核，需要另一人再次复核").wait_for()
    approve(page, "同一人再次同意")
    page.locator("#verdict-error [role=alert]").wait_for()
    other = TokenFile().add("reviewer-2", "reviewer")
    page.get_by_role("button", name="退出").click()
    page.get_by_label("口令").fill(other)
    page.get_by_role("button", name="登录").click()
    page.locator("#cases button").first.click()
    approve(page, "第二人同意")
    page.get_by_text("这件申请已经有结论").wait_for()
    assert [each["login"] for each in device.reviews.show(decision_id)["reviews"]] == ["reviewer-1", "reviewer-2"]


def test_a_customer_s_request_is_taken_and_explained_in_plain_words(
    page: Page, device: Device, token: str, shots: Path
) -> None:
    decision_id = device.decide_example()
    open_case(page, device, token)
    page.get_by_role("button", name="客户要求说明").click()
    page.locator(".explanation").wait_for()
    assert "A-001" in page.locator(".explanation").inner_text()
    page.locator("#verdict").screenshot(path=shots / "review-verdict.png")
    page.get_by_role("button", name="客户要求人工决定").click()
    page.get_by_text("客户：客户要求人工决定").wait_for()
    assert [each["kind"] for each in device.reviews.show(decision_id)["requests"]] == ["explanation", "human_decision"]


def test_a_closed_case_is_opened_again_by_another_person_with_a_reason(page: Page, device: Device, token: str) -> None:
    decision_id = device.decide_example()
    device.reviews.review(decision_id, {"verdict": "decline", "reason": "材料不一致"}, "reviewer-2")
    log_in(page, device, token)
    page.get_by_label("状态").select_option("closed")
    page.get_by_text("共 1 件，最近的在前").wait_for()
    page.locator("#cases button").first.click()
    page.get_by_text("重新复核这件申请").click()
    page.get_by_role("button", name="要求重新复核").click()
    page.get_by_text("请填写原因").wait_for()
    assert findings(page) == []
    page.get_by_label("为什么要重新复核").fill("客户带来了新的收入证明")
    page.get_by_role("button", name="要求重新复核").click()
    page.get_by_text("要求重新复核 · reviewer-1: 客户带来了新的收入证明").wait_for()
    approve(page, "材料齐全")
    page.locator("#verdict-error [role=alert]").wait_for()  # another person decides it
    assert device.reviews.show(decision_id)["state"] == "open"


def test_of_an_erased_case_the_decision_remains(page: Page, device: Device, token: str) -> None:
    device.desk.journal.erase(device.decide_example(), why="customer's request")
    log_in(page, device, token)
    page.locator("#cases button").first.click()
    page.get_by_text("个人资料已按规定删除").wait_for()
    assert "示例甲" not in page.locator("main").inner_text()
    assert page.get_by_role("button", name="提交结论").count() == 1


def test_the_desk_speaks_english_and_closes_when_left_alone(page: Page, device: Device, token: str) -> None:
    device.decide_example()
    page.clock.install()
    open_case(page, device, token)
    page.get_by_role("button", name="Switch to English").click()
    page.get_by_role("heading", name="Application A-001").wait_for()
    page.get_by_text("borrowing to repay other debts").first.wait_for()
    page.clock.run_for(16 * 60_000)
    page.get_by_label("Token").wait_for()
    assert "示例甲" not in page.locator("main").inner_text()
