"""The journal stays within its room and its times: pictures go first and oldest first, decisions never."""

from __future__ import annotations

import shutil
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devices.errors import JournalFullError, PolicyError, RecordErasedError
from edge.journal.entry import Entry
from edge.journal.retention import Bounds
from edge.journal.store import Journal
from edge.journal.verify import verify_journal
from edge.policy import load_policy
from tests.edge.journal.conftest import Device, decide

ROOT = Path(__file__).parents[3]
PICTURE = b"p" * 100_000
SMALL = Bounds(max_bytes=2_000_000)


def readable(journal: Journal, entry: Entry, name: str) -> bool:
    try:
        return bool(journal.record(entry, name))
    except RecordErasedError:
        return False


def pictures(journal: Journal) -> list[int]:
    return [e.seq for e in journal.entries(kinds=["decision"]) if readable(journal, e, "document/0")]


def test_near_the_bound_the_oldest_pictures_go_and_every_decision_stays(device: Device) -> None:
    journal = device.open(SMALL)
    for number in range(40):
        decide(journal, number, picture=PICTURE)
    decisions = list(journal.entries(kinds=["decision"]))
    kept = pictures(journal)
    assert len(decisions) == 40
    assert 10 <= len(kept) < 20
    assert kept == [entry.seq for entry in decisions[-len(kept) :]]
    assert all(readable(journal, entry, name) for entry in decisions for name in ("receipt", "application"))
    assert device.database.stat().st_size <= SMALL.max_bytes
    gone = [seq for entry in journal.entries(kinds=["retention"]) for seq in entry.body["documents"]]
    assert gone == [entry.seq for entry in decisions if entry.seq not in kept]
    assert verify_journal(device.folder, device.keys()).findings == ()


def test_pictures_that_headquarters_has_go_before_those_it_lacks(device: Device) -> None:
    journal = device.open(SMALL)
    for number in range(10):
        decide(journal, number, picture=PICTURE)
    journal.mark_sent([6, 7, 8], journal.head())
    for number in range(10, 20):
        decide(journal, number, picture=PICTURE)
    first = next(journal.entries(kinds=["retention"]))
    assert first.body["documents"][:3] == [6, 7, 8] or set(first.body["documents"]) <= {6, 7, 8}


def test_a_full_journal_says_so_before_anything_is_decided(device: Device) -> None:
    journal = device.open(Bounds(max_bytes=400_000))
    before = journal.head()
    with pytest.raises(JournalFullError, match=r"max_mb lets it take 0\.4 MB"):
        journal.make_room(500_000)
    with pytest.raises(JournalFullError):
        decide(journal, 0, picture=b"p" * 500_000)
    assert journal.head() == before
    assert journal.append("review", {"verdict": "approve"}).seq == before.seq + 1  # what is no decision is still taken


def test_making_room_lets_pictures_go_at_once(device: Device) -> None:
    journal = device.open(SMALL)
    for number in range(15):
        decide(journal, number, picture=PICTURE)
    assert len(pictures(journal)) == 15
    journal.make_room(1_000_000)
    assert 0 < len(pictures(journal)) <= 9
    decide(journal, 99, picture=b"p" * 1_000_000)


def test_a_demand_that_cannot_be_met_costs_no_picture(device: Device) -> None:
    journal = device.open(SMALL)
    for number in range(10):
        decide(journal, number, picture=PICTURE)
    with pytest.raises(JournalFullError):
        journal.make_room(SMALL.max_bytes + 1)
    assert len(pictures(journal)) == 10


def test_what_was_past_its_time_is_gone_though_the_journal_is_full(device: Device) -> None:
    journal = device.open(Bounds(max_bytes=2_000_000, documents_days=5, records_days=10))
    entry = decide(journal, 0)
    days_on(device, 12, journal)
    device.time += timedelta(days=30)
    with pytest.raises(JournalFullError):
        journal.make_room(2_000_000)
    assert not readable(journal, entry, "receipt")
    assert verify_journal(device.folder, device.keys()).findings == ()


def test_a_disk_that_others_filled_is_a_full_journal(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = device.filled(1)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 1_000_000))
    with pytest.raises(JournalFullError, match="disk under the journal is nearly full") as caught:
        decide(journal, 1)
    assert caught.value.remedy.startswith("Free at least 64 MB")


def days_on(device: Device, days: int, journal: Journal) -> None:
    """Let days pass with one decision each."""
    for _ in range(days):
        device.time += timedelta(days=1)
        decide(journal, 1_000_000 + int(device.time.timestamp()) // 60)


def test_records_past_their_time_lose_their_key_and_the_decision_stays(device: Device) -> None:
    journal = device.open(Bounds(documents_days=5, records_days=10))
    entry = decide(journal, 0)
    days_on(device, 5, journal)
    assert readable(journal, entry, "document/0")
    days_on(device, 1, journal)
    assert not readable(journal, entry, "document/0")
    assert readable(journal, entry, "receipt")
    days_on(device, 4, journal)
    assert readable(journal, entry, "receipt")
    days_on(device, 1, journal)
    assert not readable(journal, entry, "receipt")
    assert journal.entry(entry.seq) == entry
    assert verify_journal(device.folder, device.keys()).findings == ()


def test_a_clock_at_2099_for_an_hour_erases_nothing(device: Device) -> None:
    journal = device.open(Bounds(documents_days=100, records_days=200))
    entry = decide(journal, 0)
    true = device.time
    device.time = datetime(2099, 1, 1, tzinfo=UTC)
    stamped = decide(journal, 1)
    device.opened.pop().close()
    journal = device.open(Bounds(documents_days=100, records_days=200))
    decide(journal, 2)
    device.time = true
    days_on(device, 90, journal)
    assert readable(journal, entry, "document/0")
    assert readable(journal, stamped, "document/0")
    days_on(device, 120, journal)
    assert not readable(journal, entry, "receipt")
    assert not readable(journal, stamped, "receipt")


def test_a_device_that_slept_for_years_catches_up(device: Device) -> None:
    journal = device.open(Bounds(documents_days=100, records_days=200))
    entry = decide(journal, 0)
    device.time += timedelta(days=1000)
    days_on(device, 90, journal)
    assert readable(journal, entry, "receipt")
    days_on(device, 20, journal)
    assert not readable(journal, entry, "receipt")


def test_a_policy_says_the_bounds_and_one_without_the_section_has_the_usual_ones() -> None:
    text = (ROOT / "examples" / "policy.toml").read_text(encoding="utf-8")
    assert load_policy(text.encode()).journal.bounds() == Bounds()
    less = text.replace("max_mb = 8192", "max_mb = 64").replace("documents_days = 1830", "documents_days = 30")
    assert load_policy(less.encode()).journal.bounds() == Bounds(64 * 1024 * 1024, 30, 1830)
    without = text[: text.index("[journal]")] + text[text.index("[sync]") :]
    assert load_policy(without.encode()).journal.bounds() == Bounds()
    with pytest.raises(PolicyError, match="journal.max_mb"):
        load_policy(text.replace("max_mb = 8192", "max_mb = 1").encode())
