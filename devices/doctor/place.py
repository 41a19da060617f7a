"""Checks of where the device keeps its slots and its state: room, kind of disk, who may read and write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from devices.doctor.check import Check
from devices.storage import FileSystem, existing

_SPARE_MB = 200  # for logs and the journal
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_room(free_mb: int, slot_mb: int, *, held_mb: int, place: Path) -> Check:
    """DOCTOR-008: is there room for two slots and the download of an update?

    Args:
        free_mb: Free at ``place``.
        slot_mb: What one slot takes: bundle and environment.
        held_mb: What slots on the device take already.
        place: The device's root or state directory.
    """
    still_needed = max(0, 3 * slot_mb + _SPARE_MB - held_mb)
    finding = f"{free_mb} MB are free at {place}; two slots and a download take {still_needed} MB more."
    if free_mb < slot_mb + _SPARE_MB and not held_mb:
        return Check("DOCTOR-008", "stop", finding, f"Free {still_needed - free_mb} MB, or use a larger disk.")
    if free_mb < still_needed:
        return Check(
            "DOCTOR-008",
            "attention",
            f"{finding} The next update may be refused.",
            f"Free {still_needed - free_mb} MB, or use a larger disk.",
        )
    return Check("DOCTOR-008", "ok", finding)


def check_file_system(file_system: FileSystem, place: Path) -> Check:
    """DOCTOR-009: does what is written at ``place`` last?"""
    where = f"{place} is on {file_system.kind} mounted at {file_system.mount_point}"
    if file_system.read_only:
        return Check(
            "DOCTOR-009",
            "stop",
            f"{where}, which is read-only.",
            "Name another directory, or have the disk checked: a failing disk turns read-only.",
        )
    if why := file_system.why_not_durable:
        return Check(
            "DOCTOR-009",
            "attention",
            f"{where}, which {why}.",
            "Put the device's directory on a local ext4 or xfs disk.",
        )
    return Check("DOCTOR-009", "ok", f"{where}.")


def check_permission(place: Path, state: Path) -> Check:
    """DOCTOR-010: may this user write at ``place``, and are the keys in ``state`` for nobody else?"""
    parent = existing(place)
    who = f"user {os.geteuid()}"
    if not os.access(parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return Check(
            "DOCTOR-010",
            "stop",
            f"This user ({who}) may not write to {parent}, which belongs to user {parent.stat().st_uid}.",
            f"Start the command as the user who owns {parent}, or as root.",
        )
    for path in (state, *_secrets(state)):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # not there yet: it will be made for this user alone
        if stat.S_ISDIR(mode) and not mode & (stat.S_IWGRP | stat.S_IWOTH):
            continue
        if mode & _OTHERS:
            return Check(
                "DOCTOR-010",
                "attention",
                f"{path} can be read or changed by other users of this machine (mode {stat.S_IMODE(mode):04o}).",
                f"Run: chmod go= {path}",
            )
    return Check("DOCTOR-010", "ok", f"This user ({who}) may write to {parent}, and no other reads its keys.")


def _secrets(state: Path) -> Iterator[Path]:
    yield from (state / "keys").glob("*.pem")
    yield state / "tokens.json"


def size_mb(*folders: Path) -> int:
    """What the plain files under ``folders`` take, in MB, rounded up; links are not followed."""
    total = 0
    for folder in folders:
        for directory, _, files in os.walk(folder):
            for name in files:
                try:
                    total += (Path(directory) / name).lstat().st_size
                except OSError:
                    continue  # gone meanwhile
    return -(-total // (1024 * 1024))
