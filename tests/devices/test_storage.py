from __future__ import annotations

from pathlib import Path

import pytest

from devices.storage import FileSystem, disk_free_mb, existing, file_system_of, parse_mountinfo

RECORDED = Path(__file__).parent / "recorded"
KIOSK = (RECORDED / "mountinfo-debian-kiosk.txt").read_text(encoding="utf-8")
DOCKER = (RECORDED / "mountinfo-docker.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        (KIOSK, "/var/lib/edgekit", FileSystem("ext4", "/", False)),
        (KIOSK, "/", FileSystem("ext4", "/", False)),
        (KIOSK, "/media/branch/KIT STICK/medium", FileSystem("vfat", "/media/branch/KIT STICK", True)),
        (KIOSK, "/media/branch/KIT STICKER", FileSystem("ext4", "/", False)),
        (KIOSK, "/srv/other", FileSystem("ext4", "/srv", True)),
        (KIOSK, "/srv/kit/slots", FileSystem("xfs", "/srv/kit", False)),
        (KIOSK, "/mnt/head\\office/x", FileSystem("nfs4", "/mnt/head\\office", False)),
        (KIOSK, "/run/edgekit", FileSystem("tmpfs", "/run", False)),
        (DOCKER, "/home/kit", FileSystem("overlay", "/", False)),
        (DOCKER, "/var/lib/edgekit/slots/a", FileSystem("ext4", "/var/lib/edgekit", False)),
        ("", "/anywhere", FileSystem("unknown", "/", False)),
        ("nonsense\n1 2 - \n", "/", FileSystem("unknown", "/", False)),
    ],
)
def test_the_file_system_of_a_path_is_the_deepest_mount_above_it(text: str, path: str, expected: FileSystem) -> None:
    assert parse_mountinfo(text, path) == expected


def test_of_two_mounts_on_one_point_the_later_hides_the_earlier() -> None:
    twice = "1 0 8:1 / /data rw - ext4 /dev/a rw\n2 1 0:9 / /data rw - tmpfs tmpfs rw\n"
    assert parse_mountinfo(twice, "/data/x").kind == "tmpfs"


@pytest.mark.parametrize(("kind", "lasts"), [("ext4", True), ("xfs", True), ("tmpfs", False), ("vfat", False)])
def test_a_file_system_says_whether_what_was_synced_lasts(kind: str, lasts: bool) -> None:
    assert (FileSystem(kind).why_not_durable is None) is lasts


def test_room_is_told_for_directories_that_are_not_there_yet(tmp_path: Path) -> None:
    wanted = tmp_path / "not" / "there" / "yet"
    assert existing(wanted) == tmp_path
    assert disk_free_mb(wanted) > 0
    assert file_system_of(wanted).kind != "unknown"
