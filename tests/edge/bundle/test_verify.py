"""A bundle is used only if every byte of it is what was signed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.errors import BundleError, BundleFileError, BundleSignatureError
from edge.bundle import verify
from edge.bundle.keys import key_id
from edge.bundle.verify import signature_bytes, verify_bundle


def test_a_whole_bundle_verifies_and_its_bytes_are_handed_over(bundle: Path, trusted: dict) -> None:
    verified = verify_bundle(bundle, trusted)
    assert verified.files["artifact/model.onnx"] == bytes(range(256))
    assert set(verified.files) == set(verified.manifest.files)
    assert verified.key_id in trusted


def test_a_flipped_bit_in_any_byte_of_any_file_is_refused_by_name(bundle: Path, trusted: dict) -> None:
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    assert {path.name for path in files} >= {"manifest.json", "manifest.sig", "policy.toml", "profile.toml"}
    refused = 0
    for path in files:
        original = path.read_bytes()
        for position in range(0, len(original), max(1, len(original) // 200)):
            for bit in (0x01, 0x20):
                changed = bytearray(original)
                changed[position] ^= bit
                path.write_bytes(changed)
                with pytest.raises(BundleError) as caught:
                    verify_bundle(bundle, trusted)
                if path.name not in ("manifest.json", "manifest.sig"):
                    assert path.relative_to(bundle).as_posix() in caught.value.problem
                refused += 1
        path.write_bytes(original)
    assert refused > 500
    verify_bundle(bundle, trusted)


def test_every_byte_of_the_signature_file_counts(bundle: Path, trusted: dict) -> None:
    path = bundle / "manifest.sig"
    original = path.read_bytes()
    for position in range(len(original)):
        for other in (original[position] ^ 1, original[position] ^ 2, ord(" ")):
            if other == original[position]:
                continue
            path.write_bytes(original[:position] + bytes([other]) + original[position + 1 :])
            with pytest.raises(BundleSignatureError):
                verify_bundle(bundle, trusted)


@pytest.mark.parametrize(
    ("limit", "name"), [("_MANIFEST_MAX_BYTES", "manifest.json"), ("_SIGNATURE_MAX_BYTES", "manifest.sig")]
)
def test_what_nobody_signed_yet_is_not_read_whatever_its_size(
    bundle: Path, trusted: dict, monkeypatch: pytest.MonkeyPatch, limit: str, name: str
) -> None:
    size = (bundle / name).stat().st_size
    monkeypatch.setattr(verify, limit, size)
    verify_bundle(bundle, trusted)
    monkeypatch.setattr(verify, limit, size - 1)
    with pytest.raises(BundleFileError, match=f"{name} is larger than {size - 1} bytes"):
        verify_bundle(bundle, trusted)


@pytest.mark.parametrize("added", [b"\n", b" ", b"\0", b"{}"])
@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "policy.toml"])
def test_an_appended_byte_is_refused(bundle: Path, trusted: dict, name: str, added: bytes) -> None:
    with (bundle / name).open("ab") as file:
        file.write(added)
    with pytest.raises(BundleError):
        verify_bundle(bundle, trusted)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "policy.toml", "artifact/golden/one.npz"])
def test_a_missing_file_is_named(bundle: Path, trusted: dict, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleFileError, match=f"{name} is"):
        verify_bundle(bundle, trusted)


@pytest.mark.parametrize("name", ["extra.txt", "artifact/.hidden", "artifact/golden/two.npz"])
def test_an_extra_file_is_named(bundle: Path, trusted: dict, name: str) -> None:
    (bundle / name).write_bytes(b"")
    with pytest.raises(BundleFileError, match=name):
        verify_bundle(bundle, trusted)


def test_a_link_in_place_of_a_file_is_refused_even_with_the_same_contents(
    bundle: Path, trusted: dict, tmp_path: Path
) -> None:
    path = bundle / "policy.toml"
    path.rename(tmp_path / "elsewhere.toml")
    path.symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(BundleFileError, match="policy.toml is a link"):
        verify_bundle(bundle, trusted)


def test_a_pipe_is_refused_and_not_opened(bundle: Path, trusted: dict) -> None:
    os.mkfifo(bundle / "pipe")
    with pytest.raises(BundleFileError, match="pipe"):
        verify_bundle(bundle, trusted)


def test_a_key_that_is_not_trusted_is_named_with_what_to_do(bundle: Path) -> None:
    with pytest.raises(BundleSignatureError, match="does not trust") as caught:
        verify_bundle(bundle, {})
    assert "bundle trust" in caught.value.remedy


def test_a_stranger_cannot_sign_in_the_name_of_a_trusted_key(bundle: Path, trusted: dict) -> None:
    manifest = (bundle / "manifest.json").read_bytes()
    forged = Ed25519PrivateKey.generate().sign(manifest)
    (bundle / "manifest.sig").write_bytes(signature_bytes(next(iter(trusted)), forged))
    with pytest.raises(BundleSignatureError, match="was changed"):
        verify_bundle(bundle, trusted)


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "a/../../b", "a//b", "a\\b", "manifest.json", ""])
def test_a_signed_manifest_still_cannot_reach_outside_the_bundle(
    bundle: Path, trusted: dict, key: Ed25519PrivateKey, path: str
) -> None:
    document = json.loads((bundle / "manifest.json").read_bytes())
    document["files"][path] = {"sha256": "0" * 64, "size": 0}
    data = json.dumps(document).encode()
    (bundle / "manifest.json").write_bytes(data)
    (bundle / "manifest.sig").write_bytes(signature_bytes(key_id(key.public_key()), key.sign(data)))
    with pytest.raises(BundleError, match="malformed at files"):
        verify_bundle(bundle, trusted)


def test_what_is_no_directory_and_what_is_empty_is_said(tmp_path: Path, trusted: dict) -> None:
    with pytest.raises(BundleError, match="not a directory"):
        verify_bundle(tmp_path / "nothing", trusted)
    with pytest.raises(BundleFileError, match="manifest.json is missing"):
        verify_bundle(tmp_path, trusted)
