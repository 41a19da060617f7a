"""Fixtures for every test: a state directory of its own, real models, and the measuring data where there is any."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.state import VARIABLE, state_dir
from examples.models import fetch

ROOT = Path(__file__).parent.parent
DOWNLOADS = state_dir() / "cache" / "models"  # shared by all runs on this machine: its contents are pinned by hash


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys and caches of a test are its own: nothing it signs is trusted anywhere else."""
    path = tmp_path_factory.mktemp("state")
    monkeypatch.setenv(VARIABLE, str(path))
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """Public measuring data beside the checkout; the project's own tests pass without it."""
    path = ROOT.parent / "shared"
    if not (path / "data").is_dir():
        pytest.skip("the measuring data is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def ppocr_v4() -> Path:
    """PP-OCRv4 mobile as Paddle models, with its dictionary."""
    return fetch("ppocr-v4", DOWNLOADS / "ppocr-v4")


@pytest.fixture(scope="session")
def ppocr_v6() -> Path:
    """PP-OCRv6 small as ONNX, its characters in the rec model."""
    return fetch("ppocr-v6", DOWNLOADS / "ppocr-v6")
