"""Deciding: lease, score, authority, journal, in this order."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from devices.errors import ClientGoneError, JournalError, RecordErasedError, RequestError, StoppedError
from edge.decide import Desk, before_authority
from edge.pipeline import Scored
from edge.receipt import Receipt
from runtime.budget import Budget
from tests.edge.desks import BEGIN, BUNDLE, Scores, Wall, hesitating, open_desk, submission


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def scores() -> Scores:
    return Scores()


@pytest.fixture
def desk(wall: Wall, scores: Scores) -> Iterator[Desk]:
    made = open_desk(wall, scores)
    yield made
    made.journal.close()


def test_a_decision_is_in_the_journal_with_what_it_rests_on_before_it_is_answered(desk: Desk) -> None:
    sent = submission()
    decided = desk.decide(sent)
    entry = desk.journal.decision(str(decided.receipt.decision_id))
    assert entry.hash == decided.entry.hash
    assert entry.body["decision"] == "pass"
    assert entry.body["amount"] == 1000
    assert entry.body["reasons"] == [{"code": "text_risk", "contribution": 5}]
    assert desk.journal.record(entry, "application") == sent.raw
    assert desk.journal.record(entry, "document/0") == sent.files["id.png"]
    kept = Receipt.model_validate_json(desk.journal.record(entry, "receipt"))
    assert kept == decided.receipt
    assert kept.offline.journal is None
    assert decided.answered().offline.journal == entry.code
    assert decided.answered().model_copy(update={"offline": kept.offline}) == kept


def test_the_entry_itself_names_nobody(desk: Desk) -> None:
    number = "A-张三-1"
    entry = desk.decide(submission(number)).entry
    said = entry.raw.decode()
    for personal in (number, "示例甲", "999999199003070012", "装修", "id.png"):
        assert personal not in said
    assert entry.body["application"] == desk.journal.keys.pseudonym(number)


def test_a_receipt_says_under_which_authority_and_as_of_the_devices_clock(desk: Desk, wall: Wall) -> None:
    receipt = desk.decide(submission()).receipt
    assert (receipt.offline.since, receipt.offline.authority) == (
        BEGIN,
        "full",
    )  # never in contact: since the beginning
    assert receipt.time == BEGIN
    desk.journal.append("contact", {})
    assert desk.decide(submission()).receipt.offline.since is None
    wall.wait(hours=30)
    offline = desk.decide(submission()).receipt.offline
    assert (offline.since, offline.authority) == (BEGIN, "reduced")


def test_what_the_device_may_not_pass_goes_to_a_person_with_the_reason(desk: Desk, wall: Wall) -> None:
    wall.wait(hours=30)
    assert desk.decide(submission(amount=10_000)).receipt.decision == "pass"
    receipt = desk.decide(submission(amount=10_001)).receipt
    assert (receipt.decision, receipt.score, receipt.risk_level) == ("review", 5, "low")
    assert [reason.code for reason in receipt.reasons] == ["text_risk", "offline_authority"]
    assert receipt.reasons[1].text == "离线期间的审批权限：已 1.2 天未联系总行，且金额超过 10,000 元，须由人工决定"
    assert sum(reason.contribution for reason in receipt.reasons) == receipt.score
    assert before_authority(receipt).decision == "pass"
    assert [reason.code for reason in before_authority(receipt).reasons] == ["text_risk"]


def test_what_goes_to_a_person_anyway_needs_no_further_reason(desk: Desk, wall: Wall, scores: Scores) -> None:
    wall.wait(hours=100)
    scores.next = 60
    receipt = desk.decide(submission(amount=1e6)).receipt
    assert receipt.offline.authority == "review_only"
    assert [reason.code for reason in receipt.reasons] == ["text_risk"]
    assert before_authority(receipt).decision == "review"


def test_sums_shrink_authority_and_only_what_passed_counts(desk: Desk, scores: Scores) -> None:
    scores.next = 60
    desk.decide(submission(amount=1e9))
    scores.next = 5
    said = [desk.decide(submission(amount=60_000)).receipt.offline.authority for _ in range(3)]
    assert said == ["full", "reduced", "reduced"]
    assert [desk.decide(submission(amount=10_000)).receipt.decision for _ in range(5)] == ["pass"] * 5
    # 110,000 passed; 40,000 more may in amounts of up to 10,000
    said = [desk.decide(submission(amount=10_000)).receipt.offline.authority for _ in range(5)]
    assert said == ["reduced"] * 4 + ["review_only"]


def test_a_lease_that_ran_out_scores_nothing_until_the_next_contact(desk: Desk, wall: Wall, scores: Scores) -> None:
    wall.wait(days=10.5)
    head = desk.journal.head().seq
    with pytest.raises(StoppedError, match=r"10\.5 days ago, and the bank lets it decide for 10 days"):
        desk.decide(submission())
    assert scores.calls == 0
    assert desk.journal.head().seq == head
    desk.journal.append("contact", {})
    assert desk.decide(submission()).receipt.offline.authority == "full"


def test_a_lease_that_runs_out_while_it_is_scored_gives_nothing_out(
    desk: Desk, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = scores.score

    def slowly(*arguments: Any, **named: Any) -> Scored:
        desk.journal.append("revocation", {"authority": "stopped"})
        return scored(*arguments, **named)

    monkeypatch.setattr(scores, "score", slowly)
    with pytest.raises(StoppedError, match="Headquarters has withdrawn"):
        desk.decide(submission())
    assert list(desk.journal.entries(kinds=["decision"])) == []


def test_a_device_that_headquarters_stopped_says_so(desk: Desk) -> None:
    desk.journal.append("revocation", {"authority": "stopped"})
    with pytest.raises(StoppedError, match="Headquarters has withdrawn"):
        desk.decide(submission())


def test_a_clock_in_2099_stops_and_says_so_and_setting_it_right_makes_it_right(desk: Desk, wall: Wall) -> None:
    wall.time = wall.time.replace(year=2099)
    with pytest.raises(StoppedError, match="clock says 2099"):
        desk.decide(submission())
    wall.time = BEGIN
    assert desk.decide(submission()).receipt.offline.authority == "full"


@pytest.mark.parametrize("year", [1970, 2020, 2026])
def test_a_clock_set_back_wins_no_time_not_even_with_its_file_removed(wall: Wall, year: int) -> None:
    desk = open_desk(wall)
    wall.wait(hours=71)
    assert desk.decide(submission()).receipt.offline.authority == "reduced"
    desk.journal.close()
    wall.time = BEGIN.replace(year=year)
    again = open_desk(wall, clock=wall.clock())  # a new process: nothing of the floor is left but the journal
    assert again.decide(submission()).receipt.offline.authority == "reduced"
    wall.boot_s += 2 * 3600
    assert again.decide(submission()).receipt.offline.authority == "review_only"
    again.journal.close()


def test_a_journal_that_cannot_be_written_answers_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.lease().passed
    desk.journal._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalError):
        desk.decide(submission())
    desk.journal._connection.execute("PRAGMA query_only = OFF")
    assert desk.lease().passed == before


def test_a_client_that_left_while_it_was_scored_leaves_no_entry(desk: Desk, scores: Scores) -> None:
    head = desk.journal.head().seq
    with pytest.raises(ClientGoneError):
        desk.decide(submission(), Budget(client_gone=lambda: scores.calls == 1))
    assert desk.journal.head().seq == head


def test_a_request_that_is_sent_again_is_decided_once(desk: Desk, scores: Scores) -> None:
    first = desk.decide(submission(), key="one-and-the-same")
    again = desk.decide(submission(), key="one-and-the-same")
    assert again == first
    assert scores.calls == 1
    assert desk.lease().passed == 1000
    assert desk.decide(submission(), key="another-request").entry.seq == first.entry.seq + 1
    assert desk.decide(submission()).entry.seq == first.entry.seq + 2


def test_it_is_remembered_over_a_restart_and_when_the_lease_ran_out(desk: Desk, wall: Wall) -> None:
    first = desk.decide(submission(), key="one-and-the-same")
    desk.journal.close()
    wall.wait(days=11)
    assert open_desk(wall).decide(submission(), key="one-and-the-same") == first


def test_a_request_that_is_sent_twice_at_once_is_decided_once(desk: Desk) -> None:
    hesitating(desk)
    with ThreadPoolExecutor(4) as pool:
        decided = list(pool.map(lambda _: desk.decide(submission(), key="one-and-the-same"), range(8)))
    assert len({each.receipt.decision_id for each in decided}) == 1
    assert len(list(desk.journal.entries(kinds=["decision"]))) == 1


def test_a_key_is_one_application_s_and_what_was_erased_under_it_stays_erased(desk: Desk, scores: Scores) -> None:
    first = desk.decide(submission(), key="one-and-the-same")
    with pytest.raises(RequestError, match="another application"):
        desk.decide(submission("T-2"), key="one-and-the-same")
    desk.journal.erase(str(first.receipt.decision_id), why="request")
    with pytest.raises(RecordErasedError):
        desk.decide(submission(), key="one-and-the-same")
    assert scores.calls == 1


def test_keys_are_forgotten_after_ten_thousand_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.ledger._SENT", 2)
    first = desk.decide(submission(), key="the first of all")
    for number in range(2):
        desk.decide(submission(), key=f"another, {number}")
    assert desk.decide(submission(), key="another, 1").entry.seq == first.entry.seq + 2
    assert desk.decide(submission(), key="the first of all").entry.seq == first.entry.seq + 3


def test_threads_cannot_pass_more_together_than_the_lease_allows(desk: Desk) -> None:
    hesitating(desk)
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: desk.decide(submission(amount=9000)).receipt, range(40)))
    assert sum(9000 for each in receipts if each.decision == "pass") == 16 * 9000  # of 150,000
    assert desk.lease().passed == 16 * 9000


def decide_many(count: int) -> None:
    desk = hesitating(open_desk(Wall()))
    for _ in range(count):
        desk.decide(submission(amount=9000))


def test_nor_can_processes(own_state: Path) -> None:
    open_desk(Wall()).journal.close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=decide_many, args=(12,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)  # a busy machine takes long to start them
        assert worker.exitcode == 0
    assert open_desk(Wall()).lease().passed == 16 * 9000


def test_the_bundle_that_serves_is_written_down_once(desk: Desk) -> None:
    desk.serve()
    desk.serve()
    (entry,) = desk.journal.entries(kinds=["policy"])
    assert entry.body["bundle"]["sha256"] == "a" * 64


def test_a_decision_in_the_entry_can_be_read_back_as_json(desk: Desk) -> None:
    entry = desk.decide(submission()).entry
    assert json.loads(entry.raw)["body"]["models"] == [
        {"name": "ocr-det", "sha256": "b" * 64, "backend": "openvino", "precision": "int8"}
    ]


def test_a_clock_that_is_set_is_journaled_once_before_the_next_decision(desk: Desk, wall: Wall) -> None:
    desk.decide(submission())
    wall.wait(hours=2)
    wall.time -= timedelta(days=3)
    desk.decide(submission())
    desk.decide(submission())
    (entry,) = desk.journal.entries(kinds=["clock"])
    assert entry.body == {
        "expected": "2026-11-24T10:00:00+00:00",
        "clock": "2026-11-21T10:00:00+00:00",
        "moved_s": -259200,
    }
    assert [each.kind for each in desk.journal.entries(after=entry.seq)] == ["decision", "decision"]
    wall.time += timedelta(days=3)
    desk.decide(submission())
    wall.time += timedelta(minutes=4)  # a network's correction
    desk.decide(submission())
    assert [each.body["moved_s"] for each in desk.journal.entries(kinds=["clock"])] == [-259200, 259200]


def test_a_clock_that_stays_wrong_is_not_said_again_at_each_start(wall: Wall) -> None:
    desk = open_desk(wall)
    wall.wait(hours=2)
    desk.journal.append("contact", {})  # the journal has seen this time, and clock.json is gone
    wall.time -= timedelta(days=3)
    for _ in range(2):
        again = open_desk(wall)
        again.serve()
        again.journal.close()
        wall.wait(minutes=1)
    assert [each.body["moved_s"] for each in desk.journal.entries(kinds=["clock"])] == [-259200]
    desk.journal.close()


def test_every_decision_follows_the_entry_that_names_its_bundle(wall: Wall) -> None:
    one, other = open_desk(wall), open_desk(wall)
    other._bundle = BUNDLE.model_copy(update={"sha256": "c" * 64})
    for desk in (one, other, other, one):
        desk.decide(submission())
    said = [
        entry.body["bundle"]["sha256"][0] if entry.kind == "policy" else entry.kind
        for entry in one.journal.entries(after=1)
    ]
    assert said == ["a", "decision", "c", "decision", "decision", "a", "decision"]
    assert [one.ledger.needs_bundle(each * 64) for each in "acd"] == [True, True, True]
    for entry in one.journal.entries(kinds=["decision"]):
        if entry.seq in (5, 6):
            one.journal.erase(str(entry.body["decision_id"]), why="request")
    assert [one.ledger.needs_bundle(each * 64) for each in "acd"] == [True, False, True]  # of d nobody knows
    for desk in (one, other):
        desk.journal.close()
