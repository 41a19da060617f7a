from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

import devices.system
from devices.system import TimeZone, libc, parse_elf_interpreter, parse_time_zone, time_zone, tpm_version


def elf(interpreter: bytes) -> bytes:
    """The head of a 64-bit program with one segment before the one that names its linker (elf(5))."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    offset = 64 + 2 * 56
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0, 0, 0)
    names = struct.pack("<IIQQQQQQ", 3, 4, offset, 0, 0, len(interpreter) + 1, 0, 1)
    return header + load + names + interpreter + b"\0"


@pytest.mark.parametrize(
    "name", [b"/lib64/ld-linux-x86-64.so.2", b"/lib/ld-musl-x86_64.so.1", b"/lib/ld-linux-aarch64.so.1"]
)
def test_a_program_names_its_linker(name: bytes) -> None:
    assert parse_elf_interpreter(elf(name)) == name.decode()


@pytest.mark.parametrize("head", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100), elf(b"/lib/ld")[:100]])
def test_what_is_no_such_program_names_none(head: bytes) -> None:
    assert parse_elf_interpreter(head) == ""


def test_a_python_of_alpine_is_known_by_its_linker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_bytes(elf(b"/lib/ld-musl-aarch64.so.1"))

    def unknown_name(name: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(devices.system.os, "confstr", unknown_name)
    monkeypatch.setattr(devices.system.sys, "executable", str(python))
    assert libc() == "musl"
    python.write_bytes(b"#!/bin/sh")
    assert libc() == "unknown"


def test_this_python_s_library_is_told_with_its_version() -> None:
    assert libc().split()[0] in ("glibc", "musl")
    with Path(sys.executable).open("rb") as file:
        assert "/ld-" in parse_elf_interpreter(file.read(4096))


def test_a_security_chip_is_told_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.system, "_TPM", tmp_path / "tpm0")
    assert tpm_version() == ""
    (tmp_path / "tpm0").mkdir()
    assert tpm_version() == "1.2"
    (tmp_path / "tpm0" / "tpm_version_major").write_text("2\n")
    assert tpm_version() == "2.0"


ADJTIME_UTC = "0.000000 1700000000 0.000000\n1700000000\nUTC\n"
ADJTIME_LOCAL = ADJTIME_UTC.replace("UTC", "LOCAL")


def zone(
    localtime: str | None = "/usr/share/zoneinfo/Asia/Shanghai",
    *,
    readable: bool = True,
    variable: str | None = None,
    timezone: str | None = "Asia/Shanghai",
    adjtime: str | None = ADJTIME_UTC,
) -> TimeZone:
    return parse_time_zone(
        localtime=localtime, readable=readable, variable=variable, timezone=timezone, adjtime=adjtime
    )


@pytest.mark.parametrize(
    ("judged", "name"),
    [
        (zone(), "Asia/Shanghai"),
        (zone("../usr/share/zoneinfo/Etc/UTC", timezone=None, adjtime=None), "Etc/UTC"),
        (zone(None, readable=False, timezone=None), "UTC"),
        (zone(None), "Asia/Shanghai"),
        (zone(variable="UTC"), "UTC"),
        (zone(variable=":UTC"), "UTC"),
        (zone(variable="CST-8"), "CST-8"),
        (zone(variable="<+0530>-5:30"), "<+0530>-5:30"),
    ],
)
def test_a_time_zone_is_named(judged: TimeZone, name: str) -> None:
    assert judged == TimeZone(name)


@pytest.mark.parametrize(
    ("judged", "name", "said"),
    [
        (zone(readable=False), "UTC", "which is not there"),
        (zone(timezone="Europe/Berlin"), "Asia/Shanghai", "/etc/timezone says Europe/Berlin"),
        (zone(variable="Asia/Shanghia"), "UTC", "TZ names the time zone 'Asia/Shanghia', which is unknown here"),
        (zone(variable="/etc/passwd"), "UTC", "unknown here"),
        (zone(adjtime=ADJTIME_LOCAL), "Asia/Shanghai", "hardware clock keeps local time"),
    ],
)
def test_what_makes_local_times_doubtful_is_said(judged: TimeZone, name: str, said: str) -> None:
    assert judged.name == name
    assert len(judged.problems) == 1
    assert said in judged.problems[0]
    assert judged.problems[0].endswith(".")


def test_this_machine_s_time_zone_can_be_read() -> None:
    assert time_zone().name
