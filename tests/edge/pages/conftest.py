"""A real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.edge.pages.stand_in import Device, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# kept for whoever wants to see what was tested
SHOTS = Path(__file__).parents[3] / "build" / "pages"


@pytest.fixture(scope="module")  # no longer: Playwright's event loop would stand in the way of other tests'
def browser() -> Iterator[Browser]:
    """Chromium with an invented camera."""
    chromium = shutil.which("chromium")
    if importlib.util.find_spec("playwright") is None or chromium is None:
        pytest.skip("needs Playwright and Debian's chromium ('./build.sh system' installs it)")
    from playwright.sync_api import sync_playwright

    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *camera])
        yield made
        made.close()


@pytest.fixture
def device() -> Iterator[Device]:
    """A device of its own, that nobody but this machine reaches."""
    with served() as made:
        yield made


@pytest.fixture
def page(browser: Browser, device: Device) -> Iterator[Page]:
    """A tab of its own. Whatever it asks of another host, and whatever the console complains of, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="zh-CN", timezone_id="Asia/Shanghai")
    context.set_default_timeout(30_000)  # other work may share the machine
    made = context.new_page()
    strangers: list[str] = []
    complaints: list[str] = []
    made.on("request", lambda request: strangers.append(request.url))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield made
    context.close()
    assert [url for url in strangers if not url.startswith((device.url, "blob:"))] == []
    # a call that fails is a line of the console too, and tests ask for such calls
    assert [each for each in complaints if not each.startswith("Failed to load resource")] == []


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots go."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS
