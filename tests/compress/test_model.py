"""Any model: cases in, artifact out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.model import compress_model
from devices.errors import CalibrationError
from devices.profile import Profile, load_profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, entry_files, read_artifact
from runtime.predictor import load_predictor
from tests.compress import networks


def profile(*, max_drop: float = 0.5, int8: bool = True) -> Profile:
    base = load_profile("cpu-avx512-vnni")
    return base.model_copy(
        update={
            "serve": base.serve.model_copy(update={"int8": int8}),
            "compress": base.compress.model_copy(update={"max_drop": max_drop}),
        }
    )


@pytest.fixture
def model_and_cases(tmp_path: Path) -> tuple[Path, Path]:
    model, feeds = networks.convolutions()
    onnx.save(model, tmp_path / "Tiny Net.onnx")
    np.savez(tmp_path / "cases.npz", x=np.concatenate([feed["x"] for feed in feeds]))
    return tmp_path / "Tiny Net.onnx", tmp_path / "cases.npz"


def test_the_artifact_repeats_its_golden_output_and_the_report_has_both_forms(model_and_cases, tmp_path: Path):
    out = tmp_path / "out"
    report = compress_model(*model_and_cases, profile(), out)
    artifact = read_artifact(out)
    assert artifact.kind == "model"
    entry = artifact.model("tiny-net")
    golden = np.load(out / entry.golden)
    feeds = {key.removeprefix(GOLDEN_INPUT): golden[key] for key in golden.files if key.startswith(GOLDEN_INPUT)}
    (output,) = load_predictor(entry_files(out, entry), entry.backend).run(feeds).values()
    np.testing.assert_allclose(output, golden[f"{GOLDEN_OUTPUT}y"], atol=entry.tolerance)
    fp32, int8 = report["rows"]
    assert (fp32["variant"], int8["variant"]) == ("fp32", "int8")
    assert [row["chosen"] for row in (fp32, int8)].count(True) == 1
    assert 0 < int8["value"] < 0.1
    assert int8["size_bytes"] < fp32["size_bytes"]
    assert report["cases"] == {"calibration": 3, "measured": 1}
    assert json.loads((out / "report.json").read_text())["rows"] == report["rows"]


def test_int8_that_drops_too_much_is_not_kept(model_and_cases, tmp_path: Path):
    report = compress_model(*model_and_cases, profile(max_drop=1e-6), tmp_path / "out")
    assert read_artifact(tmp_path / "out").models[0].precision == "fp32"
    assert "more than the limit" in report["rows"][1]["verdict"]


def test_a_profile_without_int8_keeps_fp32(model_and_cases, tmp_path: Path):
    report = compress_model(*model_and_cases, profile(int8=False), tmp_path / "out")
    assert [row["variant"] for row in report["rows"]] == ["fp32"]
    assert read_artifact(tmp_path / "out").models[0].precision == "fp32"


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ({"x": np.zeros((3, 3, 8, 8), np.float32)}, "at least 4"),
        ({"x": np.zeros((4, 3, 8, 8), np.float32), "y": np.zeros((5, 1), np.float32)}, "differ"),
        ({"x": np.zeros((4, 3, 8, 8), np.float64)}, "float64"),
        ({"z": np.zeros((4, 3, 8, 8), np.float32)}, "no input 'z'"),
    ],
)
def test_cases_that_do_not_fit_are_refused(model_and_cases, tmp_path: Path, cases, message: str):
    np.savez(tmp_path / "wrong.npz", **cases)
    with pytest.raises(CalibrationError, match=message):
        compress_model(model_and_cases[0], tmp_path / "wrong.npz", profile(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((4, 3, 8, 8), np.float32))
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04truncated", _npy()])
def test_a_damaged_npz_is_refused(model_and_cases, tmp_path: Path, content: bytes):
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"cannot be read as \.npz"):
        compress_model(model_and_cases[0], tmp_path / "damaged.npz", profile(), tmp_path / "out")
