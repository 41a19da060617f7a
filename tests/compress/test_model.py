"""Any model: cases in, artifact out."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.export import to_onnx
from compress.model import compress_model
from compress.paddle_env import paddle
from devices.errors import ArtifactError, BackendNotInstalledError, CalibrationError, ModelError
from devices.profile import Profile, load_profile
from runtime.artifact import entry_files, read_artifact
from runtime.choice import check_parity, read_golden
from runtime.predictor import load_predictor
from tests.compress import networks, paddle_nets


def profile(*, max_drop: float = 0.5, int8: bool = True, bf16: bool = False, backend: str = "openvino") -> Profile:
    base = load_profile("cpu-avx512-vnni")
    return base.model_copy(
        update={
            "serve": base.serve.model_copy(update={"int8": int8, "bf16": bf16, "backends": (backend,)}),
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
    golden = read_golden((out / str(entry.golden)).read_bytes())
    check_parity(load_predictor(entry_files(out, entry), entry.backend), golden, tolerance=entry.tolerance)
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


def test_bf16_keeps_the_files_and_the_golden_outputs_of_fp32(model_and_cases, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("compress.contest.load_predictor", networks.load_with_bf16)
    monkeypatch.setattr("compress.model.load_predictor", networks.load_with_bf16)
    monkeypatch.setattr("compress.contest.interleaved_medians_ms", lambda *_, **__: {"fp32": 2.0, "bf16": 1.0})
    report = compress_model(*model_and_cases, profile(int8=False, bf16=True), tmp_path / "out")
    assert [(row["variant"], row["chosen"]) for row in report["rows"]] == [("fp32", False), ("bf16", True)]
    (entry,) = read_artifact(tmp_path / "out").models
    assert (entry.precision, entry.reduce_range) == ("bf16", False)
    golden = read_golden((tmp_path / "out" / str(entry.golden)).read_bytes())
    files = entry_files(tmp_path / "out", entry)
    exact = load_predictor(replace(files, precision="fp32"), entry.backend)
    check_parity(exact, golden, tolerance=1e-5)
    check_parity(networks.load_with_bf16(files, entry.backend), golden, tolerance=entry.tolerance)
    largest = max(np.abs(value).max() for value in golden.outputs.values())
    assert entry.tolerance == pytest.approx(0.02 * largest, rel=1e-3)


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ({"x": np.zeros((3, 3, 8, 8), np.float32)}, "at least 4"),
        ({"x": np.full((4, 3, 8, 8), np.nan, np.float32)}, "not numbers"),
        ({"z": np.zeros((4, 3, 8, 8), np.float32)}, "no input 'z'"),
    ],
)
def test_cases_that_do_not_fit_are_refused_and_nothing_is_written(model_and_cases, tmp_path: Path, cases, message: str):
    np.savez(tmp_path / "wrong.npz", **cases)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CalibrationError, match=message):
        compress_model(model_and_cases[0], tmp_path / "wrong.npz", profile(), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


@dataclass(frozen=True)
class Net:
    """A network, its inputs as ``forward`` takes them, cases for it, and what it is measured by."""

    build: Callable[[], paddle.nn.Layer]
    inputs: dict[str, tuple[list[int | None], str]]
    cases: dict[str, np.ndarray]
    metric: str


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


NETS = {
    "history": Net(
        paddle_nets.History,
        {"features": ([None, None, 5], "float32"), "mask": ([None, None], "float32")},
        {"features": _random(8, 12, 5), "mask": np.tril(np.ones((12, 12), np.float32))[4:]},
        "agreement (same class)",
    ),
    "graph": Net(
        paddle_nets.Graph,
        {"nodes": ([None, 8], "float32"), "edges": ([2, None], "int64")},
        {"nodes": _random(8, 10, 8), "edges": np.random.default_rng(8).integers(0, 10, (8, 2, 20))},
        "agreement (same class)",
    ),
    "wide-and-deep": Net(
        paddle_nets.WideAndDeep,
        {"ids": ([None, 3], "int64"), "amounts": ([None, 4], "float32")},
        {"ids": np.random.default_rng(9).integers(0, 50, (8, 3)), "amounts": _random(8, 4)},
        "relative error against fp32",
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_networks_of_other_kinds_go_through(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From Paddle on OpenVINO, from ONNX on ONNX Runtime; INT8 is let win, so that it is what the artifact holds."""
    monkeypatch.setattr("compress.contest.interleaved_medians_ms", lambda *_, **__: {"fp32": 2.0, "int8": 1.0})
    net = NETS[name]
    source = paddle_nets.save(net.build(), tmp_path / name, **net.inputs)
    to_onnx(source, tmp_path / "onnx" / "model.onnx")
    np.savez(tmp_path / "cases.npz", **net.cases)
    outputs = []
    for model, backend in ((source, "openvino"), (tmp_path / "onnx", "onnxruntime")):
        out = tmp_path / f"out-{backend}"
        report = compress_model(model, tmp_path / "cases.npz", profile(max_drop=0.2, backend=backend), out)
        assert {row["metric"] for row in report["rows"]} == {net.metric}
        assert [(row["variant"], row["chosen"]) for row in report["rows"]] == [("fp32", False), ("int8", True)]
        assert report["backend"] == backend
        (entry,) = read_artifact(out).models
        golden = read_golden((out / str(entry.golden)).read_bytes())
        predictor = load_predictor(entry_files(out, entry), entry.backend)
        check_parity(predictor, golden, tolerance=entry.tolerance)
        # any number of rows, nodes or steps, not only as many as there were in calibration
        more = {
            key: np.concatenate([array, array], axis=-1 if key == "edges" else 0)
            for key, array in golden.inputs.items()
        }
        outputs.append(list(predictor.run(more).values()))
        assert len(outputs[-1][0]) == 2 * len(next(iter(golden.outputs.values())))
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_allclose(one, other, atol=0.3 * np.abs(one).max())


