"""Bundles that decided are kept, found again by their hash, and checked before they are used."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from devices.errors import BundleFileError, ReplayError
from devices.state import state_dir
from edge.bundle.archive import find_bundle, keep_bundle
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
