"""What one device may send, and what happens when there is no room."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from devices.errors import SyncQuotaError
from edge.collector import bounds, store
from edge.collector.app import create_collector
from edge.collector.report import make_report
from edge.collector.store import Store
from edge.offline.sync_https import PATH
from edge.offline.sync_message import Call, Piece, pack_message
from edge.offline.sync_seal import seal_record
from tests.edge.branches import Branch, Headquarters
from tests.edge.collector.test_store import entry_piece, send

LARGE = 300_000  # three parts


def begun(branch: Branch, records: int, *, size: int = LARGE) -> list[Piece]:
    """An entry with so many records, and the first part of each."""
    names = {f"r{number}": size for number in range(records)}
    entry = entry_piece(branch.keys, 1, "0" * 64, **names)
    key = branch.headquarters.sealing.public_key()
    return [entry, *(next(seal_record(key, branch.device, 1, entry.hash, name, bytes(size))) for name in names)]


def test_a_device_that_begins_more_records_than_it_ends_is_told_so(
    branch: Branch, headquarters: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "UNFINISHED_MOST", 3)
    entry, *parts = begun(branch, 4)
    assert send(branch, entry, *parts[:3])[0] == {entry.id, *(part.id for part in parts[:3])}
    with pytest.raises(SyncQuotaError, match="COLLECTOR-004: Device .* has begun 3 records"):
        send(branch, parts[3])
    assert make_report(headquarters.store)["devices"][0]["unfinished"] == 3
    key = headquarters.sealing.public_key()
    rest = list(seal_record(key, branch.device, 1, entry.hash, "r0", bytes(LARGE)))[1:]
    send(branch, *rest)  # what was begun may be ended
    assert send(branch, parts[3])[0] == {parts[3].id}


def test_papers_that_the_branch_let_go_meanwhile_are_not_awaited(branch: Branch, headquarters: Headquarters) -> None:
    entry, *parts = begun(branch, 2)
    send(branch, entry, *parts)
    nonsense = entry_piece(branch.keys, 2, entry.hash, kind="retention", body={"documents": 1, "entries": [None, []]})
    send(branch, nonsense)
    assert make_report(headquarters.store)["devices"][0]["unfinished"] == 2
    body = {"why": "age", "documents": [1], "entries": []}
    send(branch, entry_piece(branch.keys, 3, nonsense.hash, kind="retention", body=body))
    assert make_report(headquarters.store)["devices"][0]["unfinished"] == 0


def changed(piece: Piece, **change: Any) -> Piece:
    return Piece(**{**vars(piece), **change})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "other"}, "has no record other"),
        ({"parts": 9}, "part 0 of its record r0 has not the size"),
        ({"data": bytes(200_000)}, "part 0 of its record r0 has not the size"),
        ({"data": b""}, "part 0 of its record r0 has not the size"),
    ],
)
def test_only_what_an_entry_announced_is_taken_as_its_paper(
    branch: Branch, headquarters: Headquarters, change: dict[str, Any], why: str
) -> None:
    entry, part = begun(branch, 1)
    wrong = changed(part, **change)
    taken, refused = send(branch, entry, wrong)
    assert taken == {entry.id}
    assert why in refused[wrong.id]
    assert headquarters.store.rows("SELECT 1 FROM parts") == []
    assert headquarters.store.rows("SELECT kind, seq FROM alarms") == [("misfit", 1)]


def test_what_is_larger_than_any_paper_is_refused(branch: Branch, headquarters: Headquarters) -> None:
    entry, part = begun(branch, 1, size=bounds.RECORD_MAX_BYTES + 1)
    assert "more than" in send(branch, entry, part)[1][part.id]
    line = entry_piece(branch.keys, 2, entry.hash, body={"text": "x" * bounds.LINE_MAX_BYTES})
    assert "more than" in send(branch, line)[1][line.id]
    assert headquarters.entries(branch.device) == [1]


def test_a_full_collector_takes_entries_and_no_papers_until_there_is_room(
    branch: Branch, headquarters: Headquarters
) -> None:
    branch.decide(1, papers={"receipt": bytes(LARGE)})
    headquarters.store.max_bytes = 1
    with pytest.raises(SyncQuotaError, match=r"COLLECTOR-005: The collector holds 0\.0 GB") as caught:
        branch.session().run()
    assert caught.value.retry_after_s == 900
    assert headquarters.entries(branch.device) == [1, 2]
    assert headquarters.store.rows("SELECT 1 FROM parts") == []
    room = make_report(headquarters.store)["room"]
    assert room["problem"]["code"] == "COLLECTOR-005"
    assert branch.journal.backlog() == 2
    headquarters.store.max_bytes = None
    branch.session().run()
    assert len(headquarters.store.sealed(branch.device, 2)["receipt"]) == 3
    assert branch.journal.backlog() == 0


def test_a_disk_with_little_left_counts_as_full(headquarters: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    assert headquarters.store.full() is None
    monkeypatch.setattr(bounds, "_RESERVE_BYTES", 1 << 60)
    problem = headquarters.store.full()
    assert problem is not None
    assert "disk has" in problem.problem


def test_a_disk_that_is_full_to_the_last_byte_is_said_at_headquarters_once_and_nothing_is_acknowledged(
    branch: Branch, headquarters: Headquarters, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = create_collector(headquarters.store, headquarters.signing).test_client()
    call = Call.make(branch.time(), (1, "ab" * 32), 0, [], headquarters.sealing.public_key())
    data = pack_message(branch.keys, "b", [], call)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", full_disk)
        answers = [client.post(PATH, data=data) for _ in range(3)]
    assert [(each.status_code, each.headers["Retry-After"]) for each in answers] == [(503, "30")] * 3
    problem = json.loads(answers[0].data)
    assert problem["code"] == "COLLECTOR-005"
    assert "Nothing was taken" in problem["state"]
    assert caplog.text.count("COLLECTOR-005") == 1
    assert client.post(PATH, data=data).status_code == 200
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", full_disk)
        client.post(PATH, data=data)
    assert caplog.text.count("COLLECTOR-005") == 2  # it was better in between


def full_disk(_: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_over_http_a_refusal_has_its_own_status_and_is_signed(branch: Branch, headquarters: Headquarters) -> None:
    client = create_collector(headquarters.store, headquarters.signing).test_client()
    entry, part = begun(branch, 1)

    def status(*pieces: Piece) -> int:
        call = Call.make(branch.time(), (1, entry.hash), 0, pieces, headquarters.sealing.public_key())
        answer = client.post(PATH, data=pack_message(branch.keys, "b", pieces, call))
        assert answer.content_type == "application/vnd.edgekit.journal"
        return answer.status_code

    assert status(entry) == 200
    headquarters.store.max_bytes = 1
    assert status(part) == 507
    headquarters.store.max_bytes = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "UNFINISHED_MOST", 0)
        assert status(part) == 413
    headquarters.store.retire_device(branch.device, "r")
    assert status(part) == 403


def test_a_collector_of_an_older_kit_goes_on(headquarters: Headquarters) -> None:
    headquarters.store.close()
    with sqlite3.connect(headquarters.folder / store.DATABASE_NAME) as database:
        for table in ("register", "unfinished", "erasures"):
            database.execute(f"DROP TABLE {table}")
    database.close()
    headquarters.store = Store(headquarters.folder)
    assert make_report(headquarters.store)["erasures"] == []
