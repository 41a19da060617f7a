"""Sessions between the real journal and the real collector, over a line that does what lines do."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from devices.clock import Clock
from devices.errors import AcknowledgementError, SyncError
from edge.journal.database import DATABASE_NAME
from edge.journal.entry import parse
from edge.journal.keys import open_keys
from edge.journal.salvage import salvage
from edge.journal.store import Journal
from edge.offline.sync import Session
from edge.offline.sync_answer import pack_answer
from edge.offline.sync_message import Call, pack_message, unpack_message
from edge.offline.sync_seal import open_record
from tests.edge.branches import START, Branch, Headquarters


def kinds(branch: Branch) -> list[str]:
    return [entry.kind for entry in branch.journal.entries()]


def test_everything_arrives_once_and_is_then_acknowledged(branch: Branch, headquarters: Headquarters) -> None:
    for number in range(30):
        branch.decide(number)
    outcome = branch.session().run()
    assert outcome.sent == 32
    assert sorted(headquarters.entries(branch.device)) == list(range(1, 33))
    assert branch.journal.backlog() == 0
    assert kinds(branch)[-1] == "contact"
    raw, signature = headquarters.store.rows("SELECT raw, signature FROM entries WHERE seq = 5")[0]
    assert parse(raw, signature) == branch.journal.entry(5)


def test_flagged_decisions_go_first(branch: Branch, headquarters: Headquarters) -> None:
    for number in range(20):
        branch.decide(number, decision="review" if number in (7, 19) else "pass")
    branch.session().run()
    assert headquarters.entries(branch.device)[:3] == [9, 21, 1]


def test_papers_go_up_sealed_and_only_as_the_policy_says(branch: Branch, headquarters: Headquarters) -> None:
    big = random.Random(1).randbytes(300_000)
    entry = branch.decide(1, papers={"receipt": "张三".encode(), "document/0": big})
    branch.session(papers="all").run()
    sealed = headquarters.store.sealed(branch.device, entry.seq)
    assert {name: len(parts) for name, parts in sealed.items()} == {"receipt": 1, "document/0": 3}
    where = (headquarters.sealing, branch.device, entry.seq, entry.hash)
    assert open_record(*where, "receipt", sealed["receipt"]) == "张三".encode()
    assert open_record(*where, "document/0", sealed["document/0"]) == big
    second = branch.decide(2, papers={"receipt": b"r", "document/0": big})
    branch.session(papers="decision").run()
    assert set(headquarters.store.sealed(branch.device, second.seq)) == {"receipt"}
    third = branch.decide(3)
    branch.session(sealed_for="").run()
    assert headquarters.store.sealed(branch.device, third.seq) == {}
    assert third.seq in headquarters.entries(branch.device)


def test_papers_that_were_erased_meanwhile_stay_away_and_hold_nothing_up(
    branch: Branch, headquarters: Headquarters
) -> None:
    entry = branch.decide(1)
    branch.journal.erase("D-1", why="asked for")
    assert branch.session().run().sent == 4
    assert headquarters.store.sealed(branch.device, entry.seq) == {}


def test_a_paper_that_a_bad_block_damaged_holds_nothing_up(branch: Branch, headquarters: Headquarters) -> None:
    entry = branch.decide(1)
    with closing(sqlite3.connect(branch.folder / "journal" / DATABASE_NAME, isolation_level=None)) as database:
        database.execute("UPDATE records SET ciphertext = zeroblob(40) WHERE name = 'receipt'")
    assert branch.session().run().sent == 3
    assert set(headquarters.store.sealed(branch.device, entry.seq)) == {"application"}


@pytest.mark.parametrize("fault", ["cut", "cut_on_the_way_back"])
def test_a_cut_line_loses_nothing_and_doubles_nothing(branch: Branch, headquarters: Headquarters, fault: str) -> None:
    for number in range(5):
        branch.decide(number)
    branch.line.fault = getattr(branch.line, fault)
    with pytest.raises(SyncError):
        branch.session().run()
    assert branch.journal.backlog() == 6
    assert kinds(branch).count("contact") == 0
    branch.line.fault = None
    assert branch.session().run().sent == 7
    assert sorted(headquarters.entries(branch.device)) == list(range(1, 8))


def test_a_line_that_is_cut_in_most_calls_still_brings_large_papers_up(
    branch: Branch, headquarters: Headquarters
) -> None:
    draw = random.Random(2)
    paper = draw.randbytes(2_000_000)
    entry = branch.decide(1, papers={"document/0": paper})

    def bad(data: bytes, answer: Any) -> bytes:
        if len(data) > 200_000 or draw.random() < 0.5:
            return branch.line.cut(data, answer)
        return answer(data)  # type: ignore[no-any-return]

    branch.line.fault = bad
    session, sessions = branch.session(papers="all"), 0
    while branch.journal.backlog():
        sessions += 1
        assert sessions < 100
        try:
            session.run()
        except SyncError:
            continue
    sealed = headquarters.store.sealed(branch.device, entry.seq)["document/0"]
    assert open_record(headquarters.sealing, branch.device, entry.seq, entry.hash, "document/0", sealed) == paper


def test_an_answer_signed_by_somebody_else_counts_for_nothing(
    branch: Branch, headquarters: Headquarters, tmp_path: Any
) -> None:
    branch.decide(1)
    other = type(headquarters)(tmp_path / "impostor", headquarters.time)
    branch.line.fault = lambda data, answer: other.answer(data)
    with pytest.raises(AcknowledgementError, match="not signed by headquarters"):
        branch.session().run()
    other.store.close()
    assert branch.journal.backlog() == 2
    assert "contact" not in kinds(branch)


def test_an_old_answer_again_is_no_contact(branch: Branch, headquarters: Headquarters) -> None:
    old: list[bytes] = []

    def keep(data: bytes, answer: Any) -> bytes:
        old.append(answer(data))
        return old[-1]

    branch.line.fault = keep
    branch.session().run()
    contacts = kinds(branch).count("contact")
    branch.time.pass_by(days=1)
    branch.line.fault = lambda data, answer: old[-1]
    with pytest.raises(AcknowledgementError, match="another call"):
        branch.session().run()
    assert kinds(branch).count("contact") == contacts


def told(branch: Branch, headquarters: Headquarters, **said: Any) -> Any:
    """A line on which headquarters' key says this, instead of what the collector would."""

    def answer(data: bytes, _: Any) -> bytes:
        message = unpack_message(data)
        assert message.call is not None
        more: dict[str, Any] = {"held": message.call.pieces, "refused": {}, "wanted": [], "notes": [], "more": False}
        return pack_answer(headquarters.signing, message.device, message.call, time=branch.time(), **(more | said))

    return answer


def test_headquarters_itself_cannot_acknowledge_what_was_not_asked(branch: Branch, headquarters: Headquarters) -> None:
    """A collector that lies, with the right key."""
    branch.decide(1)
    branch.line.fault = told(branch, headquarters, held=[f"2:{'0' * 64}"])
    with pytest.raises(AcknowledgementError, match="did not ask about"):
        branch.session().run()
    assert branch.journal.backlog() == 2


def test_an_entry_is_not_sent_while_a_part_of_its_papers_is_missing(branch: Branch, headquarters: Headquarters) -> None:
    entry = branch.decide(1, papers={"receipt": bytes(300_000)})
    lines = [f"1:{branch.journal.entry(1).hash}", f"2:{entry.hash}", f"2:{entry.hash}:receipt:0"]
    branch.line.fault = told(branch, headquarters, held=lines)
    with pytest.raises(SyncError):
        branch.session().run()
    assert [each.seq for each in branch.journal.unsent(limit=5) if each.kind != "contact"] == [2]


def test_a_note_that_comes_again_is_journaled_once_and_one_that_lacks_is_refused(
    branch: Branch, headquarters: Headquarters
) -> None:
    note = {"n": 1, "kind": "revocation", "authority": "full"}
    branch.line.fault = told(branch, headquarters, notes=[note], more=True)  # which is not true
    branch.session().run()
    assert [entry.body["note"] for entry in branch.journal.entries(kinds=("revocation",))] == [1]
    branch.line.fault = told(branch, headquarters, notes=[note | {"n": 3}])
    with pytest.raises(AcknowledgementError, match="note 2 is missing"):
        branch.session().run()
    assert kinds(branch).count("revocation") == 1


def test_an_answer_that_holds_nothing_ends_the_session_instead_of_going_round(
    branch: Branch, headquarters: Headquarters
) -> None:
    branch.decide(1)
    branch.line.fault = told(branch, headquarters, held=[])
    with pytest.raises(SyncError, match="holds nothing"):
        branch.session().run()
    assert len(branch.line.messages) == 1


def test_what_headquarters_lost_is_sent_again(branch: Branch, headquarters: Headquarters) -> None:
    for number in range(5):
        branch.decide(number)
    branch.session().run()
    headquarters.store._do("DELETE FROM entries WHERE seq IN (3, 6)")  # as after a restored backup
    branch.session().run()
    assert sorted(headquarters.entries(branch.device)) == list(range(1, branch.journal.head().seq + 1))


def test_a_salvaged_journal_goes_on_at_headquarters_which_knows_more_than_the_branch(
    branch: Branch, headquarters: Headquarters
) -> None:
    for number in range(5):
        branch.decide(number)
    branch.session().run()
    branch.decide(5)
    branch.journal.close()
    database = branch.folder / "journal" / DATABASE_NAME
    with closing(sqlite3.connect(database, isolation_level=None)) as damaged:
        damaged.execute("DELETE FROM entries WHERE seq IN (3, 8)")
    salvage(branch.folder / "journal", branch.keys, now=branch.time)
    branch.journal = Journal.open(branch.folder / "journal", branch.keys, now=branch.time)
    branch.decide(6)
    outcome = branch.session().run()
    assert outcome.refused == {}
    assert branch.journal.backlog() == 0
    held = sorted(headquarters.entries(branch.device))
    assert held == [seq for seq in range(1, branch.journal.head().seq + 1) if seq != 8]  # 3 was sent before
    assert branch.session().run().refused == {}


def test_verdicts_disagreements_and_revocations_are_journaled_once_in_order(
    branch: Branch, headquarters: Headquarters
) -> None:
    branch.decide(1)
    branch.session().run()
    note = headquarters.store.note
    note(branch.device, "verdict", {"decision_id": "D-1", "verdict": "decline", "reason": "收入不实"})
    rescored = {"score": 80, "level": "high", "decision": "review", "model": "big"}
    note(branch.device, "disagreement", {"decision_id": "D-1", **rescored})
    note(branch.device, "revocation", {"authority": "review_only", "reason": "audit"})
    note(branch.device, "disagreement", {"decision_id": "somebody else's", **rescored})
    branch.line.fault = branch.line.cut_on_the_way_back
    with pytest.raises(SyncError):
        branch.session().run()
    branch.line.fault = None
    assert branch.session().run().notes == 4
    assert branch.session().run().notes == 0
    came = [entry for entry in branch.journal.entries() if "note" in entry.body]
    assert [(entry.kind, entry.body["note"]) for entry in came] == [
        ("review", 1),
        ("disagreement", 2),
        ("revocation", 3),
        ("note", 4),
    ]
    assert "收入不实" not in came[0].raw.decode()
    assert "收入不实" in branch.journal.record(came[0], "review").decode()


