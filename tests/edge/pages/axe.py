"""axe-core over a page, from the package that carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_GRAVE = ("serious", "critical")


def findings(page: Page) -> list[str]:
    """What axe-core finds serious or critical, one line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in _GRAVE
        for node in each["nodes"]
    ]
