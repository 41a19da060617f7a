"""The receipt holds the contract's keys, goes through JSON unchanged, and can be read on a terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from edge.receipt import Receipt, now, render

BOX = [[0.0, 0.0], [9.0, 0.0], [9.0, 5.0], [0.0, 5.0]]
VALID: dict[str, Any] = {
    "application_id": "T-[bold]1",
    "time": "2026-11-21T10:00:00+08:00",
    "device_id": "kiosk-1",
    "profile": "cpu",
    "bundle": {"name": "demo", "version": "1", "sha256": "a" * 64},
    "score": 37,
    "risk_level": "medium",
    "decision": "review",
    "reasons": [
        {
            "code": "text_risk",
            "text": "用途说明：借新还旧",
            "contribution": 25,
            "evidence": [{"text": "借新还旧 0.93", "code": "debt_rollover", "phrase": {"start": 3, "end": 9}}],
        },
        {
            "code": "document_problems",
            "text": "材料有 1 处问题",
            "contribution": 12,
            "evidence": [
                {"text": "[red]x", "code": "balance_mismatch", "file": "s.pdf", "page": 0, "box": BOX, "rows": [0, 3]}
            ],
        },
    ],
    "documents": [
        {
            "kind": "bank_statement",
            "file": "s.pdf",
            "fields": {
                "bank": {"value": "样例银行", "confidence": 1.0, "box": BOX, "page": 1},
                "rows": {"value": [{"date": "2026-01-01", "amount": None}] * 5, "confidence": 0.9, "box": BOX},
            },
            "problems": [
                {"code": "balance_mismatch", "text": "第 2 行的余额对不上", "field": "rows", "rows": [1], "page": 1},
                {"code": "unreadable", "text": "未能读出文字", "field": None},
            ],
        }
    ],
    "text_risk": {"labels": {"normal": 0.05, "debt_rollover": 0.93}},
    "behaviour": {"probability": None, "top_transactions": []},
    "models": [{"name": "ocr-det", "sha256": "b" * 64, "backend": "openvino", "precision": "int8"}],
    "offline": {"since": None, "authority": "full"},
    "timings_ms": {"ocr": 812.5},
}


def test_the_keys_are_the_contracts() -> None:
    document = json.loads(Receipt.model_validate(VALID).to_json())
    assert list(document) == [
        "decision_id", "application_id", "time", "device_id", "profile", "bundle", "score", "risk_level", "decision",
        "reasons", "documents", "text_risk", "behaviour", "models", "offline", "timings_ms",
    ]  # fmt: skip
    assert {key: document[key] for key in VALID} == VALID


def test_a_receipt_goes_through_json_unchanged() -> None:
    receipt = Receipt.model_validate(VALID)
    assert Receipt.model_validate_json(receipt.to_json()) == receipt
    assert "借新还旧" in receipt.to_json()


def test_every_receipt_has_an_id_of_its_own() -> None:
    first, second = Receipt.model_validate(VALID), Receipt.model_validate(VALID)
    assert first.decision_id != second.decision_id
    assert first.decision_id.version == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("time", "2026-11-21T10:00:00"),
        ("score", 101),
        ("decision", "refuse"),
        ("extra", 1),
        ("text_risk", {"labels": {"normal": float("nan")}}),
    ],
)
def test_what_the_contract_does_not_allow_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        Receipt.model_validate(VALID | {key: value})


def test_the_time_of_a_receipt_has_a_zone() -> None:
    assert abs((now() - datetime.now(UTC)).total_seconds()) < 5
    assert now().tzinfo is not None


def test_a_clerk_can_read_it() -> None:
    console = Console(width=160, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(render(Receipt.model_validate(VALID)))
    shown = capture.get()
    for text in (
        "转人工复核", "37/100", "中风险", "借新还旧", "text_risk", "25", "银行流水", "样例银行", "共 5 行",
        "第 2 行的余额对不上", "balance_mismatch", "未评估", "ocr-det", "int8", "T-[bold]1", "[red]x",
    ):  # fmt: skip
        assert text in shown
