"""Which entries headquarters takes, and what it keeps of those that it does not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge.collector.report import make_report
from edge.journal.entry import canonical
from edge.journal.keys import DeviceKeys
from edge.offline.sync_answer import unpack_answer
from edge.offline.sync_message import Call, Piece, pack_message, unpack_message
from edge.offline.sync_seal import seal_record
from tests.edge.branches import Branch, Headquarters


def entry_piece(
    keys: DeviceKeys,
    seq: int,
    prev: str,
    *,
    by: DeviceKeys | None = None,
    kind: str = "policy",
    body: dict[str, Any] | None = None,
    **records: int,
) -> Piece:
    """An entry with records of so many bytes."""
    document: dict[str, Any] = {"v": 1, "seq": seq, "time": "2026-11-24T08:00:00.000000+00:00", "kind": kind}
    refs = [{"name": name, "sha256": "0" * 64, "size": size} for name, size in records.items()]
    raw = canonical({**document, "body": body or {}, "records": refs, "key": None, "prev": prev})
    digest = hashlib.sha256(raw).hexdigest()
    return Piece(seq, digest, "", 0, 1, (by or keys).sign(digest) + raw)


def send(
    branch: Branch, *pieces: Piece, head: tuple[int, str] = (9, "ab" * 32), at: datetime | None = None
) -> tuple[set[str], dict[str, str]]:
    key = X25519PrivateKey.generate()
    call = Call.make(at or branch.time(), head, 0, pieces, key.public_key())
    data = branch.headquarters.answer(pack_message(branch.keys, "branch-7", pieces, call))
    answer = unpack_answer(data, branch.headquarters.signing.public_key(), branch.device, call, key)
    return set(answer.held), dict(answer.refused)


def test_entries_are_taken_in_any_order_as_long_as_they_are_one_chain(branch: Branch) -> None:
    first = entry_piece(branch.keys, 1, "0" * 64)
    second = entry_piece(branch.keys, 2, first.hash)
    third = entry_piece(branch.keys, 3, second.hash)
    assert send(branch, third) == ({third.id}, {})
    assert send(branch, first, first) == ({first.id}, {})
    assert send(branch, second) == ({second.id}, {})
    assert branch.headquarters.entries(branch.device) == [3, 1, 2]


@pytest.mark.parametrize(
    ("held", "why"),
    [(5, "holds another entry 5"), (4, "does not follow entry 4"), (6, "does not follow it")],
)
def test_an_entry_of_another_chain_is_refused_for_its_reason_and_kept_as_an_alarm(
    branch: Branch, headquarters: Headquarters, held: int, why: str
) -> None:
    here = entry_piece(branch.keys, held, "11" * 32)
    forked = entry_piece(branch.keys, 5, "22" * 32)
    send(branch, here)
    taken, refused = send(branch, forked)
    assert taken == set()
    assert why in refused[forked.id]
    assert headquarters.entries(branch.device) == [held]
    (alarm,) = headquarters.store.rows("SELECT kind, seq, hash, raw FROM alarms")
    assert alarm == ("fork", 5, forked.hash, forked.data[64:])


def test_what_follows_a_refused_entry_is_refused_and_the_chain_that_is_here_goes_on(
    branch: Branch, headquarters: Headquarters
) -> None:
    first = entry_piece(branch.keys, 1, "0" * 64)
    second, forked = entry_piece(branch.keys, 2, first.hash), entry_piece(branch.keys, 2, first.hash, kind="update")
    send(branch, first, second, forked)
    later = entry_piece(branch.keys, 3, forked.hash)
    latest = entry_piece(branch.keys, 4, later.hash)
    assert set(send(branch, later, latest)[1]) == {later.id, latest.id}
    third = entry_piece(branch.keys, 3, second.hash)
    assert send(branch, third) == ({third.id}, {})
    assert headquarters.entries(branch.device) == [1, 2, 3]


def test_what_the_device_did_not_sign_or_does_not_hash_to_its_name_is_refused(
    branch: Branch, headquarters: Headquarters, tmp_path: Path
) -> None:
    other = DeviceKeys(tmp_path, bytes(32))
    foreign = entry_piece(branch.keys, 1, "0" * 64, by=other)
    good = entry_piece(branch.keys, 2, "0" * 64)
    renamed = Piece(2, "ab" * 32, "", 0, 1, good.data)
    renumbered = Piece(3, good.hash, "", 0, 1, good.data)
    empty = Piece(4, "cd" * 32, "", 0, 1, b"")
    taken, refused = send(branch, foreign, renamed, renumbered, empty)
    assert taken == set()
    assert set(refused) == {foreign.id, renamed.id, renumbered.id, empty.id}
    assert headquarters.entries(branch.device) == []


@pytest.mark.parametrize("raw", ['{"v":1,"seq":1', '{"v": 1,"seq":1', '{"v":1,"seq":1e999'])
@pytest.mark.parametrize("kind", ['"policy"', '"\\ud800"'])
def test_a_line_that_is_not_canonical_is_refused_though_it_is_signed(
    branch: Branch, headquarters: Headquarters, raw: str, kind: str
) -> None:
    line = f'{raw},"time":"2026-11-24T08:00:00+00:00","kind":{kind},"body":{{}},"records":[],"key":null,"prev":"0"}}'
    digest = hashlib.sha256(line.encode()).hexdigest()
    piece = Piece(1, digest, "", 0, 1, branch.keys.sign(digest) + line.encode())
    good = entry_piece(branch.keys, 2, "0" * 64)
    taken, refused = send(branch, piece, good)
    assert (taken, set(refused)) == ({good.id}, {piece.id})


def test_one_device_cannot_write_into_anothers_chain(
    branch: Branch, headquarters: Headquarters, tmp_path: Path
) -> None:
    send(branch, entry_piece(branch.keys, 1, "0" * 64))
    other = DeviceKeys(tmp_path, bytes(32))
    message = unpack_message(pack_message(other, "branch-7", [entry_piece(other, 1, "0" * 64)], None))
    assert headquarters.store.receive([message], headquarters.signing) == [None]
    rows = headquarters.store.rows("SELECT device, name FROM devices ORDER BY first_seen")
    assert rows == [(branch.device, "branch-7"), (message.device, "branch-7")]
    assert len(headquarters.store.rows("SELECT 1 FROM entries WHERE seq = 1")) == 2


def test_a_paper_counts_when_its_entry_and_every_part_are_here(branch: Branch, headquarters: Headquarters) -> None:
    entry = entry_piece(branch.keys, 1, "0" * 64, receipt=300_000)
    key = headquarters.sealing.public_key()
    parts = list(seal_record(key, branch.device, 1, entry.hash, "receipt", bytes(300_000)))
    assert send(branch, parts[0]) == (set(), {})  # without its entry
    assert headquarters.store.rows("SELECT 1 FROM parts") == []
    assert send(branch, entry, *parts[:2])[0] == {entry.id, parts[0].id, parts[1].id}
    assert headquarters.store.sealed(branch.device, 1) == {}
    send(branch, parts[2])
    assert len(headquarters.store.sealed(branch.device, 1)["receipt"]) == 3


def test_a_call_that_was_delayed_is_no_cut_tail(branch: Branch, headquarters: Headquarters) -> None:
    """NATS may bring an older call after a newer one."""
    send(branch, head=(9, "ab" * 32))
    branch.time.pass_by(hours=-1)
    send(branch, head=(8, "cd" * 32))
    assert headquarters.store.rows("SELECT * FROM alarms") == []
    branch.time.pass_by(hours=2)
    send(branch, head=(9, "cd" * 32))
    assert headquarters.store.rows("SELECT kind, seq FROM alarms") == [("shorter", 9)]


def test_notes_are_marked_as_fetched_when_the_device_has_journaled_them(
    branch: Branch, headquarters: Headquarters
) -> None:
    branch.session().run()
    headquarters.store.note(branch.device, "revocation", {"authority": "full"})
    fetched = "SELECT fetched IS NOT NULL FROM notes"
    assert headquarters.store.rows(fetched) == [(0,)]
    branch.session().run()
    assert headquarters.store.rows(fetched) == [(1,)]
    (document,) = headquarters.store.rows("SELECT document FROM notes")[0]
    assert json.loads(document) == {"authority": "full", "kind": "revocation", "n": 1}


def erased_here(branch: Branch, headquarters: Headquarters) -> list[tuple[Any, ...]]:
    return headquarters.store.rows("SELECT decision, records FROM erasures WHERE device = ?", branch.device)


def test_an_erasure_at_the_branch_destroys_the_copies_here_and_both_sides_say_so(
    branch: Branch, headquarters: Headquarters
) -> None:
    for number in (1, 2):
        branch.decide(number, papers={"receipt": f"张三{number}".encode(), "application": bytes(300_000)})
    branch.session().run()
    said = {"decision_id": "D-1", "verdict": "decline", "reviewer": "n"}
    headquarters.store.note(branch.device, "verdict", {**said, "reason": "the customer 张三 called"})
    sealed = headquarters.store.rows("SELECT data FROM parts WHERE seq = 2")
    assert len(sealed) == 4
    branch.journal.erase("D-1", why="asked")
    branch.session().run()
    assert erased_here(branch, headquarters) == [("D-1", 2)]
    assert {seq for (seq,) in headquarters.store.rows("SELECT seq FROM parts")} == {3}
    assert "张三" not in str(headquarters.store.rows("SELECT document FROM notes"))
    files = b"".join(path.read_bytes() for path in headquarters.folder.glob("collector.sqlite*"))
    assert not any(data[:40] in files for (data,) in sealed)  # nor in what SQLite keeps beside
    erasure = next(entry.seq for entry in branch.journal.entries() if entry.kind == "erasure")
    contacts = [entry.body for entry in branch.journal.entries() if entry.kind == "contact"]
    assert [body.get("erased") for body in contacts] == [None, [erasure]]
    (told,) = make_report(headquarters.store)["erasures"]
    assert (told["decision_id"], told["records"], told["device"]) == ("D-1", 2, branch.device)


def test_papers_that_come_after_their_erasure_do_not_come_back(branch: Branch, headquarters: Headquarters) -> None:
    """A broker may hold a part for longer than the entry that erased it."""
    about = {"decision_id": "D-1"}
    entry = entry_piece(branch.keys, 1, "0" * 64, kind="decision", body=about, receipt=10)
    erasure = entry_piece(branch.keys, 2, entry.hash, kind="erasure", body=about)
    later = entry_piece(branch.keys, 3, erasure.hash, kind="review", body=about, review=10)
    key = headquarters.sealing.public_key()
    late, own = (
        next(seal_record(key, branch.device, seq, piece.hash, name, bytes(10)))
        for seq, piece, name in ((1, entry, "receipt"), (3, later, "review"))
    )
    send(branch, erasure, entry, late)  # in this order
    assert headquarters.store.rows("SELECT 1 FROM parts") == []
    assert send(branch, later, own)[0] == {later.id, own.id}  # of after the erasure


def test_a_device_erases_nothing_of_another(branch: Branch, headquarters: Headquarters, tmp_path: Path) -> None:
    branch.decide(1)
    branch.session().run()
    other = DeviceKeys(tmp_path, bytes(32))
    erasure = entry_piece(other, 1, "0" * 64, kind="erasure", body={"decision_id": "D-1"})
    headquarters.store.receive([unpack_message(pack_message(other, "b", [erasure], None))], headquarters.signing)
    assert len(headquarters.store.sealed(branch.device, 2)) == 2


def test_a_clock_in_2099_hides_no_tail_that_was_cut(branch: Branch, headquarters: Headquarters) -> None:
    """The device's own word about the time would make every later call an old one."""
    here = branch.time()
    send(branch, head=(8, "ab" * 32), at=here + timedelta(days=27_000))
    assert make_report(headquarters.store)["devices"][0]["clock_ahead_s"] == 27_000 * 86_400
    branch.time.pass_by(minutes=1)
    send(branch, head=(9, "cd" * 32), at=branch.time())
    assert headquarters.store.rows("SELECT head_seq FROM devices") == [(9,)]
    branch.time.pass_by(minutes=1)
    send(branch, head=(5, "ef" * 32), at=here - timedelta(days=20_000))  # and one in 1970
    assert headquarters.store.rows("SELECT kind, seq FROM alarms") == [("shorter", 5)]
    assert make_report(headquarters.store)["devices"][0]["clock_ahead_s"] < -1e9


