"""``edgekit repo`` from an empty directory to a stick that a device takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devices.clock import Clock
from devices.update.client import UpdateClient
from devices.update.trust import pin_root
from edge.bundle.keys import key_id, signing_key
from edge.bundle.manifest import FileEntry, Manifest, sha256_hex
from edge.bundle.verify import signature_bytes
from edge.cli import main


@pytest.fixture
def signed_bundle(tmp_path: Path) -> Path:
    """A bundle of one file, signed by this machine's key; nothing runs it here."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "policy.toml").write_bytes(b"invented = true\n")
    manifest = Manifest(
        name="branch-loans",
        version="2027.01.05",
        created=datetime(2027, 1, 5, tzinfo=UTC),
        profile="cpu-generic",
        artifacts=(),
        files={"policy.toml": FileEntry(sha256=sha256_hex(b"invented = true\n"), size=16)},
    ).to_bytes()
    key = signing_key()
    (bundle / "manifest.json").write_bytes(manifest)
    (bundle / "manifest.sig").write_bytes(signature_bytes(key_id(key.public_key()), key.sign(manifest)))
    return bundle


class Shell:
    """Runs ``edgekit repo`` on one repository."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.repo, self.keys = place / "repo", place / "keys"
        self._capsys = capsys

    def __call__(self, command: str, *arguments: object, keys: bool = True, exit_code: int = 0) -> dict[str, Any]:
        words = ["repo", command, str(self.repo), *map(str, arguments), "--json"]
        words += ["--keys", str(self.keys)] if keys else []
        assert main(words) == exit_code
        return dict(json.loads(self._capsys.readouterr().out))


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    shell = Shell(tmp_path, capsys)
    assert shell("init", "--root-keys", 2, "--threshold", 2)["threshold"] == 2
    assert shell("delegate", "north")["region"] == "north"
    return shell


def test_a_published_release_reaches_a_device_on_a_stick(repo: Shell, signed_bundle: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "kit-1.0-py3-none-any.whl").write_bytes(b"wheel")
    lock = tmp_path / "serve.lock"
    lock.write_bytes(b"kit==1.0")
    options = ["--bundle", signed_bundle, "--lock", lock, "--wheels", wheels, "--arch", "x86_64", "--profile", "extra"]
    published = repo("publish", *options, "--region", "north", "--class", "kiosk")
    assert published["release"] == "releases/branch-loans-1.json"
    assert (published["sequence"], published["version"]) == (1, "2027.01.05")
    assert published["channel"] == "channels/north/kiosk.json"
    stick = tmp_path / "stick"
    exported = repo("export", "--out", stick, "--channel", "north/kiosk", keys=False)
    assert exported["copied_bytes"] > published["size_bytes"]
    pin_root(tmp_path / "trust", (stick / "root.json").read_bytes())
    client = UpdateClient(tmp_path / "trust", stick, clock=Clock(None), grace=timedelta(0))
    release = client.check("north", "kiosk").release
    assert release.profiles == ("cpu-generic", "extra")
    assert release.bundle.keys[0].startswith("-----BEGIN PUBLIC KEY-----")
    assert release.environment is not None
    assert set(release.environment.wheels) == {"kit-1.0-py3-none-any.whl"}
    assert len(client.fetch(release.blobs(), tmp_path / "downloads")) == 5


def test_an_earlier_release_can_be_assigned_again_with_a_signed_permission(
    repo: Shell, signed_bundle: Path, tmp_path: Path
) -> None:
    repo("publish", "--bundle", signed_bundle, "--arch", "x86_64")
    repo("publish", "--bundle", signed_bundle, "--arch", "x86_64", "--region", "north", "--class", "kiosk")
    back = repo("assign", "releases/branch-loans-1.json", "--region", "north", "--class", "kiosk", "--allow-downgrade")
    assert back["allow_downgrade"] is True
    pin_root(tmp_path / "trust", (repo.repo / "root.json").read_bytes())
    offer = UpdateClient(tmp_path / "trust", repo.repo, clock=Clock(None), grace=timedelta(0)).check("north", "kiosk")
    assert (offer.release.sequence, offer.channel.allow_downgrade) == (1, True)


def test_a_bundle_that_this_machine_does_not_trust_is_not_published(
    repo: Shell, signed_bundle: Path, own_state: Path
) -> None:
    for path in (own_state / "keys" / "trusted").iterdir():
        path.unlink()
    error = repo("publish", "--bundle", signed_bundle, exit_code=4)["error"]
    assert error["code"] == "BUNDLE-002"
    assert repo("status", keys=False)["releases"] == []


def test_keys_change_and_the_list_is_renewed(repo: Shell) -> None:
    before = repo("status", keys=False)["expires"]
    assert set(before) == {"north", "root", "snapshot", "targets", "timestamp"}
    assert repo("rotate", "root")["published"] is True
    assert repo("renew", "--role", "targets")["expires"].keys() == before.keys()
    next(repo.keys.glob("root-*")).rename(repo.keys / "away")
    kept = sorted(repo.keys.glob("root-*"))
    for path in kept[1:]:
        path.unlink()
    waiting = repo("rotate", "north")
    assert waiting["published"] is True  # a region's key is headquarters' to change, without the root keys
    waiting = repo("rotate", "snapshot")
    assert waiting["published"] is False
    assert "root keys" in waiting["missing"]
    assert repo("sign")["published"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("publish", "--bundle", ".", "--lock", __file__), "both --lock and --wheels"),
        (("publish", "--bundle", ".", "--region", "north"), "both --region and --class"),
        (("assign", "releases/x-1.json", "--region", "north"), "both --region and --class"),
        (("init", "--hsm", "targets"), "is not ROLE=URI"),
    ],
    ids=["lock", "region", "assign", "hsm"],
)
def test_half_of_a_pair_of_options_is_a_wrong_call(repo: Shell, arguments: tuple[str, ...], said: str) -> None:
    error = repo(*arguments, exit_code=2)["error"]
    assert said in error["problem"]


def test_a_channel_without_a_class_is_a_wrong_call(repo: Shell, tmp_path: Path) -> None:
    error = repo("export", "--out", tmp_path / "stick", "--channel", "north", keys=False, exit_code=2)["error"]
    assert "REGION/CLASS" in error["problem"]


def test_without_a_directory_of_keys_they_are_in_the_state_directory(
    tmp_path: Path, own_state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["repo", "init", str(tmp_path / "repo")]) == 0
    place = own_state / "keys" / "repository"
    assert str(place) in capsys.readouterr().out.replace("\n", "")
    assert len(list(place.glob("root-*.pem"))) == 1


def test_what_is_no_repository_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repo", "status", str(tmp_path), "--json"]) == 14
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "REPO-001"
