"""Of a damaged journal everything that verifies is kept, and everything else is said to be lost."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from devices.errors import JournalDamagedError, JournalError
from edge.journal.salvage import Salvage, salvage
from edge.journal.verify import verify_journal
from tests.edge.journal.conftest import Device, decide


def damaged_page(device: Device, needle: bytes) -> None:
    """Overwrite the page of the closed database on which ``needle`` stands."""
    data = bytearray(device.database.read_bytes())
    start = data.index(needle) // 4096 * 4096
    data[start : start + 4096] = b"\xa5" * 4096
    device.database.write_bytes(data)


def closed(device: Device, decisions: int) -> None:
    device.filled(decisions)
    device.opened.pop().close()


def salvaged(device: Device) -> Salvage:
    return salvage(device.folder, device.keys(), now=device.now)


def numbers(ranges: tuple[tuple[int, int], ...]) -> set[int]:
    return {seq for start, end in ranges for seq in range(start, end + 1)}


def test_a_bad_page_costs_only_what_stood_on_it(device: Device) -> None:
    closed(device, 60)
    image = device.database.read_bytes()
    page = image.index(b'"seq":30,') // 4096
    on_page = {int(n) for n in re.findall(rb'"seq":(\d+),', image[page * 4096 : page * 4096 + 4096])}
    damaged_page(device, b'"seq":30,')
    assert verify_journal(device.folder, device.keys()).findings

    result = salvaged(device)

    assert 30 in numbers(result.lost) <= on_page
    assert result.kept == 61 - len(numbers(result.lost))
    assert result.head.seq == 62
    verification = verify_journal(device.folder, device.keys())
    assert verification.findings == ()
    assert "salvage" in verification.notes[0]
    journal = device.open()
    assert journal.record(journal.entry(5), "receipt")
    assert journal.entry(62).prev == journal.entry(61).hash
    assert decide(journal, 99).seq == 63
    assert result.damaged is not None
    assert (result.damaged / "journal.sqlite").read_bytes()[page * 4096 :][:4096] == b"\xa5" * 4096


def test_a_destroyed_first_page_costs_records_but_no_decision(device: Device) -> None:
    closed(device, 20)
    data = bytearray(device.database.read_bytes())
    data[:4096] = bytes(4096)
    device.database.write_bytes(data)
    with pytest.raises(JournalDamagedError):
        device.open()
    result = salvaged(device)
    assert (result.kept, result.lost) == (21, ())
    assert len(result.lost_records) == 20 * 4  # the key, and three records each
    assert verify_journal(device.folder, device.keys()).findings == ()


def test_of_a_journal_that_is_gone_the_loss_is_said_and_the_numbers_go_on(device: Device) -> None:
    closed(device, 5)
    device.database.unlink()
    result = salvaged(device)
    assert (result.kept, result.lost, result.head.seq) == (0, ((1, 6),), 7)
    assert verify_journal(device.folder, device.keys()).findings == ()
    journal = device.open()
    assert [entry.kind for entry in journal.entries()] == ["salvage"]
    assert decide(journal, 7).seq == 8


def test_an_entry_that_was_changed_is_lost_and_not_kept(device: Device) -> None:
    closed(device, 5)
    with closing(sqlite3.connect(device.database)) as connection, connection:
        line = connection.execute("SELECT line FROM entries WHERE seq = 4").fetchone()[0]
        changed = line.replace(b'"score":12', b'"score":99')
        connection.execute("UPDATE entries SET line = ? WHERE seq = 4", (changed,))
        connection.execute("UPDATE records SET ciphertext = zeroblob(50) WHERE seq = 5 AND name = 'receipt'")
    result = salvaged(device)
    assert (result.lost, result.lost_records) == (((4, 4),), ((5, "receipt"),))
    assert verify_journal(device.folder, device.keys()).findings == ()


def test_a_row_with_an_enormous_number_keeps_neither_busy(device: Device) -> None:
    closed(device, 2)
    with closing(sqlite3.connect(device.database)) as connection, connection:
        connection.execute("INSERT INTO entries VALUES (?, x'00', x'00', 'review', NULL)", (2**60,))
    assert str(verify_journal(device.folder, device.keys()).first) == "Entry 4: it is missing."
    assert (salvaged(device).kept, verify_journal(device.folder, device.keys()).findings) == (3, ())


def test_where_the_head_was_lost_it_is_said_that_the_end_is_not_known(device: Device) -> None:
    closed(device, 3)
    (device.state / "keys" / "journal-head.json").unlink()
    with pytest.raises(JournalDamagedError, match="head .* is missing"):
        device.open()
    assert (salvaged(device).kept, device.open().head().seq) == (4, 5)
    verification = verify_journal(device.folder, device.keys())
    assert verification.findings == ()
    assert "what came after" in verification.notes[1]


def test_what_was_erased_is_not_called_lost(device: Device) -> None:
    journal = device.filled(5)
    journal.erase(journal.entry(3).body["decision_id"], why="asked")
    device.opened.pop().close()
    damaged_page(device, b'"seq":1,')
    assert all(seq != 3 for seq, _ in salvaged(device).lost_records)


def test_after_a_salvage_everything_goes_to_headquarters_again(device: Device) -> None:
    journal = device.filled(3)
    journal.mark_sent([1, 2, 3, 4], journal.head())
    device.opened.pop().close()
    device.database.write_bytes(device.database.read_bytes()[:4096])
    result = salvaged(device)
    assert device.open().backlog() == result.kept + 1


def test_a_good_journal_is_left_alone(device: Device) -> None:
    closed(device, 2)
    with pytest.raises(JournalError, match="nothing to salvage"):
        salvaged(device)
    assert not list(device.state.glob("journal.*"))


def test_a_journal_in_use_is_not_salvaged(device: Device) -> None:
    device.filled(2)
    with pytest.raises(JournalError, match="in use"):
        salvaged(device)


def test_a_salvage_cut_short_is_finished_by_the_next(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    closed(device, 10)
    damaged_page(device, b'"seq":1,')
    real = Path.rename

    def power_cut(self: Path, target: Path) -> Path:
        if self.name == "journal.new":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", power_cut)
        with pytest.raises(KeyboardInterrupt):
            salvaged(device)
    with pytest.raises(JournalDamagedError, match="missing"):
        device.open()
    device.opened.clear()
    result = salvaged(device)
    assert result.kept + len(numbers(result.lost)) == 11
    assert verify_journal(device.folder, device.keys()).findings == ()
    assert (device.state / "journal.damaged-1" / "journal.sqlite").exists()


def test_whatever_bytes_are_damaged_a_salvage_verifies_and_accounts_for_every_number(device: Device) -> None:
    closed(device, 30)
    image = device.database.read_bytes()
    draw = random.Random(7)
    for _ in range(12):
        data = bytearray(image)
        for _ in range(draw.randint(1, 4)):
            start = draw.randrange(len(data))
            data[start : start + draw.choice((1, 100, 4096))] = b""
            data = data[: len(image)].ljust(len(image), b"\0")
        device.database.write_bytes(data)
        if verifies(device):
            continue
        result = salvaged(device)
        assert result.kept + len(numbers(result.lost)) == result.head.seq - 1 >= 31
        assert verifies(device)


def verifies(device: Device) -> bool:
    try:
        return not verify_journal(device.folder, device.keys()).findings
    except JournalDamagedError:
        return False
