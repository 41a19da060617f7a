from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devices.errors import BundleError
from edge.bundle.parts import bundle_file, parts_of
from edge.bundle.verify import verify_bundle
from runtime.artifact import Artifact, ModelEntry


def test_a_part_hands_out_the_verified_bytes_of_its_models(bundle: Path, trusted: dict) -> None:
    (part,) = parts_of(verify_bundle(bundle, trusted))
    (entry,) = part.artifact.models
    assert part.model(entry).graph == bytes(range(256))
    assert part.golden(entry) is None
    assert set(part.within("golden")) == {"one.npz"}
    assert set(part.within(".")) == {"model.onnx", "artifact.json"}


def test_what_an_artifact_or_the_server_names_and_the_bundle_lacks_is_an_error(
    tmp_path: Path, artifact: Path, build: Callable[..., Path], trusted: dict
) -> None:
    entry = ModelEntry(name="one", golden="golden/two.npz")
    Artifact(kind="model", profile="cpu-generic", models=(entry,)).write(artifact)
    verified = verify_bundle(build(tmp_path / "bundle", [artifact]), trusted)
    (part,) = parts_of(verified)
    with pytest.raises(BundleError, match=r"lacks golden/two\.npz, the golden outputs of one"):
        part.golden(entry)
    assert bundle_file(verified, "profile.toml")
    with pytest.raises(BundleError, match="holds no other.toml"):
        bundle_file(verified, "other.toml")
