"""``edgekit collector`` and ``edgekit sync`` as a person calls them."""

from __future__ import annotations

import json
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.offline_sync import collector
from edge.cli import main
from edge.collector.store import Store
from edge.journal.state import open_journal
from edge.offline.sync_message import device_id
from edge.offline.sync_policy import SyncPolicy
from edge.offline.sync_settings import remember_policy


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, object]]:
    status = main([*map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "headquarters"
    assert call(capsys, "collector", "init", path)[0] == 0
    return path


def policy(capsys: pytest.CaptureFixture[str], folder: Path, url: str) -> SyncPolicy:
    _, document = call(capsys, "collector", "init", folder)  # what is there stays
    return SyncPolicy(url=url, acknowledged_by=document["acknowledged_by"], sealed_for=document["sealed_for"])  # type: ignore[arg-type]


def test_from_an_empty_directory_to_a_branch_that_learns_a_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    body = {"decision_id": "D-1", "score": 5, "level": "low", "decision": "pass", "amount": 1}
    journal = open_journal()
    journal.append("decision", body, records={"receipt": b"{}"})
    with collector(folder) as url:
        remember_policy(policy(capsys, folder, url))
        status, sent = call(capsys, "sync")
        assert (status, sent["sent"], sent["backlog"]) == (0, 3, 0)

        assert call(capsys, "collector", "decide", folder, "D-1", "decline", "--reason", "r", "--reviewer", "n")[0] == 0
        _, report = call(capsys, "collector", "report", folder)
        (device,) = report["devices"]  # type: ignore[misc]
        assert call(capsys, "collector", "authority", folder, device["device"], "stopped", "--reason", "r")[0] == 0
        opinion = tmp_path / "rescored.jsonl"
        opinion.write_text('{"decision_id": "D-1", "score": 90, "level": "high", "decision": "review", "model": "big"}')
        _, compared = call(capsys, "collector", "reconcile", folder, "--rescored", opinion)
        assert compared["disagree"] == 1
        assert call(capsys, "sync", "--once")[1]["notes"] == 3
    came = [(entry.kind, entry.body["note"]) for entry in journal.entries() if "note" in entry.body]
    assert came == [("review", 1), ("revocation", 2), ("disagreement", 3)]
    journal.close()


def test_a_device_is_refused_added_and_retired_by_a_person_at_headquarters(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = open_journal()
    device = device_id(journal.keys.public_bytes)
    with collector(folder, "--only-registered", "--max-gb", "1") as url:
        remember_policy(policy(capsys, folder, url))
        status, refused = call(capsys, "sync", "--once")
        assert (status, refused["error"]["code"]) == (18, "SYNC-006")  # type: ignore[index]
        (listed,) = call(capsys, "collector", "devices", "list", folder)[1]["devices"]  # type: ignore[misc]
        assert (listed["device"], listed["state"]) == (device, "unknown")
        assert call(capsys, "collector", "devices", "add", folder, device)[0] == 0
        assert call(capsys, "sync", "--once")[1]["backlog"] == 0
        assert call(capsys, "collector", "devices", "retire", folder, device, "--reason", "sold")[0] == 0
        status, refused = call(capsys, "sync", "--once")
        assert "COLLECTOR-003" in refused["error"]["problem"]  # type: ignore[index]
    main(["collector", "devices", "list", str(folder)])
    assert "retired" in capsys.readouterr().out
    main(["collector", "report", str(folder)])
    assert "0 decisions were erased" in capsys.readouterr().out
    journal.close()


def test_once_says_that_the_line_is_down_and_everything_waits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember_policy(policy(capsys, folder, "http://127.0.0.1:1"))
    status, document = call(capsys, "sync", "--once")
    assert status == 18
    assert document["error"]["code"] == "SYNC-001"  # type: ignore[index]


def test_a_device_that_never_served_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    status, document = call(capsys, "sync")
    assert (status, document["error"]["code"]) == (18, "SYNC-005")  # type: ignore[index]


def test_the_keys_of_a_collector_are_for_its_owner_and_stay(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in folder.glob("*.pem")}
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.pem")} == {0o600}
    call(capsys, "collector", "init", folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*.pem")} == before


def test_the_printed_lines_are_a_policy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["collector", "init", str(folder), "--url", "https://journals.bank.example"])
    lines = capsys.readouterr().out.split("\n\n")[0]
    assert SyncPolicy(**tomllib.loads(lines)["sync"]).url == "https://journals.bank.example"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["collector", "serve", "{}", "--host", "0.0.0.0", "--port", "0"], 19),
        (["collector", "serve", "{}", "--nats", "nats://10.0.0.1"], 19),
        (["collector", "serve", "{}", "--nats", "tls://10.0.0.1"], 19),
        (["collector", "report", "{}/.."], 19),
        (["collector", "decide", "{}", "D-9", "approve", "--reason", "r", "--reviewer", "n"], 19),
        (["collector", "authority", "{}", "nobody", "full", "--reason", "r"], 19),
        (["collector", "devices", "add", "{}", "nobody"], 19),
        (["collector", "devices", "retire", "{}", "ab" * 16, "--reason", "r"], 19),
        (["collector", "serve", "{}", "--nats", "nats://127.0.0.1", "--region", "a.b", "--port", "0"], 19),
        (["collector", "serve", "{}", "--region", "north"], 2),
        (["collector", "authority", "{}", "known", "full", "--reason", "\udcff"], 19),
        (["collector", "reconcile", "{}"], 2),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_status(
    folder: Path, arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store(folder)) as store:
        store._do("INSERT INTO devices VALUES ('known', 'b', '', '', '', NULL, NULL, NULL)")
    assert main([each.format(folder) for each in arguments]) == status
    assert capsys.readouterr().err
