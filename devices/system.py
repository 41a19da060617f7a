"""What surrounds the kit on a machine: C library, security chip, time zone."""

from __future__ import annotations

import os
import re
import struct
import sys
import zoneinfo
from dataclasses import dataclass
from pathlib import Path

from devices.kernel import text_if_any

_TPM = Path("/sys/class/tpm/tpm0")
_LOCALTIME = Path("/etc/localtime")
_PT_INTERP = 3  # elf(5): the segment that names the dynamic linker


@dataclass(frozen=True)
class TimeZone:
    """How this machine turns UTC into local time.

    Attributes:
        name: As in the IANA database, a POSIX rule from ``TZ``, or "UTC" where nothing is set.
        problems: What makes local times doubtful, in full sentences.
    """

    name: str = "UTC"
    problems: tuple[str, ...] = ()


def libc() -> str:
    """The C library that this Python is linked to: ``glibc 2.36``, ``musl``, or ``unknown``.

    Wheels are built for one of them (PEP 600, PEP 656): those for the other do not load.
    """
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        version = None  # only GNU's C library knows this name
    if version:
        return version
    try:
        with Path(sys.executable).open("rb") as file:
            interpreter = parse_elf_interpreter(file.read(4096))
    except OSError:
        interpreter = ""
    return "musl" if "ld-musl-" in interpreter else "unknown"


def parse_elf_interpreter(head: bytes) -> str:
    """The dynamic linker that a 64-bit little-endian program asks for (elf(5)); empty if it says none."""
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return ""
    table = struct.unpack_from("<Q", head, 32)[0]
    size, count = struct.unpack_from("<HH", head, 54)
    for start in range(table, table + size * count, size or 1):
        if start + 40 > len(head):
            break
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", head, start)
        if kind == _PT_INTERP:
            return head[offset : offset + length].rstrip(b"\0").decode("ascii", "replace")
    return ""


def tpm_version() -> str:
    """Version of the trusted platform module: ``2.0``, ``1.2``, or empty where the kernel shows none."""
    if not _TPM.exists():
        return ""
    # kernels before 5.6 have no such file, and neither did they have a driver worth the name for 2.0's files there
    return "2.0" if text_if_any(_TPM / "tpm_version_major") == "2" else "1.2"


def time_zone() -> TimeZone:
    """The time zone of this process."""
    try:
        target = str(_LOCALTIME.readlink()) if _LOCALTIME.is_symlink() else None
    except OSError:
        target = None
    return parse_time_zone(
        localtime=target,
        readable=_LOCALTIME.exists(),
        variable=os.environ.get("TZ"),
        timezone=text_if_any("/etc/timezone"),
        adjtime=text_if_any("/etc/adjtime"),
    )


def parse_time_zone(
    *, localtime: str | None, readable: bool, variable: str | None, timezone: str | None, adjtime: str | None
) -> TimeZone:
    """Judge what a machine says about its time zone.

    Args:
        localtime: Where the link ``/etc/localtime`` points; None if it is no link.
        readable: Whether there is a file behind it.
        variable: ``TZ``, which beats the file; None if it is not set.
        timezone: Text of Debian's ``/etc/timezone``; None without one.
        adjtime: Text of ``/etc/adjtime`` (hwclock(8)); None without one.
    """
    problems = []
    linked = localtime.partition("zoneinfo/")[2] if localtime else ""
    name = linked or timezone or "UTC"
    if localtime and not readable:
        problems.append(f"/etc/localtime points to {localtime}, which is not there, so local times are UTC's.")
        name = "UTC"
    if linked and timezone and readable and linked != timezone and not variable:
        problems.append(f"/etc/localtime says {linked}, /etc/timezone says {timezone}.")
    if variable:
        name = variable.lstrip(":")
        if not _known_zone(name):
            problems.append(f"TZ names the time zone {name!r}, which is unknown here, so local times are UTC's.")
            name = "UTC"
    if adjtime and adjtime.splitlines()[-1].strip() == "LOCAL":
        problems.append("The hardware clock keeps local time (/etc/adjtime), so the clock is hours off at every start.")
    return TimeZone(name, tuple(problems))


def _known_zone(name: str) -> bool:
    if re.fullmatch(r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)[+-]?\d.*", name):
        return True  # a POSIX rule such as CST-8 says all by itself
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
