"""Compressing an OCR set, on stand-ins for PP-OCR that read black bars: fast, and nobody's model."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.fallback import Fallback
from compress.ocr import compress_ocr
from compress.ocr_data import read_pictures, read_truth, record_feeds
from compress.quantize import QuantReport
from devices.errors import (
    ArtifactError,
    BackendUnsupportedError,
    CalibrationError,
    CompressionError,
    DataError,
    ModelError,
)
from devices.profile import Profile, load_profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, entry_files, read_artifact
from runtime.images import load_image
from runtime.ocr.models import read_ocr_models
from runtime.ocr.pipeline import load_ocr
from runtime.parity import decided_otherwise
from runtime.predictor import load_predictor
from tests.compress import networks, paddle_nets

BARS = [(40, 40, 240, 72), (60, 120, 360, 160), (40, 220, 190, 250)]  # left, top, right, bottom, in pixels


def network(nodes, weights: dict[str, np.ndarray], shape: list, rank: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Det marks dark pixels, rec reads dark columns as A, cls wants a line's left half to be the lighter one."""
    directory = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    wide = rng.uniform(0.5, 1.5, (16, 3, 1, 1)).astype(np.float32)  # sees brightness sixteen times over
    narrow = np.full((1, 16, 1, 1), -0.5, np.float32)
    det = network(
        [
            helper.make_node("Conv", ["x", "wide"], ["h"]),
            helper.make_node("Conv", ["h", "narrow"], ["s"]),
            helper.make_node("Sigmoid", ["s"], ["y"]),
        ],
        {"wide": wide, "narrow": narrow},
        [None, 3, None, None],
        4,
    )
    rec = network(
        [
            helper.make_node("Conv", ["x", "wide"], ["h"]),
            helper.make_node("AveragePool", ["h"], ["p"], kernel_shape=[48, 8], strides=[48, 8]),
            helper.make_node("Squeeze", ["p", "axis"], ["q"]),
            helper.make_node("Transpose", ["q"], ["t"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["t", "classes"], ["s"]),
            helper.make_node("Softmax", ["s"], ["y"], axis=-1),
        ],
        {
            "wide": wide,
            "axis": np.array([2]),
            "classes": np.tile(np.array([1.0, -1.0, 0.0], np.float32), (16, 1)),
        },
        [None, 3, 48, None],
        3,
    )
    left = np.tile(np.repeat(np.array([0.01, -0.01], np.float32), 96), 3 * 48)
    cls = network(
        [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["s"]),
            helper.make_node("Softmax", ["s"], ["y"], axis=-1),
        ],
        {"w": np.stack([left, -left], axis=1)},
        [None, 3, 48, 192],
        2,
    )
    for name, model in (("det", det), ("rec", rec), ("cls", cls)):
        onnx.checker.check_model(model, full_check=True)
        (directory / name).mkdir()
        onnx.save(model, directory / name / "model.onnx")
    (directory / "rec" / "dict.txt").write_text("A\nB\n")
    (directory / "ocr.toml").write_text("det_min_side = 64\nunclip_ratio = 0.01\n")
    return directory


