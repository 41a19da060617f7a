"""An auditor's export verifies with nothing of the kit, and every change of it is found."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from devices.errors import JournalError
from edge.journal import verifier
from edge.journal.export import export
from edge.journal.salvage import salvage
from tests.edge.journal.conftest import Device


@pytest.fixture
def exported(device: Device) -> Path:
    journal = device.filled(6)
    journal.erase(journal.entry(3).body["decision_id"], why="asked")
    export(journal, device.state / "out")
    return device.state / "out"


def judge(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the verifier away from the kit, as an auditor does."""
    command = [sys.executable, "-I", "verify_journal.py", "journal.jsonl", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_an_export_verifies_without_the_kit(exported: Path, device: Device) -> None:
    done = judge(exported, "--public-key", device.keys().public_bytes.hex(), "--code", device.opened[0].entry(4).code)
    assert (done.returncode, done.stdout) == (0, "GOOD: 8 entries, each signed by the key given.\n")
    text = (exported / "verify_journal.py").read_text()
    assert "import edge" not in text
    assert "from edge" not in text


def test_no_personal_data_are_in_an_export(exported: Path) -> None:
    assert "测试甲" not in (exported / "journal.jsonl").read_text(encoding="utf-8")
    assert "发明的理由" not in (exported / "journal.jsonl").read_text(encoding="utf-8")


def test_another_devices_key_or_an_unknown_code_is_told(exported: Path) -> None:
    other = judge(exported, "--public-key", "ab" * 32)
    assert (other.returncode, other.stdout[:4]) == (1, "BAD:")
    assert "not by the one expected" in other.stdout
    assert "no entry has the code 4-00000000" in judge(exported, "--code", "4-00000000").stdout


def test_every_change_of_an_export_is_found_where_it_begins(exported: Path) -> None:
    path = exported / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    draw = random.Random(3)
    for _ in range(150):
        changed, number = list(lines), draw.randint(1, 8)
        match draw.randrange(5):
            case 0:
                del changed[number]
            case 1:
                other = draw.choice([n for n in range(1, 9) if n != number])
                changed[number], changed[other] = changed[other], changed[number]
                number = min(number, other)
            case 2:
                changed.insert(number + 1, changed[number])
                number += 1
            case 3:
                entry = json.loads(changed[number])
                at = draw.randrange(len(entry["line"]))
                entry["line"] = entry["line"][:at] + chr(ord(entry["line"][at]) ^ 1) + entry["line"][at + 1 :]
                changed[number] = json.dumps(entry) + "\n"
            case 4:
                changed, number = changed[:number], number
        path.write_text("".join(changed), encoding="utf-8")
        with pytest.raises(verifier.Bad, match=f"^entry {number}: "):
            verifier.verify(path, None, [])


def test_a_head_of_one_number_may_not_stand_for_another(exported: Path) -> None:
    path = exported / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    header, last = json.loads(lines[0]), json.loads(lines[-2])
    cut = json.loads(last["line"])
    header["head"] = {
        "seq": cut["seq"],
        "hash": hashlib.sha256(last["line"].encode()).hexdigest(),
        "signature": last["signature"],  # of the entry; a head is signed over another text
    }
    path.write_text("".join([json.dumps(header) + "\n", *lines[1:-1]]), encoding="utf-8")
    with pytest.raises(verifier.Bad, match="head was not signed"):
        verifier.verify(path, None, [])


def test_what_a_salvage_declared_lost_is_told_and_good(device: Device) -> None:
    device.filled(3)
    device.opened.pop().close()
    device.database.unlink()
    salvage(device.folder, device.keys(), now=device.now)
    export(device.open(), device.state / "out")
    done = judge(device.state / "out")
    assert done.returncode == 0
    assert "Entries 1 to 4 were lost" in done.stdout
    assert "GOOD: 1 entries" in done.stdout


def test_an_export_writes_over_nothing(exported: Path, device: Device) -> None:
    before = (exported / "journal.jsonl").read_bytes()
    with pytest.raises(JournalError, match="is there already"):
        export(device.opened[0], exported)
    assert (exported / "journal.jsonl").read_bytes() == before
