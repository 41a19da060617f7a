"""The attacks that The Update Framework names. Each is refused by its own error, and nothing on the device changed.

The seventh, slow retrieval, and endless data over the network are in test_https.py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, MetaFile

from devices.errors import (
    UpdateContentError,
    UpdateEndlessError,
    UpdateError,
    UpdateFreezeError,
    UpdateMixError,
    UpdateRollbackError,
    UpdateSignerError,
    UpdateThresholdError,
    UpdateTrustError,
)
from devices.update.release import Channel
from devices.update.repository import Repository
from devices.update.trust import pin_root
from tests.devices.update.bank import DAY, START, Bank, Branch, copy_of, keyids, resign


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """Two of three root keys must sign; one release is out."""
    bank = Bank(tmp_path / "bank").found(root_keys=3, threshold=2)
    bank.release(model_onnx=b"one")
    return bank


@pytest.fixture
def branch(bank: Bank, tmp_path: Path) -> Branch:
    """A device that runs the first release."""
    branch = Branch(tmp_path / "branch", (bank.repo / "root.json").read_bytes())
    branch.update(bank.repo)
    return branch


@contextmanager
def refused(branch: Branch, error: type[UpdateError], match: str) -> Iterator[None]:
    """The block raises ``error``, in words that match, and the slot and the trust are as before."""
    before = branch.state()
    with pytest.raises(error, match=match) as caught:
        yield
    assert type(caught.value) is error
    assert branch.state() == before


def attack(branch: Branch, source: Path, error: type[UpdateError], match: str, grace: timedelta = 0 * DAY) -> None:
    with refused(branch, error, match):
        branch.update(source, grace)


def newest(directory: Path, role: str) -> Path:
    return max((directory / "metadata").glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))


def serves(branch: Branch) -> bytes:
    return (branch.slot / "model.onnx").read_bytes()


def test_rollback_an_old_stick_is_refused_after_a_newer_one(bank: Bank, branch: Branch) -> None:
    old = bank.stick("old")
    bank.release(model_onnx=b"two")
    branch.update(bank.repo)
    attack(branch, old, UpdateRollbackError, "timestamp.json is older than what this device has seen")


def test_rollback_an_old_stick_is_refused_in_the_grace_period_too(bank: Bank, branch: Branch) -> None:
    old = bank.stick("old")
    bank.release(model_onnx=b"two")
    branch.update(bank.repo)
    branch.wall += 40 * DAY
    attack(branch, old, UpdateRollbackError, "older", grace=30 * DAY)


def test_rollback_of_one_list_inside_a_new_timestamp_is_refused(bank: Bank, branch: Branch) -> None:
    bank.release(model_onnx=b"two")
    branch.update(bank.repo)
    # whoever holds the online keys alone signs a newer list that names the older releases
    forged = copy_of(bank.repo, "forged")
    metadata = forged / "metadata"
    root = forged / "root.json"
    snapshot = newest(forged, "snapshot")
    version = int(snapshot.name.split(".")[0]) + 1
    newer = metadata / f"{version}.snapshot.json"
    shutil.copy(snapshot, newer)
    old_targets = (metadata / "2.targets.json").read_bytes()
    listed = dict(Metadata.from_bytes(newer.read_bytes()).signed.meta)
    listed["targets.json"] = MetaFile.from_data(2, old_targets, ["sha256"])
    resign(newer, bank.keyring, keyids(root, "snapshot"), version=version, meta=listed)
    timestamp = metadata / "timestamp.json"
    resign(
        timestamp,
        bank.keyring,
        keyids(root, "timestamp"),
        version=version,
        snapshot_meta=MetaFile.from_data(version, newer.read_bytes(), ["sha256"]),
    )
    before_lists = (branch.trust / "metadata" / "targets.json").read_bytes()
    with pytest.raises(UpdateRollbackError, match=r"snapshot.json is older"):
        branch.update(forged)
    assert (branch.trust / "metadata" / "targets.json").read_bytes() == before_lists
    assert serves(branch) == b"the model that serves"


def test_freeze_an_update_past_its_date_is_refused(bank: Bank, branch: Branch) -> None:
    branch.wall += 31 * DAY
    attack(branch, bank.repo, UpdateFreezeError, "timestamp.json is expired")


def test_freeze_setting_the_clock_back_does_not_help(bank: Bank, branch: Branch) -> None:
    branch.wall += 31 * DAY
    attack(branch, bank.repo, UpdateFreezeError, "expired")
    branch.wall = START
    attack(branch, bank.repo, UpdateFreezeError, "this device's date is 2027-02-01")
    branch.wall = datetime(1970, 1, 1, tzinfo=UTC)
    attack(branch, bank.repo, UpdateFreezeError, r"clock says 1970-01-01 00:00 UTC, but 2027-02-01")


def test_mix_and_match_a_list_of_another_version_is_refused(bank: Bank, branch: Branch) -> None:
    bank.release(model_onnx=b"two")
    mixed = copy_of(bank.repo, "mixed")
    shutil.copy(mixed / "metadata" / "2.targets.json", newest(mixed, "targets"))
    trusted = (branch.trust / "metadata" / "targets.json").read_bytes()
    with pytest.raises(UpdateMixError, match=r"targets.json does not belong to the signed list"):
        branch.update(mixed)
    assert serves(branch) == b"the model that serves"
    assert (branch.trust / "metadata" / "targets.json").read_bytes() == trusted


def test_mix_and_match_a_snapshot_of_another_version_is_refused(bank: Bank, branch: Branch) -> None:
    bank.release(model_onnx=b"two")
    mixed = copy_of(bank.repo, "mixed")
    shutil.copy(mixed / "metadata" / "1.snapshot.json", newest(mixed, "snapshot"))
    with pytest.raises(UpdateMixError, match=r"snapshot.json does not belong to the signed list"):
        branch.update(mixed)
    assert serves(branch) == b"the model that serves"


def test_wrong_keys_another_banks_stick_is_refused(bank: Bank, branch: Branch, tmp_path: Path) -> None:
    other = Bank(tmp_path / "other").found(root_keys=3, threshold=2)
    other.release(model_onnx=b"other bank")
    attack(branch, other.stick(), UpdateSignerError, "timestamp.json has no signature by a key that this device trusts")


def test_wrong_keys_a_root_that_someone_else_signed_is_refused(bank: Bank, branch: Branch, tmp_path: Path) -> None:
    other = Bank(tmp_path / "other").found(root_keys=3, threshold=2)
    other.roles.rotate("timestamp")
    forged = copy_of(bank.repo, "forged")
    shutil.copy(other.repo / "metadata" / "2.root.json", forged / "metadata")
    attack(branch, forged, UpdateSignerError, "2.root.json has no signature by a key that this device trusts")


def test_wrong_keys_a_region_cannot_choose_for_another(bank: Bank, branch: Branch) -> None:
    bank.roles.delegate("south")  # after the north, which is asked first
    genuine = bank.releases[0]
    Repository(bank.roles).assign(genuine.path, "south", "kiosk")
    roles = bank.roles
    repository = Repository(roles)
    with roles.changing("north"):
        for device_class in ("kiosk", "counter"):  # one that the south has assigned, one that it has not
            choice = Channel(
                region="south",
                device_class=device_class,
                release=genuine.path,
                release_sha256=hashlib.sha256(genuine.to_bytes()).hexdigest(),
                allow_downgrade=True,
            )
            document = repository._keep_document(choice.path, choice.to_bytes())
            roles.targets("north").targets[choice.path] = document
    assert not branch.client(bank.repo).check("south", "kiosk").channel.allow_downgrade
    with pytest.raises(UpdateError, match="has no channels/south/counter.json"):
        branch.client(bank.repo).check("south", "counter")


def test_wrong_keys_a_region_can_bring_in_no_content_of_its_own(bank: Bank, branch: Branch) -> None:
    genuine = bank.releases[0]
    own = genuine.model_copy(update={"name": "own", "sequence": 99})
    roles = bank.roles
    repository = Repository(roles)
    with roles.changing("north"):
        targets = roles.targets("north").targets
        document = repository._keep_document(own.path, own.to_bytes())
        targets[own.path] = document
        path = "channels/north/kiosk.json"
        choice = Channel(
            region="north", device_class="kiosk", release=own.path, release_sha256=document.hashes["sha256"]
        )
        targets[path] = repository._keep_document(path, choice.to_bytes())
    with pytest.raises(UpdateError, match=r"has no releases/own-99.json"):
        branch.update(bank.repo)
    assert serves(branch) == b"the model that serves"


def test_mix_and_match_a_choice_of_another_release_under_the_same_name_is_refused(bank: Bank, branch: Branch) -> None:
    roles = bank.roles
    repository = Repository(roles)
    path = "channels/north/kiosk.json"
    genuine = Channel(region="north", device_class="kiosk", release=bank.releases[0].path, release_sha256="0" * 64)
    with roles.changing("north"):
        roles.targets("north").targets[path] = repository._keep_document(path, genuine.to_bytes())
    with pytest.raises(UpdateMixError, match="chose another releases/branch-loans-1.json than the one"):
        branch.update(bank.repo)
    assert serves(branch) == b"the model that serves"


def test_too_few_signatures_a_root_by_one_of_two_keys_is_refused(bank: Bank, branch: Branch) -> None:
    forged = copy_of(bank.repo, "forged")
    root = forged / "metadata" / "2.root.json"
    shutil.copy(forged / "root.json", root)
    resign(root, bank.keyring, keyids(root, "root")[:1], version=2)
    attack(branch, forged, UpdateThresholdError, r"2.root.json has 1 of 2 signatures")
    resign(root, bank.keyring, keyids(root, "root")[:2], version=2)
    assert branch.update(forged).sequence == 1  # with both it is a root: the refusal was for the signatures alone


@pytest.mark.parametrize("name", ["timestamp.json", "2.root.json"])
def test_endless_data_in_metadata_is_cut_off(bank: Bank, branch: Branch, name: str) -> None:
    forged = copy_of(bank.repo, "forged")
    with (forged / "metadata" / name).open("ab") as file:
        file.truncate(64 * 1024 * 1024)
    attack(branch, forged, UpdateEndlessError, f"metadata/{name} is larger than what was signed")


def test_endless_data_a_document_that_an_insider_made_huge_is_not_read(bank: Bank, branch: Branch) -> None:
    roles = bank.roles
    path = "channels/north/kiosk.json"
    with roles.changing("north"):
        document = Repository(roles)._keep_document(path, b" " * 65_537)
        roles.targets("north").targets[path] = document
    with pytest.raises(UpdateContentError, match="has 65537 bytes; such a document has 65536 at most"):
        branch.update(bank.repo)
    assert serves(branch) == b"the model that serves"


def test_endless_data_in_a_blob_is_cut_off_and_not_kept(bank: Bank, branch: Branch) -> None:
    release = bank.release(model_onnx=b"two")
    sha256 = release.bundle.files["model.onnx"].sha256
    forged = copy_of(bank.repo, "forged")
    with next((forged / "targets" / "blobs").glob(f"{sha256}.*")).open("ab") as file:
        file.truncate(64 * 1024 * 1024)
    with pytest.raises(UpdateEndlessError, match=sha256):
        branch.update(forged)
    assert serves(branch) == b"the model that serves"
    assert not (branch.downloads / sha256).exists()
    assert (branch.downloads / f"{sha256}.part").stat().st_size == 0


def test_a_pipe_instead_of_a_file_does_not_hang_the_device(bank: Bank, branch: Branch) -> None:
    forged = copy_of(bank.repo, "forged")
    (forged / "metadata" / "timestamp.json").unlink()
    os.mkfifo(forged / "metadata" / "timestamp.json")
    attack(branch, forged, UpdateError, "timestamp.json is not a plain file")


def test_a_link_out_of_the_stick_is_not_followed(bank: Bank, branch: Branch, tmp_path: Path) -> None:
    forged = copy_of(bank.repo, "forged")
    (tmp_path / "elsewhere").write_bytes((forged / "metadata" / "timestamp.json").read_bytes())
    (forged / "metadata" / "timestamp.json").unlink()
    (forged / "metadata" / "timestamp.json").symlink_to(tmp_path / "elsewhere")
    attack(branch, forged, UpdateError, "timestamp.json")


def test_a_flipped_byte_in_any_file_that_a_new_device_reads_is_refused_by_name(bank: Bank, tmp_path: Path) -> None:
    release = bank.release(model_onnx=b"two" * 40)
    stick = bank.stick()
    read = [stick / "metadata" / "timestamp.json", *(newest(stick, role) for role in ("snapshot", "targets", "north"))]
    read += [next((stick / "targets" / "blobs").glob(f"{sha256}.*")) for sha256 in release.blobs()]
    read += stick.glob("targets/releases/*-2.json")
    for number, path in enumerate(read):
        branch = Branch(tmp_path / f"branch-{number}", (stick / "root.json").read_bytes())
        data = path.read_bytes()
        position = len(data) // 2
        path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        with pytest.raises(UpdateError) as caught:
            branch.update(stick)
        assert path.name in caught.value.problem
        assert serves(branch) == b"the model that serves"
        path.write_bytes(data)
        assert branch.update(stick).sequence == 2
    assert len(read) == 9


def test_a_damaged_blob_is_named_and_not_kept(bank: Bank, branch: Branch) -> None:
    release = bank.release(model_onnx=b"two")
    sha256 = release.bundle.files["model.onnx"].sha256
    next((bank.repo / "targets" / "blobs").glob(f"{sha256}.*")).write_bytes(b"twO")
    with pytest.raises(UpdateContentError, match=f"{sha256} is damaged"):
        branch.update(bank.repo)
    assert not list(branch.downloads.glob(f"{sha256}*"))


def test_a_foreign_trust_root_does_not_replace_the_pinned_one(bank: Bank, branch: Branch, tmp_path: Path) -> None:
    other = Bank(tmp_path / "other").found()
    with refused(branch, UpdateTrustError, "another one than this device's"):
        pin_root(branch.trust, (other.repo / "root.json").read_bytes())


def test_a_trust_root_that_nobody_signed_is_not_pinned(bank: Bank, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    shutil.copy(bank.repo / "root.json", root)
    resign(root, bank.keyring, keyids(root, "root")[:1])
    with pytest.raises(UpdateTrustError, match="is not a signed TUF root"):
        pin_root(tmp_path / "trust", root.read_bytes())
    assert not (tmp_path / "trust").exists()


def test_a_trust_root_other_than_the_expected_one_is_not_pinned(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(UpdateTrustError, match="not 00ff as expected"):
        pin_root(tmp_path / "trust", (bank.repo / "root.json").read_bytes(), sha256="00ff")
    assert not (tmp_path / "trust").exists()
