"""The page of a device whose server does not run, in a real browser, from a real launcher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from devices.provision.slots import activate_slot
from tests.devices.provision.small_release import Launched, device, install
from tests.edge.pages.axe import findings

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_a_person_reads_why_nobody_serves_and_the_page_opens_by_itself_when_somebody_does(
    browser: Browser, tmp_path: Path, shots: Path
) -> None:
    root = device(tmp_path / "root", "broken")
    launched = Launched(root, tmp_path / "log", pause_s=4.0)
    page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="zh-CN")
    page.set_default_timeout(60_000)
    try:
        page.goto(launched.refusing())
        page.get_by_role("heading", name="设备暂时不能受理").wait_for()
        assert page.get_by_text("The golden outputs are missed.").is_visible()
        assert page.get_by_text("BACKEND-004").is_visible()
        assert findings(page) == []
        page.screenshot(path=shots / "pause.png")
        activate_slot(root, install(root, 2))
        page.get_by_text('"release": 2').wait_for()
    finally:
        page.close()
        launched.close()
