"""The report says what was measured, with what, and on what."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from compress.report import Limits, Row, fingerprint, write_report
from runtime.images import load_image

ROWS = [
    Row("ocr-rec", "fp32", "cer", 0.002, False, 12.5, 10_800_000, "openvino", "The reference."),
    Row("ocr-rec", "int8", "cer", 0.003, False, 7.25, 3_500_000, "openvino", "0.0010 worse.", chosen=True),
]


def test_rows_come_back_whole_with_the_machine_and_versions(tmp_path: Path):
    write_report(tmp_path, ROWS, seed=7, data_fingerprints={"truth": "ab12"}, command="edgekit compress ocr")
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document["rows"] == json.loads(json.dumps([asdict(row) for row in ROWS]))
    assert document["seed"] == 7
    assert document["data"] == {"truth": "ab12"}
    assert document["command"] == "edgekit compress ocr"
    assert document["machine"]["cpu"]
    assert {"python", "numpy", "openvino"} <= document["versions"].keys()


def test_the_table_tells_the_direction_and_what_was_chosen(tmp_path: Path):
    write_report(tmp_path, ROWS, seed=0, data_fingerprints={}, command="x")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| ocr-rec | fp32 | cer (lower is better) | 0.0020 | 12.5 | 10.80 | openvino |  |" in text
    assert "| ocr-rec | int8 | cer (lower is better) | 0.0030 | 7.2 | 3.50 | openvino | yes |" in text
    assert "- ocr-rec int8: 0.0010 worse." in text


def test_the_picture_is_one_and_reports_without_rows_are_allowed(tmp_path: Path):
    write_report(tmp_path, ROWS, seed=0, data_fingerprints={}, command="x")
    height, width, _ = load_image((tmp_path / "report.png").read_bytes()).shape
    assert width > height > 100
    write_report(tmp_path, [], seed=0, data_fingerprints={}, command="x")


def test_two_metrics_of_one_model_do_not_share_an_axis(tmp_path: Path):
    write_report(tmp_path, ROWS, seed=0, data_fingerprints={}, command="x")
    alone = load_image((tmp_path / "report.png").read_bytes()).shape[1]
    both = [*ROWS, *(replace(row, metric="lines read right", higher_is_better=True) for row in ROWS)]
    write_report(tmp_path, both, seed=0, data_fingerprints={}, command="x")
    assert load_image((tmp_path / "report.png").read_bytes()).shape[1] > 1.5 * alone


def test_limits_notes_and_layers_left_in_fp32_are_said(tmp_path: Path):
    rows = [ROWS[0], replace(ROWS[1], interval=(0.001, 0.006), fp32_layers=("conv_3", "conv_9"))]
    limits = {"ocr-rec": Limits(0.012, 20.0)}
    write_report(
        tmp_path, rows, seed=0, data_fingerprints={}, command="x", limits=limits, notes=["2 texts were left out."]
    )
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document["limits"] == {"ocr-rec": {"value": 0.012, "latency_ms": 20.0}}
    assert document["rows"][1]["interval"] == [0.001, 0.006]
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "- ocr-rec int8: 0.0010 worse. FP32 in it: conv_3, conv_9." in text
    assert "- 2 texts were left out." in text


def test_labels_stand_side_by_side(tmp_path: Path):
    rows = [
        replace(ROWS[0], variant="teacher fp32", by_label={"debt": 0.9, "vague": 0.8}),
        replace(ROWS[1], variant="student fp32", by_label={"debt": 0.1}, chosen=False),
        replace(ROWS[1], variant="student int8", by_label={"debt": 0.7}),
    ]
    write_report(tmp_path, rows, seed=0, data_fingerprints={}, command="x")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| label | teacher fp32 | student int8 |" in text
    assert "| debt | 0.9000 | 0.7000 |" in text
    assert "| vague | 0.8000 |  |" in text


def test_a_fingerprint_changes_with_a_byte_or_a_name(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("one")
    first = fingerprint(tmp_path / "a")
    assert fingerprint(tmp_path / "a") == first
    (tmp_path / "a" / "x.txt").write_text("two")
    second = fingerprint(tmp_path / "a")
    (tmp_path / "a" / "x.txt").rename(tmp_path / "a" / "y.txt")
    assert len({first, second, fingerprint(tmp_path / "a")}) == 3
