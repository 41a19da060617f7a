"""A box in a branch installs the serving set alone, from hashed wheels, and scores with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_ON_A_BOX = (
    "paddle",
    "paddleslim",
    "paddle2onnx",
    "onnx",
    "matplotlib",
    "safetensors",
    "pytest",
    "sklearn",
    "scipy",
)


def run(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False, cwd="/"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` directory of a fresh environment: serve.lock and the kit's wheel, no checkout in sight."""
    place = tmp_path_factory.mktemp("box")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", place, ROOT)
    run(sys.executable, "-m", "venv", place / "venv")
    pip = [place / "venv" / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps"]
    run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "serve.lock")
    run(*pip, *place.glob("*.whl"))
    return place / "venv" / "bin"


def test_the_box_scores_the_sample_application(box: Path, bundle: Path, own_state: Path) -> None:
    printed = run(box / "edgekit", "score", "--bundle", bundle, ROOT / "examples" / "application", "--json")
    receipt = json.loads(printed)
    assert receipt["application_id"] == "A-001"
    assert {model["backend"] for model in receipt["models"]} == {"openvino"}


def test_the_box_holds_no_paddle_no_training_and_no_plots(box: Path) -> None:
    code = f"import importlib.util as u; print([name for name in {NOT_ON_A_BOX!r} if u.find_spec(name)])"
    assert run(box / "python", "-c", code).strip() == "[]"


def test_the_box_knows_its_profiles_and_its_commands(box: Path) -> None:
    assert json.loads(run(box / "edgekit", "device", "match", "--json"))["profile"]
    assert "score" in run(box / "edgekit", "--help")


def test_compressing_on_the_box_says_where_it_can_be_done(box: Path, tmp_path: Path) -> None:
    command = [box / "edgekit", "compress", "ocr", "--models", tmp_path, "--calibration", tmp_path]
    command += ["--profile", "cpu-generic", "--out", tmp_path / "out", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 6
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "BACKEND-002"
    assert "workstation" in error["remedy"]
