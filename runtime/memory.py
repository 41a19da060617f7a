"""How much memory the worker holds, measured every second, and what is done before the ceiling is reached.

The rules, for the process's RSS and for the GPU's memory alike, each against its limit in the profile:
 1. From 85 % on, caches are dropped, at most every half minute.
 2. At 95 % and still so after dropping, for three seconds, the worker asks its supervisor for a replacement.
 3. Without a limit it is measured all the same.
 4. Twice a minute caches are dropped in any case. A model's working memory only grows, to the largest that each part
    of it ever took, and requests of ever other sizes leave holes in the heap: 5 % in 10,000 requests. The next page
    pays for it with some 35 ms.

glibc's allocator is set first thing in a worker (``bound_allocator``): by default it makes up to eight arenas a core,
and raises the size from which it gives memory straight back to the system to 32 MB as soon as such blocks are freed;
with pictures of ever new sizes both only grow.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

DROP_SHARE = 0.85
REPLACE_SHARE = 0.95
_DROP_EVERY_S = 30.0
_TIDY_EVERY_S = 30.0
_HIGH_READINGS = 3  # a single large document may touch the ceiling for a moment
_INTERVAL_S = 1.0

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2
# Asking the system for a block costs a fault for each of its pages. With 1 and 16 MB in place of these a page of text
# took a seventh more CPU time; with these, no more than with glibc's own settings.
_MMAP_FROM_BYTES = 4 * 1024 * 1024
_TRIM_FROM_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class MemoryReading:
    """What one measurement found.

    Attributes:
        rss_bytes: Resident memory of this process.
        gpu_bytes: GPU memory of this process, or of everything on the GPU where the driver does not tell processes
            apart (in a container); None without an NVIDIA GPU.
    """

    rss_bytes: int
    gpu_bytes: int | None = None


class MemoryWatch:
    """Measures, drops caches near the limit, and asks for a replacement when that does not help.

    Attributes:
        reading: The latest measurement.
        rss_limit_bytes: From the profile; None sets none.
        gpu_limit_bytes: The same for the GPU.
        drops: How often caches were dropped.
    """

    def __init__(
        self,
        *,
        rss_limit_mb: int | None,
        gpu_limit_mb: int | None = None,
        drop_caches: Callable[[], None],
        ask_replacement: Callable[[str], None],
        measure: Callable[[], MemoryReading] | None = None,
        tidy: Callable[[], None] | None = None,
    ) -> None:
        self.rss_limit_bytes = rss_limit_mb * 1024 * 1024 if rss_limit_mb else None
        self.gpu_limit_bytes = gpu_limit_mb * 1024 * 1024 if gpu_limit_mb else None
        self.drops = 0
        self._drop_caches, self._ask_replacement = drop_caches, ask_replacement
        self._measure = measure or Meter().read
        self._tidy = tidy or drop_caches
        self._next_drop = 0.0
        self._next_tidy: float | None = None  # the first comes half a minute after the start
        self._high = 0
        self.reading = self._measure()

    def start(self) -> None:
        """Measure every second from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="memory", daemon=True).start()

    def step(self, now: float) -> None:
        """One measurement and what follows from it; ``now`` in seconds on any clock that only goes forward."""
        if self._next_tidy is None or now >= self._next_tidy:
            if self._next_tidy is not None:
                self._tidy()
            self._next_tidy = now + _TIDY_EVERY_S
        self.reading = self._measure()
        if self._share() >= DROP_SHARE and now >= self._next_drop:
            self._next_drop = now + _DROP_EVERY_S
            self.drops += 1
            before = self._described()
            self._drop_caches()
            self.reading = self._measure()
            log.warning("Memory is near its limit: %s; after dropping caches %s.", before, self._described())
        self._high = self._high + 1 if self._share() >= REPLACE_SHARE else 0
        if self._high >= _HIGH_READINGS:
            self._ask_replacement(f"Memory stays near its limit after dropping caches: {self._described()}.")

    def status(self) -> dict[str, int | None]:
        """The latest reading and the limits, for ``/v1/status``."""
        return {
            "rss_bytes": self.reading.rss_bytes,
            "rss_limit_bytes": self.rss_limit_bytes,
            "gpu_bytes": self.reading.gpu_bytes,
            "gpu_limit_bytes": self.gpu_limit_bytes,
            "cache_drops": self.drops,
        }

    def _run(self) -> None:
        while True:
            time.sleep(_INTERVAL_S)
            self.step(time.monotonic())

    def _share(self) -> float:
        """The larger of the two shares of their limits that are in use."""
        rss = self.reading.rss_bytes / self.rss_limit_bytes if self.rss_limit_bytes else 0.0
        gpu = (self.reading.gpu_bytes or 0) / self.gpu_limit_bytes if self.gpu_limit_bytes else 0.0
        return max(rss, gpu)

    def _described(self) -> str:
        parts = [f"RSS {_mb(self.reading.rss_bytes)} of {_mb(self.rss_limit_bytes)} MB"]
        if self.reading.gpu_bytes is not None:
            parts.append(f"GPU {_mb(self.reading.gpu_bytes)} of {_mb(self.gpu_limit_bytes)} MB")
        return ", ".join(parts)


