"""The main job as a newcomer meets it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from edge.policy import load_policy
from edge.receipt import Receipt


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_stage_prints_one_numbered_line(demo: Any) -> None:
    for number, name in enumerate(
        ("set-up", "models", "device", "compress", "bundle", "serve", "score", "stop"), start=1
    ):
        assert demo.printed.count(f"{number}/8 {name} ") == 1, name


def test_the_receipt_is_the_contracts_and_carries_the_loans_risk(demo: Any) -> None:
    receipt = Receipt.model_validate(read(demo.out / "receipt.json"))
    assert receipt.application_id == "A-001"
    assert sum(reason.contribution for reason in receipt.reasons) == receipt.score
    assert receipt.text_risk.labels["debt_rollover"] > 0.5  # the purpose says that old loans are repaid with it
    assert receipt.behaviour.probability is not None
    assert (receipt.decision, receipt.risk_level) == ("review", "high")
    assert [each.problems for each in receipt.documents] == [[], [], []]  # papers of this week, whatever year it is
    assert {model.name for model in receipt.models} == {"ocr-det", "ocr-rec", "ocr-cls", "text-risk", "behaviour"}
    assert receipt.bundle.name == "branch-loans"


def test_another_back_end_gives_the_same_score(demo: Any, bundle: Path, edgekit: Path) -> None:
    command = [edgekit, "score", "--bundle", bundle, "--backend", "onnxruntime", "--json", demo.out / "application"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    first, other = Receipt.model_validate(read(demo.out / "receipt.json")), Receipt.model_validate_json(answer.stdout)
    assert {model.backend for model in first.models} != {model.backend for model in other.models}
    steepest = load_policy(bundle / "policy.toml").calibration.steepest
    assert abs(first.score - other.score) <= steepest
    assert (first.risk_level, first.decision) == (other.risk_level, other.decision)


def test_the_sample_papers_are_read_as_they_were_drawn(demo: Any) -> None:
    receipt = read(demo.out / "receipt.json")
    for got, want in zip(receipt["documents"], read(demo.out / "application" / "truth.json")["documents"], strict=True):
        fields = {name: field["value"] for name, field in got["fields"].items()}
        wanted = dict(want["fields"])
        if rows := wanted.pop("rows", None):
            assert fields.pop("rows") == rows
        assert fields == wanted, got["kind"]


def test_pictures_show_each_page_beside_what_was_read(demo: Any) -> None:
    papers = ["bank_statement-1.png", "bank_statement-2.png", "id_card-1.png", "income_proof-1.png"]
    trades = ["compressed-behaviour.png", "compressed-ocr.png", "compressed-text.png"]
    assert sorted(path.name for path in demo.out.glob("*.png")) == sorted(papers + trades)
    for name in papers:
        with Image.open(demo.out / name) as picture:
            assert picture.width > 600


def test_no_process_is_left(demo: Any) -> None:
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(demo.bundle) in " ".join(process.info["cmdline"] or [])
    ]
    assert left == []


def test_the_report_compares_fp32_with_compressed_for_every_model(demo: Any) -> None:
    for part, models in {
        "ocr": {"ocr-det", "ocr-rec", "ocr-cls"},
        "text-risk": {"text-risk"},
        "behaviour": {"behaviour"},
    }.items():
        rows = read(demo.bundle / part / "report.json")["rows"]
        for model in models:
            mine = [row for row in rows if row["model"] == model]
            assert len(mine) >= 2
            assert any(row["chosen"] for row in mine)
            assert all(row["latency_ms"] > 0 and row["size_bytes"] > 0 and row["verdict"] for row in mine)