def test_what_a_broker_took_earlier_is_the_older_call_though_it_comes_later(
    branch: Branch, headquarters: Headquarters
) -> None:
    key = X25519PrivateKey.generate().public_key()
    wrong = branch.time() - timedelta(days=3)  # the device's clock, which is of no help here

    def arrives(head: int, taken: timedelta) -> None:
        call = Call.make(wrong, (head, "ab" * 32), 0, [], key)
        message = unpack_message(pack_message(branch.keys, "b", [], call))
        headquarters.store.receive([replace(message, taken=branch.time() + taken)], headquarters.signing)

    arrives(9, timedelta(hours=-1))
    arrives(8, timedelta(hours=-2))
    assert headquarters.store.rows("SELECT * FROM alarms") == []
    arrives(10, timedelta(hours=5))  # a broker's clock that is ahead counts as now
    branch.time.pass_by(minutes=1)
    arrives(8, timedelta())
    assert headquarters.store.rows("SELECT kind, seq FROM alarms") == [("shorter", 8)]


def test_what_headquarters_says_is_read_by_nobody_on_the_way(branch: Branch, headquarters: Headquarters) -> None:
    branch.decide(1)
    branch.session().run()
    said = {"decision_id": "D-1", "verdict": "decline", "reviewer": "n", "reason": "a name that nobody else may read"}
    headquarters.store.note(branch.device, "verdict", said)
    carried: list[bytes] = []

    def carry(data: bytes, answer: Any) -> bytes:
        carried.append(answer(data))
        return carried[-1]

    branch.line.fault = carry
    assert branch.session().run().notes == 1
    for data in carried:
        plain = zstandard.ZstdDecompressor().stream_reader(data).read(1 << 20)
        assert b"nonce" in plain
        assert b"nobody else" not in plain
        assert b"decline" not in plain