def draw(directory: Path, count: int) -> Path:
    """``count`` pages of bars and their Label.txt."""
    directory.mkdir()
    rows = []
    for index in range(count):
        page = np.full((288, 400, 3), 255, np.uint8)
        for left, top, right, bottom in BARS:
            cv2.rectangle(page, (left, top), (right - 1, bottom - 1), (0, 0, 0), -1)
            cv2.rectangle(page, (left, top), (left + (right - left) // 5, bottom - 1), (60, 60, 60), -1)
        cv2.imwrite(str(directory / f"{index}.png"), page)
        regions = [
            {"transcription": "A", "points": [[left, top], [right, top], [right, bottom], [left, bottom]]}
            for left, top, right, bottom in BARS
        ]
        rows.append(f"{index}.png\t{json.dumps(regions)}\n")
    (directory / "Label.txt").write_text("".join(rows))
    return directory


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as packed:
        return {name: packed[name] for name in packed.files}


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    return draw(tmp_path / "pages", 3)


def profile(*, int8: bool = True, bf16: bool = False) -> Profile:
    base = load_profile("cpu-avx512-vnni")
    return base.model_copy(update={"serve": base.serve.model_copy(update={"int8": int8, "bf16": bf16})})


def test_every_model_gets_a_row_for_each_form_and_the_artifact_reads(models: Path, pages: Path, tmp_path: Path):
    out = tmp_path / "out"
    stages: list[float] = []
    report = compress_ocr(
        models, pages, pages / "Label.txt", profile(), out, progress=lambda stage, share: stages.append(share)
    )
    rows = report["rows"]
    names = ["ocr-det", "ocr-det", "ocr-rec", "ocr-rec", "ocr-cls", "ocr-cls"]
    assert [row["model"] for row in rows] == names
    assert [row["variant"] for row in rows] == ["fp32", "int8"] * 3
    assert [row["metric"] for row in rows] == ["hmean"] * 2 + ["cer"] * 2 + ["accuracy"] * 2
    assert [row["value"] for row in rows] == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    for name in set(names):
        assert sum(row["chosen"] for row in rows if row["model"] == name) == 1
    assert all(0 <= share <= 1 for share in stages)
    artifact = read_artifact(out)
    assert artifact.ocr is not None
    assert artifact.ocr.unclip_ratio == 0.01
    for entry in artifact.models:
        assert (out / str(entry.golden)).is_file()
        chosen = next(row["variant"] for row in rows if row["model"] == entry.name and row["chosen"])
        assert entry.precision == chosen
    pipeline = load_ocr(read_ocr_models(out), "openvino")
    assert [line.text for line in pipeline.read(load_image((pages / "0.png").read_bytes()))] == ["A"] * 3


def test_without_truth_int8_is_measured_against_fp32(models: Path, pages: Path, tmp_path: Path):
    report = compress_ocr(models, pages, None, profile(), tmp_path / "out")
    det, rec = report["rows"][0], report["rows"][2]
    assert (det["metric"], det["value"]) == ("agreement (hmean)", 1.0)
    assert (rec["metric"], rec["value"]) == ("agreement (same text)", 1.0)
    assert report["truth"] is None


def test_int8_that_reads_worse_is_refused_however_fast(
    models: Path, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def blind(model_dir: Path, feeds, out: Path, *, accept, **_: object) -> Fallback:
        model = onnx.load(model_dir / "model.onnx")
        for tensor in model.graph.initializer:
            if tensor.name == "classes":  # every column is blank
                tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
        out.mkdir(parents=True)
        onnx.save(model, out / "model.onnx")
        return Fallback(QuantReport(out, 1, 1), (), accepted=accept(out))

    monkeypatch.setattr("compress.contest.quantize_with_fallback", blind)
    monkeypatch.setattr("compress.contest.interleaved_medians_ms", lambda *_: {"fp32": 2.0, "int8": 1.0})
    report = compress_ocr(models, pages, pages / "Label.txt", profile(), tmp_path / "out")
    chosen = {row["model"]: row["variant"] for row in report["rows"] if row["chosen"]}
    assert chosen == {"ocr-det": "int8", "ocr-rec": "fp32", "ocr-cls": "int8"}
    rec = report["rows"][3]
    assert (rec["value"], rec["interval"]) == (1.0, [1.0, 1.0])
    for said in ("cer over 9 lines", "line accuracy over 9 lines", "9 text differences from FP32 on 9 confident lines"):
        assert said in rec["verdict"]


def test_a_profile_without_int8_keeps_fp32_and_says_why(models: Path, pages: Path, tmp_path: Path):
    report = compress_ocr(models, pages, pages / "Label.txt", profile(int8=False), tmp_path / "out")
    assert [row["variant"] for row in report["rows"]] == ["fp32"] * 3
    assert all("does not use INT8" in row["verdict"] for row in report["rows"])


def test_golden_outputs_come_back_and_are_not_the_answer_to_everything(models: Path, pages: Path, tmp_path: Path):
    compress_ocr(models, pages, None, profile(), tmp_path / "out")
    for entry in read_artifact(tmp_path / "out").models:
        golden = arrays(tmp_path / "out" / str(entry.golden))
        predictor = load_predictor(entry_files(tmp_path / "out", entry), entry.backend)
        (output,) = predictor.run({"x": golden[f"{GOLDEN_INPUT}x"]}).values()
        np.testing.assert_allclose(output, golden[f"{GOLDEN_OUTPUT}y"], atol=entry.tolerance)
    golden = arrays(tmp_path / "out" / "golden" / "det.npz")
    assert golden[f"{GOLDEN_OUTPUT}y"].min() < 0.01 < 0.99 < golden[f"{GOLDEN_OUTPUT}y"].max()


def test_a_bf16_artifact_holds_fp32_and_serves_with_either(models: Path, pages: Path, tmp_path: Path, monkeypatch):
    for module in ("contest", "ocr_artifact"):
        monkeypatch.setattr(f"compress.{module}.load_predictor", networks.load_with_bf16)
    monkeypatch.setattr("compress.contest.interleaved_medians_ms", lambda *_: {"fp32": 2.0, "bf16": 1.0})
    out = tmp_path / "out"
    report = compress_ocr(models, pages, pages / "Label.txt", profile(int8=False, bf16=True), out)
    assert [(row["variant"], row["chosen"]) for row in report["rows"]] == [("fp32", False), ("bf16", True)] * 3
    assert "0 text differences from FP32" in report["rows"][3]["verdict"]
    for entry in read_artifact(out).models:
        assert entry.precision == "bf16"
        golden, files = arrays(out / str(entry.golden)), entry_files(out, entry)
        for predictor in (load_predictor(files, "onnxruntime"), networks.load_with_bf16(files, "openvino")):
            (output,) = predictor.run({"x": golden[f"{GOLDEN_INPUT}x"]}).values()
            np.testing.assert_allclose(output, golden[f"{GOLDEN_OUTPUT}y"], atol=entry.tolerance)
    again = compress_ocr(out, pages, None, profile(int8=False), tmp_path / "again")
    assert [row["variant"] for row in again["rows"]] == ["fp32"] * 3


def test_golden_outputs_tell_a_det_that_loses_a_line_and_a_rec_that_misreads(models: Path, pages: Path, tmp_path: Path):
    compress_ocr(models, pages, None, profile(), tmp_path / "out")
    det, rec, cls = read_artifact(tmp_path / "out").models
    assert [entry.decides for entry in (det, rec, cls)] == ["regions", "text", "rows"]
    found = arrays(tmp_path / "out" / str(det.golden))[f"{GOLDEN_OUTPUT}y"]
    assert decided_otherwise(found, found, "regions", tolerance=det.tolerance) == 0.0
    for line in range(4):
        lost = found.copy()
        lost[:, :, 48 * line : 48 * line + 48] = 0.0
        assert decided_otherwise(lost, found, "regions", tolerance=det.tolerance) > det.flips
    steep = np.clip(found + np.where(found > 0.5, -0.6, 0.25), 0, 1)  # all lines there, no value as it was
    assert decided_otherwise(steep, found, "regions", tolerance=det.tolerance) < det.flips
    read = arrays(tmp_path / "out" / str(rec.golden))[f"{GOLDEN_OUTPUT}y"]
    misread = read.copy()
    step = int(read[0, :, 1].argmax())
    misread[0, step] = 0.0
    misread[0, step, 2] = 1.0
    assert decided_otherwise(misread, read, "text", tolerance=rec.tolerance) > rec.flips


def test_calibration_sees_what_serving_feeds(models: Path, pages: Path):
    feeds = record_feeds(load_ocr(read_ocr_models(models), "openvino"), read_pictures(pages).images[:1])
    assert feeds["det"][0]["x"].shape == (1, 3, 320, 480)  # 288 x 384 in the least room that holds it
    for stage in ("cls", "rec"):  # three lines, and a batch may have room for more, which stays empty
        assert sum(feed["x"].any(axis=(1, 2, 3)).sum() for feed in feeds[stage]) == 3


def test_a_few_damaged_pictures_are_counted_and_left_out(tmp_path: Path):
    directory = draw(tmp_path / "pages", 10)
    (directory / "zz.jpg").write_bytes(b"no picture")
    pictures = read_pictures(directory)
    assert (len(pictures.images), pictures.damaged) == (10, ("zz.jpg",))


def test_damaged_pictures_are_named_in_the_result_and_in_the_report(models: Path, tmp_path: Path):
    directory = draw(tmp_path / "pages", 10)
    (directory / "zz.jpg").write_bytes(b"no picture")
    report = compress_ocr(models, directory, None, profile(int8=False), tmp_path / "out")
    assert report["pictures"] == {"calibration": 10, "damaged": ["zz.jpg"], "evaluation": 10}
    assert report["notes"] == [f"1 of 11 pictures in {directory} could not be decoded and were left out: zz.jpg."]
    assert report["notes"][0] in (tmp_path / "out" / "report.md").read_text()


def test_pictures_without_text_calibrate_nothing_and_are_refused(models: Path, tmp_path: Path):
    directory = tmp_path / "white"
    directory.mkdir()
    cv2.imwrite(str(directory / "white.png"), np.full((288, 400, 3), 255, np.uint8))
    with pytest.raises(CalibrationError, match="no line of text"):
        compress_ocr(models, directory, None, profile(), tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["white"]


def test_an_earlier_artifact_stays_when_the_disk_fills_up(
    models: Path, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    compress_ocr(models, pages, None, profile(int8=False), out)
    before = {each.relative_to(out): each.read_bytes() for each in out.rglob("*") if each.is_file()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("compress.ocr_artifact.np.savez_compressed", full)
    with pytest.raises(ArtifactError, match="disk is full"):
        compress_ocr(models, pages, None, profile(int8=False), out)
    assert {each.relative_to(out): each.read_bytes() for each in out.rglob("*") if each.is_file()} == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "pages"]


def on_paddle() -> Profile:
    base = profile()
    return base.model_copy(update={"serve": base.serve.model_copy(update={"backends": ("paddle",)})})


def test_paddles_new_format_is_served_as_it_is_in_fp32(pages: Path, tmp_path: Path):
    models = paddle_nets.save_ocr(tmp_path / "models", pir=True)
    report = compress_ocr(models, pages, pages / "Label.txt", on_paddle(), tmp_path / "out")
    assert [(row["variant"], row["chosen"]) for row in report["rows"]] == [("fp32", True)] * 3
    assert all("inference.json, so INT8 was not tried" in row["verdict"] for row in report["rows"])
    assert (tmp_path / "out" / "det" / "inference.json").is_file()
    pipeline = load_ocr(read_ocr_models(tmp_path / "out"), "paddle")
    assert [line.text for line in pipeline.read(load_image((pages / "0.png").read_bytes()))] == ["A"] * 3
    with pytest.raises(CompressionError, match=r"inference\.json .* paddle2onnx") as caught:
        compress_ocr(models, pages, None, profile(), tmp_path / "other")
    assert "first backend is paddle" in caught.value.remedy
    weights = models / "rec" / "inference.pdiparams"
    weights.write_bytes((models / "det" / "inference.pdiparams").read_bytes())
    with pytest.raises(ModelError, match=r"rec/inference\.pdiparams does not belong"):
        compress_ocr(models, pages, None, on_paddle(), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_models_that_the_backend_cannot_serve_are_refused_before_any_work(models: Path, pages: Path, tmp_path: Path):
    with pytest.raises(BackendUnsupportedError, match="det holds an ONNX model") as caught:
        compress_ocr(models, pages, None, on_paddle(), tmp_path / "out")
    assert "openvino" in caught.value.remedy


def test_an_int8_artifact_is_not_compressed_again(models: Path, pages: Path, tmp_path: Path):
    compress_ocr(models, pages, None, profile(int8=False), tmp_path / "out")
    artifact = tmp_path / "out" / "artifact.json"
    artifact.write_text(artifact.read_text().replace('"fp32"', '"int8"'))
    with pytest.raises(CompressionError, match="is int8 already"):
        compress_ocr(tmp_path / "out", pages, None, profile(), tmp_path / "again")


def test_many_damaged_pictures_are_refused_and_nothing_is_written(models: Path, pages: Path, tmp_path: Path):
    (pages / "broken.jpg").write_bytes((pages / "0.png").read_bytes()[:200])
    with pytest.raises(CalibrationError, match=r"1 of 4 calibration pictures .* broken\.jpg"):
        compress_ocr(models, pages, None, profile(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_directory_without_pictures_is_refused(tmp_path: Path):
    with pytest.raises(CalibrationError, match="holds no pictures"):
        read_pictures(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0.png [] \n", "no TAB"),
        ("0.png\t[{]\n", "line 1"),
        ('0.png\t[{"points": [[0, 0], [1, 0], [1, 1], [0, 1]]}]\n', "transcription"),
        ('0.png\t[{"points": [[0, 0], [1, 0]], "transcription": "A"}]\n', "four or more"),
        ('gone.png\t[{"points": [[0, 0], [1, 0], [1, 1], [0, 1]], "transcription": "A"}]\n', "gone.png"),
        ("0.png\t[]\n", "no line of text"),
        ("", "no line of text"),
    ],
)
def test_truth_that_cannot_be_used_is_refused_by_line(pages: Path, rows: str, message: str):
    (pages / "Label.txt").write_text(rows)
    with pytest.raises(DataError, match=message):
        read_truth(pages / "Label.txt")


def test_truth_may_name_its_directory_and_mark_regions_to_ignore(pages: Path):
    square = "[[0, 0], [9, 0], [9, 9], [0, 9]]"
    (pages / "Label.txt").write_text(
        f'pages/0.png\t[{{"points": {square}, "transcription": "a b"}}, '
        f'{{"points": {square}, "transcription": "###"}}]\n'
    )
    (page,) = read_truth(pages / "Label.txt")
    assert page.texts == ("ab",)
    assert (len(page.polygons), len(page.ignored)) == (1, 1)
