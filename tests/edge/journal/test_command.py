"""``edgekit journal`` on a device's state directory."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.cli import main
from edge.journal.state import open_journal
from tests.edge.journal.conftest import decide


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def decided(state: Path) -> Path:
    journal = open_journal()
    for number in range(3):
        decide(journal, number, level="high" if number == 2 else "low")
    journal.close()
    return state


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    status = main(["journal", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", [["stats"], ["verify"], ["erase", "x", "--why", "y"], ["salvage"]])
def test_looking_for_a_journal_makes_none(state: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, document = run(capsys, *command)
    assert status == 15
    assert document["error"]["code"] == "JOURNAL-001"  # type: ignore[index]
    assert list(state.iterdir()) == []


def test_stats_count_what_is_there(decided: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, document = run(capsys, "stats")
    assert status == 0
    assert document["kinds"] == {"decision": 3, "genesis": 1}
    assert (document["backlog"], document["readable"], document["erased"], document["pictures"]) == (4, 3, 0, 3)
    assert document["key_protection"] == "file"
    assert main(["journal", "stats"]) == 0
    assert "4: 3 decision, 1 genesis" in capsys.readouterr().out


def test_verify_names_the_first_bad_entry(decided: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, document = run(capsys, "verify")
    assert (status, document["good"], document["entries"]) == (0, True, 4)
    with closing(sqlite3.connect(decided / "journal" / "journal.sqlite")) as connection, connection:
        connection.execute("UPDATE entries SET signature = zeroblob(64) WHERE seq IN (2, 3)")
    status, document = run(capsys, "verify")
    assert (status, document["good"]) == (15, False)
    assert document["first_bad"]["entry"] == 2  # type: ignore[index]
    assert main(["journal", "verify"]) == 15
    assert "The journal is not good. First: Entry 2: it is not what the device signed" in capsys.readouterr().out


def test_verify_looks_up_the_codes_of_receipts(decided: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(capsys, "stats")[1]["head"]["code"]  # type: ignore[index]
    assert run(capsys, "verify", "--code", code)[0] == 0
    for unknown in ("4-00000000", "9-ABCDEFGH", "x", f"4-{'9' * 30}"):
        status, document = run(capsys, "verify", "--code", code, "--code", unknown)
        assert (status, document["good"], document["unknown_codes"]) == (15, True, [unknown])


def test_an_export_is_told_with_the_command_that_verifies_it(
    decided: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "export", "--out", str(tmp_path / "out")]) == 0
    assert "python3 verify_journal.py journal.jsonl --public-key" in capsys.readouterr().out.replace("\n", " ")
    assert (tmp_path / "out" / "journal.jsonl").exists()


def test_an_erasure_is_told_and_cannot_be_undone(decided: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decision = "00000000-0000-4000-8000-000000000001"
    status, document = run(capsys, "erase", decision, "--why", "asked by the customer")
    assert (status, document["entries"]) == (0, [3])
    status, document = run(capsys, "erase", "nobody", "--why", "asked")
    assert (status, document["error"]["code"]) == (15, "JOURNAL-005")  # type: ignore[index]
    assert run(capsys, "verify")[1]["good"] is True
    assert run(capsys, "stats")[1]["erased"] == 1


def test_a_salvage_says_what_is_lost_and_where_the_damaged_journal_is(
    decided: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (decided / "journal" / "journal.sqlite").write_bytes(b"")
    assert main(["journal", "salvage"]) == 0
    said = capsys.readouterr().out
    assert "Lost entries: 1 to 4" in said
    assert f"The damaged journal is {decided / 'journal.damaged-1'}" in said
    assert run(capsys, "verify")[1]["good"] is True


def test_a_lost_key_is_said_by_every_command(decided: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (decided / "keys" / "device-key.json").unlink()
    for command in (["stats"], ["verify"], ["salvage"], ["erase", "x", "--why", "y"]):
        status, document = run(capsys, *command)
        assert (status, document["error"]["code"]) == (15, "JOURNAL-004")  # type: ignore[index]
    assert not (decided / "keys" / "device-key.json").exists()
