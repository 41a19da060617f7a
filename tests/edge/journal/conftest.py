"""A journal on disk, with a clock that a test sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.journal.entry import Entry
from edge.journal.keys import DeviceKeys, open_keys
from edge.journal.retention import Bounds
from edge.journal.store import Journal


@dataclass
class Device:
    """A state directory, and what runs on it."""

    state: Path
    time: datetime = datetime(2026, 11, 23, 8, tzinfo=UTC)
    opened: list[Journal] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.state / "journal"

    @property
    def database(self) -> Path:
        return self.folder / "journal.sqlite"

    def keys(self) -> DeviceKeys:
        (self.state / "keys").mkdir(exist_ok=True)
        return open_keys(self.state / "keys")

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=250)
        return self.time

    def open(self, bounds: Bounds | None = None) -> Journal:
        journal = Journal.open(self.folder, self.keys(), now=self.now, bounds=bounds)
        self.opened.append(journal)
        return journal

    def filled(self, decisions: int) -> Journal:
        journal = self.open()
        for number in range(decisions):
            decide(journal, number)
        return journal


def decide(journal: Journal, number: int, *, level: str = "low", picture: bytes = b"\x89PNG invented") -> Entry:
    """An invented decision with the records of one."""
    decision_id = f"00000000-0000-4000-8000-{number:012d}"
    body = {"decision_id": decision_id, "score": 12, "level": level, "decision": "pass", "amount": 50000}
    receipt = json.dumps({"decision_id": decision_id, "text": "发明的理由"}).encode()
    application = json.dumps({"applicant": {"name": "测试甲"}}).encode()
    return journal.append(
        "decision", body, records={"receipt": receipt, "application": application, "document/0": picture}
    )


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    for journal in device.opened:
        journal.close()


@pytest.fixture
def journal(device: Device) -> Journal:
    return device.open()
