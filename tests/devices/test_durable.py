"""What root makes in somebody's directory belongs to that one, and a file has the mode that it was given."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.durable import hand_over_tree, locked, make_directory, open_made, write_durably

NOBODY = 65534

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands anything over")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of the service's."""
    os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def as_the_service(work: Callable[[], None]) -> None:
    os.seteuid(NOBODY)
    try:
        work()
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    """The record of the slots is written by root and read by the service."""
    for umask in (0o077, 0o000):
        before = os.umask(umask)
        try:
            write_durably(tmp_path / "switch.json", b"{}", mode=mode)
        finally:
            os.umask(before)
        assert (tmp_path / "switch.json").stat().st_mode & 0o777 == mode


@only_root
def test_the_service_can_open_lock_and_replace_all_that_root_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # what leads to it may be closed to others
    os.close(open_made(folder / "sync.lock"))
    make_directory(folder / "a" / "b")
    write_durably(folder / "a" / "clock.json", b"{}", mode=0o600)

    def use() -> None:
        os.close(open_made(Path("sync.lock")))
        with locked(Path("a/b")):
            assert Path("a/clock.json").read_bytes() == b"{}"
        write_durably(Path("a/clock.json"), b"[]")
        os.close(open_made(Path("a/b/c")))

    as_the_service(use)
    assert {path.stat().st_uid for path in folder.rglob("*")} == {NOBODY}
    assert (folder / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (folder / "sync.lock").stat().st_mode & 0o777 == 0o600


@only_root
def test_what_is_there_keeps_its_owner_and_a_link_leads_nowhere(folder: Path) -> None:
    (folder / "roots").touch()
    (folder / "a").mkdir()
    os.close(open_made(folder / "roots"))
    make_directory(folder / "a")
    assert [(folder / name).stat().st_uid for name in ("roots", "a")] == [0, 0]
    (folder / "link").symlink_to(folder / "roots")
    (folder / "nowhere").symlink_to(folder / "none")
    for name in ("link", "nowhere"):
        with pytest.raises(OSError, match="symbolic links"):
            open_made(folder / name)
    assert not (folder / "none").exists()


@only_root
def test_what_a_library_made_for_root_is_the_services_and_no_link_leads_out(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    roots = tmp_path_factory.mktemp("roots") / "file"
    roots.touch()
    made = folder / "cache" / "compiled"
    made.mkdir(parents=True)
    os.chown(folder / "cache", NOBODY, NOBODY)
    (made / "blob").touch()
    (made / "link").symlink_to(roots)
    (made / "hard").hardlink_to(roots)
    hand_over_tree(made)
    assert [path.stat().st_uid for path in (made, made / "blob")] == [NOBODY, NOBODY]
    assert roots.stat().st_uid == 0
