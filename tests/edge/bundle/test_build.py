"""Building: whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from devices.errors import BundleError, ModelError, PolicyError
from edge.bundle.keys import signing_key, trusted_keys
from edge.bundle.verify import verify_bundle
from runtime.artifact import Artifact, ModelEntry, TextSettings

POLICY = Path(__file__).parents[3] / "examples" / "policy.toml"


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


def test_two_models_of_one_name_are_refused_before_any_device_sees_them(
    tmp_path: Path, artifact: Path, build: Callable[..., Path]
) -> None:
    other = shutil.copytree(artifact, tmp_path / "other")
    with pytest.raises(BundleError, match="Two models of the bundle would be called one: .*other has the second"):
        build(tmp_path / "out", [artifact, other])
    assert not (tmp_path / "out").exists()


def test_a_directory_whose_name_no_manifest_can_hold_is_refused(
    tmp_path: Path, artifact: Path, build: Callable[..., Path]
) -> None:
    with pytest.raises(BundleError, match="'团伙 1' cannot be in a bundle"):
        build(tmp_path / "out", [artifact.rename(tmp_path / "团伙 1")])


SECTION = """
[scores.gang]
model = "one"
points = 5
floor = 0.2
review_from = 0.5
reason = { zh = "$what", en = "$what" }
missing = { required = true, zh = "x", en = "x" }
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    text = POLICY.read_text(encoding="utf-8").replace("points = 35", "points = 30")
    path.write_text(text + SECTION, encoding="utf-8")
    return path


def golden(artifact: Path, **outputs: np.ndarray) -> None:
    entry = ModelEntry(name="one", golden="golden/one.npz")
    Artifact(kind="model", profile="cpu-generic", models=(entry,)).write(artifact)
    arrays = {f"out:{name}": value for name, value in outputs.items()}
    np.savez(artifact / "golden" / "one.npz", **arrays, **{"in:x": np.zeros((1, 1), np.float32)})


def test_a_score_s_section_is_compared_with_the_golden_output_of_its_model(
    tmp_path: Path, artifact: Path, build: Callable[..., Path], policy: Path, trusted: dict
) -> None:
    golden(artifact, p=np.array([[3.2]], np.float32))
    with pytest.raises(PolicyError, match=r"scores\.gang: reads 3\.2 in the golden output of one"):
        build(tmp_path / "out", [artifact], policy=policy)
    assert not (tmp_path / "out").exists()
    golden(artifact, p=np.array([[0.2]], np.float32))
    built = build(tmp_path / "out", [artifact], policy=policy)
    assert verify_bundle(built, trusted).manifest.name == "test"
    (artifact / "golden" / "one.npz").unlink()
    with pytest.raises(ModelError, match=r"lacks golden/one\.npz"):
        build(tmp_path / "out", [artifact], policy=policy)
    policy.write_text(policy.read_text(encoding="utf-8").replace('model = "one"', 'model = "two"'), encoding="utf-8")
    with pytest.raises(PolicyError, match="names the model 'two'; the bundle has one"):
        build(tmp_path / "out", [artifact], policy=policy)
