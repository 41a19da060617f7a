"""A small signed bundle to change and check."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.profile import load_profile, profile_path
from edge.bundle.build import build_bundle
from edge.bundle.keys import key_id
from runtime.artifact import Artifact, ModelEntry

POLICY = Path(__file__).parents[3] / "examples" / "policy.toml"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    directory = tmp_path / "artifact"
    (directory / "golden").mkdir(parents=True)
    (directory / "model.onnx").write_bytes(bytes(range(256)))
    (directory / "golden" / "one.npz").write_bytes(b"golden")
    Artifact(kind="model", profile="cpu-generic", models=(ModelEntry(name="one"),)).write(directory)
    return directory


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def trusted(key: Ed25519PrivateKey) -> dict:
    return {key_id(key.public_key()): key.public_key()}


@pytest.fixture
def build(key: Ed25519PrivateKey) -> Callable[..., Path]:
    """Build a bundle from these artifacts; keyword arguments replace the usual ones."""

    def build_one(out: Path, artifacts: list[Path], **changes: Any) -> Path:
        usual = {
            "profile": load_profile("cpu-generic"),
            "profile_toml": profile_path("cpu-generic").read_bytes(),
            "policy": POLICY,
            "out": out,
            "key": key,
            "name": "test",
            "version": "1",
            "created": datetime(2026, 1, 2, tzinfo=UTC),
        }
        build_bundle(artifacts, **(usual | changes))
        return out

    return build_one


@pytest.fixture
def bundle(tmp_path: Path, artifact: Path, build: Callable[..., Path]) -> Path:
    return build(tmp_path / "bundle", [artifact])
