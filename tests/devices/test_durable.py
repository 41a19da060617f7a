"""What root makes in somebody's directory belongs to that one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.durable import locked, make_directory, open_made, write_durably

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands anything over")


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
