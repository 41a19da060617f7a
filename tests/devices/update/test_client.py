"""The device's side when all is well: what it takes, what it fetches, and how long it trusts what it knows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError

from devices.clock import Clock
from devices.errors import UpdateError, UpdateFreezeError, UpdateTrustError
from devices.update.client import UpdateClient
from devices.update.sources import DirectorySource
from devices.update.trust import local_freshness, pin_root
from tests.devices.update.bank import CLASS, DAY, REGION, START, Bank, Branch

GRACE = 30 * DAY


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path / "bank").found()
    bank.release(model_onnx=b"one" * 1000)
    return bank


@pytest.fixture
def branch(bank: Bank, tmp_path: Path) -> Branch:
    return Branch(tmp_path / "branch", (bank.repo / "root.json").read_bytes())


class Spy(DirectorySource):
    """Counts what is read, and breaks after so many bytes."""

    def __init__(self, directory: Path, break_after: int | None = None) -> None:
        super().__init__(directory)
        self.read: dict[str, int] = {}
        self.break_after = break_after

    def pieces(self, path: str, offset: int = 0) -> Iterator[bytes]:
        for chunk in super().pieces(path, offset):
            for start in range(0, len(chunk), 100):
                piece = chunk[start : start + 100]
                if self.break_after is not None and path.startswith("targets/blobs"):
                    if self.break_after == 0:
                        raise DownloadError("the line is down")
                    self.break_after -= 1
                self.read[path] = self.read.get(path, 0) + len(piece)
                yield piece


def spying(branch: Branch, bank: Bank, break_after: int | None = None) -> tuple[UpdateClient, Spy]:
    client = branch.client(bank.repo)
    client._source = spy = Spy(bank.repo, break_after)
    return client, spy


def blob_reads(spy: Spy) -> dict[str, int]:
    return {path: size for path, size in spy.read.items() if path.startswith("targets/blobs")}


def test_a_device_takes_the_release_that_its_channel_names_and_not_the_newest(bank: Bank, branch: Branch) -> None:
    bank.release(assign=False, model_onnx=b"two")
    offer = branch.client(bank.repo).check(REGION, CLASS)
    assert (offer.release.sequence, offer.channel.allow_downgrade) == (1, False)
    assert offer.freshness.state == "fresh"
    assert offer.freshness.expires == START + 30 * DAY


def test_every_file_handed_over_has_the_signed_bytes(bank: Bank, branch: Branch) -> None:
    offer = branch.client(bank.repo).check(REGION, CLASS)
    files = branch.client(bank.repo).fetch(offer.release.blobs(), branch.downloads)
    assert set(files) == {blob.sha256 for blob in offer.release.bundle.files.values()}
    for sha256, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def test_only_what_the_active_slot_lacks_travels(bank: Bank, branch: Branch) -> None:
    first = bank.releases[0]
    slot = branch.client(bank.repo).fetch(first.blobs(), branch.downloads)
    bank.release(model_onnx=b"one" * 1000, policy_toml=b"levels = 2")
    client, spy = spying(branch, bank)
    offer = client.check(REGION, CLASS)
    files = client.fetch(offer.release.blobs(), branch.downloads / "next", slot)
    changed = offer.release.bundle.files["policy.toml"].sha256
    assert blob_reads(spy) == {f"targets/blobs/{changed}.{changed}": len(b"levels = 2")}
    assert files[changed].parent == branch.downloads / "next"
    kept = offer.release.bundle.files["model.onnx"].sha256
    assert files[kept] == slot[kept]


def test_a_file_of_the_slot_that_was_damaged_is_fetched_and_not_used(bank: Bank, branch: Branch) -> None:
    release = bank.releases[0]
    slot = branch.client(bank.repo).fetch(release.blobs(), branch.downloads)
    sha256 = release.bundle.files["model.onnx"].sha256
    slot[sha256].write_bytes(b"onE" * 1000)
    client, spy = spying(branch, bank)
    client.check(REGION, CLASS)
    files = client.fetch(release.blobs(), branch.downloads / "next", slot)
    assert files[sha256].read_bytes() == b"one" * 1000
    assert list(blob_reads(spy).values()) == [3000]


def test_a_broken_transfer_goes_on_in_the_middle_of_the_file(bank: Bank, branch: Branch) -> None:
    blob = bank.releases[0].bundle.files["model.onnx"]
    client, _ = spying(branch, bank, break_after=10)
    with pytest.raises(UpdateError, match="the line is down"):
        client.fetch({blob.sha256: blob.size}, branch.downloads)
    assert (branch.downloads / f"{blob.sha256}.part").stat().st_size == 1000
    client, spy = spying(branch, bank)
    files = client.fetch({blob.sha256: blob.size}, branch.downloads)
    assert files[blob.sha256].read_bytes() == b"one" * 1000
    assert list(spy.read.values()) == [2000]


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * 3000, b"x" * 5000], ids=["begun", "whole", "too long"])
def test_a_wrong_part_of_an_earlier_try_is_thrown_away(bank: Bank, branch: Branch, left: bytes) -> None:
    blob = bank.releases[0].bundle.files["model.onnx"]
    branch.downloads.mkdir()
    (branch.downloads / f"{blob.sha256}.part").write_bytes(left)
    files = branch.client(bank.repo).fetch({blob.sha256: blob.size}, branch.downloads)
    assert files[blob.sha256].read_bytes() == b"one" * 1000
    assert not list(branch.downloads.glob("*.part"))


def test_an_empty_file_is_a_file_too(bank: Bank, branch: Branch) -> None:
    release = bank.release(empty_txt=b"")
    files = branch.client(bank.repo).fetch(release.blobs(), branch.downloads)
    assert files[release.bundle.files["empty.txt"].sha256].read_bytes() == b""


def test_expired_metadata_is_accepted_within_the_grace_and_that_is_said(bank: Bank, branch: Branch) -> None:
    branch.wall = START + 40 * DAY
    with pytest.raises(UpdateFreezeError):
        branch.client(bank.repo).check(REGION, CLASS)
    freshness = branch.client(bank.repo, GRACE).check(REGION, CLASS).freshness
    assert freshness.state == "grace"
    assert "expired on 2027-01-31; this device accepts it until 2027-03-02 (grace period)" in freshness.sentence


def test_the_grace_ends_on_the_day_that_it_ends(bank: Bank, branch: Branch) -> None:
    branch.wall = START + 60 * DAY - timedelta(minutes=1)
    assert branch.client(bank.repo, GRACE).check(REGION, CLASS).freshness.state == "grace"
    branch.wall = START + 60 * DAY
    with pytest.raises(UpdateFreezeError, match="grace period of 30 days is over"):
        branch.client(bank.repo, GRACE).check(REGION, CLASS)


def test_setting_the_clock_back_does_not_prolong_the_grace(bank: Bank, branch: Branch) -> None:
    branch.wall = START + 61 * DAY
    branch.clock.now()
    branch.wall = START + 40 * DAY
    with pytest.raises(UpdateFreezeError, match="2027-03-03"):
        branch.client(bank.repo, GRACE).check(REGION, CLASS)


def test_a_fresh_stick_ends_the_grace(bank: Bank, branch: Branch) -> None:
    branch.wall = bank.now = START + 40 * DAY
    assert branch.client(bank.repo, GRACE).check(REGION, CLASS).freshness.state == "grace"
    bank.roles.renew()
    assert branch.client(bank.repo, GRACE).check(REGION, CLASS).freshness.state == "fresh"


def test_the_inventory_can_tell_how_old_the_knowledge_is(bank: Bank, branch: Branch) -> None:
    assert local_freshness(branch.trust, branch.clock, GRACE) is None
    branch.update(bank.repo)
    states = []
    for days in (0, 40, 70):
        branch.wall = START + days * DAY
        freshness = local_freshness(branch.trust, branch.clock, GRACE)
        assert freshness is not None
        states.append(freshness.state)
    assert states == ["fresh", "grace", "expired"]


def test_a_device_whose_clock_says_1970_learns_the_time_from_what_headquarters_signed(
    bank: Bank, branch: Branch
) -> None:
    branch.wall = datetime(1970, 1, 1, tzinfo=UTC)
    assert branch.clock.now() == START - 30 * DAY
    branch.update(bank.repo)
    assert branch.clock.now() == START


def test_a_device_whose_clock_is_decades_ahead_says_so_and_recovers(bank: Bank, branch: Branch) -> None:
    branch.update(bank.repo)
    branch.wall = datetime(2099, 1, 1, tzinfo=UTC)
    with pytest.raises(UpdateFreezeError, match=r"clock says 2099-01-01 .* If that is wrong, set the clock"):
        branch.client(bank.repo, GRACE).check(REGION, CLASS)
    branch.wall = START + DAY
    assert branch.update(bank.repo).sequence == 1


def test_metadata_that_nobody_signed_does_not_move_the_clock(bank: Bank, branch: Branch) -> None:
    branch.wall = START
    timestamp = bank.repo / "metadata" / "timestamp.json"
    timestamp.write_bytes(timestamp.read_bytes().replace(b"2027-01-01T00", b"2027-06-01T00"))
    with pytest.raises(UpdateError):
        branch.update(bank.repo)
    assert branch.clock.now() == START


def test_keys_may_change_while_a_branch_is_cut_off(bank: Bank, branch: Branch) -> None:
    branch.update(bank.repo)
    for role in ("timestamp", "root", "targets", "snapshot", REGION, "root"):
        assert bank.roles.rotate(role) is None
    bank.release(model_onnx=b"two")
    assert branch.update(bank.repo).sequence == 2
    # a power cut between two steps of python-tuf's own bookkeeping: its link to the newest root is gone
    (branch.trust / "metadata" / "root.json").unlink()
    assert branch.update(bank.repo).sequence == 2


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "targets", REGION])
def test_torn_metadata_on_the_device_is_fetched_again(bank: Bank, branch: Branch, name: str) -> None:
    branch.update(bank.repo)
    path = branch.trust / "metadata" / f"{name}.json"
    path.write_bytes(path.read_bytes()[:100])
    assert branch.update(bank.repo).sequence == 1
    assert len(path.read_bytes()) > 100


def test_what_the_device_verified_is_on_the_disk_before_it_goes_on(
    bank: Bank, branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd))[1]
    )
    branch.client(bank.repo).check(REGION, CLASS)
    names = {Path(path).name for path in synced}
    assert {"timestamp.json.new", "snapshot.json.new", "targets.json.new", f"{REGION}.json.new"} <= names
    assert "1.root.json.new" in names


def test_a_device_without_a_trust_root_says_so(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(UpdateTrustError, match="This device has no trust root"):
        UpdateClient(tmp_path / "none", bank.repo, clock=Clock(None), grace=GRACE)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "root.json").write_bytes(b"{}")
    with pytest.raises(UpdateTrustError, match="is not a signed TUF root"):
        UpdateClient(tmp_path / "none", bank.repo, clock=Clock(None), grace=GRACE)


def test_pinning_the_same_root_again_changes_nothing(bank: Bank, branch: Branch) -> None:
    before = branch.state()
    pin_root(branch.trust, (bank.repo / "root.json").read_bytes())
    assert branch.state() == before


def test_a_stick_that_is_no_repository_and_a_class_that_nobody_assigned(bank: Bank, branch: Branch) -> None:
    with pytest.raises(UpdateError, match="timestamp.json is missing"):
        branch.client(branch.slot).check(REGION, CLASS)
    with pytest.raises(UpdateError, match=r"has no channels/north/counter.json") as caught:
        branch.client(bank.repo).check(REGION, "counter")
    assert "region" in caught.value.remedy


def test_plain_http_is_refused(branch: Branch) -> None:
    with pytest.raises(UpdateError, match="is not an https:// URL"):
        branch.client("http://127.0.0.1/repo")
