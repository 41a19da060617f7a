from __future__ import annotations

import os
from pathlib import Path

import pytest

from devices.doctor.place import check_file_system, check_permission, check_room, size_mb
from devices.storage import FileSystem

HERE = Path("/srv/kit")


@pytest.mark.parametrize(
    ("free_mb", "held_mb", "state"),
    [
        (1700, 0, "ok"),  # two slots, a download, and 200 MB to spare
        (1699, 0, "attention"),
        (700, 0, "attention"),
        (699, 0, "stop"),  # not even the first one fits
        (699, 1001, "ok"),  # both slots are there already: a download fits
        (698, 1000, "attention"),
        (1, 5000, "ok"),
    ],
)
def test_two_slots_and_a_download_of_500_mb_need_room(free_mb: int, held_mb: int, state: str) -> None:
    check = check_room(free_mb, 500, held_mb=held_mb, place=HERE)
    assert check.state == state
    assert f"{free_mb} MB are free at /srv/kit" in check.finding
    assert bool(check.remedy) is (state != "ok")


@pytest.mark.parametrize(
    ("file_system", "state", "said"),
    [
        (FileSystem("ext4", "/", False), "ok", "ext4 mounted at /"),
        (FileSystem("ext4", "/srv", True), "stop", "read-only"),
        (FileSystem("tmpfs", "/srv", False), "attention", "empty after a restart"),
        (FileSystem("vfat", "/srv", True), "stop", "read-only"),
    ],
)
def test_a_disk_that_cannot_keep_what_is_written_is_named(file_system: FileSystem, state: str, said: str) -> None:
    check = check_file_system(file_system, HERE)
    assert check.state == state
    assert said in check.finding


def test_keys_that_others_can_read_need_attention(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert check_permission(tmp_path / "root", state).state == "ok"
    (state / "keys").mkdir(parents=True, mode=0o700)
    key = state / "keys" / "device.pem"
    key.write_text("not a key")
    key.chmod(0o600)
    state.chmod(0o755)
    assert check_permission(tmp_path / "root", state).state == "ok"
    key.chmod(0o640)
    check = check_permission(tmp_path / "root", state)
    assert check.state == "attention"
    assert check.remedy == f"Run: chmod go= {key}"
    key.chmod(0o600)
    state.chmod(0o777)
    assert f"{state} can be read or changed" in check_permission(tmp_path / "root", state).finding


def test_a_directory_that_this_user_may_not_write_to_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    if os.geteuid() == 0:  # root may write everywhere
        monkeypatch.setattr(os, "access", lambda *_, **__: False)
    check = check_permission(tmp_path / "root", tmp_path / "state")
    assert check.state == "stop"
    assert str(tmp_path) in check.finding


def test_sizes_count_plain_files_once_and_round_up(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1024 * 1024))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert size_mb(tmp_path) == 2
    assert size_mb(tmp_path / "missing") == 0
