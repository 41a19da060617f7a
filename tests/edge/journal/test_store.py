"""What an append promises, and what opening a journal refuses."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.errors import (
    DecisionNotFoundError,
    DeviceKeyError,
    JournalDamagedError,
    JournalError,
    RecordErasedError,
)
from edge.journal.entry import NO_HASH, Head, code_of
from edge.journal.sealing import seal, unseal
from edge.journal.store import Journal
from tests.edge.journal.conftest import Device, decide


def test_a_journal_begins_with_the_devices_public_key(journal: Journal) -> None:
    first = journal.entry(1)
    assert (first.kind, first.prev) == ("genesis", NO_HASH)
    assert first.body["public_key"] == journal.keys.public_bytes.hex()


def test_every_entry_holds_the_hash_of_the_one_before(journal: Journal) -> None:
    for number in range(3):
        decide(journal, number)
    entries = list(journal.entries())
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    assert [entry.prev for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert (journal.head().seq, journal.head().hash) == (4, entries[-1].hash)


def test_the_same_content_is_the_same_line_in_whatever_order_it_was_given(journal: Journal) -> None:
    entry = journal.append("policy", {"b": 1, "a": "政策"})
    assert entry.raw.startswith('{"body":{"a":"政策","b":1},"key":null,"kind":"policy","prev":"'.encode())
    assert json.loads(entry.raw)["seq"] == 2


def test_a_code_can_be_read_aloud() -> None:
    assert code_of(1042, "00443214c7" + "0" * 54) == "1042-01234567"
    assert code_of(7, "ffbbcdeb38" + "0" * 54) == "7-ZYXWVTSR"


def test_records_are_read_back_and_stand_nowhere_in_the_clear(device: Device) -> None:
    journal = device.open()
    entry = decide(journal, 0, picture=b"a picture of nobody" * 100)
    assert journal.record(entry, "document/0") == b"a picture of nobody" * 100
    assert json.loads(journal.record(entry, "application")) == {"applicant": {"name": "测试甲"}}
    files = [path for path in device.state.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"journal.sqlite", "journal.sqlite-wal", "journal-head.json"}
    for path in files:
        data = path.read_bytes()
        assert b"a picture of nobody" not in data
        assert "测试甲".encode() not in data


def test_a_record_that_never_was_is_not_called_erased(journal: Journal) -> None:
    with pytest.raises(DecisionNotFoundError, match="document/9"):
        journal.record(decide(journal, 0), "document/9")


def test_a_decision_is_found_by_its_id_with_everything_about_it(journal: Journal) -> None:
    decided = decide(journal, 5)
    reviewed = journal.append("review", {"decision_id": decided.body["decision_id"], "verdict": "approve"})
    assert journal.decision(decided.body["decision_id"]) == decided
    assert journal.about(decided.body["decision_id"]) == [decided, reviewed]
    with pytest.raises(DecisionNotFoundError, match="no decision nowhere"):
        journal.decision("nowhere")
    with pytest.raises(DecisionNotFoundError, match="no entry 99"):
        journal.entry(99)


def test_entries_are_chosen_by_number_kind_and_limit(journal: Journal) -> None:
    for number in range(270):  # more than are read at a time
        journal.append("clock" if number % 2 else "contact", {"n": number})
    assert [entry.seq for entry in journal.entries(after=268)] == [269, 270, 271]
    assert [entry.body["n"] for entry in journal.entries(kinds=["clock"], limit=3)] == [1, 3, 5]
    assert len(list(journal.entries(kinds=["clock"]))) == 135
    assert list(journal.entries(kinds=[])) == []


def test_flagged_decisions_go_to_headquarters_first_and_once(journal: Journal) -> None:
    for number, level in enumerate(("low", "high", "low", "high")):
        decide(journal, number, level=level)
    assert [entry.seq for entry in journal.unsent(limit=9)] == [3, 5, 1, 2, 4]
    journal.mark_sent([3, 1], journal.head())
    journal.mark_sent([3, 1], journal.head())
    assert [entry.seq for entry in journal.unsent(limit=2)] == [5, 2]
    assert journal.backlog() == 3


@pytest.mark.parametrize("head", [Head(2, "ab" * 32), Head(9, "ab" * 32)], ids=["another hash", "beyond the end"])
def test_an_acknowledgement_of_another_chain_marks_nothing(journal: Journal, head: Head) -> None:
    decide(journal, 0)
    with pytest.raises(JournalError, match="not in this journal"):
        journal.mark_sent([1, 2], head)
    assert journal.backlog() == 2


def test_an_erasure_destroys_what_was_recorded_and_leaves_the_decision(device: Device) -> None:
    journal = device.open()
    entry, other = decide(journal, 0), decide(journal, 1)
    wrapped = journal._rows("SELECT wrapped FROM record_keys WHERE seq = ?", (entry.seq,))[0][0]
    erasure = journal.erase(entry.body["decision_id"], why="asked by the customer")
    with pytest.raises(RecordErasedError, match=entry.code):
        journal.record(entry, "receipt")
    assert journal.erased(entry)
    assert not journal.erased(other)
    assert journal.record(other, "receipt")
    assert journal.decision(entry.body["decision_id"]) == entry
    assert erasure.body["entries"] == [entry.seq]
    for path in device.folder.iterdir():
        assert wrapped not in path.read_bytes()


def test_an_erasure_waits_for_no_reader_and_empties_the_log_after_it(device: Device) -> None:
    journal = device.open()
    entry = decide(journal, 0)
    wrapped = journal._rows("SELECT wrapped FROM record_keys WHERE seq = ?", (entry.seq,))[0][0]
    log = device.folder / "journal.sqlite-wal"
    with closing(sqlite3.connect(device.database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        start = time.monotonic()
        journal.erase(entry.body["decision_id"], why="asked")
        assert time.monotonic() - start < 5
        assert wrapped in log.read_bytes()
    decide(journal, 1)
    assert wrapped not in log.read_bytes() + device.database.read_bytes()


def test_what_cannot_be_written_as_json_is_refused_and_leaves_no_trace(journal: Journal) -> None:
    for body in ({"x": float("nan")}, {"x": object()}, {1: 2, "a": 3}):
        with pytest.raises(ValueError, match="clock|JSON"):
            journal.append("clock", body)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="surrogates"):
        journal.append("clock", {"x": "\ud800"})
    assert journal.head().seq == 1
    assert journal.append("clock", {}).seq == 2


@pytest.mark.parametrize("year", [1970, 2099])
def test_whatever_the_clock_says_the_chain_goes_on(device: Device, year: int) -> None:
    journal = device.filled(1)
    device.time = datetime(year, 1, 1, tzinfo=UTC)
    decide(journal, 1)
    device.time = datetime(2026, 12, 1, tzinfo=UTC)
    entry = decide(journal, 2)
    assert [each.time.year for each in journal.entries(after=1)] == [2026, year, 2026]
    assert [journal.record(journal.entry(seq), "receipt") for seq in (2, 3)]
    assert journal.record(entry, "receipt")


def test_several_threads_and_two_openings_append_to_one_chain(device: Device) -> None:
    journals = [device.open(), device.open()]
    threads = [
        threading.Thread(target=lambda j=each, n=n: [decide(j, 100 * n + i) for i in range(10)])  # type: ignore[misc]
        for n, each in enumerate(journals * 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = list(journals[0].entries())
    assert [entry.seq for entry in entries] == list(range(1, 42))
    assert [entry.prev for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]


def test_a_missing_journal_is_a_loss_and_not_a_beginning(device: Device) -> None:
    head = device.filled(2).head()
    device.opened.pop().close()
    device.database.unlink()
    with pytest.raises(JournalDamagedError, match=f"missing; its last entry was {head.code}"):
        device.open()
    assert not device.database.exists()


def test_a_journal_removed_while_it_is_in_use_takes_nothing_more(device: Device) -> None:
    journal = device.filled(1)
    aside = device.database.rename(device.folder / "aside")
    with pytest.raises(JournalDamagedError, match="removed or replaced"):
        decide(journal, 1)
    shutil.copy(aside, device.database)
    with pytest.raises(JournalDamagedError, match="removed or replaced"):
        decide(journal, 1)
    device.database.unlink()
    aside.rename(device.database)
    assert decide(journal, 1).seq == 3


def test_an_emptied_journal_is_a_loss_and_not_a_beginning(device: Device) -> None:
    device.filled(2)
    device.opened.pop().close()
    device.database.write_bytes(b"")
    with pytest.raises(JournalDamagedError, match="is empty"):
        device.open()


def test_a_journal_put_back_from_before_is_refused(device: Device) -> None:
    device.filled(2)
    device.opened.pop().close()
    before = device.database.read_bytes()
    device.filled(2)
    device.opened.pop().close()
    device.database.write_bytes(before)
    with pytest.raises(JournalDamagedError, match="does not hold 5-"):
        device.open()


def test_a_journal_without_the_head_that_was_kept_is_refused(device: Device) -> None:
    device.filled(1)
    device.opened.pop().close()
    (device.state / "keys" / "journal-head.json").unlink()
    with pytest.raises(JournalDamagedError, match="head .* is missing"):
        device.open()


def test_a_lost_device_key_is_said_and_never_made_anew(device: Device) -> None:
    device.filled(1)
    device.opened.pop().close()
    key = device.state / "keys" / "device-key.json"
    key.unlink()
    with pytest.raises(DeviceKeyError, match="missing, though this device has begun a journal"):
        device.open()
    assert not key.exists()


def test_another_devices_key_does_not_open_a_journal(device: Device, tmp_path: Path) -> None:
    device.filled(1)
    device.opened.pop().close()
    other = Device(tmp_path / "other")
    other.state.mkdir()
    (device.state / "keys" / "device-key.json").write_bytes((other.keys().folder / "device-key.json").read_bytes())
    with pytest.raises(JournalDamagedError, match="signed by another key"):
        device.open()


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"secret": "AAAA", "public": "AAAA"}', b"\xff"])
def test_a_damaged_device_key_is_said(device: Device, damage: bytes) -> None:
    (device.keys().folder / "device-key.json").write_bytes(damage)
    with pytest.raises(DeviceKeyError, match="damaged"):
        device.keys()


def test_only_the_owner_may_read_keys_and_journal(device: Device) -> None:
    device.filled(1)
    assert device.folder.stat().st_mode & 0o077 == 0
    for name in ("device-key.json", "journal-head.json"):
        assert (device.state / "keys" / name).stat().st_mode & 0o077 == 0


def test_a_crash_between_the_commit_and_the_head_loses_nothing(device: Device) -> None:
    journal = device.filled(1)
    anchor = device.state / "keys" / "journal-head.json"
    before = anchor.read_bytes()
    decide(journal, 1)
    anchor.write_bytes(before)
    assert device.open().head().seq == 3
    assert anchor.read_bytes() != before


def test_a_head_torn_by_a_power_cut_leaves_the_one_before(device: Device) -> None:
    device.filled(2)
    anchor = device.state / "keys" / "journal-head.json"
    for torn in range(0, 4096, 64):
        data = bytearray(anchor.read_bytes())
        data[4096 + torn : 8192] = bytes(4096 - torn)  # entry 3 stands in the second block
        anchor.write_bytes(data)
        assert device.open().head().seq == 3


def test_a_beginning_that_was_cut_short_begins_again(device: Device) -> None:
    device.filled(0)
    device.opened.pop().close()
    anchor = device.state / "keys" / "journal-head.json"
    data = anchor.read_bytes()
    anchor.write_bytes(data[:4096] + b"{}".ljust(4096))
    device.database.unlink()
    assert device.open().head().seq == 1


def test_a_read_only_folder_is_said(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.filled(1)
    device.opened.pop().close()
    import edge.journal.store as store

    real = store.connect

    def read_only(path: Path) -> object:
        connection = real(path)
        connection.execute("PRAGMA query_only = ON")
        return connection

    monkeypatch.setattr(store, "connect", read_only)
    journal = device.open()
    with pytest.raises(JournalError, match="readonly"):
        decide(journal, 1)
    assert journal.head().seq == 2


def test_several_that_begin_a_journal_at_once_begin_one(device: Device) -> None:
    (device.state / "keys").mkdir()
    started, found = threading.Barrier(8), list[tuple[bytes, str]]()

    def begin() -> None:
        started.wait()
        keys = device.keys()
        with closing(Journal.open(device.folder, keys, now=device.now)) as journal:
            found.append((keys.public_bytes, journal.entry(1).hash))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_record_opens_only_in_its_own_place(device: Device) -> None:
    keys = device.keys()
    sealed = seal({"receipt": b"invented", "application": b"other"}, keys, 7, "decision", day=20_000)
    assert sealed.wrapped is not None
    ciphertext = sealed.ciphertexts["receipt"]
    assert unseal(ciphertext, sealed.wrapped, keys, 7, "decision", "receipt") == b"invented"
    for kind, name in (("review", "receipt"), ("decision", "application")):
        with pytest.raises(ValueError, match="does not open"):
            unseal(ciphertext, sealed.wrapped, keys, 7, kind, name)
    with pytest.raises(DeviceKeyError):
        unseal(ciphertext, sealed.wrapped, keys, 8, "decision", "receipt")
