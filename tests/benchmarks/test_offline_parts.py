"""What the parts of ``bench offline`` do when something is missing, ends or hangs, without running one."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import offline_nats, offline_served, offline_sync
from benchmarks.harness import Report


def report(folder: Path) -> Report:
    return Report("try", Console(file=io.StringIO()), folder)


def no_progress(stage: str, share: float) -> None:
    pass


def test_without_nats_server_each_of_its_rows_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = report(tmp_path)
    offline_nats.nats_rows(found, tmp_path, no_progress)
    assert [(row.what.split(",")[0], row.verdict) for row in found.rows] == [
        ("1", "skipped"),
        ("200 branches in 2 regions", "skipped"),
    ]
    assert all("Needs nats-server" in row.note for row in found.rows)


def test_a_broker_ends_with_what_needed_it_also_when_that_failed() -> None:
    with suppress(ZeroDivisionError), offline_nats._Broker(shutil.which("sleep") or "sleep", "60") as broker:
        first = broker._process
        broker.kill()
        broker.start()
        assert broker._process.poll() is None
        raise ZeroDivisionError
    assert (first.returncode, broker._process.returncode) == (-9, -9)


def test_a_device_that_cannot_send_is_told_by_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline_sync, "FEW", 2)
    monkeypatch.setattr(offline_sync, "collector", lambda folder: nullcontext("http://127.0.0.1:1"))
    monkeypatch.setattr(offline_sync, "_bad_line", lambda url: nullcontext((url, [])))
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(RuntimeError, match="the process that sends ended with 1"):
        offline_sync.week_rows(report(tmp_path), tmp_path, no_progress)


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline_served, "_PATIENCE_S", 0.1)
    with subprocess.Popen([shutil.which("sleep") or "sleep", "10"], stdout=subprocess.PIPE, text=True) as silent:
        try:
            assert offline_served._ready(silent) is None
            assert silent.poll() is None
        finally:
            silent.kill()