def bound_allocator() -> None:
    """Make glibc's allocator keep little: two arenas, large blocks straight from and back to the system.

    To be called before the process has threads and before it allocates much. Other C libraries have no such knobs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (_M_ARENA_MAX, _ARENAS),
        (_M_MMAP_THRESHOLD, _MMAP_FROM_BYTES),  # setting it also ends its growth
        (_M_TRIM_THRESHOLD, _TRIM_FROM_BYTES),
    ):
        mallopt(parameter, value)


def release_memory() -> None:
    """Collect garbage and give free pages of the heap back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Meter:
    """Reads this process's RSS, and its GPU memory where NVIDIA's management library (NVML) is installed."""

    def __init__(self) -> None:
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._gpu = _Nvml.open()

    def read(self) -> MemoryReading:
        """Measure now; takes microseconds."""
        # statm: total, resident, ... in pages (proc(5))
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return MemoryReading(resident * self._page_bytes, self._gpu.used_bytes() if self._gpu else None)


class _Process(ctypes.Structure):
    """``nvmlProcessInfo_t`` of nvml.h, second version."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used_bytes", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class _Memory(ctypes.Structure):
    """``nvmlMemory_t`` of nvml.h."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Nvml:
    """The first GPU through ``libnvidia-ml.so.1``, which comes with the driver; no Python package is needed."""

    _MAX_PROCESSES = 64
    _UNKNOWN = 2**64 - 1  # NVML_VALUE_NOT_AVAILABLE: the driver does not tell this process's share

    def __init__(self, library: ctypes.CDLL, device: ctypes.c_void_p) -> None:
        self._library, self._device = library, device

    @classmethod
    def open(cls) -> _Nvml | None:
        """None without driver, library or GPU."""
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return None
        device = ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
            return None
        return cls(library, device)

    def used_bytes(self) -> int | None:
        processes = (_Process * self._MAX_PROCESSES)()
        count = ctypes.c_uint(self._MAX_PROCESSES)
        ask = getattr(self._library, "nvmlDeviceGetComputeRunningProcesses_v3", None)
        if ask is not None and ask(self._device, ctypes.byref(count), processes) == 0:
            mine = [each.used_bytes for each in processes[: count.value] if each.pid == os.getpid()]
            if mine and mine[0] != self._UNKNOWN:
                return int(mine[0])
        memory = _Memory()
        if self._library.nvmlDeviceGetMemoryInfo(self._device, ctypes.byref(memory)):
            return None
        return int(memory.used)


def _mb(size_bytes: int | None) -> str:
    return "unlimited" if size_bytes is None else f"{size_bytes / (1024 * 1024):.0f}"
