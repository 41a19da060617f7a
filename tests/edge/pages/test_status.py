"""The status page in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from devices.errors import JournalFullError
from runtime.access import Access
from runtime.tokens import TokenFile
from tests.edge.pages.axe import findings
from tests.edge.pages.stand_in import Device, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_the_device_is_shown_at_a_glance_and_kept_up_to_date(page: Page, device: Device, shots: Path) -> None:
    device.decide_example()
    page.clock.install()
    page.goto(f"{device.url}/status")
    page.get_by_role("heading", name="正常受理").wait_for()
    assert findings(page) == []
    text = page.locator("main").inner_text()
    assert all(each in text for each in ("branch-loans", "kiosk-1", "openvino", "现用 612 MB，上限 1500 MB"))
    backlog = page.get_by_role("heading", name="待上传记录").locator("xpath=..").locator(".big")
    assert backlog.inner_text() == str(device.desk.journal.backlog()) != "0"
    device.changes = {"offline": {"since": "2026-11-01T08:00:00Z", "authority": "stopped"}}
    page.clock.run_for(6000)
    page.get_by_role("heading", name="停止受理").wait_for()
    assert len((page.locator("polyline").get_attribute("points") or "").split()) == 2
    chart, tile = (page.locator(each).bounding_box() for each in (".plot.memory", "section:has(> .plot.memory)"))
    assert chart is not None
    assert tile is not None
    assert chart["width"] > 0.95 * tile["width"]
    page.screenshot(path=shots / "status.png", full_page=True)


def test_a_journal_that_takes_nothing_is_what_stops_the_device_not_the_line(page: Page, device: Device) -> None:
    full = JournalFullError("The disk is nearly full.", remedy="Free at least 64 MB.")
    device.changes = {
        "journal": {"backlog": None, "error": full.as_dict()},
        "offline": {"since": None, "authority": "stopped"},
    }
    page.goto(f"{device.url}/status")
    page.get_by_role("heading", name="停止受理").wait_for()
    assert findings(page) == []
    text = page.locator("main").inner_text()
    assert all(each in text for each in ("存储空间已满", "Free at least 64 MB.", "JOURNAL-003"))
    assert "null" not in text
    assert "授权已到期" not in text


def test_a_device_that_others_reach_asks_for_a_token(browser: Browser) -> None:
    with served(Access(tokens=TokenFile())) as device:
        page = browser.new_page()
        page.goto(f"{device.url}/status")
        page.get_by_label("口令").fill(TokenFile().add("tablet-1"))
        page.get_by_role("button", name="登录").click()
        page.get_by_role("heading", name="正常受理").wait_for()
        page.goto(device.url)
        for name, text in {"name": "示例甲", "id_number": "x", "income": "1", "amount": "1", "term": "1"}.items():
            page.locator(f"#{name}").fill(text)
        page.locator("#purpose").fill("装修")
        page.get_by_role("button", name="开始核对").click()
        page.get_by_label("口令").wait_for()
        page.get_by_role("button", name="Switch to English").click()
        page.get_by_label("Token").fill(TokenFile().add("tablet-2"))
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="A person will look at this").wait_for()
        page.close()
