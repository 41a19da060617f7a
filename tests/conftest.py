"""Fixtures for every test: the measuring data beside a checkout, where there is any."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Public measuring data beside the checkout; the project's own tests pass without it."""
    path = ROOT.parent / "shared"
    if not (path / "data").is_dir():
        pytest.skip("the measuring data is not beside this checkout")
    return path
