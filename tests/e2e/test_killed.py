"""A serving device whose processes are all killed, again and again, while it decides and sends."""

from __future__ import annotations

from pathlib import Path

from benchmarks.offline_served import Callers, device_bundle, kill_servers, settle
from benchmarks.offline_sync import collector, make_headquarters
from tests.e2e.conftest import DemoRun


def test_what_was_answered_is_in_the_journal_and_at_headquarters_once(demo: DemoRun, tmp_path: Path) -> None:
    headquarters, state, callers = make_headquarters(tmp_path / "headquarters"), tmp_path / "state", Callers()
    with collector(headquarters) as url:
        bundle = device_bundle(demo.bundle, headquarters, url, state, tmp_path / "device")
        found, _ = kill_servers(bundle, state, callers, kills=3)
        assert not found
        assert callers.wrong == []
        assert callers.told
        assert settle(bundle, state, headquarters, url, callers) == {}
