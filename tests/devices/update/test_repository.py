"""Headquarters' side: what is signed with which key, what a failure leaves, what goes onto a stick."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

import devices.update.roles as roles_module
from devices.errors import RepositoryError, SigningError
from devices.update.release import Channel, Release
from devices.update.repository import Repository, export_repository
from devices.update.roles import Roles
from devices.update.signers import Keyring
from tests.devices.update.bank import CLASS, DAY, REGION, START, Bank, Branch, keyids, write_bundle


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "bank").found()


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def metadata_of(bank: Bank) -> dict[str, bytes]:
    return contents(bank.repo / "metadata") | contents(bank.repo / "draft")


def take_away(bank: Bank, role: str, to: Path | None = None) -> list[Path]:
    """Remove the keys of ``role`` from within reach."""
    gone = sorted((bank.place / "keys").glob(f"{role}-*"))
    for path in gone:
        if to is None:
            path.unlink()
        else:
            to.mkdir(exist_ok=True)
            path.replace(to / path.name)
    return gone


def test_keys_are_readable_for_their_owner_alone(bank: Bank) -> None:
    keys = list((bank.place / "keys").iterdir())
    assert len(keys) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_a_release_names_every_file_by_its_hash_and_equal_files_are_kept_once(bank: Bank, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", model_onnx=b"same", again_onnx=b"same")
    wheel = tmp_path / "kit-1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    lock = tmp_path / "serve.lock"
    lock.write_bytes(b"kit==1.0 --hash=sha256:00")
    unit = tmp_path / "unit"
    unit.write_bytes(b"[Unit]")
    parts = bank.parts(bundle, lock=lock, wheels=[wheel], files={"systemd/edgekit.service": unit})
    release = Repository(bank.roles).publish(parts)
    assert release.environment is not None
    assert set(release.environment.wheels) == {"kit-1.0-py3-none-any.whl"}
    assert set(release.files) == {"systemd/edgekit.service"}
    assert len(release.bundle.files) == 5
    assert len(release.blobs()) == len(list((bank.repo / "targets" / "blobs").iterdir())) == 7
    assert release.bundle.manifest_sha256 == release.bundle.files["manifest.json"].sha256


def test_sequences_rise_whatever_the_releases_are_called(bank: Bank, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    paths = [Repository(bank.roles).publish(bank.parts(bundle, name=name)).path for name in ("loans", "cards", "loans")]
    assert paths == ["releases/loans-1.json", "releases/cards-2.json", "releases/loans-3.json"]
    assert Repository(bank.roles).releases == tuple(paths)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Loans!"},
        {"arch": "riscv"},
        {"profiles": []},
        {"version": ""},
        {"bundle_keys": []},
        {"files": {"../x": 1}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_release_with_a_wrong_value_is_not_signed(bank: Bank, tmp_path: Path, changes: dict[str, object]) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    if "files" in changes:
        changes = {"files": {"../x": bundle / "manifest.json"}}
    before = metadata_of(bank)
    with pytest.raises(RepositoryError, match="cannot be a release"):
        Repository(bank.roles).publish(replace(bank.parts(bundle), **changes))  # type: ignore[arg-type]
    assert metadata_of(bank) == before


def test_what_is_no_bundle_is_not_published(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepositoryError, match="is no bundle"):
        Repository(bank.roles).publish(bank.parts(tmp_path / "empty"))
    with pytest.raises(RepositoryError, match="No such file"):
        Repository(bank.roles).publish(
            bank.parts(write_bundle(tmp_path / "bundle"), files={"unit": tmp_path / "missing"})
        )


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_without_a_key_nothing_is_changed(bank: Bank, role: str) -> None:
    take_away(bank, role)
    before = metadata_of(bank)
    with pytest.raises(SigningError, match=f"{role} has 0 of 1 signatures"):
        bank.release(assign=False)
    assert metadata_of(bank) == before


def test_when_the_key_is_brought_back_the_same_command_goes_through(bank: Bank, tmp_path: Path) -> None:
    parts = bank.parts(write_bundle(tmp_path / "bundle"))
    (key,) = take_away(bank, "snapshot", tmp_path / "safe")
    repository = Repository(bank.roles)
    with pytest.raises(SigningError):
        repository.publish(parts)
    assert repository.releases == ()
    (tmp_path / "safe" / key.name).replace(key)
    assert repository.publish(parts).sequence == 1
    assert sorted(path.name for path in (bank.repo / "metadata").glob("*.targets.json"))[-1] == "3.targets.json"


def test_a_region_chooses_with_its_own_key_and_without_headquarters(bank: Bank) -> None:
    bank.release(assign=False)
    take_away(bank, "targets")
    take_away(bank, "root")
    channel = Repository(bank.roles).assign(bank.releases[0].path, REGION, CLASS, allow_downgrade=True)
    assert channel.allow_downgrade
    take_away(bank, REGION)
    before = metadata_of(bank)
    with pytest.raises(SigningError, match="north has 0 of 1 signatures"):
        Repository(bank.roles).assign(bank.releases[0].path, REGION, CLASS)
    assert metadata_of(bank) == before


def test_a_channel_needs_a_release_a_region_and_a_name(bank: Bank) -> None:
    bank.release()
    repository = Repository(bank.roles)
    with pytest.raises(RepositoryError, match=r"no release 'releases/x-9.json'; the latest: releases/branch-loans-1"):
        repository.assign("releases/x-9.json", REGION, CLASS)
    with pytest.raises(RepositoryError, match="no region 'west'; known: north"):
        repository.assign(bank.releases[0].path, "west", CLASS)
    with pytest.raises(RepositoryError, match="cannot name a class"):
        repository.assign(bank.releases[0].path, REGION, "../kiosk")


@pytest.mark.parametrize("name", ["root", "North", "a/b", "", "../x", REGION])
def test_a_region_needs_a_name_of_its_own(bank: Bank, name: str) -> None:
    before = metadata_of(bank)
    with pytest.raises(RepositoryError, match=r"cannot name a region|has a key already"):
        bank.roles.delegate(name)
    assert metadata_of(bank) == before


def test_renewing_prolongs_the_list_without_the_offline_keys(bank: Bank) -> None:
    take_away(bank, "root")
    take_away(bank, "targets")
    bank.now = START + 20 * DAY
    bank.roles.renew()
    expiries = bank.roles.expiries()
    assert expiries["timestamp"] == START + 50 * DAY
    assert expiries["targets"] == START + 365 * DAY
    with pytest.raises(RepositoryError, match="no role 'west'"):
        bank.roles.renew("west")


def test_a_root_waits_until_enough_people_have_signed(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "bank").found(root_keys=3, threshold=2)
    bank.release()
    first, second, third = take_away(bank, "root", tmp_path / "safe")
    branch = Branch(tmp_path / "branch", (bank.repo / "root.json").read_bytes())
    branch.update(bank.repo)
    people = []
    for name, key in (("wang", first), ("li", second)):
        (tmp_path / name).mkdir()
        (tmp_path / "safe" / key.name).replace(tmp_path / name / key.name)
        people.append(tmp_path / name)

    def with_keys(*places: Path) -> Roles:
        return Roles(bank.repo, Keyring([bank.place / "keys", *places]), now=START)

    published = contents(bank.repo / "metadata")
    missing = with_keys(people[0]).rotate("timestamp")
    assert missing is not None
    assert missing.startswith("1 more of the root keys")
    assert contents(bank.repo / "metadata") == published
    assert branch.update(bank.repo).sequence == 1
    with pytest.raises(RepositoryError, match="waits for signatures"):
        with_keys(people[0]).rotate("snapshot")
    assert with_keys().sign_root() == missing
    assert with_keys(people[1]).sign_root() is None
    assert not list((bank.repo / "draft").iterdir())
    assert json.loads((bank.repo / "root.json").read_bytes())["signed"]["version"] == 2
    assert branch.update(bank.repo).sequence == 1
    with pytest.raises(RepositoryError, match="No root waits"):
        with_keys().sign_root()


def test_replaced_keys_sign_nothing_any_more(bank: Bank) -> None:
    old = keyids(bank.repo / "root.json", "timestamp")
    bank.roles.rotate("timestamp")
    for path in (bank.place / "keys").glob("timestamp-*"):
        if path.name.split("-")[1].split(".")[0] not in {keyid[:16] for keyid in old}:
            path.unlink()
    with pytest.raises(SigningError, match="timestamp has 0 of 1"):
        bank.roles.renew()


@pytest.mark.parametrize("role", ["root", "timestamp", REGION])
def test_after_a_power_cut_at_any_write_the_command_is_given_again(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    bank.release()
    branch = Branch(tmp_path / "branch", (bank.repo / "root.json").read_bytes())
    assert branch.update(bank.repo).sequence == 1
    real = roles_module.write_durably
    for cut in range(1, 7):
        left = cut

        def write(path: Path, data: bytes) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            real(path, data)

        monkeypatch.setattr(roles_module, "write_durably", write)
        try:
            bank.roles.rotate(role)
        except KeyboardInterrupt:
            monkeypatch.setattr(roles_module, "write_durably", real)
            if role == REGION:  # what was not announced does not count; new roots count at once
                assert branch.update(bank.repo).sequence == 1
            bank.roles.rotate(role)
        monkeypatch.setattr(roles_module, "write_durably", real)
        assert branch.update(bank.repo).sequence == 1
    bank.release()
    assert branch.update(bank.repo).sequence == 2


def test_a_release_that_a_power_cut_kept_from_being_announced_does_not_count(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = bank.parts(write_bundle(tmp_path / "bundle"))
    real = roles_module.write_durably

    def write(path: Path, data: bytes) -> None:
        if path.name == "timestamp.json":
            raise KeyboardInterrupt
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(roles_module, "write_durably", write)
        with pytest.raises(KeyboardInterrupt):
            Repository(bank.roles).publish(parts)
    assert (bank.repo / "metadata" / "3.snapshot.json").exists()
    assert Repository(bank.roles).releases == ()
    assert Repository(bank.roles).publish(parts).sequence == 1
    assert Repository(bank.roles).releases == ("releases/branch-loans-1.json",)


def test_two_commands_at_once_do_not_lose_a_release(bank: Bank, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    first, second = Repository(bank.roles), Repository(bank.roles)
    first.publish(bank.parts(bundle))
    with pytest.raises(RepositoryError, match="was changed by another command"):
        second.publish(bank.parts(bundle))
    descriptor = os.open(bank.repo, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(RepositoryError, match="is being changed by another command"):
            Repository(bank.roles).publish(bank.parts(bundle))
    finally:
        os.close(descriptor)
    assert len(Repository(bank.roles).releases) == 1


def test_a_repository_is_made_in_an_empty_place_only(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="is not empty"):
        Roles.create(bank.repo, bank.keyring)
    for threshold in (0, 4):
        with pytest.raises(RepositoryError, match=f"{threshold} of 3 root keys cannot sign"):
            Roles.create(tmp_path / "new", Keyring([tmp_path / "keys"]), root_keys=3, threshold=threshold)
    with pytest.raises(RepositoryError, match="no role 'boss'"):
        Roles.create(tmp_path / "new", Keyring([tmp_path / "keys"]), hsm={"boss": ["pkcs11:"]})
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "keys").exists()
    with pytest.raises(RepositoryError, match="is no update repository"):
        Roles(tmp_path, bank.keyring)


def test_a_damaged_key_file_is_named(bank: Bank) -> None:
    (bank.place / "keys" / "x-damaged.pem").write_text("-----BEGIN PRIVATE KEY-----")
    with pytest.raises(SigningError, match=r"x-damaged.pem is not a private key"):
        bank.roles.renew()


def test_a_stick_carries_what_its_channels_need_and_no_more(bank: Bank, tmp_path: Path) -> None:
    bank.roles.delegate("south")
    north = bank.release(model_onnx=b"for the north")
    south = bank.release(assign=False, model_onnx=b"for the south")
    Repository(bank.roles).assign(south.path, "south", CLASS)
    stick = tmp_path / "stick"
    copied = export_repository(bank.repo, stick, [(REGION, CLASS)])
    assert copied == sum(path.stat().st_size for path in stick.rglob("*") if path.is_file())
    blobs = {path.name.partition(".")[0] for path in (stick / "targets" / "blobs").iterdir()}
    assert blobs == set(north.blobs())
    branch = Branch(tmp_path / "branch", (stick / "root.json").read_bytes())
    assert branch.update(stick).sequence == 1


def test_only_what_is_new_is_copied_to_a_stick_and_what_is_old_leaves_it(bank: Bank, tmp_path: Path) -> None:
    first = bank.release(model_onnx=b"x" * 100_000)
    stick = tmp_path / "stick"
    assert export_repository(bank.repo, stick, [(REGION, CLASS)]) > 100_000
    assert export_repository(bank.repo, stick, [(REGION, CLASS)]) == 0
    second = bank.release(model_onnx=b"x" * 100_000, policy_toml=b"levels = 2")
    assert 0 < export_repository(bank.repo, stick, [(REGION, CLASS)]) < 20_000
    blobs = {path.name.partition(".")[0] for path in (stick / "targets" / "blobs").iterdir()}
    assert blobs == set(second.blobs())
    assert set(first.blobs()) - blobs


def test_a_half_written_file_on_a_stick_is_written_again(bank: Bank, tmp_path: Path) -> None:
    release = bank.release(model_onnx=b"x" * 1000)
    stick = bank.stick()
    sha256 = release.bundle.files["model.onnx"].sha256
    target = stick / "targets" / "blobs" / f"{sha256}.{sha256}"
    target.write_bytes(b"x" * 999 + b"y")
    export_repository(bank.repo, stick)
    assert target.read_bytes() == b"x" * 1000


def test_a_damaged_repository_is_not_exported(bank: Bank, tmp_path: Path) -> None:
    release = bank.release(model_onnx=b"right")
    sha256 = release.bundle.files["model.onnx"].sha256
    (bank.repo / "targets" / "blobs" / f"{sha256}.{sha256}").write_bytes(b"wrong")
    with pytest.raises(RepositoryError, match=f"{sha256} is damaged"):
        export_repository(bank.repo, tmp_path / "stick")
    assert not (tmp_path / "stick" / "metadata" / "timestamp.json").exists()


def test_an_export_spares_what_it_does_not_know(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"jpeg")
    with pytest.raises(RepositoryError, match="holds files that are no export"):
        export_repository(bank.repo, tmp_path / "photos")
    with pytest.raises(RepositoryError, match=r"There is no channel channels/north/counter.json; there are: none"):
        export_repository(bank.repo, tmp_path / "stick", [(REGION, "counter")])
    with pytest.raises(RepositoryError, match="is no update repository"):
        export_repository(tmp_path / "photos", tmp_path / "stick")
    assert contents(tmp_path / "photos") == {str(tmp_path / "photos" / "holiday.jpg"): b"jpeg"}


def test_documents_survive_their_round_trip(bank: Bank) -> None:
    release = bank.release()
    assert Release.model_validate_json(release.to_bytes()) == release
    channel = Channel(region="a", device_class="b", release="releases/x-1.json", release_sha256="0" * 64)
    assert Channel.model_validate_json(channel.to_bytes()) == channel
