"""A note of headquarters is journaled as it is meant, or refused in a sentence; the thread that sends goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devices.errors import AcknowledgementError
from edge.journal.entry import canonical
from edge.offline.sync_notes import entry_of_note

NOTE = {"n": 3, "kind": "disagreement", "decision_id": "D-1", "score": 70, "level": "high", "decision": "review"}
RESCORED = NOTE | {"model": "ernie-3.0", "reason": "收入不实"}


def test_a_disagreement_has_its_figures_in_the_chain_and_its_words_in_a_record() -> None:
    kind, body, records = entry_of_note(RESCORED, lambda _: True)
    assert kind == "disagreement"
    assert body == {"note": 3} | {
        name: RESCORED[name] for name in ("decision_id", "score", "level", "decision", "model")
    }
    assert json.loads(records["disagreement"]) == {"reason": "收入不实", "reviewer": "headquarters"}
    assert "收入" not in canonical(body).decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": 101},
        {"score": float("nan")},
        {"score": "示例甲"},
        {"level": "示例甲"},
        {"decision": None},
        {"model": "\ud800"},
        {"reason": "\ud800"},
        {"decision_id": "\ud800"},
        {"kind": "verdict", "verdict": "perhaps"},
        {"kind": "revocation", "authority": "reduced"},
        {"kind": []},
    ],
)
def test_a_note_that_the_chain_cannot_hold_is_refused_with_one_kind_of_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(AcknowledgementError, match="does not know"):
        entry_of_note(RESCORED | wrong, lambda _: True)
