"""A deciding branch and a collector that serves: what one does, the other learns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.offline_sync import collector
from devices.errors import StoppedError
from edge.collector.keys import SEALING_NAME, make_keys, sealing_key, signing_key
from edge.collector.store import Store
from edge.decide import Desk
from edge.offline.sync_message import device_id
from edge.offline.sync_policy import SyncPolicy
from edge.policy import Policy
from edge.synced import synced
from tests.edge.desks import POLICY, Scores, Wall, open_desk, submission


@dataclass(frozen=True)
class Services:
    score: Callable[..., dict[str, Any]]
    status: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Device:
    policy: Policy
    services: Services


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "headquarters"
    path.mkdir()
    make_keys(path)
    Store.create(path)
    return path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    with collector(folder) as found:
        yield found


def policy(folder: Path, url: str) -> Policy:
    keys = signing_key(folder).public_key(), sealing_key(folder / SEALING_NAME).public_key()
    acknowledged_by, sealed_for = (key.public_bytes_raw().hex() for key in keys)
    sync = SyncPolicy(url=url, acknowledged_by=acknowledged_by, sealed_for=sealed_for, every_minutes=0.001)
    return POLICY.model_copy(update={"sync": sync})


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def test_a_branch_reports_learns_a_disagreement_and_is_stopped(folder: Path, url: str) -> None:
    wall = Wall()
    desk: Desk = open_desk(wall, Scores(5), policy(folder, url))

    def score(*_: Any) -> dict[str, Any]:
        return desk.decide(submission()).answered().model_dump(mode="json")

    device, loop = synced(Device(policy(folder, url), Services(score, dict)), desk)  # type: ignore[arg-type]
    decided = device.services.score(None, None)  # type: ignore[arg-type]
    assert decided["decision"] == "pass"
    headquarters = Store(folder)
    wait_for(lambda: bool(headquarters.rows("SELECT 1 FROM entries WHERE decision = ?", decided["decision_id"])))
    wait_for(lambda: desk.lease().since is None)  # contact is recent

    name = device_id(desk.journal.keys.public_bytes)
    said = {"score": 70, "level": "high", "decision": "review", "model": "big"}
    headquarters.note(name, "disagreement", {"decision_id": decided["decision_id"], **said})
    wait_for(lambda: [case.opened_by for case in desk.ledger.open_cases()] == [("disagreement",)])

    headquarters.note(name, "revocation", {"authority": "stopped"})
    wait_for(lambda: desk.lease().authority == "stopped")
    with pytest.raises(StoppedError, match="withdrawn"):
        desk.decide(submission())
    assert device.services.status()["sync"]["problem"] is None
    assert loop is not None
    loop.stop(30)
    headquarters.close()


def test_without_a_headquarters_in_the_policy_nothing_is_sent(own_state: Path) -> None:
    desk = open_desk(Wall())
    device, loop = synced(Device(POLICY, Services(dict, dict)), desk)  # type: ignore[arg-type]
    assert device.services.status()["sync"] == {"sent": None, "refused": None, "problem": None}
    assert loop is None
    assert (own_state / "sync.json").exists()


def test_settings_that_cannot_be_used_are_said_and_the_branch_decides_all_the_same(
    own_state: Path, folder: Path, url: str
) -> None:
    (own_state / "keys" / "sync").mkdir(parents=True)
    (own_state / "keys" / "sync" / "url").write_text("http://elsewhere.example")
    desk = open_desk(Wall())
    device, _ = synced(Device(policy(folder, url), Services(lambda *_: {"decision": "review"}, dict)), desk)  # type: ignore[arg-type]
    assert device.services.status()["sync"]["problem"]["code"] == "SYNC-005"
    assert device.services.score(None, None) == {"decision": "review"}  # type: ignore[arg-type]
