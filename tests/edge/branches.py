"""A branch and its headquarters in one process: the real journal, the real collector, and a line that can be cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from devices.clock import Clock
from devices.errors import SyncError
from edge.collector.store import Store
from edge.journal.entry import Entry
from edge.journal.keys import DeviceKeys, open_keys
from edge.journal.store import Journal
from edge.offline.sync import Session
from edge.offline.sync_message import Call, Piece, pack_message, unpack_message
from edge.offline.sync_policy import SyncPolicy

START = datetime(2026, 11, 24, 8, tzinfo=UTC)


@dataclass
class Time:
    """What every clock of a test says."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class Headquarters:
    """The collector's file and keys."""

    folder: Path
    time: Time
    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    sealing: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        Store.create(self.folder)
        self.store = Store(self.folder, now=self.time)

    def answer(self, data: bytes) -> bytes:
        reply = self.store.receive([unpack_message(data)], self.signing)[0]
        assert reply is not None
        return reply.data

    def policy(self, **more: Any) -> SyncPolicy:
        keys = {
            "acknowledged_by": self.signing.public_key().public_bytes_raw().hex(),
            "sealed_for": self.sealing.public_key().public_bytes_raw().hex(),
        }
        return SyncPolicy(**({"url": "http://127.0.0.1"} | keys | more))

    def entries(self, device: str) -> list[int]:
        return [row[0] for row in self.store.rows("SELECT seq FROM entries WHERE device = ? ORDER BY rowid", device)]


class Line:
    """A way to headquarters; ``fault`` stands between, given the message, and may answer itself or cut."""

    name = "test"

    def __init__(self, headquarters: Headquarters, keys: DeviceKeys) -> None:
        self.headquarters = headquarters
        self.pack = partial(pack_message, keys, "branch-7")
        self.fault: Callable[[bytes, Callable[[bytes], bytes]], bytes] | None = None
        self.messages: list[tuple[list[Piece], Call]] = []

    def exchange(self, pieces: Sequence[Piece], call: Call) -> bytes:
        self.messages.append((list(pieces), call))
        data = self.pack(pieces, call)
        return self.fault(data, self.headquarters.answer) if self.fault else self.headquarters.answer(data)

    def close(self) -> None:
        pass

    def cut(self, data: bytes, answer: Callable[[bytes], bytes]) -> bytes:
        raise SyncError("cut before it arrived")

    def cut_on_the_way_back(self, data: bytes, answer: Callable[[bytes], bytes]) -> bytes:
        answer(data)
        raise SyncError("cut before the answer")


@dataclass
class Branch:
    """A device: its journal, and a session over a line."""

    folder: Path
    headquarters: Headquarters
    time: Time

    def __post_init__(self) -> None:
        (self.folder / "keys").mkdir(parents=True)
        self.keys = open_keys(self.folder / "keys")
        self.journal = Journal.open(self.folder / "journal", self.keys, now=self.time)
        self.line = Line(self.headquarters, self.keys)
        self.clock = Clock(None, built=START, wall=self.time, boot=lambda: ("boot", self.time.now.timestamp()))

    @property
    def device(self) -> str:
        return unpack_message(pack_message(self.keys, "", [], None)).device

    def session(self, **policy: Any) -> Session:
        where = {"clock": self.clock, "state": self.folder}
        return Session(self.journal, self.keys, self.line, self.headquarters.policy(**policy), **where)  # type: ignore[arg-type]

    def decide(self, number: int, *, decision: str = "pass", papers: dict[str, bytes] | None = None) -> Entry:
        body = {"decision_id": f"D-{number}", "score": number % 100, "level": "low", "decision": decision, "amount": 1}
        return self.journal.append("decision", body, records=papers or {"receipt": b"invented", "application": b"{}"})
