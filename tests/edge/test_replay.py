"""A decision scored again: what is compared, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from devices.errors import DecisionNotFoundError, ReplayError
from edge.application import Submission
from edge.decide import Desk
from edge.receipt import Model, Receipt
from edge.replay import compare, replay, stored
from tests.edge.desks import BEGIN, MODEL, Scores, Wall, open_desk, picture, submission


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def desk(wall: Wall) -> Iterator[Desk]:
    made = open_desk(wall)
    yield made
    made.journal.close()


def again(score: int) -> Receipt:
    return Scores(score).score(submission(), moment=BEGIN).receipt


def test_a_decision_is_scored_again_from_what_the_journal_holds_as_of_its_own_moment(desk: Desk, wall: Wall) -> None:
    first = desk.decide(submission(files={"id.png": picture((50, 60))})).receipt
    wall.wait(days=3)
    seen: list[tuple[Submission, datetime]] = []

    def score(application: Submission, moment: datetime) -> Receipt:
        seen.append((application, moment))
        return again(5)

    decision = stored(desk.journal, str(first.decision_id))
    assert replay(decision, score, {}).identical
    assert seen == [(submission(files={"id.png": picture((50, 60))}), BEGIN)]
    assert desk.journal.head().seq == decision.entry.seq  # nothing is journaled


def test_a_decision_that_only_authority_sent_to_a_person_is_identical(desk: Desk, wall: Wall) -> None:
    wall.wait(days=5)
    receipt = desk.decide(submission()).receipt
    assert receipt.decision == "review"
    assert replay(stored(desk.journal, str(receipt.decision_id)), lambda *_: again(5), {}).identical


def test_what_differs_is_named_with_both_values() -> None:
    found = compare(again(5), again(30), {}, {})
    assert [str(each) for each in found.differences] == [
        "score: 5 -> 30", 'risk_level: "low" -> "medium"', 'decision: "pass" -> "review"',
        "reasons[0].contribution: 5 -> 30",
    ]  # fmt: skip
    assert not found.same_outcome
    labels = again(5).text_risk.model_copy(update={"labels": {"normal": 0.9000001}})
    found = compare(again(5), again(5).model_copy(update={"text_risk": labels}), {}, {})
    assert [each.place for each in found.differences] == ["text_risk.labels.normal"]
    assert found.same_outcome
    assert not found.identical


def test_ids_times_and_timings_are_not_compared() -> None:
    changed = {"time": BEGIN + timedelta(days=1), "timings_ms": {"total": 9.0}, "device_id": "other"}
    assert compare(again(5), again(5).model_copy(update=changed), {}, {}).identical


def test_what_the_machines_did_differently_is_said() -> None:
    other = MODEL.model_copy(update={"backend": "onnxruntime", "precision": "fp32"})
    extra = Model(name="ocr-cls", sha256="c" * 64, backend="openvino", precision="int8")
    receipt = again(5).model_copy(update={"models": [other, extra]})
    found = compare(again(5), receipt, {"cpu": "A", "kit": "1"}, {"cpu": "B", "kit": "1"})
    assert found.identical
    assert found.causes == (
        "The model ocr-cls is in one of the two only.",
        "The backend of ocr-det was openvino and is onnxruntime.",
        "The precision of ocr-det was int8 and is fp32.",
        "The processor was A and is B.",
    )


def test_a_receipt_of_another_version_of_the_kit_is_said(desk: Desk) -> None:
    body = {"decision_id": "old", "machine": {"kit": "0.1"}}
    sent = submission()
    records = {"receipt": b'{"score": 3}', "application": sent.raw, "document/0": sent.files["id.png"]}
    desk.journal.append("decision", body | {"decision": "review", "amount": 1.0}, records=records)
    with pytest.raises(ReplayError, match=r"another version of the kit \(0\.1\)"):
        stored(desk.journal, "old")


def test_what_was_erased_cannot_be_scored_again(desk: Desk) -> None:
    decision = str(desk.decide(submission()).receipt.decision_id)
    desk.journal.erase(decision, why="asked for")
    with pytest.raises(ReplayError, match="erased"):
        stored(desk.journal, decision)
    with pytest.raises(DecisionNotFoundError):
        stored(desk.journal, "none")
