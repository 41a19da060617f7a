"""Building: whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devices.errors import BundleError, ModelError
from edge.bundle.keys import signing_key, trusted_keys
from edge.bundle.verify import verify_bundle
from runtime.artifact import Artifact, ModelEntry, TextSettings


def test_a_new_bundle_replaces_the_old_one_whole(
    bundle: Path, artifact: Path, build: Callable[..., Path], trusted: dict
) -> None:
    (artifact / "model.onnx").write_bytes(b"new")
    (artifact / "golden" / "one.npz").unlink()
    build(bundle, [artifact], version="2")
    verified = verify_bundle(bundle, trusted)
    assert verified.manifest.version == "2"
    assert "artifact/golden/one.npz" not in verified.files
    assert [path.name for path in bundle.parent.iterdir() if path.name.startswith(".bundle")] == []


def test_a_directory_with_other_files_is_not_replaced(
    tmp_path: Path, artifact: Path, build: Callable[..., Path]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(BundleError, match="no bundle"):
        build(tmp_path / "photos", [artifact])
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"irreplaceable"


def test_the_same_artifact_twice_is_refused_and_nothing_is_written(
    tmp_path: Path, artifact: Path, build: Callable[..., Path]
) -> None:
    with pytest.raises(BundleError, match="Two artifacts"):
        build(tmp_path / "out", [artifact, artifact])
    assert not (tmp_path / "out").exists()


def test_a_model_that_labels_tokens_is_no_text_risk_model(
    tmp_path: Path, artifact: Path, build: Callable[..., Path]
) -> None:
    settings = TextSettings(labels=("O", "B-x", "I-x"), multi_label=False, head="token")
    Artifact(kind="text", profile="cpu-generic", models=(ModelEntry(name="one"),), text=settings).write(artifact)
    with pytest.raises(BundleError, match="labels tokens; the text model of a bundle labels whole texts"):
        build(tmp_path / "out", [artifact])
    assert not (tmp_path / "out").exists()


def test_a_directory_that_is_no_artifact_is_named(tmp_path: Path, build: Callable[..., Path]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="empty is not an artifact"):
        build(tmp_path / "out", [tmp_path / "empty"])


def test_the_signing_key_is_made_once_kept_private_and_trusted_here(own_state: Path) -> None:
    first, second = signing_key(), signing_key()
    assert first.private_bytes_raw() == second.private_bytes_raw()
    assert (own_state / "keys" / "signing.pem").stat().st_mode & 0o777 == 0o600
    assert [key.public_bytes_raw() for key in trusted_keys().values()] == [first.public_key().public_bytes_raw()]