def test_more_notes_than_fit_come_in_several_answers(branch: Branch, headquarters: Headquarters) -> None:
    branch.session().run()
    for number in range(110):
        headquarters.store.note(branch.device, "revocation", {"authority": "full", "reason": str(number)})
    assert branch.session().run().notes == 110


def test_a_note_of_a_newer_collector_is_refused_and_said(branch: Branch, headquarters: Headquarters) -> None:
    branch.session().run()
    headquarters.store.note(branch.device, "self-destruct", {})
    with pytest.raises(AcknowledgementError, match="does not know"):
        branch.session().run()


def test_contact_is_journaled_but_not_for_every_call(branch: Branch) -> None:
    session = branch.session()
    for _ in range(4):
        session.run()
        branch.time.pass_by(minutes=4)
    contacts = list(branch.journal.entries(kinds=("contact",)))
    assert len(contacts) == 2  # the first one, and one ten minutes later
    assert contacts[0].body["head"] == {"seq": 1, "hash": branch.journal.entry(1).hash}


def test_a_second_session_of_the_same_device_stands_back(branch: Branch) -> None:
    branch.decide(1)
    second: list[Any] = []

    def meanwhile(data: bytes, answer: Any) -> bytes:
        branch.line.fault = None
        second.append(branch.session().run())
        return answer(data)  # type: ignore[no-any-return]

    branch.line.fault = meanwhile
    assert branch.session().run().sent == 3
    assert second[0].busy


def test_a_fork_is_refused_and_said_once_and_does_not_hold_up_the_rest(
    branch: Branch, headquarters: Headquarters, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk of a branch was copied: two journals grow from one."""
    branch.decide(1)
    branch.session().run()
    branch.journal.close()
    shutil.copytree(branch.folder, tmp_path / "copy")
    branch.journal = type(branch.journal).open(branch.folder / "journal", branch.keys, now=branch.time)
    branch.decide(2)
    branch.session().run()

    copy = type(branch)(tmp_path / "copy2", headquarters, branch.time)
    copy.journal.close()
    copy.keys = open_keys(tmp_path / "copy" / "keys")
    copy.journal = type(branch.journal).open(tmp_path / "copy" / "journal", copy.keys, now=branch.time)
    copy.line = type(branch.line)(headquarters, copy.keys)
    copy.decide(3)
    session = copy.session()
    assert session.run().refused
    session.run()
    assert [record.message.split(":")[0] for record in caplog.records] == ["Headquarters refuses entry 4, 1 in all"]
    copy.journal.close()
    alarms = headquarters.store.rows("SELECT kind FROM alarms")
    assert ("fork",) in alarms


def test_a_journal_whose_tail_was_cut_is_noticed(branch: Branch, headquarters: Headquarters) -> None:
    for number in range(3):
        branch.decide(number)
    branch.session().run()
    branch.time.pass_by(hours=1)
    entry = branch.journal.entry(2)
    call = Call.make(branch.time(), (2, entry.hash), 0, [], X25519PrivateKey.generate().public_key())
    headquarters.answer(pack_message(branch.keys, "branch-7", [], call))
    assert headquarters.store.rows("SELECT kind, seq FROM alarms") == [("shorter", 2)]


def test_a_long_backlog_goes_up_in_batches(branch: Branch) -> None:
    for number in range(250):
        branch.decide(number)
    branch.session().run()
    assert max(len({piece.seq for piece in pieces}) for pieces, _ in branch.line.messages) <= 200
    assert max(sum(len(piece.data) for piece in pieces) for pieces, _ in branch.line.messages) < 700_000


def test_headquarters_time_is_remembered(branch: Branch, headquarters: Headquarters) -> None:
    """A box whose battery is dead learns the time from a signed answer."""
    clock = Clock(None, built=START, wall=lambda: START.replace(year=1970), boot=lambda: ("boot", 1.0))
    where = {"clock": clock, "state": branch.folder}
    Session(branch.journal, branch.keys, branch.line, headquarters.policy(), **where).run()
    assert clock.now() == branch.time()
