"""The disk under a running server: models deleted, no room for the cache, a large request's body, or the journal."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.hostile import EDGEKIT, Watched, drawn, encoded, refused, serving


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    options = ["-t", "tmpfs", "-o", "size=300k", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def fill(directory: Path) -> None:
    """Leave 16 kB."""
    with (directory / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(file.name, (directory / "filler").stat().st_size - 16_384)


def test_models_deleted_while_serving_are_not_missed(bundle: Path, own_state: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    with serving(copy, own_state) as (server, process):
        for path in copy.rglob("*.onnx"):
            path.unlink()
        server.unharmed()
        process.send_signal(signal.SIGHUP)  # asks to load it again
        end = time.monotonic() + 30
        while (swap := requests.get(f"{server.url}/v1/status", timeout=10).json()["worker"]["last_swap"]) is None:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert swap["error"]["code"] == "BUNDLE-003"
        assert ".onnx" in swap["error"]["problem"]
        server.unharmed()
        shutil.rmtree(copy)
        server.unharmed()


def test_a_full_disk_under_cache_and_bodies_changes_no_answer_and_is_told(
    bundle: Path, own_state: Path, small_disk: Path, steady: Watched
) -> None:
    (small_disk / "cache").mkdir()
    (own_state / "cache").symlink_to(small_disk / "cache")
    fill(small_disk)
    large = encoded(drawn("4711").resize((1600, 1200)), "BMP")
    with serving(bundle, own_state, TMPDIR=str(small_disk)) as (server, _):
        assert server.usual == steady.usual
        # the body of a large request waits on the disk until it is complete
        said = refused(requests.post(f"{server.url}/v1/ocr", data=large, timeout=30), 503)
        assert "No space left" in said["problem"]
        parts = [("application", ("application.json", b"{}")), ("file", ("a.bmp", large))]
        refused(requests.post(f"{server.url}/v1/score", files=parts, timeout=30), 503)
        server.unharmed()


def test_with_a_full_disk_under_the_journal_nothing_is_decided_and_the_remedy_is_said(
    bundle: Path, own_state: Path, small_disk: Path
) -> None:
    shutil.copytree(own_state, small_disk, dirs_exist_ok=True)
    fill(small_disk)
    command = [EDGEKIT, "serve", "--bundle", bundle, "--port", "0", "--json"]
    environment = {**os.environ, "EDGEKIT_STATE_DIR": str(small_disk)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    error = json.loads(ended.stdout)["error"]
    assert (ended.returncode, error["code"]) == (15, "JOURNAL-003")
    assert "full" in error["problem"]


def test_a_broken_cache_is_made_again(bundle: Path, own_state: Path, steady: Watched) -> None:
    shutil.copytree(steady.state / "cache", own_state / "cache")
    blobs = [path for path in (own_state / "cache").rglob("*") if path.is_file()]
    assert blobs
    for path in blobs:
        path.write_bytes(path.read_bytes()[:1000])
    with serving(bundle, own_state) as (server, _):
        assert server.usual == steady.usual
