"""Bundles that decided are kept, found again by their hash, and checked before they are used."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from devices.errors import BundleFileError, ReplayError
from devices.state import state_dir
from edge.bundle.archive import find_bundle, keep_bundle, prune_bundles
from edge.bundle.verify import VerifiedBundle, reopen_bundle, verify_bundle


@pytest.fixture
def verified(bundle: Path, trusted: dict) -> VerifiedBundle:
    return verify_bundle(bundle, trusted)


def test_a_bundle_that_decided_outlives_the_one_that_served(bundle: Path, verified: VerifiedBundle) -> None:
    keep_bundle(verified.sha256, bundle)
    keep_bundle(verified.sha256, bundle)
    for path in sorted(bundle.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    place = find_bundle(verified.sha256)
    assert place == state_dir() / "bundles" / verified.sha256
    assert reopen_bundle(place, verified.sha256).files == verified.files


def test_a_bundle_that_is_changed_in_place_is_kept_as_it_was(bundle: Path, verified: VerifiedBundle) -> None:
    keep_bundle(verified.sha256, bundle)
    (bundle / "policy.toml").write_bytes(b"changed")
    assert reopen_bundle(find_bundle(verified.sha256), verified.sha256).files == verified.files


def test_a_copy_that_a_power_cut_left_unfinished_is_made_anew(bundle: Path, verified: VerifiedBundle) -> None:
    draft = state_dir() / "bundles" / f"{verified.sha256}.new"
    draft.mkdir(parents=True)
    (draft / "manifest.json").write_bytes(b"")
    keep_bundle(verified.sha256, bundle)
    assert reopen_bundle(find_bundle(verified.sha256), verified.sha256).files == verified.files


def test_a_bundle_that_cannot_be_kept_is_only_logged(
    bundle: Path, verified: VerifiedBundle, caplog: pytest.LogCaptureFixture
) -> None:
    (state_dir() / "bundles").write_text("a file in the way")
    keep_bundle(verified.sha256, bundle)
    assert "is not kept" in caplog.text


def test_a_disk_that_is_nearly_full_is_left_to_the_journal(
    bundle: Path, verified: VerifiedBundle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    free = 512 * 1024 * 1024 + size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free - 1))
    keep_bundle(verified.sha256, bundle)
    assert "is not kept" in caplog.text
    assert list((state_dir() / "bundles").iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    keep_bundle(verified.sha256, bundle)
    assert (state_dir() / "bundles" / verified.sha256).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what belongs to others")
def test_a_bundle_that_root_keeps_is_the_services_who_removes_it_one_day(
    bundle: Path, verified: VerifiedBundle
) -> None:
    state_dir().mkdir(parents=True, exist_ok=True)
    os.chown(state_dir(), 65534, 65534)
    keep_bundle(verified.sha256, bundle)
    assert {path.stat().st_uid for path in (state_dir() / "bundles").rglob("*")} == {65534}


def test_a_copy_that_fails_half_way_leaves_nothing(
    bundle: Path, verified: VerifiedBundle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = os.fsync
    count = iter(range(100))

    def full(descriptor: int) -> None:
        if next(count) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    keep_bundle(verified.sha256, bundle)
    assert "No space left" in caplog.text
    assert list((state_dir() / "bundles").iterdir()) == []


MB = 1024 * 1024


def kept(letter: str, days: float, suffix: str = "") -> Path:
    """A bundle of a megabyte that served last so many days ago."""
    folder = state_dir() / "bundles" / (letter * 64 + suffix)
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(bytes(MB))
    when = time.time() - days * 86_400
    os.utime(folder, (when, when))
    return folder


def test_bundles_that_no_decision_needs_go_and_the_log_says_which(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    serving, needed, stale, fresh = kept("a", 9), kept("b", 9), kept("c", 9), kept("d", 0.5)
    (others := state_dir() / "bundles" / "notes").mkdir()
    unfinished, busy = [kept("e", 9, ".new"), kept("f", 9, ".gone")], kept("9", 0.01, ".new")
    prune_bundles("a" * 64, lambda sha256: sha256[0] == "b", 10 * MB)
    assert [path.exists() for path in (serving, needed, fresh, others, busy)] == [True] * 5
    assert [path.exists() for path in (stale, *unfinished)] == [False] * 3
    assert f"The bundle {'c' * 12}... (1 MB) is removed: no decision needs it." in caplog.messages


def test_beyond_the_bound_those_that_served_longest_ago_go_though_they_are_needed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundles = [kept(letter, days) for letter, days in (("a", 1000), ("b", 2), ("c", 30), ("d", 9))]
    prune_bundles("a" * 64, lambda _: True, 2 * MB)
    assert [path.exists() for path in bundles] == [True, True, False, True]
    assert caplog.messages == [
        f"The bundle {'c' * 12}... (1 MB) is removed to keep to bundles_mb, though decisions of this device rest on "
        "it: to score them again, give it with --bundle."
    ]


def test_a_bundle_that_serves_again_counts_as_the_latest(bundle: Path, verified: VerifiedBundle) -> None:
    os.utime(bundle, (0, 0))
    keep_bundle(verified.sha256, bundle)
    place = find_bundle(verified.sha256)
    assert time.time() - place.stat().st_mtime < 3600  # not the time of what was copied
    os.utime(place, (0, 0))
    keep_bundle(verified.sha256, bundle)
    assert time.time() - place.stat().st_mtime < 3600


def test_where_nothing_was_kept_nothing_goes_and_what_cannot_go_is_only_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune_bundles("a" * 64, lambda _: False, 0)
    assert caplog.messages == []
    kept("b", 9)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(1, "Not permitted")))
    prune_bundles("a" * 64, lambda _: False, 0)
    assert "cannot be removed" in caplog.text


def test_a_bundle_that_is_nowhere_is_said_with_all_places(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="is in none of") as caught:
        find_bundle("f" * 64, [tmp_path])
    assert str(tmp_path) in caught.value.problem
    assert str(state_dir() / "bundles") in caught.value.problem


def test_a_kept_bundle_that_was_changed_is_refused(bundle: Path, verified: VerifiedBundle) -> None:
    keep_bundle(verified.sha256, bundle)
    place = find_bundle(verified.sha256)
    (place / "policy.toml").unlink()
    (place / "policy.toml").write_bytes(b"levels = 1")
    with pytest.raises(BundleFileError, match=r"policy\.toml was changed"):
        reopen_bundle(place, verified.sha256)
    with pytest.raises(BundleFileError, match="another bundle"):
        reopen_bundle(place, "f" * 64)
