"""An artifact appears whole or not at all, and an earlier one stays until then."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compress.artifact_dir import fresh_directory
from devices.errors import ArtifactError, DataError
from runtime.artifact import ARTIFACT_NAME

ROOT = Path(__file__).parents[2]


def write(directory: Path, text: str) -> None:
    (directory / ARTIFACT_NAME).write_text(text)
    (directory / "model").mkdir()
    (directory / "model" / "weights").write_text(text)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    write(out, "earlier")
    return out


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def write_then_fail(out: Path, error: BaseException) -> None:
    with fresh_directory(out) as draft:
        write(draft, "new")
        raise error


def whole(out: Path, text: str) -> bool:
    """Whether ``out`` is the artifact ``text`` and nothing lies beside it."""
    texts = [(out / name).read_text() for name in (ARTIFACT_NAME, "model/weights")]
    return texts == [text, text] and names(out.parent) == [out.name]


def test_all_of_it_is_on_the_disk_before_it_takes_the_place_of_an_earlier_one(
    earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[str, str] = {}  # path to what was at the artifact's place then

    def noted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced[path.name] = (earlier / ARTIFACT_NAME).read_text()

    monkeypatch.setattr(os, "fsync", noted)
    with fresh_directory(earlier) as draft:
        write(draft, "new")
    assert synced == dict.fromkeys([".out.draft", ARTIFACT_NAME, "model", "weights"], "earlier") | {
        earlier.parent.name: "new"
    }


@pytest.mark.parametrize("made_before", [True, False])
def test_a_new_directory_appears_with_its_parents(tmp_path: Path, made_before: bool):
    out = tmp_path / "some" / "where"
    if made_before:
        out.mkdir(parents=True)
    with fresh_directory(out) as draft:
        write(draft, "new")
        assert not (out / ARTIFACT_NAME).exists()
    assert whole(out, "new")


def test_an_earlier_artifact_stays_until_the_new_one_is_whole(earlier: Path):
    (earlier / "golden.npz").write_text("of the earlier one")
    with fresh_directory(earlier) as draft:
        write(draft, "new")
        assert (earlier / ARTIFACT_NAME).read_text() == "earlier"
    assert whole(earlier, "new")
    assert not (earlier / "golden.npz").exists()


@pytest.mark.parametrize("error", [DataError("A line is wrong."), KeyboardInterrupt(), ValueError("a defect")])
def test_an_error_leaves_the_earlier_artifact_and_no_draft(earlier: Path, error: BaseException):
    with pytest.raises(type(error)):
        write_then_fail(earlier, error)
    assert whole(earlier, "earlier")


def test_what_is_no_artifact_is_never_replaced(tmp_path: Path):
    out = tmp_path / "photographs"
    out.mkdir()
    (out / "holiday.jpg").write_text("a day at the sea")
    with pytest.raises(ArtifactError, match="no earlier artifact"), fresh_directory(out):
        pytest.fail("the block was entered")
    assert names(tmp_path) == ["photographs"]
    assert (out / "holiday.jpg").read_text() == "a day at the sea"
    with pytest.raises(ArtifactError, match="is a file"), fresh_directory(out / "holiday.jpg"):
        pytest.fail("the block was entered")


def test_a_full_disk_is_said_with_the_room_that_is_left(earlier: Path):
    with pytest.raises(ArtifactError, match=r"disk is full .* MB in ") as caught:
        write_then_fail(earlier, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert "TMPDIR" in caught.value.remedy
    assert whole(earlier, "earlier")


def test_a_disk_that_is_really_full_leaves_no_draft(tmp_path: Path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        with pytest.raises(ArtifactError, match=f"MB in {mounted}"), fresh_directory(mounted / "out") as draft:
            (draft / "weights").write_bytes(bytes(200_000))
        assert names(mounted) == []
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_an_error_that_is_not_the_disks_passes_through(tmp_path: Path):
    with pytest.raises(FileNotFoundError), fresh_directory(tmp_path / "out"):
        (tmp_path / "gone").read_bytes()


def test_a_directory_that_may_not_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArtifactError, match="Permission denied"), fresh_directory(tmp_path / "a" / "out"):
        pytest.fail("the block was entered")


def test_a_second_run_for_the_same_directory_is_refused_and_disturbs_nothing(earlier: Path):
    with fresh_directory(earlier) as draft:
        write(draft, "new")
        with pytest.raises(ArtifactError, match="Another run"), fresh_directory(earlier):
            pytest.fail("the block was entered")
    assert whole(earlier, "new")


def test_after_a_kill_the_earlier_artifact_is_whole_and_the_next_run_cleans_up(earlier: Path):
    program = (
        "import sys, time, pathlib\n"
        "from compress.artifact_dir import fresh_directory\n"
        "with fresh_directory(pathlib.Path(sys.argv[1])) as draft:\n"
        "    (draft / 'half').write_text('half')\n"
        "    print('here', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(earlier)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (earlier / "model" / "weights").read_text() == "earlier"
    with fresh_directory(earlier) as draft:
        assert names(draft) == []
        write(draft, "new")
    assert whole(earlier, "new")


def test_a_power_cut_between_the_two_renames_loses_nothing(earlier: Path):
    earlier.rename(earlier.with_name(".out.replaced"))
    with pytest.raises(DataError), fresh_directory(earlier):
        raise DataError("A line is wrong.")
    assert whole(earlier, "earlier")


def test_a_draft_that_cannot_take_its_place_leaves_the_earlier_one(earlier: Path, monkeypatch: pytest.MonkeyPatch):
    rename = Path.rename

    def cut(self: Path, target: Path) -> Path:
        if self.name == ".out.draft":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", cut)
    with pytest.raises(ArtifactError, match="disk is full"), fresh_directory(earlier) as draft:
        write(draft, "new")
    assert whole(earlier, "earlier")
