"""Headquarters' second opinion: compared once, told where it differs, reported."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from devices.errors import CollectorError, MessageError
from edge.application import Submission
from edge.collector.reconcile import Rescored, Summary, read_rescored, reconcile, rescore
from edge.collector.report import make_report
from tests.edge.branches import Branch, Headquarters
from tests.edge.desks import application, picture


def said(number: int, level: str = "low", decision: str = "pass", model: str = "big") -> Rescored:
    return Rescored(f"D-{number}", 70, level, decision, model)


def test_only_what_differs_goes_down_and_each_once(branch: Branch, headquarters: Headquarters) -> None:
    for number in range(3):
        branch.decide(number)
    branch.session().run()
    opinions = [said(0), said(1, "high", "review"), said(2, "medium")]
    assert reconcile(headquarters.store, opinions) == Summary(agree=1, disagree=2)
    assert reconcile(headquarters.store, opinions) == Summary(known=3)
    assert branch.session().run().notes == 2
    notes = [entry.body for entry in branch.journal.entries(kinds=("disagreement",))]
    assert [(body["decision_id"], body["level"], body["model"]) for body in notes] == [
        ("D-1", "high", "big"),
        ("D-2", "medium", "big"),
    ]
    assert reconcile(headquarters.store, [said(1, model="bigger")]) == Summary(agree=1)
    branch.session().run()
    report = make_report(headquarters.store)
    assert (report["compared"], report["agree"]) == (4, 2)
    assert all(each["fetched"] for each in report["disagreements"])


def test_a_case_that_went_to_a_person_for_lack_of_authority_only_is_no_disagreement(
    branch: Branch, headquarters: Headquarters
) -> None:
    body = {"decision_id": "D-1", "score": 1, "level": "low", "decision": "review", "amount": 1}
    branch.journal.append("decision", body | {"reasons": [{"code": "offline_authority", "contribution": 0}]})
    branch.session().run()
    assert reconcile(headquarters.store, [said(1)]) == Summary(agree=1)


def test_papers_are_opened_scored_as_of_then_and_left_out_where_they_are_not_whole(
    branch: Branch, headquarters: Headquarters
) -> None:
    named = [{"kind": "id_card", "file": "id.png"}] * 2  # it is kept, and goes up, once
    raw, paper = json.dumps(application(documents=named)).encode(), picture()
    whole = branch.decide(1, papers={"receipt": b"{}", "application": raw, "document/0": paper})
    branch.decide(2, papers={"receipt": b"{}", "application": raw, "document/0": paper})
    branch.decide(3, papers={"receipt": b"{}", "application": raw})
    branch.journal.erase("D-2", why="asked for")
    branch.session(papers="all").run()
    seen: list[tuple[Submission, datetime]] = []

    def score(submission: Submission, moment: datetime) -> tuple[int, str, str]:
        seen.append((submission, moment))
        return 90, "high", "review"

    opinions = rescore(headquarters.store, headquarters.sealing, score, "big")
    assert reconcile(headquarters.store, opinions) == Summary(disagree=1, left_out=2)
    assert [(submission.raw, submission.files["id.png"], moment) for submission, moment in seen] == [
        (raw, paper, whole.time)
    ]
    assert list(rescore(headquarters.store, headquarters.sealing, score, "big")) == [None, None]


def test_papers_do_not_open_with_another_key(branch: Branch, headquarters: Headquarters) -> None:
    branch.decide(1, papers={"application": b"{}"})
    branch.session().run()
    with pytest.raises(MessageError, match="cannot be opened"):
        list(rescore(headquarters.store, X25519PrivateKey.generate(), lambda *_: (1, "low", "pass"), "big"))


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '"text"',
        '{"decision_id": "D"}',
        json.dumps(vars(said(1)) | {"level": "severe"}),
        json.dumps(vars(said(1)) | {"score": 101}),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rescored.jsonl"
    path.write_text(json.dumps(vars(said(1))) + "\n" + line + "\n")
    with pytest.raises(CollectorError, match="line 2"):
        list(read_rescored(path))


def test_a_decision_that_never_arrived_is_said(headquarters: Headquarters) -> None:
    with pytest.raises(CollectorError, match="D-1"):
        reconcile(headquarters.store, [said(1)])


def test_the_report_names_who_is_silent_what_lacks_and_every_alarm(branch: Branch, headquarters: Headquarters) -> None:
    for number in range(4):
        branch.decide(number)
    branch.session().run()
    headquarters.store._do("DELETE FROM entries WHERE seq = 3")
    alarm = (branch.device, "fork", 9, "ab" * 32, "why", b"", "2026-11-24T08:00:00.000+00:00")
    headquarters.store._do("INSERT INTO alarms VALUES (?, ?, ?, ?, ?, ?, ?)", *alarm)
    report = make_report(headquarters.store)
    assert [(each["name"], each["head"], each["entries"], each["missing"]) for each in report["devices"]] == [
        ("branch-7", 6, 5, 1)
    ]
    assert [(each["kind"], each["seq"]) for each in report["alarms"]] == [("fork", 9)]
