"""From a medium to a device that serves, and from one release to the next: either the new state or the old one."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devices.provision import switch as moves
from devices.provision.bootstrap import write_sums
from devices.provision.lock import installer_lock
from devices.provision.slots import Layout, change, read_switch, verify_slot
from devices.provision.wheelhouse import pack_python
from tests.devices.provision.small_bank import Bank, answer, contents
from tests.devices.provision.small_release import Launched
from tests.devices.update.test_https import Server, write_certificate


def error_of(capsys: Any, *arguments: str | Path) -> dict[str, str]:
    status, document = answer(capsys, "provision", *arguments)
    assert status not in (0, 2)
    return document["error"]


def test_a_bare_directory_becomes_a_device_that_serves(installed: Path, tmp_path: Path) -> None:
    switch = read_switch(installed)
    assert (switch.active, switch.serving.state, switch.serving.release) == ("a", "good", "small-1")
    verify_slot(installed, "a")
    assert not (installed / "download").exists()
    for path in (installed, *(installed / name for name in ("slots", "slots/a", "slots/b", "trust"))):
        assert path.stat().st_mode & 0o777 == 0o755, path  # the service's user may enter, whatever root's umask was
    launched = Launched(installed, log=tmp_path / "log")
    try:
        assert launched.release() == 1
    finally:
        launched.stop()


def test_installing_again_finds_nothing_to_do(bank: Bank, root: Path, capsys: Any) -> None:
    before = contents(root / "slots")
    status, document = answer(capsys, "provision", "install", bank.place / "medium", "--root", root)
    assert (status, document["changed"], document["fetched_bytes"]) == (0, False, 0)
    assert contents(root / "slots") == before


def test_an_update_of_the_thresholds_fetches_only_them_and_copies_the_rest(
    own_bank: Bank, root: Path, capsys: Any
) -> None:
    before = contents(root / "slots" / "a")
    own_bank.publish()
    status, document = answer(capsys, "provision", "update", "--root", root, own_bank.repo)
    assert status == 0, document
    assert (document["release"], document["slot"], document["environment"]) == ("small-2", "b", "copied")
    assert document["fetched_bytes"] < 100  # of a manifest
    assert contents(root / "slots" / "a") == before
    assert read_switch(root).serving.state == "good"


def test_a_url_and_its_certificates_are_asked_again_next_time(
    own_bank: Bank, root: Path, tmp_path: Path, capsys: Any
) -> None:
    certificate, key = write_certificate(tmp_path)
    server = Server(own_bank.repo, certificate, key)
    try:
        own_bank.publish()
        named = answer(capsys, "provision", "update", "--root", root, server.url, "--ca", certificate)
        assert (named[0], named[1]["release"]) == (0, "small-2")
        own_bank.publish()
        again = answer(capsys, "provision", "update", "--root", root)
        assert (again[0], again[1]["release"]) == (0, "small-3")
    finally:
        server.close()


def test_a_new_kit_travels_alone_and_the_other_wheels_stay(own_bank: Bank, root: Path, capsys: Any) -> None:
    own_bank.publish(kit="2.0")
    status, document = answer(capsys, "provision", "update", "--root", root, own_bank.pack("second"))
    assert status == 0, document
    assert document["environment"] == "changed"
    library = root / "slots" / "b" / "environment" / "lib" / "python3.11" / "site-packages"
    assert sorted(path.name for path in library.glob("branch_edgekit-*")) == ["branch_edgekit-2.0.dist-info"]


def test_a_release_that_cannot_serve_is_given_up_and_the_old_one_stays(own_bank: Bank, root: Path, capsys: Any) -> None:
    own_bank.publish("broken")
    error = error_of(capsys, "update", "--root", root, own_bank.repo)
    assert error["code"] == "PROVISION-005"
    assert "golden outputs are missed" in error["problem"]
    assert "small-1 serves" in error["state"]
    switch = read_switch(root)
    assert (switch.active, switch.slots["b"].state) == ("a", "bad")
    again = error_of(capsys, "update", "--root", root, own_bank.repo)
    assert "tried on this device before and given up" in again["problem"]
    deployments = json.loads((root / "state" / "deployments.json").read_text())
    assert [each["result"] for each in deployments] == ["good", "bad"]


def test_an_older_release_needs_a_signed_permission(own_bank: Bank, root: Path, capsys: Any) -> None:
    first = own_bank.released[0]
    own_bank.publish()
    assert answer(capsys, "provision", "update", "--root", root, own_bank.repo)[0] == 0
    own_bank.point(first)
    error = error_of(capsys, "update", "--root", root, own_bank.repo)
    assert error["code"] == "UPDATE-002"
    assert "no permission to go back is signed" in error["problem"]
    assert read_switch(root).serving.release == "small-2"
    own_bank.point(first, allow_downgrade=True)
    status, document = answer(capsys, "provision", "update", "--root", root, own_bank.repo)
    assert (status, document["release"], document["fetched_bytes"]) == (0, "small-1", 0)


def test_a_flipped_byte_of_the_medium_is_refused_before_anything_is_written(
    bank: Bank, root: Path, tmp_path: Path, capsys: Any
) -> None:
    medium = shutil.copytree(bank.place / "medium", tmp_path / "medium")
    blob = max((medium / "repo" / "targets" / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 4
    blob.write_bytes(data)
    error = error_of(capsys, "install", medium, "--root", tmp_path / "new")
    assert (error["code"], blob.name in error["problem"]) == ("PROVISION-011", True)
    assert not (tmp_path / "new").exists()
    before = contents(root / "slots")
    assert error_of(capsys, "update", "--root", root, medium)["code"] == "PROVISION-011"
    assert contents(root / "slots") == before


def test_a_medium_of_another_bank_is_refused(root: Path, tmp_path: Path, capsys: Any) -> None:
    stranger = Bank(tmp_path / "stranger")
    stranger.publish()
    error = error_of(capsys, "install", stranger.pack(), "--root", root)
    assert error["code"] == "UPDATE-005"
    assert read_switch(root).serving.release == "small-1"


def test_a_trust_root_other_than_the_one_that_was_told_is_refused(bank: Bank, tmp_path: Path, capsys: Any) -> None:
    error = error_of(capsys, "install", bank.place / "medium", "--root", tmp_path / "root", "--root-sha256", "0" * 64)
    assert error["code"] == "UPDATE-010"
    assert not (tmp_path / "root" / "trust" / "root.json").exists()


def test_the_trust_root_of_an_earlier_medium_is_held_against_what_was_told(bank: Bank, root: Path, capsys: Any) -> None:
    error = error_of(capsys, "install", bank.place / "medium", "--root", root, "--root-sha256", "0" * 64)
    assert (error["code"], "was given the trust root" in error["problem"]) == ("UPDATE-010", True)
    told = json.loads((bank.place / "medium" / "medium.json").read_text())["root_sha256"]
    arguments = ("install", bank.place / "medium", "--root", root, "--root-sha256", told)
    assert answer(capsys, "provision", *arguments)[0] == 0


def test_a_medium_for_another_channel_is_refused(bank: Bank, root: Path, capsys: Any) -> None:
    (root / "channel.json").write_text('{"region": "west", "device_class": "kiosk"}')
    error = error_of(capsys, "install", bank.place / "medium", "--root", root)
    assert (error["code"], "follows channel west/kiosk" in error["problem"]) == ("PROVISION-012", True)


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ('arch = ["x86_64", "aarch64"]', 'arch = ["aarch64"]', "PROVISION-012", "aarch64"),
        ("min_memory_mb = ", "min_memory_mb = 99999999", "PROVISION-012", "too few"),
        ("threads = ", "thraeds = ", "DEVICE-002", "thraeds"),
    ],
    ids=["another architecture", "another machine", "a typo"],
)
def test_a_profile_that_does_not_fit_or_is_misspelt_stops_the_installation(
    bank: Bank, tmp_path: Path, capsys: Any, old: str, new: str, code: str, words: str
) -> None:
    medium = shutil.copytree(bank.place / "medium", tmp_path / "medium")
    text = (medium / "profile.toml").read_text()
    assert old in text
    (medium / "profile.toml").write_text(text.replace(old, new, 1))
    write_sums(medium)
    error = error_of(capsys, "install", medium, "--root", tmp_path / "root")
    assert (error["code"], words in error["problem"]) == (code, True), error
    assert not (tmp_path / "root").exists()


def test_a_full_disk_is_refused_before_the_inactive_slot_is_touched(
    own_bank: Bank, root: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_bank.publish()
    before = contents(root / "slots")
    monkeypatch.setattr("devices.provision.space.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1))  # type: ignore[attr-defined]
    error = error_of(capsys, "update", "--root", root, own_bank.repo)
    assert (error["code"], "are needed" in error["problem"]) == ("PROVISION-013", True)
    assert contents(root / "slots") == before


@pytest.mark.parametrize(
    ("where", "number", "code"),
    [
        ("devices.update.client.UpdateClient._download", 28, "PROVISION-013"),
        ("devices.provision.install.copy_environment", 28, "PROVISION-013"),
        ("devices.provision.install.seal_slot", 30, "PROVISION-014"),
    ],
    ids=["while fetching", "while building", "turned read-only"],
)
def test_a_disk_that_fills_up_or_turns_read_only_on_the_way_leaves_what_serves(
    own_bank: Bank, root: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, where: str, number: int, code: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "a file")

    own_bank.publish()
    before = contents(root / "slots" / "a")
    with monkeypatch.context() as patched:
        patched.setattr(where, refuse)
        assert error_of(capsys, "update", "--root", root, own_bank.repo)["code"] == code
    assert read_switch(root).active == "a"
    assert contents(root / "slots" / "a") == before
    assert answer(capsys, "provision", "update", "--root", root, own_bank.repo)[0] == 0


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare to mount")
@pytest.mark.parametrize(
    ("mount", "code", "words"),
    [
        ("mount -t tmpfs -o size=2m none", "PROVISION-013", "are needed"),
        ("mount -t tmpfs -o ro none", "PROVISION-014", "read-only"),
    ],
    ids=["a small disk", "a read-only disk"],
)
def test_a_bare_disk_that_cannot_take_a_device_is_refused(
    bank: Bank, tmp_path: Path, mount: str, code: str, words: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    install = f"{sys.executable} -m edge.cli provision install {bank.place / 'medium'} --root {disk}/root --json"
    command = ["unshare", "--mount", "sh", "-c", f"{mount} {disk} && exec {install}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    error = json.loads(done.stdout)["error"]
    assert (error["code"], words in error["problem"]) == (code, True), error


def test_a_directory_that_cannot_be_written_is_refused(bank: Bank, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "taken").write_text("a letter")
    error = error_of(capsys, "install", bank.place / "medium", "--root", tmp_path / "taken" / "root")
    assert error["code"] == "PROVISION-014"


def test_two_installers_at_once_are_one_too_many(own_bank: Bank, root: Path, capsys: Any) -> None:
    own_bank.publish()
    with installer_lock(root):
        error = error_of(capsys, "update", "--root", root, own_bank.repo)
    assert (error["code"], "process" in error["problem"]) == ("PROVISION-004", True)


def test_a_clock_at_1970_does_not_stop_an_update(own_bank: Bank, root: Path) -> None:
    own_bank.publish()
    code = (
        "import datetime, sys, devices.clock as c; "
        "c.Clock.__init__.__kwdefaults__['wall'] = lambda: datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC); "
        "from edge.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "provision", "update", "--root", root, own_bank.repo]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((root / "state" / "inventory.json").read_text())["report"]
    assert report["clock"]["state"] == "behind"
    assert not report["time"].startswith("1970")


def test_an_active_slot_that_was_damaged_is_not_copied_from(own_bank: Bank, root: Path, capsys: Any) -> None:
    (Layout(root).bundle("a") / "model.bin").write_bytes(b"worn flash")
    own_bank.publish()
    status, document = answer(capsys, "provision", "update", "--root", root, own_bank.repo)
    assert (status, document["environment"]) == (0, "built")
    verify_slot(root, "b")


def test_a_damaged_device_is_mended_by_installing_again(bank: Bank, root: Path, capsys: Any) -> None:
    (Layout(root).bundle("a") / "model.bin").write_bytes(b"worn flash")
    status, document = answer(capsys, "provision", "install", bank.place / "medium", "--root", root)
    assert (status, document["slot"], document["environment"]) == (0, "b", "built"), document
    verify_slot(root, "b")


def test_a_damaged_slot_gives_way_to_the_whole_one_before_the_next_release_is_built(
    own_bank: Bank, root: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_bank.publish()
    assert answer(capsys, "provision", "update", "--root", root, own_bank.repo)[0] == 0
    (Layout(root).bundle("b") / "model.bin").write_bytes(b"worn flash")
    with monkeypatch.context() as patched:
        patched.setattr("devices.provision.install.seal_slot", lambda *_: sys.exit(9))  # the power fails here
        with pytest.raises(SystemExit):
            answer(capsys, "provision", "update", "--root", root, own_bank.repo)
    switch = read_switch(root)
    assert (switch.active, switch.serving.release) == ("a", "small-1")
    verify_slot(root, "a")
    status, document = answer(capsys, "provision", "update", "--root", root, own_bank.repo)
    assert (status, document["release"], document["slot"]) == (0, "small-2", "b"), document


def test_a_release_whose_copy_is_worn_is_built_again_and_not_called_bad(
    own_bank: Bank, root: Path, capsys: Any
) -> None:
    own_bank.publish()
    assert answer(capsys, "provision", "update", "--root", root, own_bank.repo)[0] == 0
    (Layout(root).bundle("b") / "model.bin").write_bytes(b"worn flash")
    change(root, lambda switch: moves.roll_back(switch, "Slot b is damaged, as the launcher found."))
    status, document = answer(capsys, "provision", "update", "--root", root, own_bank.repo)
    assert (status, document["release"], document["slot"]) == (0, "small-2", "b"), document


def test_a_release_for_another_processor_is_refused_where_no_medium_says_so(
    own_bank: Bank, root: Path, capsys: Any
) -> None:
    own_bank.publish(arch="aarch64" if platform.machine() != "aarch64" else "x86_64")
    before = contents(root / "slots")
    error = error_of(capsys, "update", "--root", root, own_bank.repo)
    assert (error["code"], platform.machine() in error["problem"]) == ("PROVISION-012", True)
    assert contents(root / "slots") == before


def test_a_release_may_bring_its_own_python_and_it_goes_when_no_slot_needs_it(
    own_bank: Bank, root: Path, tmp_path: Path, capsys: Any
) -> None:
    own_bank.publish(python=pack_python(_small_python(tmp_path / "python"), tmp_path))
    medium = own_bank.pack("carrying")
    assert json.loads((medium / "medium.json").read_text())["interpreter"].startswith("repo/targets/blobs/")
    status, document = answer(capsys, "provision", "update", "--root", root, medium)
    assert (status, document.get("environment")) == (0, "built"), document
    python = Layout(root).python("b")
    (carried,) = (root / "python").iterdir()
    assert python.readlink() == carried / "bin" / "python3.11"
    code = "import sys; print(sys.base_prefix)"
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(carried)
    for _ in range(2):
        own_bank.publish()
        assert answer(capsys, "provision", "update", "--root", root, own_bank.repo)[0] == 0
    assert list((root / "python").iterdir()) == []


def _small_python(place: Path) -> Path:
    """This machine's Python without what a server never needs."""
    unneeded = (
        "__pycache__",
        "config-*",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "site-packages",
        "test",
        "tests",
        "tkinter",
    )
    base = Path(sys.base_prefix)
    (place / "bin").mkdir(parents=True)
    shutil.copy2(base / "bin" / "python3.11", place / "bin")
    ignore = shutil.ignore_patterns(*unneeded)
    shutil.copytree(base / "lib" / "python3.11", place / "lib" / "python3.11", ignore=ignore)
    for library in (base / "lib").glob("libpython3*.so*"):
        shutil.copy2(library, place / "lib", follow_symlinks=False)
    return place
