"""What root makes on a device belongs to whom it should, and systemd is given a unit where there is systemd."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from devices.durable import write_durably
from devices.errors import ProvisionError
from devices.provision import device
from devices.provision.device import (
    Channel,
    enrol,
    hand_over,
    known_source,
    read_channel_of,
    remember_source,
    start_at_boot,
    starts_at_boot,
)
from devices.provision.lock import launcher_lock
from devices.provision.medium import read_medium
from devices.provision.slots import Layout, change, create_root
from tests.devices.provision.small_bank import PROFILE, REPOSITORY, Bank

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    create_root(tmp_path / "root")
    (tmp_path / "root" / "channel.json").write_text('{"region": "east", "device_class": "kiosk", "url": ""}')
    (tmp_path / "root" / "profile.toml").write_bytes(
        (REPOSITORY / "devices" / "profiles" / f"{PROFILE}.toml").read_bytes()
    )
    return tmp_path / "root"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands anything over")
def test_a_service_owns_what_root_made_in_its_state_and_record_and_nothing_else(root: Path) -> None:
    for folder in (root / "record", root / "state"):
        os.chown(folder, NOBODY, NOBODY)
    with hand_over(root):
        (root / "state" / "keys").mkdir()
        (root / "state" / "keys" / "device.pem").touch()
        (root / "record" / "switch.json").write_text("{}")
        (root / "channel.json").touch()
        (root / "slots" / "a" / "release.json").touch()
    its_own, roots = ("state/keys/device.pem", "record/switch.json"), (".", "channel.json", "slots/a/release.json")
    owners = {path: (root / path).stat().st_uid for path in (*its_own, *roots)}
    assert owners == dict.fromkeys(its_own, NOBODY) | dict.fromkeys(roots, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands anything over")
def test_a_service_changes_its_record_and_makes_nothing_where_root_looks(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (root / "record", root / "state"):
        os.chown(folder, NOBODY, NOBODY)
    with hand_over(root):
        write_durably(Layout(root).switch, Layout(root).switch.read_bytes())
    monkeypatch.chdir(root)  # what leads to it may be closed to others
    os.seteuid(NOBODY)
    try:
        with launcher_lock(Path()):
            change(Path(), lambda switch: replace(switch, active="a"))
        with pytest.raises(PermissionError):
            Path("download").symlink_to("/")
        with pytest.raises(PermissionError):
            Path("record").rename("elsewhere")
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands anything over")
def test_links_that_a_service_leaves_lead_root_to_nobody_elses_files(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("symbolic", "hard"):
        (elsewhere / name).touch()
        os.chown(elsewhere / name, 7, 7)
    for folder in (root / "record", root / "state"):
        os.chown(folder, NOBODY, NOBODY)
    with hand_over(root):
        (root / "record" / "folder").symlink_to(elsewhere)
        (root / "state" / "folder").symlink_to(elsewhere)
        (root / "state" / "file").symlink_to(elsewhere / "symbolic")
        (root / "state" / "hard").hardlink_to(elsewhere / "hard")
    assert {path.stat().st_uid for path in elsewhere.iterdir()} == {7}


def test_files_of_a_slot_are_readable_for_the_service_whatever_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        with hand_over(root):
            (root / "slots" / "a" / "release.json").touch()
    finally:
        os.umask(before)
    assert (root / "slots" / "a" / "release.json").stat().st_mode & 0o777 == 0o644


def test_without_systemd_the_command_says_how_to_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_SYSTEMD", root / "no systemd")
    assert not starts_at_boot(root)
    said = start_at_boot(root)
    assert starts_at_boot(root)
    assert f"{Layout(root).launcher} {root}" in said
    assert f"ReadWritePaths={root}/state {root}/record\n" in (root / "units" / "edgekit.service").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives systemd a unit")
def test_with_systemd_root_makes_the_user_and_enables_the_service(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, units = tmp_path / "bin", tmp_path / "units"
    programs.mkdir()
    units.mkdir()
    for name in ("systemctl", "systemd-sysusers"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(device, "_SYSTEMD", programs)
    monkeypatch.setattr(device, "_UNITS", units)
    monkeypatch.setattr(device, "USER", "nobody")
    assert "systemd runs it" in start_at_boot(root)
    assert not starts_at_boot(root)  # the stand-in enabled nothing: as if the power had failed before
    (units / "multi-user.target.wants").mkdir()
    (units / "multi-user.target.wants" / "edgekit.service").symlink_to(units / "edgekit.service")
    assert starts_at_boot(root)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith("systemd-sysusers")
    assert calls[1:] == [
        "systemctl daemon-reload",
        "systemctl enable edgekit.service",
        "systemctl restart edgekit.service",
    ]
    assert (units / "edgekit.service").read_bytes() == (root / "units" / "edgekit.service").read_bytes()
    owners = {path.name: path.stat().st_uid for path in (root, *root.iterdir()) if path.is_dir()}
    assert {name for name, owner in owners.items() if owner == NOBODY} == {"state", "record"}


def test_what_systemd_refuses_is_said_and_the_release_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise subprocess.CalledProcessError(1, "systemctl", stderr="Unit is masked.")

    monkeypatch.setattr(device.subprocess, "run", refuse)
    with pytest.raises(ProvisionError, match="Unit is masked") as refused:
        device._run("systemctl", "enable", "edgekit.service")
    assert "installed and good" in refused.value.state


def test_the_url_of_last_time_is_asked_again(root: Path) -> None:
    with pytest.raises(ProvisionError, match="does not know where updates come from"):
        known_source(root)
    remember_source(root, "https://updates.bank.example/", None)
    assert known_source(root) == "https://updates.bank.example/"
    assert read_channel_of(root) == Channel("east", "kiosk", "https://updates.bank.example/")


def test_a_device_that_never_served_may_still_join_another_channel(root: Path, tmp_path: Path) -> None:
    bank = Bank(tmp_path / "bank")
    bank.publish()
    medium = bank.pack()
    (root / "channel.json").write_text('{"region": "west", "device_class": "kiosk"}')
    for _ in range(2):
        enrol(root, medium, read_medium(medium), None)
        assert read_channel_of(root) == Channel("east", "kiosk")


def test_a_directory_that_is_no_device_and_a_damaged_channel_are_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="not a provisioned device"):
        read_channel_of(tmp_path)
    (root / "channel.json").write_text('{"region": ')
    with pytest.raises(ProvisionError, match="is damaged"):
        read_channel_of(root)