def test_ids_beyond_a_table_are_named_as_the_cases_fault(tmp_path: Path):
    net = NETS["wide-and-deep"]
    source = paddle_nets.save(net.build(), tmp_path / "net", **net.inputs)
    np.savez(tmp_path / "cases.npz", **(net.cases | {"ids": net.cases["ids"] + 50}))
    with pytest.raises(CalibrationError, match=r"cannot run the cases") as caught:
        compress_model(source, tmp_path / "cases.npz", profile(backend="onnxruntime", int8=False), tmp_path / "out")
    assert "within the model's tables" in caught.value.remedy


@pytest.mark.parametrize("name", ["inference.pdmodel", "inference.json", "model.xml", "missing.pdmodel"])
def test_a_file_that_is_not_onnx_is_refused_with_what_to_give(tmp_path: Path, name: str):
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"a graph")
    with pytest.raises(ModelError, match=name) as caught:
        compress_model(tmp_path / name, tmp_path / "cases.npz", profile(), tmp_path / "out")
    assert "a directory with inference.pdmodel" in caught.value.remedy


def test_paddles_new_format_is_served_as_it_is_in_fp32(tmp_path: Path):
    paddle_nets.save_pir(tmp_path / "net")
    np.savez(tmp_path / "cases.npz", x=_random(4, 3, 8, 8))
    report = compress_model(tmp_path / "net", tmp_path / "cases.npz", profile(backend="paddle"), tmp_path / "out")
    (row,) = report["rows"]
    assert (row["variant"], row["chosen"]) == ("fp32", True)
    assert "Served as it is, in FP32" in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "net" / "inference.json").is_file()


def test_a_full_disk_leaves_nothing(model_and_cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("compress.model.write_report", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ArtifactError, match="disk is full"):
        compress_model(*model_and_cases, profile(int8=False), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_a_backend_that_is_not_installed_is_said_before_anything_is_read(
    model_and_cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(sys.modules, "runtime.backends.onnxruntime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendNotInstalledError, match="onnxruntime"):
        compress_model(tmp_path / "no.onnx", tmp_path / "no.npz", profile(backend="onnxruntime"), tmp_path / "out")
