"""How much of the machine this process may use: processor affinity, control groups of both versions, memory.

A process that may use two of 64 cores has two.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devices.errors import DeviceError
from devices.kernel import kernel_text, text_if_any

_MB = 1024 * 1024
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limits:
    """What control groups allow this process.

    Attributes:
        version: Of the control groups: ``v2``, ``v1``, ``hybrid`` (both are mounted), or ``none``.
        cores: Processor time that it may use, in cores; None sets no limit.
        memory_mb: Memory that it may use; None sets no limit.
    """

    version: Literal["v2", "v1", "hybrid", "none"] = "none"
    cores: float | None = None
    memory_mb: int | None = None


def limits() -> Limits:
    """Read the limits of this process's group and of every group above it; the tightest ones count."""
    quotas = [quota for group in _groups("cpu") if (quota := _quota(group)) is not None]
    maxima = [
        limit
        for group in _groups("memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := text_if_any(group / name)) is not None and (limit := parse_memory_max(text)) is not None
    ]
    return Limits(_version(), min(quotas, default=None), min(maxima, default=None))


def usable_cores(allowed: Limits) -> int:
    """Logical cores that this process may run on; at least 1, though a quota may be of half a core."""
    cores = len(os.sched_getaffinity(0))
    return cores if allowed.cores is None else min(cores, max(1, int(allowed.cores)))


def usable_memory_mb(allowed: Limits) -> int:
    """Memory that this process may use.

    Raises:
        DeviceError: ``/proc/meminfo`` cannot be read.
    """
    memory = parse_meminfo(kernel_text("/proc/meminfo"))
    return memory if allowed.memory_mb is None else min(memory, allowed.memory_mb)


def parse_meminfo(text: str) -> int:
    """The machine's memory in MB, from ``/proc/meminfo``.

    Raises:
        DeviceError: There is no ``MemTotal`` line.
    """
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "MemTotal":
            return int(value.split()[0]) // 1024
    raise DeviceError("/proc/meminfo has no line MemTotal, so the machine's memory is unknown.")


def parse_cpu_max(text: str) -> float | None:
    """Cores of a quota, from cgroup v2's ``cpu.max`` ("QUOTA PERIOD" in microseconds); None is no limit."""
    quota, _, period = text.strip().partition(" ")
    if quota in ("max", "", "-1"):
        return None
    return int(quota) / int(period or 100_000)


def parse_memory_max(text: str) -> int | None:
    """MB of a limit, from cgroup v2's ``memory.max`` or v1's ``memory.limit_in_bytes``; None is no limit.

    v1 says "no limit" by a number near 2**63.
    """
    value = text.strip()
    return None if value in ("max", "") or int(value) >= 2**60 else int(value) // _MB


def parse_cgroup(text: str, controller: str) -> str:
    """This process's group, from ``/proc/self/cgroup``: v1's line of ``controller`` before v2's; "/" without one."""
    unified = "/"
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
        if not controllers:
            unified = path
    return unified


def _version() -> Literal["v2", "v1", "hybrid", "none"]:
    if (_CGROUPS / "cgroup.controllers").exists():
        return "v2"
    if (_CGROUPS / "unified").is_dir():
        return "hybrid"
    return "v1" if (_CGROUPS / "cpu").is_dir() or (_CGROUPS / "memory").is_dir() else "none"


def _quota(group: Path) -> float | None:
    quota = text_if_any(group / "cpu.max")
    if quota is None and (us := text_if_any(group / "cpu.cfs_quota_us")) is not None:
        quota = f"{us} {text_if_any(group / 'cpu.cfs_period_us') or 100_000}"
    return None if quota is None else parse_cpu_max(quota)


def _groups(controller: str) -> list[Path]:
    """Directories whose limits bind this process: its group and all above it, under v1's and v2's roots."""
    relative = Path(parse_cgroup(kernel_text("/proc/self/cgroup"), controller).lstrip("/"))
    roots = [root for root in (_CGROUPS / controller, _CGROUPS / "unified", _CGROUPS) if root.is_dir()]
    return [root / parent for root in roots for parent in (relative, *relative.parents)]
