from __future__ import annotations

import os
from pathlib import Path

import pytest

import devices.limits
from devices.errors import DeviceError
from devices.limits import (
    Limits,
    limits,
    parse_cgroup,
    parse_cpu_max,
    parse_meminfo,
    parse_memory_max,
    usable_cores,
    usable_memory_mb,
)


def test_meminfo_is_read_in_kilobytes_and_told_in_megabytes() -> None:
    assert parse_meminfo("MemTotal:        3956424 kB\nMemFree:  1 kB\n") == 3863
    with pytest.raises(DeviceError, match="no line MemTotal"):
        parse_meminfo("MemFree: 1 kB\n")


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", None), ("150000 100000", 1.5), ("-1 100000", None), ("200000 50000", 4.0)]
)
def test_a_cpu_quota_is_told_in_cores(text: str, cores: float | None) -> None:
    assert parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("text", "megabytes"), [("max\n", None), ("9223372036854771712\n", None), ("2147483648\n", 2048)]
)
def test_a_memory_limit_is_told_in_megabytes(text: str, megabytes: int | None) -> None:
    assert parse_memory_max(text) == megabytes


def test_the_group_of_a_process_is_found_in_both_versions() -> None:
    assert parse_cgroup("0::/system.slice/kit.service\n", "memory") == "/system.slice/kit.service"
    mixed = "4:memory:/a\n2:cpu,cpuacct:/b\n0::/c\n"
    assert [parse_cgroup(mixed, name) for name in ("memory", "cpu", "pids")] == ["/a", "/b", "/c"]


def test_limits_of_the_own_group_and_of_every_group_above_it_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "branch" / "kit"
    own.mkdir(parents=True)
    (own / "cpu.max").write_text("max 100000")
    (own.parent / "cpu.max").write_text("100000 100000")
    (own / "memory.max").write_text(str(64 * 1024 * 1024))
    (own.parent / "memory.max").write_text(str(80 * 1024 * 1024))
    (tmp_path / "cgroup.controllers").touch()
    texts = {"/proc/self/cgroup": "0::/branch/kit\n", "/proc/meminfo": "MemTotal: 4000000 kB\n"}
    monkeypatch.setattr(devices.limits, "_CGROUPS", tmp_path)
    monkeypatch.setattr(devices.limits, "kernel_text", texts.__getitem__)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert limits() == Limits("v2", 1.0, 64)
    assert usable_cores(limits()) == 1
    assert usable_memory_mb(limits()) == 64


def test_the_older_kind_of_group_limits_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = tmp_path / "cpu" / "kit"
    cpu.mkdir(parents=True)
    (cpu / "cpu.cfs_quota_us").write_text("250000\n")
    (cpu / "cpu.cfs_period_us").write_text("100000\n")
    (cpu.parent / "cpu.cfs_quota_us").write_text("-1\n")
    monkeypatch.setattr(devices.limits, "_CGROUPS", tmp_path)
    monkeypatch.setattr(devices.limits, "kernel_text", lambda _: "2:cpu,cpuacct:/kit\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert limits() == Limits("v1", 2.5, None)
    assert usable_cores(limits()) == 2


def test_half_a_core_is_one_core_and_no_limit_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices.limits, "_CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert limits() == Limits("none", None, None)
    assert usable_cores(limits()) == 3
    assert usable_cores(Limits("v2", 0.5)) == 1
