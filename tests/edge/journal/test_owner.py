"""A journal that root begins or salvages on a device is the service's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.journal.salvage import salvage
from edge.journal.state import open_journal
from tests.edge.branches import Branch, Headquarters, Time
from tests.edge.journal.conftest import Device

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what belongs to others")


def owners(folder: Path) -> set[int]:
    return {path.stat().st_uid for path in folder.rglob("*")}


def test_whatever_root_makes_in_the_services_state_is_the_services(own_state: Path) -> None:
    os.chown(own_state, NOBODY, NOBODY)
    journal = open_journal()
    journal.append("contact", {})
    assert {"journal.sqlite", "journal.sqlite-wal", "in-use"} < {
        path.name for path in (own_state / "journal").iterdir()
    }
    assert owners(own_state) == {NOBODY}
    journal.close()


def test_a_salvaged_journal_is_the_services(device: Device) -> None:
    os.chown(device.state, NOBODY, NOBODY)
    device.filled(3).close()
    device.database.write_bytes(device.database.read_bytes()[:8192])
    salvage(device.folder, device.keys(), now=device.now)
    assert owners(device.folder) == {NOBODY}


def test_a_session_that_root_runs_locks_no_service_out(tmp_path: Path) -> None:
    time = Time()
    branch = Branch(tmp_path / "branch", Headquarters(tmp_path / "headquarters", time), time)
    os.chown(branch.folder, NOBODY, NOBODY)
    branch.session().run()
    assert (branch.folder / "sync.lock").stat().st_uid == NOBODY
