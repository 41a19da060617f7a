"""What cannot become a medium, and what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from devices.errors import MediumError, PackError
from devices.probe import probe
from devices.profile import load_profile
from devices.provision.bootstrap import sha256_of, write_sums
from devices.provision.medium import SBOM, read_medium, seal_medium
from devices.update.release import Release
from edge.cli import main
from tests.devices.provision.small_bank import CHANNEL, PROFILE, Bank, answer


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    made = Bank(tmp_path_factory.mktemp("bank"))
    made.publish()
    made.pack()
    return made


def test_a_medium_says_what_it_is_for_and_carries_its_units_and_its_root(bank: Bank) -> None:
    medium = bank.place / "medium"
    document = read_medium(medium)
    assert (document.profile, document.arch, document.release) == (PROFILE, probe().arch, "small-1")
    assert (document.region, document.device_class) == ("east", "kiosk")
    assert document.root_sha256 == sha256_of(medium / "root.json")
    assert not document.own_profile
    assert "ReadWritePaths=/opt/edgekit/state /opt/edgekit/record" in (medium / "units" / "edgekit.service").read_text()


def test_a_medium_carries_the_bill_of_materials_of_the_kit_that_it_installs(bank: Bank) -> None:
    medium = bank.place / "medium"
    assert json.loads((medium / SBOM).read_text())["of"].startswith("branch_edgekit-1")
    assert f"{sha256_of(medium / SBOM)}  {SBOM}" in (medium / "SHA256SUMS").read_text()


def test_packing_again_onto_an_older_medium_leaves_nothing_of_it(bank: Bank, tmp_path: Path) -> None:
    place = shutil.copytree(bank.place, tmp_path / "bank")
    copy = object.__new__(Bank)
    copy.place, copy.released = place, list(bank.released)
    before = {path.name for path in (place / "medium" / "repo" / "targets" / "releases").iterdir()}
    copy.publish(extra=b"another model")
    medium = copy.pack()
    assert read_medium(medium).release == "small-2"
    after = {path.name for path in (medium / "repo" / "targets" / "releases").iterdir()}
    assert len(after) == 1
    assert before.isdisjoint(after)


def test_a_banks_own_profile_is_carried_as_such(bank: Bank, tmp_path: Path) -> None:
    own = tmp_path / f"{PROFILE}.toml"
    text = (bank.place / "medium" / "profile.toml").read_text()
    own.write_text(text.replace("threads = 2", "threads = 1", 1) + "\n# the bank's\n")
    arguments = ["--profile", str(own), "--repo", str(bank.repo), "--channel", CHANNEL, "--out", str(tmp_path / "m")]
    assert main(["provision", "pack", *arguments]) == 0
    assert read_medium(tmp_path / "m").own_profile
    assert (tmp_path / "m" / "profile.toml").read_bytes() == own.read_bytes()


def test_a_directory_with_other_files_is_not_packed_over(bank: Bank, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter").write_text("dear")
    arguments = ["--profile", PROFILE, "--repo", bank.repo, "--channel", CHANNEL, "--out", tmp_path / "letters"]
    status, document = answer(capsys, "provision", "pack", *arguments)
    assert (status, document["error"]["code"]) == (14, "PROVISION-016")
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["letter"]


def test_a_stick_that_cannot_be_written_is_said(bank: Bank, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("no directory")
    arguments = ["--profile", PROFILE, "--repo", bank.repo, "--channel", CHANNEL, "--out", tmp_path / "file" / "m"]
    status, document = answer(capsys, "provision", "pack", *arguments)
    assert (status, document["error"]["code"]) == (14, "PROVISION-016")
    assert "cannot be written" in document["error"]["problem"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"profiles": ["cpu-amx"]}, "is for cpu-amx, not for"),
        ({"arch": "aarch64"}, "is for aarch64; devices of profile"),
        ({"environment": None}, "has no environment"),
    ],
    ids=["another profile", "another architecture", "no environment"],
)
def test_a_release_that_a_bare_device_of_the_profile_could_not_run_is_not_packed(
    bank: Bank, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    profile = load_profile(PROFILE)
    x86_only = profile.model_copy(update={"match": profile.match.model_copy(update={"arch": ("x86_64",)})})
    release = Release.model_validate(bank.released[0].model_dump() | changes)
    with pytest.raises(PackError, match=words):
        seal_medium(tmp_path, profile=x86_only, profile_toml=b"", release=release, region="east", device_class="kiosk")
    assert list(tmp_path.iterdir()) == []


def test_a_release_without_what_the_installation_itself_needs_is_not_packed(bank: Bank, tmp_path: Path) -> None:
    release = bank.released[0]
    assert release.environment is not None
    wheels = {name: blob for name, blob in release.environment.wheels.items() if not name.startswith("tuf-")}
    less = release.model_copy(update={"environment": release.environment.model_copy(update={"wheels": wheels})})
    with pytest.raises(PackError, match="no wheel of tuf"):
        seal_medium(
            tmp_path,
            profile=load_profile(PROFILE),
            profile_toml=b"",
            release=less,
            region="east",
            device_class="kiosk",
        )


def test_a_directory_that_is_no_medium_and_a_malformed_one_are_said(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(MediumError, match="is no medium"):
        read_medium(tmp_path)
    medium = shutil.copytree(bank.place / "medium", tmp_path / "medium")
    document = json.loads((medium / "medium.json").read_text())
    (medium / "medium.json").write_text(json.dumps(document | {"arch": "sparc"}))
    write_sums(medium)
    with pytest.raises(MediumError, match="malformed at arch"):
        read_medium(medium)
