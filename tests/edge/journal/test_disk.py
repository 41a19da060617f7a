"""A disk that is full or cannot be written: real ones, in a mount namespace of their own."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devices.errors import JournalFullError
from edge.journal import keys
from edge.journal.verify import verify_journal
from tests.edge.journal.conftest import Device

ROOT = Path(__file__).parents[3]
_FILL = """
import sys
from pathlib import Path
from devices.errors import JournalFullError
from tests.edge.journal.conftest import Device, decide

device = Device(Path(sys.argv[1]))
journal = device.open()
try:
    decide(journal, 0)
except JournalFullError as error:
    print("decision:", error.problem)
appended = 0
try:
    while True:
        journal.append("update", {"what": "x" * 20_000})
        appended += 1
except JournalFullError as error:
    print("entry:", error.problem)
assert journal.head().seq == appended + 1
journal.close()
again = device.open()
assert again.head().seq == appended + 1
print("appended", appended)
"""


@pytest.fixture(autouse=True)
def needs_namespaces() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounts disks of its own: needs root and util-linux")


def mounted(mounts: str, *command: str, state: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where ``mounts`` was done first; only it sees them."""
    environment = os.environ | {"EDGEKIT_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)}
    script = ["unshare", "--mount", "sh", "-ec", f'{mounts}; exec "$@"', "sh", sys.executable, *command]
    return subprocess.run(script, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_full_disk_stops_decisions_and_damages_nothing(tmp_path: Path) -> None:
    done = mounted(f"mount -t tmpfs -o size=4m none {tmp_path}", "-c", _FILL, str(tmp_path), state=tmp_path)
    assert done.returncode == 0, done.stderr
    decision, entry, appended = done.stdout.splitlines()
    assert decision.startswith("decision: The disk under the journal is nearly full")
    assert entry.startswith("entry: The disk under the journal")
    assert int(appended.split()[1]) > 20


def test_on_a_full_disk_every_command_says_so_and_what_only_reads_still_reads(
    device: Device, tmp_path_factory: pytest.TempPathFactory
) -> None:
    device.filled(3)
    device.opened.pop().close()
    disk = tmp_path_factory.mktemp("disk")
    full = f"mount -t tmpfs -o size=4m none {disk}; cp -a {device.state}/. {disk}; cat /dev/zero >{disk}/full || true"
    for command in ("verify", "stats"):
        looked = mounted(full, "-m", "edge.cli", "journal", command, "--json", state=disk)
        assert looked.returncode == 0, looked.stdout
    assert json.loads(looked.stdout)["disk_free_bytes"] == 0
    decision = "00000000-0000-4000-8000-000000000001"
    erased = mounted(full, "-m", "edge.cli", "journal", "erase", decision, "--why", "x", "--json", state=disk)
    assert (erased.returncode, json.loads(erased.stdout)["error"]["code"]) == (15, "JOURNAL-003")


def test_a_device_key_that_finds_no_room_is_no_lost_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(keys, "write_durably", full)
    with pytest.raises(JournalFullError, match="No space left"):
        keys.open_keys(tmp_path)


def test_on_a_read_only_disk_a_journal_is_looked_at_and_not_written(device: Device) -> None:
    device.filled(3)
    device.opened.pop().close()
    mounts = f"mount --bind {device.state} {device.state}; mount -o remount,bind,ro {device.state}"
    verified = mounted(mounts, "-m", "edge.cli", "journal", "verify", "--json", state=device.state)
    assert json.loads(verified.stdout)["good"] is True
    assert mounted(mounts, "-m", "edge.cli", "journal", "stats", "--json", state=device.state).returncode == 0
    decision = "00000000-0000-4000-8000-000000000001"
    erased = mounted(mounts, "-m", "edge.cli", "journal", "erase", decision, "--why", "x", "--json", state=device.state)
    assert (erased.returncode, json.loads(erased.stdout)["error"]["code"]) == (15, "JOURNAL-001")
    assert verify_journal(device.folder, device.keys()).entries == 4
